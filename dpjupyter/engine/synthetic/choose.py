"""Which pairs of columns are measured together: a tree, grown pair by pair by the exponential mechanism.

Score of a pair = sum over its cells of |exact count - what the noisy one-way counts would give if the columns were
independent| - a constant for the noise a table of its size would bring. What is subtracted is already released, so one
unit moves a score by at most the change of the exact table in sum over its cells: layout.largest (statements.py).
Every round looks at the exact counts anew and costs e^2/8 in rho (Cesar & Rogers 2021; Gumbel noise, McKenna et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.noise import NoiseSource
from dpjupyter.engine.synthetic.counts import Counts, ExactCounts
from dpjupyter.engine.synthetic.layout import Layout
from dpjupyter.engine.synthetic.price import Price

Pair = tuple[int, int]
_MEAN_NOISE = math.sqrt(2 / math.pi)  # mean absolute value of a standard Gaussian
STOP = 0  # score of choosing no further pair: what is left would add more noise than it tells


def choose(
    counts: ExactCounts,
    price: Price,
    groups: Mapping[int, npt.NDArray[np.int64]],
    expected: Mapping[int, Sequence[int]],
    source: NoiseSource,
) -> tuple[Pair, ...]:
    """The pairs to measure: no two of them close a circle, and the parent's columns count as one node.

    Args:
        counts: exact two-way counts.
        price: scales and number of rounds.
        groups: per axis the class of every bin; bins of a class are measured together (see measure.py).
        expected: per axis its released counts by class, whole and not negative.
        source: of the Gumbel noise.
    """
    if price.choice_scale is None:
        return ()
    scored = scores(counts, price, groups, expected)
    chosen: list[Pair] = []
    for _ in range(price.rounds):
        open_ = still_open(scored, chosen, price.layout)
        if not open_:
            break
        at = source.select([*(scored[pair] for pair in open_), STOP], price.choice_scale)
        if at == len(open_):
            break
        chosen.append(open_[at])
    return tuple(chosen)


def scores(
    counts: ExactCounts, price: Price, groups: Mapping[int, npt.NDArray[np.int64]], expected: Mapping[int, Sequence[int]]
) -> dict[Pair, int]:
    """The score of every pair, in the statements' integers."""
    layout = price.layout
    noise = price.two_way_sigma(price.rounds) * _MEAN_NOISE
    scored: dict[Pair, int] = {}
    for one, other in layout.pairs():
        table = merged(counts.table((one, other), layout), groups[one], groups[other])
        scored[one, other] = score(table, expected[one], expected[other]) - math.ceil(noise * table.size)
    return scored


def still_open(pairs: Iterable[Pair], chosen: Sequence[Pair], layout: Layout) -> list[Pair]:
    """Pairs that close no circle with those chosen. All columns of the parent are one node from the start."""
    root = {n: (0 if n < len(layout.given) else n) for n in range(len(layout.axes))}
    for one, other in chosen:
        old, new = root[other], root[one]
        root = {n: new if r == old else r for n, r in root.items()}
    return [pair for pair in pairs if root[pair[0]] != root[pair[1]]]


def choose_cause(
    tables: Mapping[int, Counts], expected: Mapping[int, Sequence[int]], children: Sequence[int], price: Price, source: NoiseSource
) -> int | None:
    """The parent's column on which the number of children depends most; None: on none that noise would not drown.

    Scored as pairs are, over parents instead of rows: one unit moves a score by at most link.largest.
    """
    if price.cause_scale is None or price.cause_sigma is None:
        return None
    numbers = sorted(tables)
    scores = [score(tables[n], expected[n], children) - math.ceil(price.cause_sigma * _MEAN_NOISE * tables[n].size) for n in numbers]
    at = source.select([*scores, STOP], price.cause_scale)
    return None if at == len(numbers) else numbers[at]


def score(table: Counts, one: Sequence[int], other: Sequence[int]) -> int:
    """Sum over cells of |exact - product of released counts / released total|; every subtracted number is a whole constant."""
    total = max(1, sum(one))
    # Python integers: products of weighted counts exceed 64 bits.
    return sum(abs(count - a * b // total) for a, row in zip(one, table.tolist(), strict=True) for b, count in zip(other, row, strict=True))


def merged(table: Counts, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> Counts:
    """The table with bins of a class added up."""
    result = np.zeros((int(one.max()) + 1, int(other.max()) + 1), dtype=np.int64)
    np.add.at(result, (one[:, None], other[None, :]), table)
    return result
