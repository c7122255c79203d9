"""How far known noise strays: exact half-widths and evenly spread quantiles of the discrete distributions."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from dpjupyter.engine.model import Noise

_SUMMED = 2000.0  # up to this sigma the discrete Gaussian is summed term by term; beyond it differs by less than one part in 10^7


def half_width(noise: Noise, confidence: float) -> int:
    """Smallest h with P(|noise| <= h) >= confidence, in grid units.

    Laplace: P(|Z| > h) = 2 a^(h+1)/(1+a), a = exp(-1/scale). Gaussian: the sum of the discrete masses.
    Raises: ValueError: the noise is not additive, or confidence is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie in (0, 1)")
    match noise.mechanism:
        case "discrete_laplace":
            return _laplace_half_width(noise.scale, confidence)
        case "discrete_gaussian":
            return _gaussian_half_width(noise.scale, confidence)
        case _:
            raise ValueError("a selection has no interval of its own")


@lru_cache(maxsize=256)
def quantiles(noise: Noise, n: int) -> tuple[float, ...]:
    """The noise's quantiles at the midpoints of ``n`` equal parts of (0, 1), ascending, in grid units.

    Whole numbers (as floats, exact below 2^53). A permutation of them is a stratified sample of the noise.
    """
    half = [_upper(noise, 1 - (i + 0.5) / n) for i in range(n // 2, n)]
    return (*(-v for v in reversed(half[n % 2 :])), *half)


def _upper(noise: Noise, tail: float) -> float:
    """Smallest z >= 0 with P(Z > z) <= tail, for tail <= 1/2."""
    if noise.mechanism == "discrete_laplace":
        return float(max(0, math.ceil(-noise.scale * math.log(tail * (1 + math.exp(-1 / noise.scale)))) - 1))
    if noise.mechanism == "discrete_gaussian":
        if noise.scale > _SUMMED:
            return float(round(noise.scale * NormalDist().inv_cdf(1 - tail)))
        tails = _gaussian_tails(noise.scale)
        start = max(0, int(noise.scale * NormalDist().inv_cdf(1 - tail)) - 2)  # the continuous quantile is within one of it
        return float(next((z for z in range(start, len(tails)) if tails[z] <= tail), len(tails)))
    raise ValueError("a selection has no noise of its own to replay")


@lru_cache(maxsize=1024)
def _laplace_half_width(scale: float, confidence: float) -> int:
    a = math.exp(-1 / scale)
    # 2 a^(h+1)/(1+a) <= 1-confidence; the nudge keeps a bound met exactly from being missed by rounding.
    needed = -scale * math.log((1 - confidence) * (1 + a) / 2) - 1
    return max(0, math.ceil(needed - 1e-9 * max(1.0, abs(needed))))


@lru_cache(maxsize=1024)
def _gaussian_half_width(sigma: float, confidence: float) -> int:
    tail = (1 - confidence) / 2
    if sigma > _SUMMED:
        # P(|Z| <= h) of the integers is that of the bell on [-h-1/2, h+1/2].
        return max(0, math.ceil(sigma * NormalDist().inv_cdf(1 - tail) - 0.5))
    return next(z for z, above in enumerate(_gaussian_tails(sigma)) if above <= tail * (1 + 1e-12))


@lru_cache(maxsize=64)
def _gaussian_tails(sigma: float) -> tuple[float, ...]:
    """P(Z > z) for z = 0, 1, ... until nothing is left."""
    reach = math.ceil(sigma * 9) + 2
    masses = [math.exp(-((x / sigma) ** 2) / 2) for x in range(reach + 1)]
    whole = masses[0] + 2 * math.fsum(masses[1:])
    tails: list[float] = []
    above = 0.0
    for mass in reversed(masses):
        tails.append(above / whole)
        above += mass
    return tuple(reversed(tails))
