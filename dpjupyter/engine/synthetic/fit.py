"""From noisy tables to a model that rows can be drawn from: post-processing of what is released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.synthetic.choose import Pair
from dpjupyter.engine.synthetic.layout import Layout
from dpjupyter.engine.synthetic.measure import Classes, Released
from dpjupyter.engine.synthetic.projection import fitted, on_simplex

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Model:
    """A tree of columns. Rows are drawn from a root outwards."""

    rows: float
    singles: Mapping[int, Reals]  # counts by bin
    groups: Mapping[int, Classes]
    pairs: Mapping[Pair, Reals]  # counts by class; sums agree with ``singles``


def fit(released: Released, layout: Layout) -> Model:
    """Combine all that was measured of each column, make it possible, and make the pairs agree with it.

    What several noisy tables say of one column is averaged, each with the inverse of its variance.
    """
    rows = released.rows
    singles: dict[int, Reals] = {}
    masses: dict[int, Reals] = {}
    for n in range(len(layout.axes)):
        group = released.groups[n]
        number = int(group.max()) + 1
        weights, sums = np.zeros(number), np.zeros(number)
        if n in released.one_way:
            precision = 1 / (np.bincount(group, minlength=number) * released.one_way_sigma**2)
            weights += precision
            sums += precision * np.bincount(group, weights=released.one_way[n], minlength=number)
        for pair, table in released.two_way.items():
            if n in pair:
                across = 1 if pair[0] == n else 0
                precision = 1 / (table.shape[across] * released.two_way_sigma**2)
                weights += precision
                sums += precision * table.sum(axis=across)
        if not weights.any():
            continue  # a column of the parent that nothing here hangs on
        masses[n] = on_simplex(sums / weights, rows)
        if n in released.one_way:
            singles[n] = within(released.one_way[n], group, masses[n])
    pairs = {(one, other): fitted(on_simplex(table, rows), masses[one], masses[other]) for (one, other), table in released.two_way.items()}
    return Model(rows, singles, released.groups, pairs)


def within(noisy: Reals, group: Classes, masses: Reals) -> Reals:
    """Bins of each class, in proportion to their own noisy counts, summing to the class's."""
    result = np.zeros_like(noisy)
    for n, mass in enumerate(masses):
        members = group == n
        result[members] = on_simplex(noisy[members], float(mass))
    return result


def tilted(group: Classes, masses: Reals, values: Reals, total: float) -> Reals:
    """Parents by bin of their number of children: classes keep their masses, and all children together come to ``total``.

    What a wide class of rare large numbers looks like inside is lost in noise. Its bins fall off as exp(-t * value), with the
    t that gives as many children as the (far less noisy) one-way counts of the child's own columns say.
    """

    def spread(t: float) -> Reals:
        result = np.zeros_like(values)
        for n, mass in enumerate(masses):
            members = group == n
            inside = values[members]
            weights = np.exp(-t * (inside - inside.min())) if t >= 0 else np.exp(-t * (inside - inside.max()))
            result[members] = mass * weights / weights.sum()
        return result

    low, high = -4.0, 4.0
    for _ in range(60):
        middle = (low + high) / 2
        if float((spread(middle) * values).sum()) > total:
            low = middle
        else:
            high = middle
    return spread((low + high) / 2)
