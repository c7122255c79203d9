"""Concentrated differential privacy: from rho to (epsilon, delta) and back.

delta(rho, e) = min over alpha > 1 of exp((alpha-1)(alpha*rho - e)) * (1-1/alpha)^alpha / (alpha-1)

Source: Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", Prop. 12 / Cor. 13.
Every alpha gives a valid bound, so a poor search costs budget, never privacy; limits are nevertheless
confirmed in 60-digit arithmetic before use.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from dpjupyter.engine.accounting.numbers import PICO, WIDE, Real, delta_of, epsilon_of, exact, wide

_STEPS = 80  # halvings: past the precision of a float
_PRECISE = 1e-7  # of alpha - 1: the minimum is flat, its value is then exact to a float
_NEWTON = 60  # steps at most; five are usual


def _best_alpha(rho: float, epsilon: float) -> float:
    # The exponent's derivative (2a-1)*rho - e + log(1-1/a) grows with a: its zero is the minimum.
    low, high = math.log(1e-9), math.log((epsilon + 1) / (2 * rho) + 2)
    for _ in range(_STEPS):
        mid = (low + high) / 2
        over = math.exp(mid)  # alpha - 1
        if (2 * over + 1) * rho - epsilon + math.log(over) - math.log1p(over) < 0:
            low = mid
        else:
            high = mid
    return 1 + math.exp(high)


def _log_delta(rho: float, epsilon: float, alpha: float) -> float:
    over = alpha - 1
    return over * (alpha * rho - epsilon) + alpha * math.log1p(-1 / alpha) - math.log(over)


def _log_delta_wide(rho: Decimal, epsilon: Decimal, alpha: Decimal) -> Decimal:
    context, one = WIDE, Decimal(1)
    over = context.subtract(alpha, one)
    slope = context.subtract(context.multiply(alpha, rho), epsilon)
    first = context.multiply(over, slope)
    second = context.multiply(alpha, context.subtract(context.ln(over), context.ln(alpha)))
    return context.subtract(context.add(first, second), context.ln(over))


def zcdp_delta(rho: Real, epsilon: Real) -> float:
    """Smallest proven delta such that rho-zCDP implies (epsilon, delta)-DP; at most 1.

    Raises: AskRefused: rho or epsilon not in (0, 9e6].
    """
    loss, eps = float(epsilon_of(rho, "rho")), float(epsilon_of(epsilon))
    log_delta = _log_delta(loss, eps, _best_alpha(loss, eps))
    return min(1.0, math.exp(min(0.0, log_delta)) * (1 + 1e-9))


def zcdp_epsilon(rho: Real, delta: Real) -> float:
    """Smallest epsilon found such that rho-zCDP implies (epsilon, delta)-DP, >= 0. For showing, not for gating.

    The formula above solved for e:  e = alpha*rho + log(1-1/alpha) + (log(1/delta) - log(alpha)) / (alpha-1).

    Raises: AskRefused: rho or delta out of range.
    """
    # A float needs no exact reading here: the ledger asks at every debit, while others wait.
    loss = rho if type(rho) is float and 0 < rho < math.inf else float(exact(rho, "rho"))
    log_inverse = _log_inverse(delta)
    # The derivative is rho - (log(1/delta) - log(alpha)) / (alpha-1)^2: with u = alpha - 1, a minimum is where
    # rho*u^2 + log(1+u) = log(1/delta). The left side grows with u; Newton's method, kept inside a bracket.
    low, high = 0.0, min(math.sqrt(log_inverse / loss), math.expm1(min(log_inverse, 600.0)))
    over = high
    for _ in range(_NEWTON):
        log_alpha = math.log1p(over)
        gap = loss * over * over + log_alpha - log_inverse
        low, high = (low, over) if gap > 0 else (over, high)
        step = over - gap / (2 * loss * over + 1 / (1 + over))
        following = step if low < step < high else (low + high) / 2
        if abs(following - over) <= _PRECISE * over:
            break
        over = following
    log_alpha = math.log1p(over)
    return max(0.0, (1 + over) * loss + math.log(over) - log_alpha + (log_inverse - log_alpha) / over)


@lru_cache(maxsize=4096, typed=True)
def _log_inverse(delta: Real) -> float:
    return float(-WIDE.ln(wide(delta_of(delta, "slack"))))


@lru_cache(maxsize=4096)
def _rho_max(epsilon: Fraction, delta: Fraction) -> Fraction:
    eps, log_limit = float(epsilon), float(WIDE.ln(wide(delta)))
    low, high = 0.0, eps + 1e-9
    # delta(rho, e) grows with rho; for delta < 1 rho never exceeds a bit more than e.
    high = max(high, -1e-3 * log_limit, 1.0)
    for _ in range(_STEPS + 40):
        mid = (low + high) / 2
        if mid == 0.0 or mid in (low, high):
            break
        if _log_delta(mid, eps, _best_alpha(mid, eps)) <= log_limit:
            low = mid
        else:
            high = mid
    return _confirmed(low, epsilon, delta)


def _confirmed(guess: float, epsilon: Fraction, delta: Fraction) -> Fraction:
    # Floats found the place; 60 digits decide. Step down by 1e-13 of it until the bound truly holds.
    if guess == 0.0:
        return Fraction(0)
    target, eps = WIDE.ln(wide(delta)), wide(epsilon)
    # A relative 1e-40 covers the rounding of the few 60-digit operations in the bound.
    safe = WIDE.subtract(target, Decimal(10) ** -40)
    rho, step = guess, guess * 1e-13
    for _ in range(60):
        alpha = Decimal(_best_alpha(rho, float(epsilon)))
        if _log_delta_wide(Decimal(rho), eps, alpha) <= safe:
            return Fraction(rho)
        rho, step = rho - step, step * 2
    return Fraction(0)


def rho_max(epsilon: Real, delta: Real) -> Fraction:
    """Largest rho (to about 1e-12 of itself, never above) whose conversion at ``delta`` stays <= ``epsilon``.

    Args:
        epsilon: a row's total_budget, or the epsilon of one Gaussian answer.
        delta: the row's slack, or the delta of that answer.
    Raises: AskRefused: epsilon not in (0, 9e6], delta not in [1e-30, 1).
    """
    return _rho_max(epsilon_of(epsilon), delta_of(delta))


def pico_rho_max(total_budget: Real, slack: Real) -> int:
    """:func:`rho_max` of a budget row in units of 1e-12, rounded down."""
    return math.floor(rho_max(total_budget, slack) * PICO)
