"""Exact counts as they come from the warehouse. One consumer: measure.py, which lays noise over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.synthetic.bins import OUTSIDE, Axis
from dpjupyter.engine.synthetic.layout import Layout
from dpjupyter.engine.synthetic.statements import Statement

Counts = npt.NDArray[np.int64]
_MOST = 2**60  # sums of a histogram stay below this, so that 64-bit arithmetic on scores cannot overflow


@dataclass(slots=True, repr=False)
class ExactCounts:
    """Histograms by axis numbers: (n,) or (n, m). Never shown, logged or kept."""

    children: Counts | None = None  # parents by their number of children
    causes: dict[int, Counts] = field(default_factory=dict[int, Counts])  # the same by a column of theirs
    rows: dict[tuple[int, ...], Counts] = field(default_factory=dict[tuple[int, ...], Counts])

    def __repr__(self) -> str:
        return "ExactCounts(...)"

    def add(self, statement: Statement, rows: Iterable[Sequence[object]], layout: Layout) -> None:
        """Take in what one statement returned.

        Raises: ValueError: it is not what the statement can return (never shown to anyone).
        """
        if statement.kind == "children":
            assert layout.link is not None
            number = layout.link.children
            self.children = np.zeros(number.size, dtype=np.int64)
            self.causes = {n: np.zeros((layout.given[n].size, number.size), dtype=np.int64) for n in statement.columns}
            for *parts, bin_, weight in rows:
                chosen = [(n, _integer(part)) for n, part in zip(statement.columns, parts, strict=True) if part is not None]
                if chosen:
                    ((n, place),) = chosen
                    self._put(self.causes[n], (place, _integer(bin_)), (layout.given[n], number), _integer(weight))
                else:
                    self._put(self.children, (_integer(bin_),), (number,), _integer(weight))
            return
        for row in rows:
            chosen = tuple(n for n, value in zip(statement.columns, row, strict=False) if value is not None)
            axes = tuple(layout.axes[n] for n in chosen)
            if chosen not in self.rows:
                self.rows[chosen] = np.zeros(tuple(a.size for a in axes), dtype=np.int64)
            place = tuple(_integer(value) for value in row[:-1] if value is not None)
            self._put(self.rows[chosen], place, axes, _integer(row[-1]))

    def check(self) -> None:
        """After the last statement: nothing so large that sums could overflow.

        Raises: ValueError.
        """
        for table in (*self.rows.values(), *self.causes.values(), *(() if self.children is None else (self.children,))):
            self._check(table)

    @staticmethod
    def _put(table: Any, place: tuple[int, ...], axes: tuple[Axis, ...], weight: int) -> None:
        if OUTSIDE in place:
            return  # a value that the policy says cannot occur: the row is left out of this histogram
        if not all(0 <= at < axis.size for at, axis in zip(place, axes, strict=True)) or table[place] or weight < 0:
            raise ValueError("a bin came twice or lies outside the grid")
        if weight >= _MOST:
            raise ValueError("a count is too large")
        table[place] = weight

    @staticmethod
    def _check(table: Counts) -> None:
        if sum(int(v) for v in table.flat) >= _MOST:
            raise ValueError("counts are too large")

    def table(self, chosen: tuple[int, ...], layout: Layout) -> Counts:
        """One histogram; empty where the warehouse returned no row of it."""
        found = self.rows.get(chosen)
        return found if found is not None else np.zeros(tuple(layout.axes[n].size for n in chosen), dtype=np.int64)


def _integer(value: object) -> int:
    match value:
        case bool():
            raise ValueError("a count is a boolean")
        case int():
            return value
        case float() if value.is_integer() and abs(value) <= 2**53:
            return int(value)
        case Decimal() if value == value.to_integral_value():
            return int(value)
        case _:
            raise ValueError("a count is not an integer")
