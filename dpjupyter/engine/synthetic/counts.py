"""Exact counts as they come from the warehouse. One consumer: measure.py, which lays noise over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.synthetic.bins import OUTSIDE
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

        Raises: ValueError, IndexError: it is not what the statement can return (never shown to anyone).
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
                    self._put(self.causes[n], (place, _integer(bin_)), _integer(weight))
                else:
                    self._put(self.children, (_integer(bin_),), _integer(weight))
            return
        axes = dict(zip(statement.columns, (layout.axes[n] for n in statement.columns), strict=True))
        for *cell, weight in rows:  # hundreds of thousands of rows: plain loops
            chosen = tuple([n for n, value in zip(statement.columns, cell, strict=True) if value is not None])
            table = self.rows.get(chosen)
            if table is None:
                table = self.rows[chosen] = np.zeros(tuple(axes[n].size for n in chosen), dtype=np.int64)
            place = tuple([value if type(value) is int else _integer(value) for value in cell if value is not None])
            self._put(table, place, _integer(weight))

    def check(self) -> None:
        """After the last statement: nothing so large that sums could overflow.

        Raises: ValueError.
        """
        for table in (*self.rows.values(), *self.causes.values(), *(() if self.children is None else (self.children,))):
            self._check(table)

    @staticmethod
    def _put(table: Any, place: tuple[int, ...], weight: int) -> None:
        if OUTSIDE in place:
            return  # a value that the policy says cannot occur: the row is left out of this histogram
        if min(place) < 0 or not 0 <= weight < _MOST or table[place]:  # IndexError: beyond the last bin
            raise ValueError("a bin came twice or lies outside the grid, or a count is too large")
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
