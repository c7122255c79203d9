"""Parts of a finishing expression that stand in it several times, computed once and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, names_in
from dpjupyter.engine.model import Project, Rel
from dpjupyter.engine.render import column


class Name(Protocol):
    """Names an expression; equal keys are the same expression."""

    def __call__(self, key: str, expr: exp.Expression) -> exp.Column:
        """Reference to the named expression."""
        ...


class Named:
    """Expressions over one relation, in projections one below the other: each may use those named before it."""

    def __init__(self, fresh: Callable[[], str]) -> None:
        self._fresh = fresh
        self._ids: dict[str, str] = {}
        self._depths: dict[str, int] = {}
        self._levels: list[dict[str, exp.Expression]] = []

    def under(self, prefix: str) -> Name:
        """The same names with keys of their own: statistics of distinct values share no slot with those of rows."""
        return lambda key, expr: self(f"{prefix}{key}", expr)

    def __call__(self, key: str, expr: exp.Expression) -> exp.Column:
        """See :class:`Name`."""
        if key not in self._ids:
            depth = max((self._depths[n] + 1 for n in names_in(expr) if n in self._depths), default=0)
            id_ = self._ids[key] = self._fresh()
            self._depths[id_] = depth
            if depth == len(self._levels):
                self._levels.append({})
            self._levels[depth][id_] = expr
        return column(self._ids[key])

    def over(self, rel: Rel, columns: Mapping[str, exp.Expression]) -> Project:
        """The columns over the relation, and below them what they name."""
        for depth, level in enumerate(self._levels):
            above = [*columns.values(), *(e for later in self._levels[depth + 1 :] for e in later.values())]
            read = {name for expr in above for name in names_in(expr)}
            rel = Project(rel, {**{id_: column(id_) for id_ in columns_of(rel) if id_ in read}, **level})
        return Project(rel, columns)
