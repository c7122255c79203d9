"""Noise over exact counts: one-way tables, the choice of pairs, two-way tables. What leaves here is released.

All noise is whole numbers of the noise source, drawn at zero and added to Python integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.noise import NoiseSource
from dpjupyter.engine.synthetic.bins import Axis
from dpjupyter.engine.synthetic.choose import Pair, choose, choose_cause, merged
from dpjupyter.engine.synthetic.counts import ExactCounts
from dpjupyter.engine.synthetic.price import Price
from dpjupyter.engine.synthetic.projection import on_simplex

Reals = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]
SPREAD = 3.0  # a class of bins holds at least this many standard deviations of one bin's noise


@dataclass(frozen=True, slots=True)
class Cause:
    """A column of the parent on which the number of children depends."""

    axis: int
    group: Classes  # class of each of its bins
    counts: Reals  # by its class, and class of the number of children


@dataclass(frozen=True, slots=True)
class Released:
    """Noisy counts, in rows. Everything made of it is post-processing."""

    rows: float  # estimated number of rows
    children: Reals | None  # parents by their number of children
    cause: Cause | None  # what it depends on most
    children_group: Classes | None
    one_way: Mapping[int, Reals]  # own axes, by bin; the given axes' are the parent twin's
    groups: Mapping[int, Classes]  # per axis: class of each bin
    two_way: Mapping[Pair, Reals]  # by class
    one_way_sigma: float
    two_way_sigma: float


def measure(counts: ExactCounts, price: Price, given: Mapping[int, Reals], parents: int, source: NoiseSource) -> Released:
    """Release a twin's counts.

    Args:
        counts: what the warehouse returned.
        price: scales of noise.
        given: for each of the parent's columns, shares of its bins among the rows of the parent's published twin.
        parents: rows of that twin.
        source: of randomness.
    """
    layout = price.layout
    children, children_group, cause = _children(counts, price, given, parents, source)
    one_way: dict[int, Reals] = {}
    for n in range(len(layout.given), len(layout.axes)):
        exact = counts.table((n,), layout)
        drawn = source.gaussian(price.one_way_sigma, exact.size)
        one_way[n] = _rows([int(v) + z for v, z in zip(exact, drawn, strict=True)], layout.weight)
    sigma = price.one_way_sigma / layout.weight
    total = _total(one_way)
    groups, expected = coarse(one_way, given, price)
    pairs = choose(counts, price, groups, expected, source)
    two_way: dict[Pair, Reals] = {}
    for one, other in pairs:
        exact = merged(counts.table((one, other), layout), groups[one], groups[other])
        drawn = source.gaussian(price.two_way_sigma(len(pairs)), exact.size)
        noisy = _rows([int(v) + z for v, z in zip(exact.flat, drawn, strict=True)], layout.weight)
        two_way[one, other] = noisy.reshape(exact.shape)
    return Released(
        rows=total,
        children=children,
        cause=cause,
        children_group=children_group,
        one_way=one_way,
        groups=groups,
        two_way=two_way,
        one_way_sigma=sigma,
        two_way_sigma=price.two_way_sigma(len(pairs)) / layout.weight if pairs else 0.0,
    )


def coarse(one_way: Mapping[int, Reals], given: Mapping[int, Reals], price: Price) -> tuple[dict[int, Classes], dict[int, list[int]]]:
    """From released one-way counts: classes of every column's bins, and whole expected counts by class. Constants for what follows."""
    layout = price.layout
    sigma, total = price.one_way_sigma / layout.weight, _total(one_way)
    shares = {n: on_simplex(noisy, total) for n, noisy in one_way.items()} | {n: part * total for n, part in given.items()}
    groups = {n: classes(layout.axes[n], share, SPREAD * sigma) for n, share in shares.items()}
    expected = {n: [math.floor(v * layout.weight) for v in np.bincount(groups[n], weights=share)] for n, share in shares.items()}
    return groups, expected


def _children(
    counts: ExactCounts, price: Price, given: Mapping[int, Reals], parents: int, source: NoiseSource
) -> tuple[Reals | None, Classes | None, Cause | None]:
    """Parents by their number of children, and by one of their own columns beside it."""
    link = price.layout.link
    if counts.children is None or price.children_sigma is None or link is None:
        return None, None, None
    drawn = source.gaussian(price.children_sigma, counts.children.size)
    children = _rows([int(v) + z for v, z in zip(counts.children, drawn, strict=True)], link.weight)
    total = float(parents) if link.parent is not None else max(0.0, float(children.sum()))
    sigma = price.children_sigma / link.weight
    likely = on_simplex(children, total)
    group = classes(link.children, likely, SPREAD * sigma)
    if price.cause_sigma is None:
        return children, group, None
    # Classes of the parent's columns as wide as the noise of this table asks for, and whole expected counts: constants both.
    groups = {n: classes(price.layout.axes[n], given[n] * total, SPREAD * price.cause_sigma / link.weight) for n in counts.causes}
    expected = {n: [math.floor(v * link.weight) for v in np.bincount(groups[n], weights=given[n] * total)] for n in groups}
    by_class = [math.floor(v * link.weight) for v in np.bincount(group, weights=likely)]
    tables = {n: merged(table, groups[n], group) for n, table in counts.causes.items()}
    chosen = choose_cause(tables, expected, by_class, price, source)
    if chosen is None:
        return children, group, None
    drawn = source.gaussian(price.cause_sigma, tables[chosen].size)
    noisy = _rows([int(v) + z for v, z in zip(tables[chosen].flat, drawn, strict=True)], link.weight).reshape(tables[chosen].shape)
    return children, group, Cause(chosen, groups[chosen], noisy)


def _rows(noisy: Sequence[int], weight: int) -> Reals:
    return np.array([value / weight for value in noisy], dtype=np.float64)


def _total(one_way: Mapping[int, Reals]) -> float:
    """Number of rows: every table's sum tells it, with a variance that grows with its bins."""
    if not one_way:
        return 0.0
    weights = [1 / table.size for table in one_way.values()]
    sums = [float(table.sum()) for table in one_way.values()]
    return max(0.0, sum(w * s for w, s in zip(weights, sums, strict=True)) / sum(weights))


def classes(axis: Axis, counts: Reals, least: float) -> Classes:
    """Bins that are too thin are measured together: neighbours of an ordered column, the rarest of another. NULL stays alone."""
    result = np.zeros(axis.size, dtype=np.int64)
    if axis.ordered:
        current, held, start = 0, 0.0, 0
        for n in range(axis.ranges):
            if held >= least:
                current, held, start = current + 1, 0.0, n
            result[n] = current
            held += float(counts[n])
        if held < least and current > 0:
            result[start : axis.ranges] = current - 1
            current -= 1
        following = current + 1
    else:
        thin = [n for n in range(axis.ranges) if counts[n] < least]
        thick = [n for n in range(axis.ranges) if counts[n] >= least]
        if len(thin) == 1:
            thick, thin = sorted([*thick, *thin]), []
        for following, n in enumerate(thick):
            result[n] = following
        result[thin] = len(thick)
        following = len(thick) + bool(thin)
    if axis.nullable:
        result[axis.ranges] = following
    return result
