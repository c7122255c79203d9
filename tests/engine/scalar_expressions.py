"""Random SQL expressions and adversarial rows for the tests of the scalar rules."""

import random

import duckdb
from hypothesis import strategies as st

from dpjupyter.engine.model import Facts, Interval, Kind, SqlType

# column -> (type, adversarial values as SQL, values within the promise as SQL, promised interval, promised domain)
COLUMNS = {
    "c1": ("INTEGER", ["NULL", "0", "1", "-1", "7", "2147483647", "-2147483648", "100"], ["NULL", "0", "1", "50", "99", "100"], (0, 100), None),
    "c2": ("BIGINT", ["NULL", "0", "3", "-5", "9223372036854775807", "-9223372036854775808", "4294967296"], ["-1000", "0", "7", "1000"], (-1000, 1000), None),
    "c3": ("DOUBLE", ["NULL", "0", "-0.0", "0.5", "-2.5", "1e308", "-1e308", "'nan'", "'inf'", "'-inf'", "5e-324", "9007199254740993"], ["NULL", "0", "0.1", "2.5", "9.999", "10"], (0, 10), None),
    "c4": ("DECIMAL(15,2)", ["NULL", "0", "0.01", "-0.05", "9999999999999.99", "-9999999999999.99", "12.345"], ["NULL", "0", "0.05", "12.34", "99999.99"], (0, 100000), None),
    "c5": ("VARCHAR", ["NULL", "''", "'a'", "'12'", "' 1e400 '", "'2020-02-30'", "'x%_y'", "'ß İ'", "'true'", "'-'", "'10:30PM'"], ["'a'", "'b'", "'Lyon'"], None, ("Lyon", "a", "b")),
    "c6": ("DATE", ["NULL", "'2020-02-29'", "'1970-01-01'", "'0001-01-01'", "'9999-12-31'", "'infinity'", "'-infinity'", "'5881580-07-10'", "'5877642-06-25 (BC)'"], ["'2020-01-01'", "'2020-02-29'", "'2020-12-31'"], (18262, 18627), None),
    "c7": ("TIMESTAMP", ["NULL", "'2020-02-29 23:59:59.999999'", "'1969-12-31 23:59:59.999999'", "'0001-01-01'", "'9999-12-31 23:59:59.999999'", "'infinity'", "'-infinity'", "'294247-01-10 04:00:54'", "'290308-12-22 (BC) 00:00:00'"], ["'2020-01-01 00:00:00'", "'2020-03-05 12:34:56.789'", "'2020-12-31 23:59:59.999999'", "NULL"], (1577836800000000, 1609459199999999), None),
    "c8": ("BOOLEAN", ["NULL", "TRUE", "FALSE"], ["NULL", "TRUE", "FALSE"], None, None),
    "c9": ("HUGEINT", ["NULL", "0", "-3", "170141183460469231731687303715884105727", "-170141183460469231731687303715884105728"], ["0", "5", "1000000"], (0, 1000000), None),
    "c10": ("SMALLINT", ["NULL", "0", "32767", "-32768", "-1"], ["0", "3", "5"], (0, 5), None),
    "c11": ("DECIMAL(38,10)", ["NULL", "0", "9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "0.0000000001"], ["NULL", "1.5", "0.0000000001"], (0, 2), None),
    "c12": ("FLOAT", ["NULL", "0", "0.1", "3.4e38", "-3.4e38", "'nan'", "'inf'"], ["NULL", "0.5", "2"], (0, 2), None),
    "c13": ("DECIMAL(18,0)", ["NULL", "0", "999999999999999999", "-999999999999999999"], ["0", "7"], (0, 9), None),
    "c14": ("UINTEGER", ["NULL", "0", "1", "4294967295"], ["0", "9"], (0, 9), None),
}
ROWS = 120


def tables() -> duckdb.DuckDBPyConnection:
    """A database with ``wild`` (adversarial) and ``tame`` (within the promises) rows."""
    made = duckdb.connect(":memory:", config={"threads": 1})
    chance = random.Random(7)
    for name, index in (("wild", 1), ("tame", 2)):
        columns = ", ".join(f"{column} {spec[0]}" for column, spec in COLUMNS.items())
        made.execute(f"CREATE TABLE {name} ({columns})")
        rows = []
        for row in range(ROWS):
            # Every value appears, then in many combinations.
            cells = [spec[index][row] if row < len(spec[index]) else chance.choice(spec[index]) for spec in COLUMNS.values()]
            rows.append("(" + ", ".join(cells) + ")")
        made.execute(f"INSERT INTO {name} VALUES {', '.join(rows)}")
    return made


def promises() -> dict[str, Facts]:
    """Facts that hold for ``tame``."""
    found = {}
    for column, (type_, _, tame, bounds, domain) in COLUMNS.items():
        parsed = SqlType.parse(type_)
        whole = parsed.kind in (Kind.INT, Kind.DATE, Kind.TIMESTAMP, Kind.BOOL)
        interval = Interval(float(bounds[0]), float(bounds[1])) if bounds else None
        found[column] = Facts(parsed, interval, nullable="NULL" in tame, domain=domain, integral=whole)
    return found


def unknown() -> dict[str, Facts]:
    """Facts that hold for every data."""
    return {column: Facts(SqlType.parse(spec[0])) for column, spec in COLUMNS.items()}


# ---------------------------------------------------------------- expressions as SQL text
_WHOLE = st.sampled_from(["0", "1", "2", "7", "-1", "-3", "100", "2147483647", "9223372036854775807"])
_REAL = st.sampled_from(["0.5", "2.50", "-1.25", "1e3", "1e300", "0.001", "10."])
_TEXTS = st.sampled_from(["'a'", "'Lyon'", "''", "'12'", "'x y'"])
_DATES = st.sampled_from(["DATE '2020-02-29'", "DATE '1999-12-31'", "DATE '0001-01-01'"])
_TIMES = st.sampled_from(["TIMESTAMP '2020-02-29 12:30:00'", "TIMESTAMP '1969-07-20 20:17:40'"])
_UNITS = st.sampled_from(["year", "quarter", "month", "week", "day", "hour", "minute", "second"])


def number(depth: int) -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(["c1", "c2", "c3", "c4", "c9", "c10", "c11", "c12", "c13", "c14"]), _WHOLE, _REAL)
    if depth == 0:
        return leaves
    n = number(depth - 1)
    one = st.sampled_from(["ABS", "FLOOR", "CEIL", "ROUND", "TRUNC", "SQRT", "LN", "LOG10", "LOG2", "EXP", "SIN", "COS", "TAN", "ASIN", "ACOS", "ATAN", "SIGN", "-", "CBRT", "DEGREES", "RADIANS", "LOG"])
    return st.one_of(
        leaves,
        st.tuples(n, st.sampled_from(["+", "-", "*", "/", "//", "%"]), n).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(one, n).map(lambda t: f"({t[0]}({t[1]}))"),
        st.tuples(n, st.integers(-3, 3)).map(lambda t: f"ROUND({t[0]}, {t[1]})"),
        st.tuples(n, st.integers(-2, 3)).map(lambda t: f"TRUNC({t[0]}, {t[1]})"),
        st.tuples(st.sampled_from(["LEAST", "GREATEST", "COALESCE"]), n, n).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(n, n).map(lambda t: f"NULLIF({t[0]}, {t[1]})"),
        st.tuples(n, st.sampled_from(["2", "3", "0.5", "-1", "0"])).map(lambda t: f"POWER({t[0]}, {t[1]})"),
        st.tuples(condition(depth - 1), n, n).map(lambda t: f"CASE WHEN {t[0]} THEN {t[1]} ELSE {t[2]} END"),
        st.tuples(n, n, n).map(lambda t: f"CASE WHEN {t[0]} < 2 THEN 2 WHEN {t[0]} > 30 THEN {t[1]} ELSE {t[0]} END"),
        st.tuples(n, st.sampled_from(["INTEGER", "BIGINT", "SMALLINT", "DOUBLE", "DECIMAL(10,2)", "HUGEINT", "TINYINT", "FLOAT", "DECIMAL(38,20)"])).map(lambda t: f"CAST({t[0]} AS {t[1]})"),
        st.tuples(text(depth - 1), st.sampled_from(["INTEGER", "DOUBLE", "DECIMAL(10,2)"])).map(lambda t: f"CAST(('' || {t[0]}) AS {t[1]})"),
        text(depth - 1).map(lambda t: f"LENGTH({t})"),
        st.tuples(text(depth - 1), _TEXTS).map(lambda t: f"STRPOS({t[0]}, {t[1]})"),
        st.tuples(st.sampled_from(["year", "quarter", "month", "week", "day", "dow", "isodow", "doy", "hour", "minute", "second", "isoyear", "epoch", "decade", "century"]), moment(depth - 1)).map(lambda t: f"EXTRACT({t[0]} FROM {t[1]})"),
        st.tuples(_UNITS, moment(depth - 1), moment(depth - 1)).map(lambda t: f"DATE_DIFF('{t[0]}', {t[1]}, {t[2]})"),
        n.map(lambda t: f"WIDTH_BUCKET({t}, 0, 10, 4)"),
    )


def text(depth: int) -> st.SearchStrategy[str]:
    leaves = st.one_of(st.just("c5"), _TEXTS)
    if depth == 0:
        return leaves
    t = text(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(st.sampled_from(["LOWER", "UPPER", "TRIM", "LTRIM", "RTRIM", "REVERSE"]), t).map(lambda x: f"{x[0]}({x[1]})"),
        st.tuples(t, st.integers(-3, 3), st.integers(-3, 3)).map(lambda x: f"SUBSTR({x[0]}, {x[1]}, {x[2]})"),
        st.tuples(st.sampled_from(["LEFT", "RIGHT"]), t, st.integers(-3, 3)).map(lambda x: f"{x[0]}({x[1]}, {x[2]})"),
        st.tuples(t, t).map(lambda x: f"({x[0]} || {x[1]})"),
        st.tuples(t, number(0), t).map(lambda x: f"CONCAT({x[0]}, {x[1]}, {x[2]})"),
        t.map(lambda x: f"REPLACE({x}, 'a', 'bb')"),
        st.tuples(t, st.sampled_from([1, 2, -1])).map(lambda x: f"SPLIT_PART({x[0]}, 'y', {x[1]})"),
        st.tuples(number(depth - 1)).map(lambda x: f"CAST({x[0]} AS VARCHAR)"),
        st.tuples(condition(depth - 1), t, t).map(lambda x: f"CASE WHEN {x[0]} THEN {x[1]} ELSE {x[2]} END"),
        st.tuples(t, t).map(lambda x: f"COALESCE({x[0]}, {x[1]})"),
        st.tuples(st.sampled_from(["MONTHNAME", "DAYNAME"]), moment(depth - 1)).map(lambda x: f"{x[0]}({x[1]})"),
        st.tuples(moment(depth - 1), st.sampled_from(["%Y-%m", "%d.%m.%y", "%H:%M", "%j %a"])).map(lambda x: f"STRFTIME({x[0]}, '{x[1]}')"),
    )


def moment(depth: int) -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(["c6", "c7"]), _DATES, _TIMES)
    if depth == 0:
        return leaves
    m = moment(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(_UNITS, m).map(lambda x: f"DATE_TRUNC('{x[0]}', {x[1]})"),
        st.tuples(m, st.sampled_from(["+", "-"]), st.integers(0, 40), _UNITS).map(lambda x: f"({x[0]} {x[1]} INTERVAL {x[2]} {x[3]})"),
        st.tuples(st.sampled_from(["+", "-"]), st.sampled_from(["1", "400", "c1", "c10", "c2"])).map(lambda x: f"(c6 {x[0]} {x[1]})"),
        m.map(lambda x: f"CAST({x} AS DATE)"),
        m.map(lambda x: f"CAST({x} AS TIMESTAMP)"),
        m.map(lambda x: f"LAST_DAY({x})"),
        st.tuples(condition(depth - 1), m, m).map(lambda x: f"CASE WHEN {x[0]} THEN {x[1]} ELSE {x[2]} END"),
        st.tuples(st.sampled_from(["COALESCE", "LEAST", "GREATEST"]), m, m).map(lambda x: f"{x[0]}({x[1]}, {x[2]})"),
        text(depth - 1).map(lambda x: f"CAST(('' || {x}) AS DATE)"),
        text(depth - 1).map(lambda x: f"STRPTIME({x}, '%I:%M%p')"),
    )


def condition(depth: int) -> st.SearchStrategy[str]:
    compare = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"])
    n, m, t = number(max(depth - 1, 0)), moment(max(depth - 1, 0)), text(max(depth - 1, 0))
    leaves = st.one_of(
        st.just("c8"),
        st.tuples(n, compare, n).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        st.tuples(m, compare, m).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        st.tuples(t, compare, t).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        st.tuples(m, compare).map(lambda x: f"({x[0]} {x[1]} '2020-03-01')"),
        st.tuples(n, n, n).map(lambda x: f"({x[0]} BETWEEN {x[1]} AND {x[2]})"),
        st.tuples(n, n, n).map(lambda x: f"({x[0]} IN ({x[1]}, {x[2]}, NULL))"),
        st.tuples(t, st.sampled_from(["LIKE", "ILIKE", "NOT LIKE"])).map(lambda x: f"({x[0]} {x[1]} 'a%_')"),
        st.tuples(st.one_of(n, m, t), st.sampled_from(["IS NULL", "IS NOT NULL"])).map(lambda x: f"({x[0]} {x[1]})"),
        st.tuples(st.sampled_from(["STARTS_WITH", "ENDS_WITH", "CONTAINS"]), t, _TEXTS).map(lambda x: f"{x[0]}({x[1]}, {x[2]})"),
    )
    if depth == 0:
        return leaves
    c = condition(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(c, st.sampled_from(["AND", "OR"]), c).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        c.map(lambda x: f"(NOT {x})"),
        c.map(lambda x: f"({x} IS TRUE)"),
    )


def anything(depth: int = 2) -> st.SearchStrategy[str]:
    return st.one_of(number(depth), text(depth), moment(depth), condition(depth))
