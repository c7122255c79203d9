"""The formulas of privacy loss: pure functions, each with its source. No state, no clock, no database.

    numbers      exact values of what was typed; integer units of the ledger (1e-12, 1e-18)
    mechanisms   scale <-> epsilon <-> rho of discrete Laplace, discrete Gaussian, selection
    zcdp         rho-zCDP to (epsilon, delta) and back
    thresholds   T of open group keys
    filter       may this query be paid from this budget row; what is spent, what is left
    closed_forms KOV and DRV compositions, for comparison only

Epsilons and deltas are taken as the decimal number that was written (0.9 is nine tenths, not its
binary neighbour), so that fifty answers of 0.9 cost exactly 45. Everything refused is AskRefused.
"""

from dpjupyter.engine.accounting.closed_forms import drv_epsilon, kov_epsilon
from dpjupyter.engine.accounting.filter import (
    Loss,
    RowLimits,
    Spent,
    add,
    admits,
    consumed_epsilon,
    residual_epsilon,
    row_limits,
)
from dpjupyter.engine.accounting.mechanisms import (
    MAX_SCALE,
    gaussian_rho,
    gaussian_sigma,
    laplace_epsilon,
    laplace_scale,
    pure_rho,
    selection_epsilon,
    selection_rho,
    selection_scale,
)
from dpjupyter.engine.accounting.numbers import (
    ATTO,
    MAX_INTEGER,
    PICO,
    Real,
    atto_down,
    atto_up,
    exact,
    pico_down,
    pico_up,
)
from dpjupyter.engine.accounting.thresholds import (
    gaussian_tail,
    gaussian_threshold,
    laplace_tail,
    laplace_threshold,
    released_probability,
)
from dpjupyter.engine.accounting.zcdp import pico_rho_max, rho_max, zcdp_delta, zcdp_epsilon

__all__ = [
    "ATTO",
    "MAX_INTEGER",
    "MAX_SCALE",
    "PICO",
    "Loss",
    "Real",
    "RowLimits",
    "Spent",
    "add",
    "admits",
    "atto_down",
    "atto_up",
    "consumed_epsilon",
    "drv_epsilon",
    "exact",
    "gaussian_rho",
    "gaussian_sigma",
    "gaussian_tail",
    "gaussian_threshold",
    "kov_epsilon",
    "laplace_epsilon",
    "laplace_scale",
    "laplace_tail",
    "laplace_threshold",
    "pico_down",
    "pico_rho_max",
    "pico_up",
    "pure_rho",
    "released_probability",
    "residual_epsilon",
    "rho_max",
    "row_limits",
    "selection_epsilon",
    "selection_rho",
    "selection_scale",
    "zcdp_delta",
    "zcdp_epsilon",
]
