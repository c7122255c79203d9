"""Advanced composition in closed form, as the required budget parameters suggest it. For comparison, never for gating.

These hold for epsilons fixed in advance (or as a filter only with worse constants: Rogers et al. 2016); a gate under
adaptive choice must not use them.
"""

from __future__ import annotations

import math

from dpjupyter.errors import AskRefused


def drv_epsilon(sum_sq_eps: float, sum_exp_eps: float, slack: float) -> float:
    """Epsilon by Dwork, Rothblum, Vadhan 2010 with the exact expected loss: sum_exp + sqrt(2 sum_sq log(1/slack)).

    Args:
        sum_sq_eps: sum of eps^2.
        sum_exp_eps: sum of eps*(e^eps-1)/(e^eps+1).
        slack: probability that the bound fails.
    Raises: AskRefused: sums negative or not finite, slack not in (0, 1).
    Source: Kairouz, Oh, Viswanath 2015, Thm 3.5 (third term).
    """
    _sums(sum_sq_eps, sum_exp_eps, slack)
    return sum_exp_eps + math.sqrt(2 * sum_sq_eps * -math.log(slack))


def kov_epsilon(sum_sq_eps: float, sum_exp_eps: float, slack: float) -> float:
    """Epsilon by Kairouz, Oh, Viswanath 2015, Thm 3.5 (second term): sum_exp + sqrt(2 sum_sq log(e + sqrt(sum_sq)/slack)).

    Raises: AskRefused: sums negative or not finite, slack not in (0, 1).
    """
    _sums(sum_sq_eps, sum_exp_eps, slack)
    return sum_exp_eps + math.sqrt(2 * sum_sq_eps * math.log(math.e + math.sqrt(sum_sq_eps) / slack))


def _sums(sum_sq_eps: float, sum_exp_eps: float, slack: float) -> None:
    if not all(math.isfinite(v) and v >= 0 for v in (sum_sq_eps, sum_exp_eps)) or not 0 < slack < 1:
        raise AskRefused("Sums must be finite and at least 0, slack must lie in (0, 1).")
