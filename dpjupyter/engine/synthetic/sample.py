"""Rows drawn from a model: column by column along the tree. Seeded, and post-processing: no exact count comes here.

Instead of independent draws, every class of the parent column gets its expected number of rows of each class, rounded at
random: the sample then adds almost no error of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.model import Kind
from dpjupyter.engine.synthetic.bins import Axis
from dpjupyter.engine.synthetic.fit import Model
from dpjupyter.engine.synthetic.layout import Layout
from dpjupyter.engine.synthetic.measure import Classes

Bins = npt.NDArray[np.int16]  # a million rows of many columns: bins are kept narrow


@dataclass(frozen=True, slots=True)
class Drawn:
    """One column as drawn: the bin of every row. Values within the bins are drawn as they are written."""

    axis: Axis
    bins: Bins


def sample(model: Model, layout: Layout, rows: int, given: Mapping[int, Bins], rng: np.random.Generator) -> dict[int, Bins]:
    """Bins of every own column of ``rows`` rows.

    Args:
        model: the fitted tree.
        layout: which columns there are.
        rows: how many rows.
        given: bins of the parent's columns for each row; empty without a parent.
        rng: the seeded generator.
    """
    known: dict[int, Bins] = dict(given)
    waiting = list(range(len(layout.given), len(layout.axes)))
    while waiting:
        step = next(
            ((pair, n) for n in waiting for pair in model.pairs if n in pair and (pair[0] if pair[1] == n else pair[1]) in known), None
        )
        if step is None:
            n = waiting[0]  # a column nothing known hangs on: the root of a tree of its own
            known[n] = shuffled(model.singles[n], rows, rng)
        else:
            pair, n = step
            other = pair[0] if pair[1] == n else pair[1]
            table = model.pairs[pair] if pair[1] == n else model.pairs[pair].T
            known[n] = conditional(model.groups[other][known[other]], table, model.singles[n], model.groups[n], rng)
        waiting.remove(n)
    return {n: known[n] for n in range(len(layout.given), len(layout.axes))}


def conditional(
    parents: Classes, table: npt.NDArray[np.float64], single: npt.NDArray[np.float64], group: Classes, rng: np.random.Generator
) -> Bins:
    """Bins of a column given the classes of another one: by class, then by bin within the class.

    Args:
        parents: class of the other column, per row.
        table: weights by class of the other column and class of this one.
        single: weights of this column's bins.
        group: classes of this column's bins.
        rng: the seeded generator.
    """
    classes = np.zeros(parents.size, dtype=np.int16)
    for at in range(table.shape[0]):
        here = np.nonzero(parents == at)[0]
        classes[here] = shuffled(table[at], here.size, rng)
    result = np.zeros(parents.size, dtype=np.int16)
    for at in range(table.shape[1]):
        here = np.nonzero(classes == at)[0]
        members = np.nonzero(group == at)[0].astype(np.int16)
        result[here] = members[shuffled(single[members], here.size, rng)]
    return result


def shuffled(weights: npt.NDArray[np.float64], rows: int, rng: np.random.Generator) -> Bins:
    """``rows`` numbers of cells, each as often as its weight says, in random order."""
    if rows == 0:
        return np.zeros(0, dtype=np.int16)
    total = float(weights.sum())
    shares = weights / total if total > 0 else np.full(weights.size, 1 / weights.size)
    wanted = shares * rows
    counts = np.floor(wanted).astype(np.int64)
    left = rows - int(counts.sum())
    if left > 0:
        rest = wanted - counts
        rest = rest / rest.sum() if rest.sum() > 0 else shares
        # Systematic draw: each cell gets its remainder's share of what is left, and hardly more.
        marks = (rng.random() + np.arange(left)) / left
        extra = np.searchsorted(np.cumsum(rest), marks)
        counts += np.bincount(np.minimum(extra, weights.size - 1), minlength=weights.size)
    result = np.repeat(np.arange(weights.size, dtype=np.int16), counts)
    rng.shuffle(result)
    return result


def places(axis: Axis, bins: Bins, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """An ordinal within each bin of a column of ranges, uniform; what stands at NULL's bin means nothing."""
    cuts = np.array(axis.cuts)
    at = np.minimum(bins, axis.ranges - 1)
    low, high = cuts[at], cuts[at + 1]
    uniform = rng.random(bins.size)
    match axis.type.kind:
        case Kind.INT | Kind.DATE:
            first, last = np.ceil(low), np.ceil(high) - 1
            return first + np.floor(uniform * (last - first + 1))
        case Kind.TIMESTAMP:
            second = 1_000_000.0
            return low + np.floor(uniform * np.maximum(1.0, np.floor((high - low) / second))) * second
        case Kind.DECIMAL:
            return np.clip(np.round(low + uniform * (high - low), axis.type.scale), cuts[0], cuts[-1])
        case _:
            digits = 2 - int(np.floor(np.log10(max(float(np.min(np.diff(cuts))), 1e-300))))  # a hundredth of the narrowest range
            return np.clip(np.round(low + uniform * (high - low), min(max(digits, 0), 15)), cuts[0], cuts[-1])
