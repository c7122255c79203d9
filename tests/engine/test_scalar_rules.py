"""The allow-list, values, narrowing and domains, by example."""

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import sqlglot
from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.model import DATE, DOUBLE, INTEGER, TEXT, TIMESTAMP, BoundSubquery, Facts, Interval, Kind, SqlType
from dpjupyter.engine.policy import Column
from dpjupyter.engine.scalar.allowed import markdown
from dpjupyter.errors import FunctionRefused

DOCS = Path(__file__).resolve().parents[2] / "docs" / "functions.md"
C = {
    "age": Facts(INTEGER, Interval(0, 100), integral=True),
    "fare": Facts(DOUBLE, Interval(0, 10), nullable=False),
    "city": Facts(TEXT, domain=("Lyon", "Paris", "rome"), nullable=False),
    "name": Facts(TEXT),
    "day": Facts(DATE, Interval(18262, 18627), nullable=False, integral=True),
    "seen": Facts(TIMESTAMP, Interval(1577836800e6, 1585699199999999), nullable=False, integral=True),
    "flag": Facts(SqlType(Kind.BOOL), domain=(False, True), nullable=False),
    "big": Facts(SqlType.parse("BIGINT"), integral=True),
    "price": Facts(SqlType.parse("DECIMAL(15,2)"), Interval(0, 100_000), nullable=False),
    "unit": Facts(SqlType.parse("BIGINT"), from_unit=True),
}


def parsed(sql: str, dialect: str = "duckdb") -> exp.Expression:
    return sqlglot.parse_one(f"SELECT {sql}", dialect=dialect).expressions[0]


# ---------------------------------------------------------------- the allow-list
@pytest.mark.parametrize(
    "sql",
    [
        "random()", "now()", "current_date", "current_timestamp", "uuid()", "nextval('s')", "getenv('HOME')", "current_setting('x')", "md5(name)",
        "hash(age)", "sha256(name)", "regexp_matches(name, '(a+)+')", "name ~ 'a'", "name SIMILAR TO 'a'", "repeat(name, 1000000)",
        "[age, 1]", "{'a': age}", "list_transform([1], x -> x + 1)", "age[1]", "read_text('/etc/passwd')", "my_udf(age)", "printf('%d', age)",
        "format('{}', age)", "age << 3", "xor(age, 1)", "name COLLATE nocase", "seen AT TIME ZONE 'UTC'", "query('SELECT 1')", "error('x')",
        "nullif(getenv('A'), 'b')", "CAST(age AS JSON)", "CAST(name AS INTEGER[])", "try(1 / 0)", "COLUMNS('a')", "age = ANY(SELECT 1)", "sleep(1)", "*",
        "(SELECT 1)", "EXISTS (SELECT 1)", "sum(age)", "write_log('x')", "pg_sleep(3)", "txid_current()", "version()", "current_user",
    ],
)  # fmt: skip
def test_everything_unlisted_is_refused(sql):
    with pytest.raises(FunctionRefused):
        scalar.check(parsed(sql))


@pytest.mark.parametrize("sql", ["sysdate()", "current_account()", "system$wait(3)", "randstr(3, random())", "seq4()", "parse_json(name)", "name REGEXP 'a'", "udf(age)"])
def test_everything_unlisted_is_refused_on_snowflake(sql):
    with pytest.raises(FunctionRefused):
        scalar.check(parsed(sql, "snowflake"))


def test_a_refusal_points_at_the_function():
    with pytest.raises(FunctionRefused) as caught:
        scalar.check(parsed("age +\n  md5(name)"))
    assert caught.value.place is not None
    assert (caught.value.place.line, caught.value.place.column, caught.value.place.length) == (2, 3, 3)
    assert "MD5" in caught.value.message and caught.value.hint


def test_subqueries_and_windows_are_left_to_the_planner():
    scalar.check(exp.GT(this=exp.column("age"), expression=BoundSubquery(rel=None, kind="scalar")))
    scalar.check(parsed("ROW_NUMBER() OVER (ORDER BY md5(name))"))


def test_what_comes_of_a_unit_stays_marked():
    for sql in ("unit + 1", "CAST(unit AS VARCHAR)", "CASE WHEN unit > 3 THEN 1 END", "unit IN (1, 2)", "COALESCE(unit, 1)", "LENGTH(CAST(unit AS VARCHAR))"):
        assert scalar.facts(parsed(sql), C).from_unit, sql
    assert not scalar.facts(parsed("age + 1"), C).from_unit


@pytest.mark.parametrize(
    "sql",
    [
        "name + 1", "age AND flag", "UPPER(age)", "name > 5 + city", "DATE_TRUNC('fortnight', day)", "day + fare", "day > 'yesterday'", "age = 'abc'",
        "SUBSTR(name, age)", "LEFT(name, 1000000)", "name LIKE city", "name LIKE 'a' ESCAPE 'xy'", "day + INTERVAL (age) DAY", "day + INTERVAL 99999 YEAR",
        "SPLIT_PART(name, city, 1)", "REPLACE(name, city, 'x')", "STRPTIME(name, city)", "ROUND(fare, age)", "LOG(age, fare)", "seen - seen", "CASE WHEN 1 THEN 2 END",
        "STRFTIME(seen, '%Q')", "LPAD(name, 9999999, 'x')", "ROUND(fare, 1, 'HALF_TO_EVEN')", "WEEK(day, 3)", "name LIKE ANY (city, 'x')",
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(sql):
    with pytest.raises(FunctionRefused):
        scalar.facts(parsed(sql), C)


def test_the_page_of_functions_is_made_from_the_code():
    assert DOCS.read_text(encoding="utf-8") == markdown()


def test_every_name_offered_for_completion_is_answered():
    operators = {"AND", "OR", "NOT", "XOR", "BETWEEN", "IN", "LIKE", "ILIKE", "CASE", "CAST", "TRY_CAST", "POSITION", "EXTRACT"}
    arguments = ["()", "(age)", "(fare)", "(name)", "(day)", "(age, 2)", "(2, age)", "(name, 'a')", "('month', day)", "(day, INTERVAL 1 DAY)", "(name, 1, 2)",
                 "(name, 'a', 'b')", "('day', day, seen)", "(name, ',', 1)", "(flag, 1, 2)", "(day, 1, day)", "(name, '%Y')", "(day, '%Y')", "(fare, 0, 1, 2)", "(name, 1)",
                 "(day, day, day)", "(day, 3, day)", "(month, 3, day)", "(month, day, seen)", "(flag, flag)"]  # fmt: skip
    for name in set(scalar.NAMES) - operators:
        assert any(answered(name + given, dialect) for dialect in ("duckdb", "snowflake") for given in arguments), name


def test_malformed_calls_are_refused_and_never_crash():
    values = ("age", "fare", "name", "day", "seen", "flag", "NULL", "1", "'x'", "-1.5", "city || name", "unit")
    for dialect in ("duckdb", "snowflake"):
        for name in (*scalar.NAMES, "IS_NULL_VALUE", "TRY_TO_DATE", "TRY_TO_NUMBER", "TO_TIMESTAMP", "TO_VARCHAR", "DECODE", "TIME_SLICE", "ADD_MONTHS"):
            for count in range(5):
                for start in range(0, len(values), 3):
                    given = [values[(start + 5 * n) % len(values)] for n in range(count)]
                    answered(f"{name}({', '.join(given)})", dialect)


def answered(sql: str, dialect: str) -> bool:
    try:
        tree = parsed(sql, dialect)
    except Exception:  # noqa: BLE001 - sqlglot itself trips over some malformed calls; that is parse's affair
        return False
    try:
        scalar.check(tree)
        return bool(scalar.facts(tree, C))
    except FunctionRefused:
        return False


# ---------------------------------------------------------------- facts and lowering
@pytest.mark.parametrize(
    ("sql", "kind", "interval"),
    [
        ("age + 1", Kind.INT, (1, 101)),
        ("3 * price", Kind.DECIMAL, (0, 300_000)),
        ("fare / 4", Kind.FLOAT, (0, 2.5)),
        ("fare / age", Kind.FLOAT, (-math.inf, math.inf)),
        ("ABS(age - 50)", Kind.INT, (0, 50)),
        ("age % 7", Kind.INT, (0, 6)),
        ("LEAST(GREATEST(big, -5), 5)", Kind.INT, (-5, 5)),
        ("CASE WHEN fare < 2 THEN 2 WHEN fare > 3 THEN 3 ELSE fare END", Kind.FLOAT, (2, 3)),
        ("CASE WHEN big BETWEEN 0 AND 9 THEN big ELSE 0 END", Kind.INT, (0, 9)),
        ("COALESCE(age, -1)", Kind.INT, (-1, 100)),
        ("NULLIF(age, 0)", Kind.INT, (0, 100)),
        ("POWER(age, 2)", Kind.FLOAT, (0, 10_000)),
        ("LENGTH(city)", Kind.INT, (0, 5)),
        ("EXTRACT(month FROM day)", Kind.INT, (1, 12)),
        ("YEAR(day)", Kind.INT, (2020, 2020)),
        ("YEAR(DATE_TRUNC('year', day))", Kind.INT, (2020, 2020)),
        ("CAST(flag AS INTEGER)", Kind.INT, (0, 1)),
        ("day + 3", Kind.DATE, (18265, 18630)),
        ("IF(flag, age, 200)", Kind.INT, (0, 200)),
    ],
)
def test_intervals(sql, kind, interval):
    facts = scalar.facts(parsed(sql), C)
    assert facts.type.kind is kind
    assert (facts.interval.lower, facts.interval.upper) == interval


def test_a_plain_column_keeps_its_facts():
    for name, facts in C.items():
        found = scalar.facts(exp.column(name), C)
        assert (found.type, found.nullable, found.domain, found.from_unit) == (facts.type, facts.nullable, facts.domain, facts.from_unit)


@pytest.mark.parametrize(
    ("sql", "lowered"),
    [
        ("big / age", "CAST(big AS DOUBLE) / NULLIF(age, 0)"),
        ("CAST(name AS INTEGER)", "TRY_CAST(name AS DECIMAL(38, 0))"),
        ("LN(fare)", "LN(CASE WHEN fare > 0 THEN fare END)"),
        ("SQRT(fare)", "SQRT(CASE WHEN fare >= 0 THEN fare END)"),
        ("age > 5", "age > 5"),
        ("UPPER(name)", "UPPER(name)"),
        ("DATE_TRUNC('month', day)", "DATE_TRUNC('MONTH', day)"),
        ("YEAR(seen)", "DATE_PART(YEAR, seen)"),
        ("LEAST(age, 5)", "LEAST(age, 5)"),
        ("age % 0", "age % NULLIF(0, 0)"),
        ("price * price", "price * price"),
        ("DATEADD(day, 7, day)", "DATEADD(DAY, 7, CASE WHEN day BETWEEN CAST('0001-01-01' AS DATE) AND CAST('9999-12-23' AS DATE) THEN day END)"),
    ],
)
def test_lowering_for_snowflake(sql, lowered):
    tree = scalar.total(parsed(sql, "snowflake"), C, "snowflake")
    assert tree.sql("snowflake") == lowered
    assert sqlglot.parse_one(f"SELECT {lowered}", dialect="snowflake")


def test_nulls_in_least_follow_the_dialect_that_was_written():
    for dialect, nullable in (("duckdb", False), ("snowflake", True)):
        tree = parsed("LEAST(age, 5)", dialect)
        assert scalar.facts(tree, C).nullable is nullable


def test_products_of_bounded_decimals_stay_in_64_bits():
    facts = scalar.facts(parsed("price * (1 - price)"), C)
    assert facts.type.precision == 18
    assert "CASE WHEN price BETWEEN" in scalar.total(parsed("price * (1 - price)"), C, "duckdb").sql("duckdb")


# ---------------------------------------------------------------- narrowing
@pytest.mark.parametrize(
    ("sql", "column", "interval", "nullable"),
    [
        ("age > 5 AND age <= 20", "age", (6, 20), False),
        ("age BETWEEN 18 AND 30", "age", (18, 30), False),
        ("30 > age", "age", (0, 29), False),
        ("age IN (3, 7, 200)", "age", (3, 7), False),
        ("age = 4", "age", (4, 4), False),
        ("age < 10 OR age BETWEEN 15 AND 20", "age", (0, 20), False),
        ("NOT (age < 5)", "age", (5, 100), False),
        ("age * 2 > 120", "age", (61, 100), False),
        ("age + 10 <= 30", "age", (0, 20), False),
        ("age > 2.5", "age", (3, 100), False),
        ("big > 3 AND big < 9 AND flag", "big", (4, 8), False),
        ("age IS NULL OR age > 40", "age", (0, 100), True),
        ("age IS NOT NULL", "age", (0, 100), False),
        ("day >= '2020-03-01'", "day", (18322, 18627), False),
        ("day < DATE '2020-03-01'", "day", (18262, 18321), False),
        ("fare > 2.514 AND fare < 3.907", "fare", (2.514, 3.907), False),
        ("name = 'x'", "age", (0, 100), True),
        ("age > 500", "age", (0, 100), False),
        ("age < big", "age", (0, 100), False),
        ("big = age", "big", (0, 100), False),
    ],
)
def test_narrowing_of_intervals(sql, column, interval, nullable):
    found = scalar.narrow(parsed(sql), C)[column]
    assert (found.interval.lower, found.interval.upper) == pytest.approx(interval, abs=1e-6)
    assert found.nullable is nullable


@pytest.mark.parametrize(
    ("sql", "column", "domain"),
    [
        ("city = 'Lyon'", "city", ("Lyon",)),
        ("city <> 'Lyon'", "city", ("Paris", "rome")),
        ("city IN ('Lyon', 'Oslo')", "city", ("Lyon",)),
        ("city LIKE '%o%'", "city", ("Lyon", "rome")),
        ("UPPER(city) = 'ROME'", "city", ("rome",)),
        ("SUBSTRING(city, 1, 1) = 'L' OR city = 'rome'", "city", ("Lyon", "rome")),
        ("NOT (city = 'Lyon')", "city", ("Paris", "rome")),
        ("name IN ('b', 'a')", "name", ("a", "b")),
        ("name = 'a' OR name = 'b'", "name", ("a", "b")),
        ("name = 'a' OR age = 3", "name", None),
        ("flag", "flag", (True,)),
        ("NOT flag", "flag", (False,)),
    ],
)
def test_narrowing_of_domains(sql, column, domain):
    assert scalar.narrow(parsed(sql), C)[column].domain == domain


# ---------------------------------------------------------------- domains
@pytest.mark.parametrize(
    ("sql", "domain"),
    [
        ("city", ("Lyon", "Paris", "rome")),
        ("UPPER(city)", ("LYON", "PARIS", "ROME")),
        ("city || '!'", ("Lyon!", "Paris!", "rome!")),
        ("LENGTH(city)", (4, 5)),
        ("flag", (False, True)),
        ("age > 50", (False, True, None)),
        ("name = 'x'", (False, True, None)),
        ("fare > 3", (False, True)),
        ("CASE WHEN fare < 3 THEN 'low' WHEN fare < 6 THEN 'mid' ELSE 'high' END", ("high", "low", "mid")),
        ("CASE WHEN name LIKE 'a%' THEN city ELSE 'other' END", ("Lyon", "Paris", "other", "rome")),
        ("COALESCE(CASE WHEN name = 'x' THEN 'x' END, 'none')", ("none", "x")),
        ("FLOOR(age / 30) * 30", (0.0, 30.0, 60.0, 90.0, None)),
        ("FLOOR(fare)", tuple(float(n) for n in range(11))),
        ("FLOOR(fare / 5) * 5", (0.0, 5.0, 10.0)),
        ("ROUND(fare / 10, 1)", tuple(n / 10 for n in range(11))),
        ("CAST(fare AS INTEGER)", tuple(range(11))),
        ("WIDTH_BUCKET(fare, 0, 10, 5)", (1, 2, 3, 4, 5, 6)),
        ("DATE_TRUNC('month', seen)", ("2020-01-01 00:00:00", "2020-02-01 00:00:00", "2020-03-01 00:00:00")),
        ("YEAR(day)", (2020,)),
        ("QUARTER(seen)", (1,)),
        ("MONTH(seen)", (1, 2, 3)),
        ("STRFTIME(seen, '%Y-%m')", ("2020-01", "2020-02", "2020-03")),
        ("EXTRACT(hour FROM seen)", tuple(range(24))),
        ("MONTHNAME(seen)", ("February", "January", "March")),
        ("CAST(DATE_TRUNC('quarter', day) AS DATE)", ("2020-01-01", "2020-04-01", "2020-07-01", "2020-10-01")),
        ("age % 3", (0, 1, 2, None)),
        ("COALESCE(age % 3, -1)", (-1, 0, 1, 2)),
        ("CASE WHEN age > 50 AND city = 'Lyon' THEN 1 ELSE 0 END", (0, 1)),
        ("1", (1,)),
        ("'all'", ("all",)),
        ("name", None),
        ("fare", None),
        ("big", None),
        ("SUBSTR(name, 1, 1)", None),
        ("fare * 2", None),
        ("seen", None),
        ("NULL", None),
    ],
)
def test_domains(sql, domain):
    assert scalar.domain(parsed(sql), C, 1000) == domain


def test_a_domain_above_the_cap_is_unknown():
    assert scalar.domain(parsed("age"), C, 100) is None
    assert scalar.domain(parsed("age"), C, 102) is not None
    assert scalar.domain(parsed("day"), C, 365) is None


# ---------------------------------------------------------------- values
@pytest.mark.parametrize(
    ("type_", "given", "value"),
    [
        ("INTEGER", np.int64(3), 3),
        ("BIGINT", Decimal(7), 7),
        ("DECIMAL(10,2)", Decimal("1.50"), 1.5),
        ("DOUBLE", np.float32(0.5), 0.5),
        ("BOOLEAN", np.bool_(True), True),
        ("VARCHAR", "x", "x"),
        ("DATE", dt.date(2020, 2, 29), "2020-02-29"),
        ("DATE", dt.datetime(2020, 2, 29, 12), "2020-02-29"),  # noqa: DTZ001
        ("TIMESTAMP", dt.datetime(2020, 2, 29, 12, 0, 0, 500), "2020-02-29 12:00:00.000500"),  # noqa: DTZ001
        ("TIMESTAMP", np.datetime64("2020-02-29T12:00:00"), "2020-02-29 12:00:00"),
        ("TIMESTAMP", "2020-02-29", "2020-02-29 00:00:00"),
        ("DATE", "2020-2-9", "2020-02-09"),
        ("DATE", None, None),
    ],
)
def test_values_from_drivers(type_, given, value):
    found = scalar.value_of(given, SqlType.parse(type_))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("type_", "value"),
    [("INTEGER", -5), ("DECIMAL(10,2)", -1.25), ("DOUBLE", 1e308), ("DOUBLE", 0.1), ("BOOLEAN", False), ("VARCHAR", "it's"), ("DATE", "2020-02-29"),
     ("TIMESTAMP", "2020-02-29 12:00:00.000500"), ("HUGEINT", 10**30), ("TIMESTAMP", None)],
)  # fmt: skip
def test_literals_come_back_as_they_were(type_, value):
    import duckdb

    parsed_type = SqlType.parse(type_)
    shown = scalar.literal(value, parsed_type).sql("duckdb")
    assert scalar.value_of(duckdb.connect().execute(f"SELECT {shown}").fetchone()[0], parsed_type) == value


def test_ordinals():
    assert scalar.ordinal("1970-01-02", DATE) == 1.0
    assert scalar.ordinal("1970-01-01 00:00:01", TIMESTAMP) == 1e6
    assert scalar.ordinal(True, SqlType(Kind.BOOL)) == 1.0
    with pytest.raises(ValueError):
        scalar.ordinal("x", TEXT)


def test_facts_of_policy_columns():
    facts = scalar.column_facts(Column(type="DATE", bounds=("2020-01-01", "2020-12-31"), nullable=False))
    assert facts.interval == Interval(18262.0, 18627.0) and not facts.nullable and facts.integral
    facts = scalar.column_facts(Column(type="INTEGER", domain=(3, 1, 2)))
    assert facts.domain == (1, 2, 3) and facts.interval == Interval(1.0, 3.0)
    assert scalar.column_facts(Column(type="BOOLEAN")).domain == (False, True)
    assert scalar.column_facts(Column(type="VARCHAR")).domain is None
    with pytest.raises(ValueError):
        scalar.column_facts(Column(type="INTEGER", domain=("a",)))
