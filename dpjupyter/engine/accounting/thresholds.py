"""Open group keys: the smallest T such that a key only one unit has is released with probability <= key_delta.

A key is released when its noisy unit count is >= T. One unit adds 1 to at most ``max_groups`` counts, so
beside the epsilon of the counts it is hidden up to the probability that any of its own keys passes.
Source: privacy.md section 2 "Keys"; Korolova et al. 2009; Desfontaines, Voss, Gipson, Mandayam 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from dpjupyter.engine.accounting.mechanisms import MAX_SCALE
from dpjupyter.engine.accounting.numbers import ROUNDING, WIDE, Real, count_of, delta_of, wide
from dpjupyter.errors import AskRefused

_DIRECT = 64.0  # up to this sigma the discrete tail is summed term by term
_FLOAT = 1 + 1e-9  # covers the rounding of the float sums below


def laplace_tail(at_least: int, scale: float) -> Decimal:
    """P(X >= at_least) for discrete Laplace X of ``scale``, rounded up; ``at_least`` >= 0.

    a^t / (1+a) with a = exp(-1/scale).
    Raises: AskRefused: scale not in (0, 2^55), negative ``at_least``.
    """
    if at_least < 0:
        raise AskRefused("The tail is computed for values of at least 0.")
    one = Decimal(1)
    inverse = WIDE.divide(one, Decimal(_scale(scale)))
    a = WIDE.exp(WIDE.minus(inverse))
    power = WIDE.exp(WIDE.minus(WIDE.multiply(inverse, Decimal(at_least))))
    return WIDE.multiply(WIDE.divide(power, WIDE.add(one, a)), one + ROUNDING)


def gaussian_tail(at_least: int, sigma: float) -> Decimal:
    """P(X >= at_least) for discrete Gaussian X of ``sigma``, rounded up; ``at_least`` >= 0.

    Small sigma: the exact sum over the exact normaliser. Large sigma: exp(-x^2/2s^2) is convex beyond s, so its sum from
    t on is at most its integral from t-1/2, and the normaliser is at least sqrt(2 pi) s (Poisson summation); the two
    differ from the exact value by about 1/(24 s^2) of it.
    Raises: AskRefused: sigma not in (0, 2^55), negative ``at_least``.
    """
    if at_least < 0:
        raise AskRefused("The tail is computed for values of at least 0.")
    s = _scale(sigma)
    if s <= _DIRECT:
        # exp(-760) is below the smallest float: further terms are covered by the factor.
        reach = math.ceil(s * 39) + 1
        upper = math.fsum(_bell(x, s) for x in range(at_least, max(reach, at_least) + 2))
        whole = 1 + 2 * math.fsum(_bell(x, s) for x in range(1, reach + 1))
        value = upper / whole
    elif at_least - 0.5 >= s:
        value = math.erfc((at_least - 0.5) / (s * math.sqrt(2))) / 2
    else:
        value = _bell(at_least, s) / (math.sqrt(2 * math.pi) * s) + math.erfc(at_least / (s * math.sqrt(2))) / 2
    # A float that underflowed still counts as something.
    return Decimal(min(1.0, max(value * _FLOAT, 1e-300)))


def released_probability(tail: Decimal, groups: int) -> Decimal:
    """Probability that at least one of ``groups`` keys passes, each with probability ``tail``: 1-(1-tail)^groups, rounded up."""
    if tail >= 1:
        return Decimal(1)
    none = WIDE.exp(WIDE.multiply(WIDE.ln(WIDE.subtract(Decimal(1), tail)), Decimal(count_of(groups, "max_groups"))))
    # Subtraction from 1 leaves an absolute error of 1e-59 or so; deltas are at least 1e-30.
    return WIDE.add(WIDE.subtract(Decimal(1), none), Decimal(10) ** -48)


def laplace_threshold(scale: float, max_groups: int, key_delta: Real, min_units: int = 1) -> int:
    """Smallest T for unit counts under discrete Laplace noise of ``scale`` (all groups: max_groups / epsilon).

    Args:
        scale: of the noise on each count.
        max_groups: counts one unit can change by 1.
        key_delta: allowed probability that any key of a single unit is released.
        min_units: a group of fewer units than this passes with probability at most key_delta, too.
    Raises: AskRefused.
    """
    return _smallest(lambda t: laplace_tail(t, scale), _scale(scale) * 80, max_groups, key_delta, min_units)


def gaussian_threshold(sigma: float, max_groups: int, key_delta: Real, min_units: int = 1) -> int:
    """Smallest T for unit counts under discrete Gaussian noise of ``sigma``; arguments as :func:`laplace_threshold`.

    Raises: AskRefused.
    """
    return _smallest(lambda t: gaussian_tail(t, sigma), _scale(sigma) * 12, max_groups, key_delta, min_units)


def _smallest(tail: Callable[[int], Decimal], guess: float, max_groups: int, key_delta: Real, min_units: int) -> int:
    count_of(max_groups, "max_groups")
    limit = wide(delta_of(key_delta, "key_delta"))
    single = _first(lambda t: released_probability(tail(t), max_groups) <= limit, guess)
    crowd = _first(lambda t: tail(t) <= limit, guess)
    # A key of u units has true count u: it passes when the noise is at least T - u.
    return max(1 + single, count_of(min_units, "min_units") - 1 + crowd)


def _first(holds: Callable[[int], bool], guess: float) -> int:
    high = max(1, math.ceil(guess))
    while not holds(high):
        high *= 2
        if high > 2**62:
            raise AskRefused("No threshold in 64-bit integers hides a single unit at this epsilon and key_delta.")
    low = 0  # T = 1 would release every key that exists at probability one half
    while high - low > 1:
        mid = (low + high) // 2
        if holds(mid):
            high = mid
        else:
            low = mid
    return high


def _bell(x: int, sigma: float) -> float:
    return math.exp(-((x / sigma) ** 2) / 2)


def _scale(scale: float) -> float:
    if not isinstance(scale, float) or not 0 < scale < MAX_SCALE:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise AskRefused("The noise scale must lie in (0, 2^55).")
    return scale
