"""How many equal queries one budget row admits, beside closed-form compositions. Prints the table of docs/accounting.md.

python benchmarks/filter_table.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dpjupyter.engine import accounting

BUDGETS = ((1.0, 1e-6), (3.0, 1e-6), (10.0, 1e-6), (10.0, 1e-8))  # total_budget, delta; slack is half of delta
EPSILON = 0.1
GAUSS_DELTA = 1e-8


@dataclass(frozen=True)
class Query:
    """One answer, as the accounting prices it."""

    name: str
    epsilon: float
    delta: float
    cost: accounting.Spent


def queries() -> tuple[Query, Query]:
    """A Laplace and a Gaussian count."""
    laplace = accounting.Spent(accounting.pico_up(EPSILON), accounting.pico_up(accounting.pure_rho(EPSILON)))
    sigma = accounting.gaussian_sigma(1, EPSILON, GAUSS_DELTA)
    rho = accounting.pico_up(accounting.gaussian_rho(1, sigma))
    gauss = accounting.Spent(accounting.pico_up(EPSILON), rho, 0, accounting.atto_up(GAUSS_DELTA))
    return Query("Laplace 0.1", EPSILON, 0.0, laplace), Query("Gaussian (0.1, 1e-8)", EPSILON, GAUSS_DELTA, gauss)


def most(fits: Callable[[int], bool]) -> int:
    """Largest n with ``fits(n)``; fits is true up to it and false beyond."""
    high = 1
    while fits(high):
        high *= 2
    low = 0
    while high - low > 1:
        mid = (low + high) // 2
        low, high = (mid, high) if fits(mid) else (low, mid)
    return low


def filter_count(query: Query, total: float, delta: float) -> int:
    """Queries the filter admits one after another."""
    limits = accounting.row_limits(total, delta, delta / 2)

    def admitted(n: int) -> bool:
        # The n-th is decided on what n-1 have spent; sums are linear, so no loop is needed.
        cost = query.cost
        spent = accounting.Spent(cost.pico_epsilon * (n - 1), cost.pico_rho * (n - 1), 0, cost.atto_gauss_delta * (n - 1))
        return accounting.admits(spent, cost, limits)

    return most(admitted)


def closed_form_count(query: Query, total: float, delta: float, epsilon: Callable[[float, float, float], float] | None) -> int:
    """Queries a composition theorem allows with the same slack; None: basic composition with all of delta."""
    slack = delta / 2

    def allowed(n: int) -> bool:
        if epsilon is None:
            return n * query.epsilon <= total * (1 + 1e-12) and n * query.delta <= delta
        spent = epsilon(n * query.epsilon**2, n * query.epsilon * math.tanh(query.epsilon / 2), slack)
        return spent <= total and -math.expm1(math.log1p(-slack) + n * math.log1p(-query.delta)) <= delta

    return most(allowed)


def table() -> str:
    """Markdown."""
    lines = ["| query | total_budget | delta | basic | DRV | KOV | **filter** |", "|---|---|---|---|---|---|---|"]
    for query in queries():
        for total, delta in BUDGETS:
            basic, drv, kov = (
                closed_form_count(query, total, delta, form) for form in (None, accounting.drv_epsilon, accounting.kov_epsilon)
            )
            lines.append(f"| {query.name} | {total:g} | {delta:g} | {basic} | {drv} | {kov} | **{filter_count(query, total, delta)}** |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
