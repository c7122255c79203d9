"""Noise scale, epsilon and rho of the three mechanisms. Scales are in grid units (integers)."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

from dpjupyter.engine.accounting.numbers import ROUNDING, WIDE, Real, count_of, epsilon_of, exact, float_up, wide
from dpjupyter.engine.accounting.zcdp import rho_max
from dpjupyter.errors import AskRefused

MAX_SCALE = 2.0**55  # 64-bit samplers saturate a few hundred scales out


def _in_range(scale: float) -> float:
    if not 0 < scale < MAX_SCALE:
        raise AskRefused(
            "The noise this epsilon needs does not fit in 64-bit integers.",
            hint="Ask for a larger epsilon, or fewer rows or groups per unit (max_rows, max_groups).",
        )
    return scale


def _scale_of(scale: float) -> Fraction:
    # The sampler reads the float's exact binary value, so that is what is priced.
    if not isinstance(scale, float) or not math.isfinite(scale) or scale <= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise AskRefused("The noise scale must be a positive finite number.")
    return Fraction(_in_range(scale))


def laplace_scale(l1: int, epsilon: Real) -> float:
    """Scale of discrete Laplace noise for ``epsilon``-DP, rounded up.

    Args:
        l1: largest L1 change one privacy unit can cause, in grid units.
        epsilon: for the whole statistic (all groups).
    Raises: AskRefused: arguments out of range, or the scale would not be in (0, 2^55).
    Source: Ghosh, Roughgarden, Sundararajan 2009; P(X=x) is proportional to exp(-|x|/scale).
    """
    return _in_range(float_up(count_of(l1, "L1 sensitivity") / epsilon_of(epsilon)))


def laplace_epsilon(l1: int, scale: float) -> Fraction:
    """Exact epsilon of discrete Laplace noise of ``scale``: l1 / scale.

    Raises: AskRefused.
    """
    return count_of(l1, "L1 sensitivity") / _scale_of(scale)


def pure_rho(epsilon: Real) -> Fraction:
    """Price in rho of any ``epsilon``-DP mechanism, discrete Laplace included: epsilon * tanh(epsilon/2), rounded up.

    Every epsilon-DP pair is a post-processing of randomised response (Kairouz, Oh, Viswanath 2015, Thm 2.5),
    whose Renyi divergence over alpha is largest at alpha -> 1.
    Raises: AskRefused: epsilon not in (0, 9e6].
    Source: privacy.md section 4; at most the epsilon^2/2 of Bun & Steinke 2016, Prop. 3.3.
    """
    eps, one = wide(epsilon_of(epsilon)), Decimal(1)
    small = WIDE.exp(WIDE.minus(eps))
    tanh = WIDE.divide(WIDE.subtract(one, small), WIDE.add(one, small))
    # 1 - exp(-eps) loses at most 30 of the 60 digits for the smallest epsilons that can be asked.
    slope = ROUNDING if eps > Decimal("1e-6") else Decimal(10) ** -25
    return Fraction(WIDE.multiply(WIDE.multiply(eps, tanh), one + slope))


def gaussian_rho(l2_squared: int, sigma: float) -> Fraction:
    """Exact rho of discrete Gaussian noise: l2_squared / (2 sigma^2).

    Args:
        l2_squared: largest squared L2 change one privacy unit can cause, in squared grid units.
        sigma: the noise's scale, in grid units.
    Raises: AskRefused.
    Source: Canonne, Kamath, Steinke 2020, Thm 4.
    """
    return count_of(l2_squared, "squared L2 sensitivity") / (2 * _scale_of(sigma) ** 2)


def gaussian_sigma(l2_squared: int, epsilon: Real, delta: Real) -> float:
    """Scale (sigma) of discrete Gaussian noise for (epsilon, delta)-DP by way of rho-zCDP, rounded up.

    The continuous "analytic" formula is not used: at small sigma it under-reports the discrete delta.
    Raises: AskRefused: arguments out of range, or sigma would not be in (0, 2^55).
    Source: Canonne, Kamath, Steinke 2020, Thm 4 and Cor. 13.
    """
    rho = rho_max(epsilon, delta)
    if rho <= 0:
        raise AskRefused("epsilon and delta are too small for Gaussian noise.", hint="Use Laplace, or a larger delta.")
    square = count_of(l2_squared, "squared L2 sensitivity") / (2 * rho)
    if square >= Fraction(MAX_SCALE) ** 2:
        return _in_range(math.inf)
    sigma = math.sqrt(float_up(square))
    while Fraction(sigma) ** 2 < square:
        sigma = math.nextafter(sigma, math.inf)
    return _in_range(sigma)


def selection_scale(sensitivity: int, epsilon: Real) -> float:
    """Scale of the Gumbel noise added to scores by the exponential mechanism: 2 * sensitivity / epsilon, rounded up.

    Args:
        sensitivity: largest change of one candidate's score by one privacy unit (score units), either sign.
        epsilon: of one selection, that is of one group.
    Raises: AskRefused.
    Source: McSherry & Talwar 2007; the general, not the monotone, form.
    """
    return _in_range(float_up(2 * count_of(sensitivity, "score sensitivity") / epsilon_of(epsilon)))


def selection_epsilon(epsilon: Real, groups: int) -> Fraction:
    """Pure epsilon of ``groups`` selections of ``epsilon`` each.

    Raises: AskRefused.
    """
    return epsilon_of(epsilon) * count_of(groups, "max_groups")


def selection_rho(epsilon: Real, groups: int) -> Fraction:
    """Price in rho of ``groups`` exponential-mechanism selections by Gumbel noise: groups * epsilon^2 / 8, exact.

    Raises: AskRefused.
    Source: Cesar & Rogers 2021 (bounded range); not valid for permute-and-flip.
    """
    return count_of(groups, "max_groups") * exact(epsilon_of(epsilon), "epsilon") ** 2 / 8
