"""Which names are visible where. Lookup is case-insensitive; an exact spelling wins over another."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from dpjupyter.engine.model import Field_
from dpjupyter.engine.place import place_of
from dpjupyter.errors import Place, UnknownName, UnsupportedSQL


@dataclass(slots=True)
class Source:
    """One item of FROM: its alias and its columns."""

    alias: str
    fields: list[Field_]
    path: tuple[str, ...] = ()  # schema and database it was named with, for a.b.c references

    def find(self, name: str) -> list[Field_]:
        """Columns of this name; the exactly spelled one alone if it exists."""
        found = [f for f in self.fields if f.name.casefold() == name.casefold()]
        exact = [f for f in found if f.name == name]
        return exact if len(exact) == 1 else found


@dataclass(slots=True)
class Scope:
    """The names one SELECT sees."""

    parent: Scope | None = None
    sources: list[Source] = field(default_factory=list[Source])
    merged: dict[str, Field_] = field(default_factory=dict[str, Field_])  # USING and NATURAL columns, by folded name
    hidden: set[str] = field(default_factory=set[str])  # ids that a merged column stands for
    aliases: dict[str, exp.Expression] = field(default_factory=dict[str, exp.Expression])  # select list, unbound
    windows: dict[str, exp.Window] = field(default_factory=dict[str, exp.Window])
    correlated: set[str] = field(default_factory=set[str])  # ids of outer scopes used here
    bind_alias: Callable[[exp.Expression], exp.Expression] | None = None
    expanding: set[str] = field(default_factory=set[str])
    visible: Mapping[str, Any] = field(default_factory=dict[str, Any])  # WITH items that subqueries here may name

    def ids(self) -> set[str]:
        """Every column id of this scope's sources."""
        return {f.id for s in self.sources for f in s.fields} | {f.id for f in self.merged.values()}

    def star(self, table: exp.Expression | None = None) -> list[Field_]:
        """Columns that ``*`` or ``table.*`` stands for.

        Raises: UnknownName: no such table.
        """
        if table is not None:
            return list(self._source(table.name, (), place_of(table)).fields)
        if not self.sources:
            raise UnsupportedSQL("There is no FROM for * to stand for.")
        return [*self.merged.values(), *(f for s in self.sources for f in s.fields if f.id not in self.hidden)]

    def add(self, source: Source) -> None:
        """Make a FROM item visible.

        Raises: UnknownName: the alias is taken.
        """
        if source.alias and any(s.alias.casefold() == source.alias.casefold() for s in self.sources):
            raise UnknownName(f"Two tables in FROM are called {source.alias!r}.", hint="Give each its own alias.")
        self.sources.append(source)

    def find(self, node: exp.Column) -> Field_ | None:
        """The column a reference means in this scope, or None.

        Raises: UnknownName: ambiguous, or the table has no such column.
        """
        name, place = node.name, place_of(node)
        if node.table:
            path = tuple(p.name for p in (node.args.get("catalog"), node.args.get("db")) if p is not None)
            sources = self._sources(node.table, path)
            if not sources:
                return None
            found = sources[0].find(name)
            if not found:
                raise UnknownName(
                    f"Table {node.table!r} has no column {name!r}.", hint=suggest(name, [f.name for f in sources[0].fields]), place=place
                )
        else:
            if name.casefold() in self.merged:
                return self.merged[name.casefold()]
            found = [f for s in self.sources for f in s.find(name) if f.id not in self.hidden]
            if not found:
                return None
        if len(found) > 1:
            raise UnknownName(f"Column {name!r} is ambiguous.", hint="Write it with its table: table.column.", place=place)
        return found[0]

    def _sources(self, alias: str, path: tuple[str, ...]) -> list[Source]:
        found = [s for s in self.sources if s.alias.casefold() == alias.casefold()]
        if path:
            folded = tuple(p.casefold() for p in path)
            found = [s for s in found if tuple(p.casefold() for p in s.path)[-len(folded) :] == folded]
        return found

    def _source(self, alias: str, path: tuple[str, ...], place: Place | None) -> Source:
        found = self._sources(alias, path)
        if not found:
            raise UnknownName(f"There is no table {alias!r} in FROM.", hint=suggest(alias, [s.alias for s in self.sources]), place=place)
        return found[0]

    def all_names(self) -> list[str]:
        """Names a person could have meant."""
        names = [f.name for s in self.sources for f in s.fields]
        return names + (self.parent.all_names() if self.parent is not None else [])


def suggest(name: str, known: list[str]) -> str:
    """'Did you mean ...' or the first names there are."""
    folded = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1)
    if close:
        return f"Did you mean {folded[close[0]]}?"
    return f"There are: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}." if known else ""
