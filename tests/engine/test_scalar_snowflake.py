"""Lowerings for Snowflake run on an emulator and give what the lowerings for DuckDB give.

The emulator keeps NUMBER(38, 0) in 64 bits, so only rows within the promises are asked.
"""

import math
import random
import warnings

import fakesnow
import pytest
import snowflake.connector
import sqlglot
from hypothesis import HealthCheck, given, settings

from dpjupyter.engine import scalar
from dpjupyter.engine.model import Facts, SqlType
from dpjupyter.errors import FunctionRefused
from tests.engine import scalar_expressions as wild

TYPES = {"c3": "DOUBLE", "c6": "DATE", "c7": "TIMESTAMP_NTZ", "c9": "NUMBER(38,0)", "c12": "DOUBLE", "c14": "INTEGER"}
# Ask other things of the emulator, or are DuckDB's own; weeks are counted differently there.
APART = ("//", "STRPTIME", "STRFTIME", "isoyear", "decade", "century", "9223372036854775807", "2147483647", "week", "DAYNAME", "MONTHNAME", "VARCHAR", "||", "CONCAT", "1e300", "FLOAT")


@pytest.fixture(scope="module")
def warehouse():
    with warnings.catch_warnings(), fakesnow.patch():
        warnings.simplefilter("ignore")
        connection = snowflake.connector.connect(database="DB1", schema="S1")
        cursor = connection.cursor()
        columns = ", ".join(f"{name} {TYPES.get(name, spec[0])}" for name, spec in wild.COLUMNS.items())
        cursor.execute(f"CREATE TABLE tame ({columns})")
        chance = random.Random(3)
        rows = ["(" + ", ".join(chance.choice(spec[2]) for spec in wild.COLUMNS.values()) + ")" for _ in range(25)]
        cursor.execute(f"INSERT INTO tame VALUES {', '.join(rows)}")
        plain = wild.tables()
        plain.execute("DELETE FROM tame")
        plain.execute(f"INSERT INTO tame VALUES {', '.join(rows)}")
        yield cursor, plain
        connection.close()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(wild.anything(2))
def test_both_lowerings_give_the_same_values(warehouse, sql):
    cursor, plain = warehouse
    if any(part in sql for part in APART):
        return
    try:
        tree = sqlglot.parse_one(sql, dialect="snowflake")
    except sqlglot.errors.ParseError:
        return
    there = {name: Facts(SqlType.parse(TYPES.get(name, spec[0]))) for name, spec in wild.COLUMNS.items()}
    try:
        ours, theirs = scalar.total(tree, wild.unknown(), "duckdb"), scalar.total(tree, there, "snowflake")
    except FunctionRefused:
        return
    expected = plain.execute(f"SELECT {ours.sql('duckdb')} FROM tame").fetchall()
    found = cursor.execute(f"SELECT {theirs.sql('snowflake')} AS v FROM tame").fetchall()
    for (one,), (other,) in zip(expected, found, strict=True):
        if other is None or one is None or one == other:
            continue  # Snowflake has NULL where DuckDB has infinities and NaN
        if isinstance(one, (bool, str)) or (not isinstance(other, (int, float)) and not hasattr(other, "as_tuple")):
            assert str(one)[:19] == str(other)[:19] or str(one)[:10] == str(other)[:10], f"{sql}: {one} and {other}"
        else:
            a, b = float(one), float(other)
            assert math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6) or math.isnan(a) or math.isinf(a), f"{sql}: {a} and {b}"
