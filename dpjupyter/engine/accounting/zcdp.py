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
_PRECISE = 1e-9  # of log(alpha - 1): the minimum is flat, its value is then exact to a float


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
    loss = float(exact(rho, "rho"))
    failure = delta_of(delta, "slack")
    log_inverse = float(-WIDE.ln(wide(failure)))

    def at(log_over: float) -> float:
        over = math.exp(log_over)
        log_alpha = math.log1p(over)
        return (1 + over) * loss + log_over - log_alpha + (log_inverse - log_alpha) / over

    # Golden-section search over log(alpha - 1): one valley.
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(1e-9), math.log(log_inverse / loss + 2 / math.sqrt(loss) + 10)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = at(left), at(right)
    while high - low > _PRECISE:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = at(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = at(right)
    return max(0.0, min(at_left, at_right))


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
