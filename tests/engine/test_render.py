"""Algebra as SQL: literal rows, few and many."""

from __future__ import annotations

import duckdb
import pytest
from sqlglot import exp

from dpjupyter.engine.model import Constants
from dpjupyter.engine.render import render


@pytest.mark.parametrize("rows", [1, 3, 16, 17, 500])
def test_literal_rows_come_back_as_they_are(rows: int) -> None:
    values = [(n, None if n % 3 else f"it's {n}", n / 4, None) for n in range(rows)]
    literals = tuple(tuple(exp.convert(v) for v in row) for row in values)
    query = render(Constants(("c1", "c2", "c3", "c4"), literals), "duckdb").sql("duckdb")
    assert duckdb.sql(query).fetchall() == values
    assert duckdb.sql(query).columns == ["c1", "c2", "c3", "c4"]


def test_many_literal_rows_stay_selects_on_snowflake() -> None:
    query = render(Constants(("c1",), tuple((exp.Literal.number(n),) for n in range(20))), "snowflake").sql("snowflake")
    assert query.count("UNION ALL") == 19  # VALUES takes no expressions there
