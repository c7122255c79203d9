"""Relational algebra to one SELECT: the only place where SQL text is shaped.

Adjacent operators are merged into one SELECT where SQL allows it, so that a person can read what runs.
Identifiers are always quoted; for Snowflake a plain lower-case name means the warehouse's unquoted
(upper-case) name, any other spelling is taken exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, conjunction, rebuilt
from dpjupyter.engine.model import (
    Aggregate,
    BoundSubquery,
    Call,
    Constants,
    Filter,
    Join,
    Project,
    Rel,
    Scan,
    SetOperation,
    Shared,
    Sort,
    Window,
)

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_FEW = 16  # literal rows written as SELECTs, each with its types
_JOINS = {"inner": "", "left": "LEFT", "right": "RIGHT", "full": "FULL", "cross": "CROSS"}


def render(rel: Rel, dialect: str) -> exp.Query:
    """The SELECT that computes ``rel``; output columns are named by their ids, in order."""
    return _Renderer(dialect).statement(rel)


def identifier(name: str, dialect: str) -> exp.Identifier:
    """A quoted identifier for a name of the policy."""
    if dialect == "snowflake" and _PLAIN.fullmatch(name):
        name = name.upper()
    return exp.to_identifier(name, quoted=True)


def column(id_: str) -> exp.Column:
    """Reference to a column id."""
    return exp.column(exp.to_identifier(id_))


def substitute(expr: exp.Expression, columns: Mapping[str, exp.Expression]) -> exp.Expression:
    """``expr`` with column ids replaced; the argument is not changed."""
    return rebuilt(expr, lambda node: _replacement(node, columns))


def _replacement(node: exp.Expression, columns: Mapping[str, exp.Expression]) -> exp.Expression | None:
    if not isinstance(node, exp.Column) or node.table or node.name not in columns:
        return None
    found = columns[node.name].copy()
    operator = isinstance(found, (exp.Binary, exp.Unary, exp.Between, exp.In)) and not isinstance(found, exp.Collate)
    return exp.Paren(this=found) if operator and node.parent is not None else found


@dataclass(slots=True)
class _Block:
    """A SELECT under construction. ``columns`` are its visible ids as expressions over ``source`` and ``joins``."""

    source: exp.Expression | None
    columns: dict[str, exp.Expression]
    joins: list[exp.Join] = field(default_factory=list[exp.Join])
    where: list[exp.Expression] = field(default_factory=list[exp.Expression])
    group: list[exp.Expression] | None = None
    sets: list[list[exp.Expression]] | None = None
    order: tuple[exp.Expression, ...] = ()
    limit: int | None = None
    offset: int = 0

    @property
    def open(self) -> bool:
        """Whether filters and joins may still be added."""
        return self.group is None and not self.order and self.limit is None and not self.offset

    def select(self) -> exp.Select:
        """The finished SELECT."""
        shown = self.columns or {"one": exp.Literal.number(1)}  # rows may matter where no column does: COUNT(*)
        query = exp.Select(expressions=[exp.alias_(expr, id_) for id_, expr in shown.items()])
        if self.source is not None:
            query.set("from_", exp.From(this=self.source))
        if self.joins:
            query.set("joins", self.joins)
        if self.where:
            query.set("where", exp.Where(this=conjunction(*self.where)))
        if self.sets is not None:
            sets = [exp.Tuple(expressions=[e.copy() for e in keys]) for keys in self.sets]
            query.set("group", exp.Group(grouping_sets=[exp.GroupingSets(expressions=sets)]))
        elif self.group:
            query.set("group", exp.Group(expressions=[e.copy() for e in self.group]))
        if self.order:
            query.set("order", exp.Order(expressions=list(self.order)))
        if self.limit is not None:
            query.set("limit", exp.Limit(expression=exp.Literal.number(self.limit)))
        if self.offset:
            query.set("offset", exp.Offset(expression=exp.Literal.number(self.offset)))
        return query


def _trivial(expr: exp.Expression) -> bool:
    return isinstance(expr, (exp.Column, exp.Literal, exp.Null, exp.Boolean, exp.Collate))


def _bare(expr: exp.Expression) -> bool:
    return isinstance(expr, (exp.Column, exp.Collate))


def _spelled(text: exp.Column, dialect: str) -> exp.Collate:
    """A text column freed of its collation: equal means the same bytes."""
    if dialect == "snowflake":
        return exp.Collate(this=text, expression=exp.Literal.string(""))
    # DuckDB collates VARCHAR alone: what is declared as text may be stored as ENUM or UUID.
    return exp.Collate(this=exp.Cast(this=text, to=exp.DataType.build("TEXT")), expression=exp.to_identifier("C", quoted=True))


def _uses(exprs: Iterator[exp.Expression]) -> dict[str, int]:
    """How often each column is read. The same text twice counts: it would be computed twice."""
    counts: dict[str, int] = {}
    for expr in exprs:
        for node in expr.find_all(exp.Column):
            counts[node.name] = counts.get(node.name, 0) + 1
    return counts


class _Renderer:
    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._aliases = 0
        self._shared: dict[int, tuple[str, exp.Query]] = {}

    def statement(self, rel: Rel) -> exp.Query:
        query = self.query(rel)
        if self._shared:
            # Snowflake decides by itself what to keep; DuckDB is told.
            told = True if self._dialect == "duckdb" else None
            ctes = [
                exp.CTE(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name)), materialized=told)
                for name, inner in self._shared.values()
            ]
            query.set("with_", exp.With(expressions=ctes))
        return query

    def query(self, rel: Rel) -> exp.Query:
        return self._block(rel).select()

    # ------------------------------------------------------------ blocks
    def _alias(self) -> str:
        self._aliases += 1
        return f"t{self._aliases}"

    def _wrap(self, query: exp.Query, ids: tuple[str, ...]) -> _Block:
        alias = self._alias()
        return _Block(
            exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(alias))), {id_: self._of(alias, id_) for id_ in ids}
        )

    @staticmethod
    def _of(alias: str, name: str) -> exp.Column:
        return exp.column(exp.to_identifier(name), table=exp.to_identifier(alias))

    def _closed(self, block: _Block) -> _Block:
        return self._wrap(block.select(), tuple(block.columns))

    def _opened(self, rel: Rel) -> _Block:
        block = self._block(rel)
        return block if block.open else self._closed(block)

    def _expr(self, expr: exp.Expression, block: _Block) -> exp.Expression:
        def swap(node: exp.Expression) -> exp.Expression | None:
            if isinstance(node, BoundSubquery):
                return self._subquery(node, block)
            return _replacement(node, block.columns)

        return rebuilt(expr, swap)

    def _subquery(self, node: BoundSubquery, block: _Block) -> exp.Expression:
        query = self.query(node.args["rel"])
        match node.args["kind"]:
            case "exists":
                return exp.Exists(this=query)
            case "in":
                return exp.In(this=self._expr(node.this, block), query=exp.Subquery(this=query))
            case _:
                return exp.Subquery(this=query)

    def _block(self, rel: Rel) -> _Block:
        match rel:
            case Scan():
                alias = self._alias()
                parts = [identifier(part, self._dialect) for part in (rel.source or rel.table).split(".")]
                table = exp.Table(this=parts[-1], db=parts[-2] if len(parts) > 1 else None, catalog=parts[-3] if len(parts) > 2 else None)
                table.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
                columns: dict[str, exp.Expression] = {}
                for id_, name in rel.columns.items():
                    plain = exp.column(identifier(name, self._dialect), table=exp.to_identifier(alias))
                    columns[id_] = _spelled(plain, self._dialect) if id_ in rel.texts else plain
                return _Block(table, columns)
            case Constants():
                return self._constants(rel)
            case Filter():
                block = self._opened(rel.input)
                block.where.append(self._expr(rel.predicate, block))
                return block
            case Project():
                return self._project(rel)
            case Join():
                return self._join(rel)
            case Aggregate():
                return self._aggregate(rel)
            case Window():
                block = self._closed(self._block(rel.input)) if not self._bare(rel.input) else self._opened(rel.input)
                block.columns |= {id_: self._expr(expr, block) for id_, expr in rel.columns.items()}
                return self._closed(block)
            case SetOperation():
                return self._set_operation(rel)
            case Shared():
                return self._once(rel)
            case Sort():
                block = self._block(rel.input)
                if block.order or block.limit is not None or block.offset or block.group is not None:
                    block = self._closed(block)
                block.order = tuple(self._expr(o, block) for o in rel.order)
                block.limit, block.offset = rel.limit, rel.offset
                return block

    def _once(self, rel: Shared) -> _Block:
        if id(rel) not in self._shared:
            query = self.query(rel.input)
            self._shared[id(rel)] = (f"s{len(self._shared) + 1}", query)
        name, alias = self._shared[id(rel)][0], self._alias()
        table = exp.Table(this=exp.to_identifier(name), alias=exp.TableAlias(this=exp.to_identifier(alias)))
        return _Block(table, {id_: self._of(alias, id_) for id_ in columns_of(rel)})

    @staticmethod
    def _bare(rel: Rel) -> bool:
        return isinstance(rel, (Scan, Filter, Join))

    def _constants(self, rel: Constants) -> _Block:
        if not rel.fields:
            # SELECT without FROM: one row without columns; a single-row source so that it can be joined and filtered.
            alias = self._alias()
            one = exp.Select(expressions=[exp.alias_(exp.Literal.number(1), "one")])
            return _Block(exp.Subquery(this=one, alias=exp.TableAlias(this=exp.to_identifier(alias))), {})
        if len(rel.rows) > _FEW and self._dialect == "duckdb":
            # A UNION of hundreds takes DuckDB seconds to plan.
            tuples = [exp.Tuple(expressions=[e.copy() for e in row]) for row in rel.rows]
            names = exp.TableAlias(this=exp.to_identifier(self._alias()), columns=[exp.to_identifier(id_) for id_ in rel.fields])
            listed = exp.Select(expressions=[exp.column(id_) for id_ in rel.fields]).from_(exp.Values(expressions=tuples, alias=names))
            return self._wrap(listed, rel.fields)
        rows = [exp.Select(expressions=[exp.alias_(e.copy(), id_) for id_, e in zip(rel.fields, row, strict=True)]) for row in rel.rows]
        query: exp.Query = rows[0]
        for row in rows[1:]:
            query = exp.Union(this=query, expression=row, distinct=False)
        return self._wrap(query, rel.fields)

    def _project(self, rel: Project) -> _Block:
        block = self._block(rel.input)
        simple = all(_trivial(e) for e in rel.columns.values())
        if block.group is not None and not simple:
            block = self._closed(block)
        if not block.open and block.group is None and not simple:
            block = self._closed(block)
        uses = _uses(iter(rel.columns.values()))
        if any(uses.get(id_, 0) > 1 and not _trivial(e) for id_, e in block.columns.items()):
            block = self._closed(block)
        block.columns = {id_: self._expr(e, block) for id_, e in rel.columns.items()}
        return block

    def _side(self, rel: Rel) -> _Block:
        """A join operand: a plain table where possible, else a derived table."""
        block = self._block(rel)
        if block.open and not block.where and not block.joins and all(map(_bare, block.columns.values())):
            return block
        return self._closed(block)

    def _join(self, rel: Join) -> _Block:
        if rel.kind in ("semi", "anti"):
            block = self._opened(rel.left)
            inner = self._opened(rel.right)
            visible = block.columns | inner.columns
            condition = [self._expr(rel.condition, _Block(None, visible))] if rel.condition is not None else []
            inner.where.extend(condition)
            inner.columns = {"one": exp.Literal.number(1)}
            exists: exp.Expression = exp.Exists(this=inner.select())
            block.where.append(exists if rel.kind == "semi" else exp.Not(this=exists))
            return block
        left = self._block(rel.left)
        extendable = left.open and not left.where and rel.kind in ("inner", "cross", "left")
        if not extendable or not all(map(_bare, left.columns.values())):
            left = self._closed(left)
        right = self._side(rel.right)
        left.columns |= right.columns
        kind = "CROSS" if rel.condition is None and rel.kind in ("inner", "cross") else _JOINS[rel.kind]
        join = exp.Join(
            this=right.source, side=kind if kind in ("LEFT", "RIGHT", "FULL") else None, kind="CROSS" if kind == "CROSS" else None
        )
        if rel.condition is not None:
            join.set("on", self._expr(rel.condition, left))
        elif kind in ("LEFT", "RIGHT", "FULL"):
            join.set("on", exp.true())
        left.joins.append(join)
        return left

    def _aggregate(self, rel: Aggregate) -> _Block:
        block = self._opened(rel.input)
        uses = _uses(iter([*rel.keys.values(), *(a for c in rel.calls.values() for a in c.arguments)]))
        often = 0 if rel.sets is not None else 1  # grouping sets name every key once more
        if any(uses.get(id_, 0) > often and not _trivial(e) for id_, e in block.columns.items()):
            block = self._closed(block)
        keys = {id_: self._expr(e, block) for id_, e in rel.keys.items()}
        if any(isinstance(e, exp.Literal) or not list(e.find_all(exp.Column)) for e in keys.values()):
            # A constant in GROUP BY would be read as a column position.
            block.columns = block.columns | keys
            block = self._closed(block)
            keys = {id_: block.columns[id_] for id_ in rel.keys}
        calls = {id_: self._call(call, block) for id_, call in rel.calls.items()}
        grouping: dict[str, exp.Expression] = {
            id_: exp.Anonymous(this="GROUPING", expressions=[keys[key].copy()]) for id_, key in rel.grouping.items()
        }
        block.columns = {**keys, **calls, **grouping}
        block.group = list(keys.values())
        if rel.sets is not None:
            block.sets = [[keys[id_] for id_ in rel.keys if id_ in chosen] for chosen in rel.sets]
        return block

    def _set_operation(self, rel: SetOperation) -> _Block:
        def side(input_: Rel, ids: tuple[str, ...]) -> exp.Query:
            block = self._block(input_)
            if block.order or block.limit is not None or block.offset:
                block = self._closed(block)
            block = block if block.group is None or set(ids) <= set(block.columns) else self._closed(block)
            block.columns = {new: block.columns[id_] for id_, new in zip(ids, rel.fields, strict=True)}
            return block.select()

        classes: dict[str, type[exp.SetOperation]] = {"union": exp.Union, "intersect": exp.Intersect, "except": exp.Except}
        query = classes[rel.kind](this=side(rel.left, rel.left_fields), expression=side(rel.right, rel.right_fields), distinct=not rel.all)
        return self._wrap(query, rel.fields)

    # ------------------------------------------------------------ aggregate calls
    def _call(self, call: Call, block: _Block) -> exp.Expression:
        arguments = [self._expr(a, block) for a in call.arguments]
        if call.function == "COUNT_STAR":
            return exp.Count(this=exp.Star())
        if call.function in ("QUANTILE_CONT", "QUANTILE_DISC"):
            level = exp.Literal.number(str(float(call.parameter or 0)))
            if self._dialect == "duckdb":
                return exp.Anonymous(this=call.function, expressions=[arguments[0], level])
            inner = exp.Anonymous(this=call.function.replace("QUANTILE", "PERCENTILE"), expressions=[level])
            return exp.WithinGroup(this=inner, expression=exp.Order(expressions=[exp.Ordered(this=arguments[0])]))
        if call.function == "COUNT":
            if call.distinct and len(arguments) > 1:
                return exp.Count(this=exp.Distinct(expressions=arguments))
            this = exp.Distinct(expressions=arguments) if call.distinct else arguments[0]
            return exp.Count(this=this)
        if call.distinct:
            return exp.Anonymous(this=call.function, expressions=[exp.Distinct(expressions=arguments)])
        if call.function == "SUM":
            return exp.Sum(this=arguments[0])
        return exp.Anonymous(this=call.function, expressions=arguments)
