"""The filter: may a budget row pay a query; and the odometer's two readings, consumed and residual.

Sound when analysts choose each question after seeing earlier answers:
    sum_key_delta <= D  and  ( (sum_eps <= total_budget and sum_key_delta + sum_gauss_delta <= D)  or  sum_rho <= rho_max ),
with D = delta - slack. slack is the failure probability of the rho branch.
Sources: Rogers, Roth, Ullman, Vadhan 2016; Feldman & Zrnic 2021; Whitehouse, Ramdas, Rogers, Wu 2023.
The decision is made on integers alone: costs rounded up, limits down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from dpjupyter.engine.accounting.numbers import ATTO, MAX_INTEGER, PICO, Real, delta_of, pico_down
from dpjupyter.engine.accounting.zcdp import pico_rho_max, zcdp_epsilon
from dpjupyter.errors import AskRefused


class Loss(Protocol):
    """Privacy loss in the ledger's integer units; ``model.Cost`` and :class:`Spent` are such."""

    @property
    def pico_epsilon(self) -> int:
        """Sum of epsilons, 1e-12."""
        ...

    @property
    def pico_rho(self) -> int:
        """Sum of rhos, 1e-12."""
        ...

    @property
    def atto_key_delta(self) -> int:
        """Sum of the deltas of open keys, 1e-18: charged in both branches."""
        ...

    @property
    def atto_gauss_delta(self) -> int:
        """Sum of the Gaussians' deltas, 1e-18: charged in the basic branch only."""
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """What one budget row has paid in this cycle."""

    pico_epsilon: int = 0
    pico_rho: int = 0
    atto_key_delta: int = 0
    atto_gauss_delta: int = 0


@dataclass(frozen=True, slots=True)
class RowLimits:
    """What one budget row may pay in one cycle."""

    pico_epsilon: int
    pico_rho: int
    atto_delta: int  # delta - slack


def row_limits(total_budget: Real, delta: Real, slack: Real) -> RowLimits:
    """Limits of a budget row, rounded down.

    Raises: AskRefused: total_budget not in (0, 9e6], delta or slack not in [1e-30, 1), slack above delta.
    """
    whole, failure = delta_of(delta), delta_of(slack, "slack")
    if failure > whole:
        raise AskRefused("slack must not exceed delta.")
    return RowLimits(
        pico_epsilon=pico_down(total_budget),
        pico_rho=pico_rho_max(total_budget, slack),
        atto_delta=math.floor((whole - failure) * ATTO),
    )


def add(spent: Loss, cost: Loss) -> Spent:
    """Spent after paying; sums stop at the largest BIGINT, which is above every limit.

    Raises: AskRefused: a cost is negative or not an integer.
    """
    for amount in (cost.pico_epsilon, cost.pico_rho, cost.atto_key_delta, cost.atto_gauss_delta):
        if type(amount) is not int or amount < 0:
            raise AskRefused("A cost must be a whole number of at least 0.")
    return Spent(
        min(MAX_INTEGER, spent.pico_epsilon + cost.pico_epsilon),
        min(MAX_INTEGER, spent.pico_rho + cost.pico_rho),
        min(MAX_INTEGER, spent.atto_key_delta + cost.atto_key_delta),
        min(MAX_INTEGER, spent.atto_gauss_delta + cost.atto_gauss_delta),
    )


def admits(spent: Loss, cost: Loss, limits: RowLimits) -> bool:
    """Whether a row that has paid ``spent`` can pay ``cost``.

    Raises: AskRefused: a cost is negative or not an integer.
    """
    after = add(spent, cost)
    if after.atto_key_delta > limits.atto_delta:
        return False
    basic = after.pico_epsilon <= limits.pico_epsilon and after.atto_key_delta + after.atto_gauss_delta <= limits.atto_delta
    return basic or after.pico_rho <= limits.pico_rho


def consumed_epsilon(spent: Loss, slack: Real, limits: RowLimits) -> float:
    """Epsilon spent in this cycle: the smaller of the two branches' (a branch whose deltas do not fit is left out).

    Raises: AskRefused: slack out of range.
    """
    basic = spent.pico_epsilon / PICO
    by_rho = zcdp_epsilon(spent.pico_rho / PICO, slack) if spent.pico_rho else 0.0
    if spent.atto_key_delta + spent.atto_gauss_delta > limits.atto_delta:
        return by_rho
    return min(basic, by_rho) if spent.pico_rho else basic


def residual_epsilon(total_budget: float, consumed: float) -> float:
    """What is left to show: max(0, total_budget - consumed). The quote, not this, says whether a query fits."""
    return max(0.0, total_budget - consumed)
