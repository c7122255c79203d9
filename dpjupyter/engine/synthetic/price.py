"""What a twin costs, and how that is spent: zCDP split over one-way counts, the choice of pairs, and two-way counts.

rho is the largest whose conversion at ``delta`` stays within ``epsilon`` (Canonne, Kamath, Steinke 2020). All three
stages compose to at most rho, adaptively: later stages only use what earlier ones released. Quotes touch no data.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from fractions import Fraction

from dpjupyter.engine import accounting
from dpjupyter.engine.model import Cost, DpCall
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.synthetic.layout import Layout
from dpjupyter.errors import AskRefused

ONE_WAY, CHOICE = Fraction(3, 10), Fraction(1, 10)  # shares of rho; the rest goes to the pairs
CHILDREN = Fraction(15, 100)  # share of the number of children per parent, taken off first
CAUSE, BY_CAUSE = Fraction(1, 10), Fraction(1, 2)  # of that: for choosing the parent's column it depends on, for the counts by it


@dataclass(frozen=True, slots=True)
class Price:
    """A priced layout. Scales are in the integers of the statements."""

    layout: Layout
    epsilon: float
    delta: float
    children_sigma: float | None  # None: rows hang on nothing
    cause_scale: float | None  # Gumbel noise; None: a parent has no columns
    cause_sigma: float | None
    one_way_sigma: float
    choice_scale: float | None  # Gumbel noise of one round; None: there is nothing to choose
    rounds: int
    two_way_rho: Fraction  # to be shared by the pairs chosen
    cost: Cost
    fingerprint: str

    def two_way_sigma(self, pairs: int) -> float:
        """Scale of the noise on each of ``pairs`` two-way tables: they share what is set aside for them."""
        return sigma_of(self.layout.largest, self.two_way_rho / pairs)


def price(layout: Layout, policy: Policy, *, epsilon: float, delta: float) -> Price:
    """Put a price on a layout.

    Raises: AskRefused: epsilon outside the policy's limits, delta not in (0, 1), or too little for any noise that fits 64 bits.
    """
    limits = policy.limits
    asked = accounting.exact(epsilon, "epsilon")
    if not accounting.exact(limits.min_epsilon, "min_epsilon") <= asked <= accounting.exact(limits.max_epsilon, "max_epsilon"):
        raise AskRefused(
            f"epsilon {float(asked):g} is outside what the policy allows.",
            hint=f"Ask for {limits.min_epsilon:g} to {limits.max_epsilon:g}.",
        )
    failure = accounting.exact(delta, "delta")
    if failure >= 1:
        raise AskRefused("delta must be greater than 0 and less than 1.")
    rho = accounting.rho_max(asked, failure)
    if rho <= 0:
        raise AskRefused("epsilon and delta are too small for a twin.", hint="Give more epsilon.")
    for_rows = rho
    children = cause_scale = cause_sigma = None
    spent = Fraction(0)
    if layout.link is not None:
        share = rho * CHILDREN if layout.own else rho
        for_rows = rho - share
        largest = layout.link.largest
        if any(True for _ in layout.causes()):
            once = _selection_epsilon(share * CAUSE)
            cause_scale, cause_sigma = accounting.selection_scale(largest, once), sigma_of(largest, share * BY_CAUSE)
            spent += accounting.selection_rho(once, 1) + accounting.gaussian_rho(largest**2, cause_sigma)
            share *= 1 - CAUSE - BY_CAUSE
        children = sigma_of(largest, share)
        spent += accounting.gaussian_rho(largest**2, children)
    columns, rounds = len(layout.own), _rounds(layout)
    one_way, choice, two_way = 1.0, None, Fraction(0)
    if columns:
        each = for_rows * (ONE_WAY if rounds else 1) / columns
        one_way = sigma_of(layout.largest, each)
        spent += columns * accounting.gaussian_rho(layout.largest**2, one_way)
    if rounds:
        once = _selection_epsilon(for_rows * CHOICE / rounds)
        choice = accounting.selection_scale(layout.largest, once)
        spent += accounting.selection_rho(once, rounds)
        two_way = for_rows * (1 - ONE_WAY - CHOICE)
        spent += two_way
    if spent > rho:
        raise AskRefused("the parts of this twin would cost more than the whole")  # rounding is against the spender everywhere: never seen
    label = f"synthetic twin of {layout.table}"
    return Price(
        layout,
        float(asked),
        float(failure),
        children,
        cause_scale,
        cause_sigma,
        one_way,
        choice,
        rounds,
        two_way,
        Cost(
            pico_epsilon=accounting.pico_up(asked),
            pico_rho=accounting.pico_up(rho),
            atto_key_delta=0,
            atto_gauss_delta=accounting.atto_up(failure),
            calls=(DpCall(label, float(asked), float(failure), "discrete_gaussian"),),
        ),
        _fingerprint(layout, policy, epsilon, delta),
    )


def sigma_of(largest: int, rho: Fraction) -> float:
    """Scale of discrete Gaussian noise of one histogram for rho-zCDP, rounded up. L2 <= L1 <= ``largest``.

    Raises: AskRefused: it does not fit in 64 bits.
    """
    square = Fraction(largest**2) / (2 * rho)
    if square >= Fraction(accounting.MAX_SCALE) ** 2:
        raise AskRefused("The noise this epsilon needs does not fit in 64-bit integers.", hint="Give more epsilon.")
    sigma = math.sqrt(square)
    while Fraction(sigma) ** 2 < square:
        sigma = math.nextafter(sigma, math.inf)
    return sigma


def _selection_epsilon(rho: Fraction) -> Fraction:
    """Epsilon of one selection that costs at most ``rho`` (epsilon^2/8), rounded down.

    Raises: AskRefused: it is nothing.
    """
    epsilon = Fraction(math.floor(math.sqrt(8 * float(rho)) * 10**9 * (1 - 1e-12)), 10**9)
    if epsilon <= 0:
        raise AskRefused("epsilon is too small to choose among columns.", hint="Give more epsilon.")
    return epsilon


def _rounds(layout: Layout) -> int:
    """Pairs a tree over the table's own columns has; the parent's columns count as one node."""
    if not any(True for _ in layout.pairs()):
        return 0
    return len(layout.own) if layout.given else len(layout.own) - 1


def _fingerprint(layout: Layout, policy: Policy, epsilon: float, delta: float) -> str:
    """Names the publication in the ledger; its request id makes each a debit of its own."""
    said = {
        "twin": layout.table, "epsilon": repr(float(epsilon)), "delta": repr(float(delta)), "checksum": policy.checksum,
        "data_version": policy.database.data_version,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
