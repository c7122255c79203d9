"""Lowered expressions against real DuckDB: never an error, within the interval, equal to plain SQL where it has a value."""

import contextlib
import datetime as dt
import math
import re
from collections.abc import Callable
from decimal import Decimal

import duckdb
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from sqlglot import exp

from dpjupyter.engine import policy as policies
from dpjupyter.engine import scalar
from dpjupyter.engine.model import Ask, Facts, Interval, Kind, SqlType
from dpjupyter.engine.road import quote
from dpjupyter.engine.scalar.rules import RULES
from dpjupyter.engine.scalar.terms import Scope
from dpjupyter.errors import FunctionRefused
from tests.engine import scalar_expressions as wild

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - SQL TIMESTAMP has no zone
_CONNECTION = wild.tables()
_SLOW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def place(value: object, type_: SqlType) -> float | None:
    """Where a driver's value lies on the interval's axis; None for NULL and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return None
    if isinstance(value, (bool, int, float, Decimal)):
        return float(value)
    if isinstance(value, dt.datetime):
        return float((value - EPOCH) // dt.timedelta(microseconds=1))
    if isinstance(value, dt.date):
        return float((value - dt.date(1970, 1, 1)).days)
    raise AssertionError(f"{value!r} of {type_}")


def fetched(tree, table: str) -> tuple[list[object], str]:
    # Extreme dates have no Python object: they are fetched as their distance in their own unit.
    sql = tree.sql("duckdb")
    kind = _CONNECTION.execute(f"SELECT TYPEOF({sql}) FROM {table} LIMIT 1").fetchone()[0]
    if kind == "DATE":
        sql = f"CASE WHEN isfinite({sql}) THEN ({sql}) - DATE '1970-01-01' END"
    elif kind == "TIMESTAMP":
        sql = f"CASE WHEN isfinite({sql}) THEN epoch_us({sql}) END"
    return [row[0] for row in _CONNECTION.execute(f"SELECT {sql} FROM {table}").fetchall()], kind


def same_kind(shown: str, kind: Kind, type_: SqlType) -> bool:
    if kind is Kind.INT:
        if shown.startswith("DECIMAL"):
            return shown.endswith(",0)")
        return shown in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER") and (type_.precision > 0 or SqlType.parse(shown).bits <= type_.bits)
    names = {Kind.FLOAT: ("DOUBLE", "FLOAT"), Kind.TEXT: ("VARCHAR",), Kind.BOOL: ("BOOLEAN",), Kind.DATE: ("DATE",), Kind.TIMESTAMP: ("TIMESTAMP",)}
    if kind is Kind.DECIMAL:
        # An exact value may come out with fewer digits than promised, never with more after the point.
        return shown.startswith("DECIMAL") and SqlType.parse(shown).scale <= type_.scale
    return kind in names and shown in names[kind]


def analysed(sql: str, columns: dict[str, Facts]):
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    try:
        return tree, Scope(columns, "duckdb", RULES).term(tree)
    except FunctionRefused:
        return tree, None


def agree(sql: str, plain: object, ours: object) -> bool:
    if isinstance(plain, (int, float, Decimal)) and isinstance(ours, (int, float, Decimal)):
        a, b = float(plain), float(ours)
        return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return plain == ours


@_SLOW
@given(wild.anything(2))
def test_no_row_makes_a_lowered_expression_raise(sql):
    """Whatever the data; and what is proven from types alone holds for it."""
    tree, term = analysed(sql, wild.unknown())
    if term is None:
        return
    found, kind = fetched(term.tree, "wild")
    assert same_kind(kind, term.type.kind, term.type), f"{sql}: {kind} is not {term.type}"
    for value in found:
        at = place(value, term.type)
        if at is None:
            continue
        for name, interval in (("proven", term.proven), ("interval", term.interval)):
            if interval is not None:
                assert interval.lower <= at <= interval.upper, f"{sql}: {at} outside {name} {interval} of {term.tree.sql('duckdb')}"
    with contextlib.suppress(FunctionRefused):  # a few functions are DuckDB's own
        assert scalar.total(tree, wild.unknown(), "snowflake").sql("snowflake")


def branches(tree: exp.Expression) -> list[exp.Expression]:
    """Everything that CASE evaluates only for some rows, as far as an engine keeps its word."""
    return [branch for case in tree.find_all(exp.Case) for branch in (*(i.args["true"] for i in case.args["ifs"]), case.args.get("default")) if branch is not None]


@_SLOW
@given(wild.anything(2))
def test_no_branch_of_a_lowered_expression_raises_by_itself(sql):
    """SQL leaves it to the engine when the branches of CASE are evaluated."""
    _, term = analysed(sql, wild.promises())
    _, other = analysed(sql, wild.unknown())
    for lowered in (term, other):
        for branch in branches(lowered.tree) if lowered is not None else []:
            _CONNECTION.execute(f"SELECT {branch.sql('duckdb')} FROM wild").fetchall()


_CONNECTION.execute("CREATE VIEW narrow AS SELECT * FROM wild WHERE c9 IS NULL OR c9 BETWEEN -1e37 AND 1e37")  # Snowflake's integers have 38 digits
# What is NULL, an infinity or NaN on DuckDB where Snowflake raises.
_RAISES: dict[type[exp.Expression], Callable[[str], str]] = {
    exp.Ln: lambda x: f"{x} <= 0",
    exp.Sqrt: lambda x: f"{x} < 0",
    exp.Asin: lambda x: f"NOT {x} BETWEEN -1 AND 1",
    exp.Acos: lambda x: f"NOT {x} BETWEEN -1 AND 1",
    exp.Exp: lambda x: f"{x} > 709.5 AND {x} < 'inf'::DOUBLE",
}


@_SLOW
@given(wild.anything(2))
def test_snowflakes_guards_stand_inside_what_they_guard(sql):
    """Each function and cast by itself, on every row: no CASE around it is needed."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    try:
        lowered = Scope(wild.unknown(), "snowflake", RULES).term(tree).tree
    except FunctionRefused:
        return
    for node in lowered.walk():
        test = _RAISES.get(type(node))
        argument = node.this.sql("duckdb") if isinstance(node.this, exp.Expression) else ""
        try:
            if test is not None:
                found = _CONNECTION.execute(f"SELECT COUNT(*) FROM wild WHERE {test(f'TRY({argument})')}").fetchone()
                assert found == (0,), f"{sql}: {node.sql('snowflake')}"
            elif isinstance(node, exp.Div):
                divisor = node.expression.sql("duckdb")
                assert _CONNECTION.execute(f"SELECT COUNT(*) FROM wild WHERE TRY({divisor}) = 0").fetchone() == (0,), f"{sql}: {node.sql('snowflake')}"
            elif type(node) is exp.Cast and node.to.is_type("decimal"):
                lost = f"SELECT COUNT(*) FROM narrow WHERE TRY({argument}) IS NOT NULL AND TRY({node.sql('duckdb')}) IS NULL"
                assert _CONNECTION.execute(lost).fetchone() == (0,), f"{sql}: {node.sql('snowflake')}"
        except duckdb.BinderException:
            continue  # a function that only Snowflake has


@_SLOW
@given(wild.anything(2))
def test_facts_hold_for_rows_that_keep_the_promises(sql):
    """Interval, nullability, whole numbers and domain."""
    columns = wild.promises()
    tree, term = analysed(sql, columns)
    if term is None:
        return
    found, _ = fetched(term.tree, "tame")
    domain = scalar.domain(tree, columns, 2000)
    shown = [scalar.value_of(row[0], term.type) for row in _CONNECTION.execute(f"SELECT {term.tree.sql('duckdb')} FROM tame").fetchall()] if domain is not None else []
    for value in found:
        if value is None:
            assert term.nullable, f"{sql}: NULL although not nullable: {term.tree.sql('duckdb')}"
            continue
        at = place(value, term.type)
        if at is None:
            continue
        if term.interval is not None:
            assert term.interval.lower <= at <= term.interval.upper, f"{sql}: {at} outside {term.interval} of {term.tree.sql('duckdb')}"
        assert not term.integral or not math.isfinite(at) or at.is_integer(), f"{sql}: {at} is no whole number"
    for value in shown:
        if isinstance(value, float) and not math.isfinite(value):
            continue
        assert value in domain, f"{sql}: {value!r} not in {domain}"


@_SLOW
@given(wild.anything(2))
def test_lowered_expressions_equal_plain_sql(sql):
    """On rows within the promises, wherever plain SQL has a value."""
    tree, term = analysed(sql, wild.promises())
    if term is None or "WIDTH_BUCKET" in sql:
        return
    plain = tree.sql("duckdb")
    try:
        rows = _CONNECTION.execute(f"SELECT CAST(TRY({plain}) AS VARCHAR), CAST({term.tree.sql('duckdb')} AS VARCHAR) FROM tame").fetchall()
    except duckdb.Error:
        return  # plain SQL cannot be bound, or raises in spite of TRY where an expression occurs twice
    for one, other in rows:
        if one is None or one == other or "(BC)" in one or "infinity" in one or re.match(r"\d{5,}-", one):
            continue  # outside years 1 to 9999 the lowered forms give NULL
        try:
            assert agree(sql, float(one), float(other)), f"{sql}: plain {one}, lowered {other}: {term.tree.sql('duckdb')}"
        except (ValueError, TypeError):
            raise AssertionError(f"{sql}: plain {one!r}, lowered {other!r}: {term.tree.sql('duckdb')}") from None


@_SLOW
@given(wild.condition(2))
def test_narrowed_facts_hold_for_the_rows_that_are_kept(sql):
    """For rows within the promises and for any rows at all."""
    for table, columns in (("tame", wild.promises()), ("wild", wild.unknown())):
        tree, term = analysed(sql, columns)
        if term is None:
            continue
        known = scalar.narrow(tree, columns)
        assert set(known) == set(columns)
        for column, facts in known.items():
            if facts == columns[column]:
                continue
            shown = {Kind.DATE: f"CASE WHEN isfinite({column}) THEN {column} - DATE '1970-01-01' END", Kind.TIMESTAMP: f"CASE WHEN isfinite({column}) THEN epoch_us({column}) END"}
            picked = f"SELECT {shown.get(facts.type.kind, column)}, CAST({column} AS VARCHAR), {column} IS NULL FROM {table} WHERE {term.tree.sql('duckdb')}"
            for value, text, null in _CONNECTION.execute(picked).fetchall():
                if null:
                    assert facts.nullable, f"{sql}: {column} is NULL in {table}"
                    continue
                at = place(value, facts.type)
                if at is not None and facts.interval is not None:
                    assert facts.interval.lower <= at <= facts.interval.upper, f"{sql}: {column} = {at} outside {facts.interval}"
                if facts.domain is not None and at is not None and facts.type.kind in (Kind.INT, Kind.DECIMAL, Kind.FLOAT):
                    assert scalar.value_of(value, facts.type) in facts.domain, f"{sql}: {column} = {value} not in {facts.domain}"
                if facts.domain is not None and facts.type.kind is Kind.TEXT:
                    assert text in facts.domain, f"{sql}: {column} = {text} not in {facts.domain}"


@pytest.mark.parametrize(
    ("sql", "lowered"),
    [
        ("c1", "c1"),
        ("c1 > 5", "c1 > 5"),
        ("c4 * 2", "c4 * 2"),
        ("c10 + 1", "CAST(c10 AS BIGINT) + 1"),
        ("c3 * 2 + 1", "(c3 * 2) + 1"),
        ("c5 = 'x' AND c1 BETWEEN 1 AND 9", "c5 = 'x' AND (c1 BETWEEN 1 AND 9)"),
        ("c3 / c1", "c3 / c1"),
        ("c5 IN ('a', 'b')", "c5 IN ('a', 'b')"),
        ("YEAR(c6)", "YEAR(c6)"),
    ],
)
def test_common_expressions_stay_bare(sql, lowered):
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert scalar.total(tree, wild.unknown(), "duckdb").sql("duckdb") == lowered


def test_interval_is_used():
    facts = scalar.facts(sqlglot.parse_one("LEAST(GREATEST(c1, 0), 100)"), {"c1": Facts(SqlType.parse("INTEGER"), nullable=False)})
    assert facts.interval == Interval(0.0, 100.0)


@pytest.mark.parametrize("type_", ["DECIMAL(38,37)", "DECIMAL(38,30)", "DECIMAL(38,20)", "DECIMAL(18,18)", "DECIMAL(4,2)", "TINYINT", "HUGEINT", "DOUBLE"])
def test_bounds_far_beyond_a_type_never_fail(type_: str) -> None:
    """A whole bound that the column's type has no digits for is compared all the same."""
    text = f"""
[database]
prefix = "x"
name = "y"
backend = "duckdb:///z"
[tables.t]
unit = "u"
columns.u = {{type = "INTEGER"}}
columns.x = {{type = "{type_}", bounds = [-500000, 900000000]}}
"""
    policy = policies.parse(text)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t AS SELECT 1 AS u, CAST(0 AS {type_}) AS x UNION ALL SELECT 1, NULL")
        for aggregate in ("SUM(x)", "AVG(x)", "STDDEV(x)", "MEDIAN(x)", "SUM(x * 2)", "VAR_POP(x + 1)"):
            plan = quote(f"SELECT {aggregate} FROM t", Ask(), policy).plan
            for part in (part for m in plan.measurements for part in m.parts):
                assert connection.execute(part.statement.sql("duckdb")).fetchall()
