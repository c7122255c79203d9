"""Relations: FROM items, joins, CTEs, SELECT and set operations become algebra with unique column ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.algebra import conjunction, rebuilt
from dpjupyter.engine.bind.expressions import bind_expression
from dpjupyter.engine.bind.scope import Scope, Source, suggest
from dpjupyter.engine.bind.select import bind_select, bind_tail
from dpjupyter.engine.model import (
    Constants,
    Field_,
    Join,
    JoinKind,
    Project,
    Rel,
    Saved,
    SavedTable,
    Scan,
    SetOperation,
    nothing_saved,
)
from dpjupyter.engine.place import at, place_of
from dpjupyter.engine.policy import SAVED_SCHEMA, Policy
from dpjupyter.engine.render import column
from dpjupyter.errors import UnknownName, UnsupportedSQL

MAX_COLUMNS = 6_000  # WITH items that use each other twice would grow without bound


@dataclass(frozen=True, slots=True)
class Cte:
    """A WITH item and the items visible to it. Bound anew at each use, so that every use has its own column ids."""

    query: exp.Expression
    columns: tuple[str, ...]
    visible: Mapping[str, Cte]


class Binder:
    """Turns one statement into algebra. Holds the column counter and nothing else that changes."""

    def __init__(self, policy: Policy, dialect: str, saved: Saved = nothing_saved) -> None:
        self._policy = policy
        self._dialect = dialect
        self._load = saved
        self._names: dict[str, str] = {}
        self.saved: dict[str, SavedTable] = {}  # read so far: each once, so that all its uses see the same rows

    # ------------------------------------------------------------ columns
    def fresh(self, name: str) -> str:
        """A new column id; ``name`` is what people call it."""
        if len(self._names) >= MAX_COLUMNS:
            raise UnsupportedSQL("The query uses too many columns.", hint="Split it; a WITH item counts once for each use.")
        id_ = f"c{len(self._names) + 1}"
        self._names[id_] = name
        return id_

    def name_of(self, id_: str) -> str:
        """The shown name of a column id."""
        return self._names.get(id_, id_)

    def shown(self, node: exp.Expression) -> str:
        """An expression as a person would write it: ids replaced by names."""
        named = rebuilt(node, lambda n: exp.column(self.name_of(n.name)) if isinstance(n, exp.Column) else None)
        try:
            return named.sql(self._dialect, comments=False)[:200]
        except ValueError:
            return "expression"

    def check(self, expr: exp.Expression) -> None:
        """Refuse what is not on the allow-list of scalar functions."""
        scalar.check(expr)

    # ------------------------------------------------------------ queries
    def query(
        self, node: exp.Expression, visible: Mapping[str, Cte] | None = None, parent: Scope | None = None, probe: Scope | None = None
    ) -> tuple[Rel, tuple[Field_, ...]]:
        """Bind a SELECT, a set operation, or either in parentheses.

        ``probe`` is the scope to use for a subquery inside an expression; its ``correlated`` tells what it took from outside.
        """
        if visible is None:
            visible = parent.visible if parent is not None else {}
        visible = self._with(node, visible)
        match node:
            case exp.Select():
                return bind_select(self, node, visible, probe or Scope(parent=parent))
            case exp.SetOperation():
                return self._set_operation(node, visible, parent, probe)
            case exp.Subquery():
                only(node, "this", "with_", "alias", "order", "limit", "offset")
                rel, fields = self.query(node.this, visible, parent, probe)
                return bind_tail(self, node, rel, fields)
            case _:
                raise UnsupportedSQL(f"{node.key.upper()} is not answered here.", hint="Write a SELECT.", place=place_of(node))

    def _with(self, node: exp.Expression, visible: Mapping[str, Cte]) -> Mapping[str, Cte]:
        with_ = node.args.get("with_")
        if with_ is None:
            return visible
        if with_.args.get("recursive"):
            raise UnsupportedSQL("Recursive CTEs are not answered.", place=place_of(with_))
        for cte in with_.expressions:
            only(cte, "this", "alias", "materialized")
            if not isinstance(cte.this, exp.Query):
                raise UnsupportedSQL(f"{cte.alias!r} is not a SELECT.", place=place_of(cte))
            visible = {**visible, cte.alias.casefold(): Cte(cast("exp.Expression", cte.this), _column_names(cte.args["alias"]), visible)}
        for cte in with_.expressions:
            # Bound once even where unused: a broken or refused CTE is an error of the query.
            item = visible[cte.alias.casefold()]
            self.query(item.query, item.visible, None)
        return visible

    def _set_operation(
        self, node: exp.SetOperation, visible: Mapping[str, Cte], parent: Scope | None, probe: Scope | None
    ) -> tuple[Rel, tuple[Field_, ...]]:
        only(node, "this", "expression", "distinct", "with_", "order", "limit", "offset")
        left, left_fields = self.query(node.this, visible, parent, probe)
        right, right_fields = self.query(node.expression, visible, parent, probe)
        if len(left_fields) != len(right_fields):
            raise UnsupportedSQL(
                f"The sides of {node.key.upper()} have {len(left_fields)} and {len(right_fields)} columns.", place=place_of(node.expression)
            )
        fields = tuple(Field_(self.fresh(f.name), f.name, f.place) for f in left_fields)
        rel = SetOperation(
            {exp.Union: "union", exp.Intersect: "intersect", exp.Except: "except"}[type(node)],  # type: ignore[arg-type, index]
            not node.args.get("distinct"),
            left,
            right,
            tuple(f.id for f in left_fields),
            tuple(f.id for f in right_fields),
            tuple(f.id for f in fields),
            place_of(node.expression),
        )
        return bind_tail(self, node, rel, fields)

    # ------------------------------------------------------------ FROM
    def from_clause(self, node: exp.Select, visible: Mapping[str, Cte], scope: Scope) -> Rel:
        """FROM with its joins; fills the scope."""
        from_ = node.args.get("from_")
        if from_ is None:
            if node.args.get("joins"):
                raise UnsupportedSQL("A join needs a FROM.", place=place_of(node))
            return Constants((), ((),))
        rel = self._item(from_.this, visible, scope)
        for join in node.args.get("joins") or []:
            rel = self._join(rel, join, visible, scope)
        return rel

    def _item(self, node: exp.Expression, visible: Mapping[str, Cte], scope: Scope) -> Rel:
        with at(place_of(node)):
            return self._bound_item(node, visible, scope)

    def _bound_item(self, node: exp.Expression, visible: Mapping[str, Cte], scope: Scope) -> Rel:
        match node:
            case exp.Table():
                only(node, "this", "db", "catalog", "alias", "joins")
                rel = self._table(node, visible, scope)
            case exp.Subquery() if isinstance(node.this, exp.Table) or node.this.args.get("joins"):
                if isinstance(node.this, exp.Select):
                    return self._derived(node, visible, scope)
                only(node, "this", "joins")
                rel = self._item(node.this, visible, scope)
            case exp.Subquery():
                return self._derived(node, visible, scope)
            case exp.Values():
                only(node, "expressions", "alias")
                rel = self._constants(node, [t.expressions if isinstance(t, exp.Tuple) else [t] for t in node.expressions], scope)
            case exp.Unnest():
                only(node, "expressions", "alias")
                if len(node.expressions) != 1 or not isinstance(node.expressions[0], exp.Array):
                    raise UnsupportedSQL("UNNEST is answered for literal lists only.", place=place_of(node))
                rel = self._constants(node, [[e] for e in node.expressions[0].expressions], scope)
            case _:
                raise UnsupportedSQL(
                    f"{node.key.upper()} is not answered in FROM.", hint="Use declared tables and subqueries.", place=place_of(node)
                )
        for join in node.args.get("joins") or []:
            rel = self._join(rel, join, visible, scope)
        return rel

    def _derived(self, node: exp.Subquery, visible: Mapping[str, Cte], scope: Scope) -> Rel:
        only(node, "this", "alias", "with_", "order", "limit", "offset", "joins")
        inner = node.copy()
        inner.set("joins", None)
        rel, fields = self.query(inner, visible, None)
        scope.add(Source(node.alias, self._renamed(list(fields), node)))
        for join in node.args.get("joins") or []:
            rel = self._join(rel, join, visible, scope)
        return rel

    def _table(self, node: exp.Table, visible: Mapping[str, Cte], scope: Scope) -> Rel:
        if not isinstance(node.this, exp.Identifier):
            raise UnsupportedSQL("Table functions are not answered.", hint="Use the tables of %dpsql tables.", place=place_of(node))
        parts = [p.name for p in (node.args.get("catalog"), node.args.get("db"), node.this) if p is not None]
        cte = visible.get(parts[0].casefold()) if len(parts) == 1 else None
        if cte is not None:
            rel, found = self.query(cte.query, cte.visible, None)
            fields = _named(list(found), cte.columns, place_of(node))
            scope.add(Source(node.alias or parts[-1], self._renamed(fields, node)))
            return rel
        if len(parts) == 2 and parts[0].casefold() == SAVED_SCHEMA:
            return self._saved(parts, node, scope)
        name = self._declared(parts, node)
        table = self._policy.tables[name]
        fields = [Field_(self.fresh(c), c) for c in table.columns]
        alias = node.alias
        scope.add(Source(alias or parts[-1], self._renamed(fields, node), () if alias else tuple(parts[:-1])))
        return Scan(name, {f.id: c for f, c in zip(fields, table.columns, strict=True)}, table.source, place_of(node))

    def _saved(self, parts: list[str], node: exp.Table, scope: Scope) -> Rel:
        """A table the analyst kept: its rows never go to the warehouse."""
        name = f"{SAVED_SCHEMA}.{parts[1].casefold()}"
        table = self.saved.get(name) or self._load(parts[1].casefold())
        if table is None:
            raise UnknownName(
                f"There is no saved table {parts[1]!r}.",
                hint=f"`--save {parts[1]}` keeps an answer until its budget cycle ends; `%dpsql saved` lists what is kept.",
                place=place_of(node),
            )
        self.saved[name] = table
        fields = [Field_(self.fresh(c.name), c.name) for c in table.columns]
        scope.add(Source(node.alias or parts[-1], self._renamed(fields, node), () if node.alias else (parts[0],)))
        return Scan(name, {f.id: c.name for f, c in zip(fields, table.columns, strict=True)}, place=place_of(node))

    def _declared(self, parts: list[str], node: exp.Table) -> str:
        folded = [p.casefold() for p in parts]
        shorter = folded[1:] if len(folded) > 1 and folded[0] == self._policy.database.name.casefold() else folded
        keys = {name: name.casefold().split(".") for name in self._policy.tables}
        for wanted in (folded, shorter):
            exact = [name for name, key in keys.items() if key == wanted]
            if exact:
                return exact[0]
        found = [name for name, key in keys.items() if key[-len(shorter) :] == shorter]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise UnknownName(f"Table {parts[-1]!r} is ambiguous: {', '.join(found)}.", hint="Write its schema too.", place=place_of(node))
        raise UnknownName(
            f"There is no table {'.'.join(parts)!r}.", hint=suggest(parts[-1], list(self._policy.tables)), place=place_of(node)
        )

    def _renamed(self, fields: list[Field_], node: exp.Expression) -> list[Field_]:
        alias = node.args.get("alias")
        return _named(fields, _column_names(alias), place_of(node)) if isinstance(alias, exp.TableAlias) else fields

    def _constants(self, node: exp.Expression, rows: list[list[exp.Expression]], scope: Scope) -> Constants:
        width = len(rows[0]) if rows else 0
        if not rows or any(len(row) != width for row in rows):
            raise UnsupportedSQL("The rows of VALUES have different lengths.", place=place_of(node))
        bound = tuple(tuple(bind_expression(e, Scope(), self) for e in row) for row in rows)
        for row in bound:
            for value in row:
                self.check(value)
        fields = [Field_(self.fresh(f"col{i}"), f"col{i}") for i in range(width)]
        scope.add(Source(node.alias, self._renamed(fields, node)))
        return Constants(tuple(f.id for f in fields), bound)

    # ------------------------------------------------------------ joins
    def _join(self, left: Rel, join: exp.Join, visible: Mapping[str, Cte], scope: Scope) -> Rel:
        only(join, "this", "on", "using", "side", "kind", "method")
        natural = join.args.get("method") == "NATURAL"
        if join.args.get("method") and not natural:
            raise UnsupportedSQL(f"{join.args['method']} JOIN is not answered.", hint="Write JOIN ... ON.", place=place_of(join.this))
        kind = self._join_kind(join)
        right_scope = Scope(parent=None)
        right = self._item(join.this, visible, right_scope)
        if kind in ("semi", "anti"):
            joint = Scope(
                parent=scope.parent, sources=[*scope.sources, *right_scope.sources], merged=dict(scope.merged), hidden=set(scope.hidden)
            )
            return Join(left, right, kind, self._on(join, joint))
        shared = self._shared(join, scope, right_scope, natural=natural)
        with at(place_of(join.this)):
            for source in right_scope.sources:
                scope.add(source)
        scope.hidden |= right_scope.hidden
        scope.merged |= {name: f for name, f in right_scope.merged.items() if name not in scope.merged}
        condition = self._on(join, scope) if join.args.get("on") is not None else None
        if shared:
            condition = conjunction(*(exp.EQ(this=column(a.id), expression=column(b.id)) for a, b in shared))
        if condition is None and kind in ("left", "right", "full"):
            raise UnsupportedSQL("An outer join needs a condition.", place=place_of(join.this))
        rel: Rel = Join(left, right, "cross" if condition is None else kind, condition)
        return self._merge(rel, shared, kind, scope)

    @staticmethod
    def _join_kind(join: exp.Join) -> JoinKind:
        side, kind = (join.side or "").upper(), (join.kind or "").upper()
        if kind in ("SEMI", "ANTI") and side in ("", "LEFT"):
            return "semi" if kind == "SEMI" else "anti"
        if kind in ("", "INNER", "OUTER", "CROSS") and side in ("", "LEFT", "RIGHT", "FULL"):
            return side.lower() if side else ("cross" if kind == "CROSS" else "inner")  # type: ignore[return-value]
        raise UnsupportedSQL(f"{side} {kind} JOIN is not answered.".strip(), place=place_of(join.this))

    def _on(self, join: exp.Join, scope: Scope) -> exp.Expression:
        on = join.args.get("on")
        if on is None:
            raise UnsupportedSQL("This join needs ON.", place=place_of(join.this))
        if on.find(exp.Query) is not None:
            raise UnsupportedSQL("Subqueries in ON are not answered.", hint="Move the condition to WHERE.", place=place_of(on))
        bound = bind_expression(on, scope, self)
        self.check(bound)
        return bound

    @staticmethod
    def _shared(join: exp.Join, left: Scope, right: Scope, *, natural: bool) -> list[tuple[Field_, Field_]]:
        names = [i.name for i in join.args.get("using") or []]
        if natural:
            theirs = {f.name.casefold() for f in right.star()}
            names = [f.name for f in left.star() if f.name.casefold() in theirs]
            if not names:
                raise UnsupportedSQL("NATURAL JOIN finds no common column.", place=place_of(join.this))
        pairs: list[tuple[Field_, Field_]] = []
        for name in names:
            a, b = left.find(exp.column(name)), right.find(exp.column(name))
            if a is None or b is None:
                raise UnknownName(f"USING column {name!r} is not on both sides.", place=place_of(join.this))
            pairs.append((a, b))
        return pairs

    def _merge(self, rel: Rel, shared: list[tuple[Field_, Field_]], kind: JoinKind, scope: Scope) -> Rel:
        """USING shows each shared column once: the preserved side's, or the first non-NULL of both in a full join."""
        if not shared:
            return rel
        merged: dict[str, exp.Expression] = {}
        for a, b in shared:
            scope.hidden |= {a.id, b.id}
            if kind == "full":
                shown = Field_(self.fresh(a.name), a.name)
                merged[shown.id] = exp.Coalesce(this=column(a.id), expressions=[column(b.id)])
            else:
                shown = b if kind == "right" else a
            scope.merged[a.name.casefold()] = shown
        if merged:
            keep = {f.id: column(f.id) for s in scope.sources for f in s.fields} | {
                f.id: column(f.id) for f in scope.merged.values() if f.id not in merged
            }
            return Project(rel, {**keep, **merged})
        return rel


def only(node: exp.Expression, *known: str) -> None:
    """Refuse a node that carries anything this program does not read.

    Raises: UnsupportedSQL.
    """
    for key, value in node.args.items():
        if value and key not in known:
            shown = key.rstrip("_").replace("_", " ").upper()
            raise UnsupportedSQL(
                f"{shown} is not answered here.", place=place_of(value) if isinstance(value, exp.Expression) else place_of(node)
            )


def _column_names(alias: exp.Expression | None) -> tuple[str, ...]:
    return tuple(c.name for c in alias.args.get("columns") or []) if alias is not None else ()


def _named(fields: list[Field_], names: tuple[str, ...], place: object) -> list[Field_]:
    if len(names) > len(fields):
        raise UnknownName(f"{len(names)} column names are given for {len(fields)} columns.", place=place)  # type: ignore[arg-type]
    return [Field_(f.id, name, f.place) for f, name in zip(fields, names, strict=False)] + fields[len(names) :]
