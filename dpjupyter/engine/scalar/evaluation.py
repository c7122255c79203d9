"""Expressions computed on explicit values, by an in-memory DuckDB without access to anything."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import duckdb
from sqlglot import exp

from dpjupyter.engine.model import Facts, Kind, SqlType, Value
from dpjupyter.engine.scalar import values
from dpjupyter.engine.scalar.sqltypes import data_type
from dpjupyter.engine.scalar.terms import Scope


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    # Starting one takes 20 ms; it holds no data, and each use gets a cursor of its own.
    made = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB", "enable_external_access": "false"})
    made.execute("SET python_enable_replacements = false")
    made.execute("SET lock_configuration = true")
    return made


def distinct(tree: exp.Expression, type_: SqlType, columns: Mapping[str, tuple[SqlType, Sequence[Value]]], most: int) -> list[Value] | None:
    """Values of a lowered expression over all combinations of its columns' values; None if more than ``most``."""
    query = exp.Select(expressions=[exp.alias_(tree.copy(), "v")], distinct=exp.Distinct())
    for name, (of, _) in columns.items():
        query = _from(query, name, of)
    query = query.limit(most + 1)
    rows = _run(query, [_plain(found) for _, found in columns.values()])
    if len(rows) > most:
        return None
    return [values.value_of(row[0], type_) for row in rows]


def where(condition: exp.Expression, name: str, facts: Facts, scope: Scope, *, holds: bool) -> list[Value]:
    """Values of the column's domain for which the condition is TRUE (or FALSE).

    Raises: FunctionRefused: the condition has no rule.
    """
    assert facts.domain is not None
    shown = Scope({name: Facts(facts.type)}, "duckdb", scope.rules).term(condition)
    test = shown.tree if holds else exp.Not(this=exp.Paren(this=shown.tree))
    query = _from(exp.Select(expressions=[exp.column(name)]), name, facts.type).where(test)
    found = {values.value_of(row[0], facts.type) for row in _run(query, [_plain(facts.domain)])}
    return [value for value in facts.domain if value in found]


def _from(query: exp.Select, name: str, type_: SqlType) -> exp.Select:
    made = exp.Anonymous(this="UNNEST", expressions=[exp.Cast(this=exp.Placeholder(), to=_list_type(type_))])
    inner = exp.Select(expressions=[exp.alias_(made, name)]).subquery(f"t_{name}")
    return (
        query.from_(inner) if query.args.get("from_") is None and query.args.get("from") is None else query.join(inner, join_type="cross")
    )


def _list_type(type_: SqlType) -> exp.DataType:
    item = exp.DataType.build("TEXT") if type_.kind in (Kind.OTHER, Kind.NULL) else data_type(type_, "duckdb")
    return exp.DataType(this=exp.DataType.Type.ARRAY, expressions=[item], nested=True)


def _plain(found: Sequence[Value]) -> list[Value]:
    return list(found)


def _run(query: exp.Select, parameters: list[list[Value]]) -> list[tuple[object, ...]]:
    with _engine().cursor() as cursor:
        return cursor.execute(query.sql("duckdb"), parameters).fetchall()
