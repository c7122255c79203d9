"""Set operations of public and released columns: types that go together for every value, or a refusal before anything runs."""

from __future__ import annotations

import itertools

import duckdb
import pytest

from dpjupyter.engine import policy as policies
from dpjupyter.engine.finish import finish
from dpjupyter.engine.model import Ask, NoisyRows
from dpjupyter.engine.noise import _values
from dpjupyter.engine.road import quote
from dpjupyter.errors import UnsupportedSQL

COLUMNS = {
    "i": ("INTEGER", "2147483647"), "big": ("BIGINT", "9223372036854775807"), "huge": ("HUGEINT", "170141183460469231731687303715884105727"),
    "t": ("VARCHAR", "'q'"), "d": ("DATE", "'2020-01-31'"), "ts": ("TIMESTAMP", "'2020-01-31 10:00:00'"), "f": ("DOUBLE", "1e300"), "b": ("BOOLEAN", "true"),
    "n": ("DECIMAL(10,2)", "99999999.99"), "wide": ("DECIMAL(38,10)", "1234567890123456789012345678.0123456789"), "l": ("INTEGER[]", "[1]"), "v": ("VARCHAR[]", "['x']"),
}  # fmt: skip
POLICY = """
[database]
prefix = "local"
name = "d"
backend = "{backend}"
[tables.a]
private = false
rows = 3
{columns}
[tables.r]
unit = "row"
columns.k = {{ type = "INTEGER", domain = [1, 2] }}
"""
DECLARED = "\n".join(f'columns.{name} = {{ type = "{type_}" }}' for name, (type_, _) in COLUMNS.items())
POLICIES = {kind: policies.parse(POLICY.format(backend=f"{kind}://x" if kind == "snowflake" else "duckdb:///x", columns=DECLARED)) for kind in ("duckdb", "snowflake")}


@pytest.mark.parametrize("operation", ["UNION ALL", "EXCEPT"])
def test_what_is_not_refused_never_fails(operation: str) -> None:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(f"CREATE TABLE a ({', '.join(f'{name} {type_}' for name, (type_, _) in COLUMNS.items())})")
    connection.execute(f"INSERT INTO a VALUES ({', '.join(value for _, value in COLUMNS.values())})")
    answered = 0
    for one, other in itertools.product([*COLUMNS, "NULL"], [*COLUMNS, "NULL"]):
        try:
            asked = quote(f"SELECT {one} AS v FROM a {operation} SELECT {other} FROM a", Ask(), POLICIES["duckdb"])
        except UnsupportedSQL:
            continue
        (public,) = asked.plan.publics
        rows = connection.execute(public.statement.sql("duckdb")).fetchall()
        types = [type_ for _, type_ in public.columns]
        finish(NoisyRows({}, {public.name: [_values(row, types) for row in rows]}), asked)
        answered += 1
    assert answered > 80


@pytest.mark.parametrize(
    ("kind", "sql", "fine"),
    [
        ("duckdb", "SELECT k FROM r GROUP BY k UNION ALL SELECT 'all'", True),
        ("snowflake", "SELECT k FROM r GROUP BY k UNION ALL SELECT 'all'", True),  # finished here, not in Snowflake
        ("duckdb", "SELECT COUNT(*) AS n FROM r UNION ALL SELECT DATE '2020-01-01'", False),
        ("snowflake", "SELECT i FROM a UNION ALL SELECT t FROM a", False),
        ("snowflake", "SELECT i FROM a UNION ALL SELECT n FROM a", True),
    ],
)
def test_where_it_is_computed_decides(kind: str, sql: str, fine: bool) -> None:
    if fine:
        assert quote(sql, Ask(), POLICIES[kind]).plan
        return
    with pytest.raises(UnsupportedSQL, match="different types"):
        quote(sql, Ask(), POLICIES[kind])
