"""What runs in the warehouse, written down for both dialects: a reviewer reads the difference, not the whole.

After a deliberate change of the planner or renderer:  python -m tests.snowflake.test_golden_sql
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dpjupyter.engine.model import Ask
from dpjupyter.engine.road import quote
from tests.snowflake.conftest import shipped
from tests.snowflake.test_same_answers import SHOP, TITANIC

FOLDER = Path(__file__).parents[1] / "golden" / "sql"
DATABASES = {"titanic": TITANIC, "shop": SHOP}
URLS = {"duckdb": "duckdb:///x", "snowflake": "snowflake://x"}
CASES = [(database, dialect) for database in DATABASES for dialect in URLS]


def written(database: str, dialect: str) -> str:
    """Every question's statements, one after the other."""
    policy = shipped(database, URLS[dialect])
    parts: list[str] = []
    for name, sql in DATABASES[database].items():
        plan = quote(sql, Ask(), policy).plan
        statements = [public.statement for public in plan.publics] + [part.statement for m in plan.measurements for part in m.parts]
        parts.append(f"-- {name}: {sql}")
        parts += [statement.sql(dialect, pretty=True) + ";" for statement in statements]
        parts.append("")
    return "\n".join(parts)


@pytest.mark.parametrize(("database", "dialect"), CASES)
def test_the_statements_are_those_written_down(database: str, dialect: str) -> None:
    assert written(database, dialect) == (FOLDER / f"{database}.{dialect}.sql").read_text(encoding="utf-8")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        (FOLDER / f"{case[0]}.{case[1]}.sql").write_text(written(*case), encoding="utf-8")
