"""Twins from Snowflake: the same counts as from DuckDB, and rows that Snowflake's analysts ask for in their own dialect."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.synthetic import Publication, TwinStore, publish_twin
from dpjupyter.engine.synthetic.counts import ExactCounts
from dpjupyter.engine.synthetic.layout import Layout, layout
from dpjupyter.engine.synthetic.rehearse import rehearse
from dpjupyter.engine.synthetic.statements import statements
from dpjupyter.engine.synthetic.use import Twins, answer_free, prepare
from tests.engine.plans import ZeroNoise
from tests.snowflake.conftest import House


def counted(house: House, table: str) -> tuple[Layout, ExactCounts]:
    plan = layout(table, house.policy)
    counts = ExactCounts()
    for statement in statements(plan, house.policy):
        sql = statement.sql.sql(house.backend.dialect)
        rows = house.backend.fetch(sql, tag="test", timeout_s=60, cancelled=threading.Event())
        counts.add(statement, rows, plan)
    counts.check()
    return plan, counts


def unenforced(policy: Policy) -> Policy:
    """As Snowflake takes keys: declared and not enforced."""
    return policy.model_copy(update={"tables": {n: t.model_copy(update={"enforced_keys": False}) for n, t in policy.tables.items()}})


@pytest.mark.parametrize(("database", "table"), [("titanic", "passengers"), ("shop", "customers"), ("shop", "orders"), ("shop", "order_lines")])
def test_the_counts_are_those_of_duckdb(houses: dict[tuple[str, str], House], database: str, table: str) -> None:
    there = houses[database, "duckdb"]
    mine, ours = counted(houses[database, "snowflake"], table)
    plan, theirs = counted(replace(there, policy=unenforced(there.policy)), table)
    assert [a.name for a in mine.axes] == [a.name for a in plan.axes]
    assert set(ours.rows) == set(theirs.rows)
    assert sum(int(t.sum()) for t in ours.rows.values()) > 0
    for chosen in ours.rows:
        assert np.array_equal(ours.table(chosen, mine), theirs.table(chosen, plan)), chosen
    if ours.children is not None:
        assert np.array_equal(ours.children, theirs.children)


def test_a_twin_of_snowflakes_tables_is_published_asked_and_rehearsed(houses: dict[tuple[str, str], House], tmp_path: Path) -> None:
    house = houses["shop", "snowflake"]
    store = TwinStore(tmp_path)
    for table in ("customers", "orders"):
        publish_twin(
            Publication(table, 5.0, 1e-7, "owner", uuid.uuid4().hex, ""), house.policy, ledger=house.ledger, backend=house.backend,
            noise_source=ZeroNoise(), store=store, cancelled=threading.Event(),
        )  # fmt: skip
    twins = Twins(house.policy, store.cards(house.ledger, "demo", "shop"), store.rows_of, lambda: house.backend)
    sql = "SELECT IFF(c.segment = 'business', 1, 0) AS b, COUNT(*) AS n FROM orders o JOIN customers c ON o.customer_id = c.customer_id GROUP BY 1 ORDER BY 1"
    found = answer_free(prepare(sql, Ask(), twins), twins, cancelled=threading.Event())
    assert found.kind == "synthetic"
    assert [row[0] for row in found.rows] == [0, 1]
    rows = answer_free(prepare("SELECT * FROM orders WHERE EXTRACT(YEAR FROM ordered_at) = 2024 LIMIT 3", Ask(), twins), twins, cancelled=threading.Event())
    assert len(rows.rows) == 3
    _, shown = rehearse(
        "SELECT channel, COUNT(*) AS n FROM orders GROUP BY channel", Ask(), twins, times=3, noise_source=ZeroNoise(), cancelled=threading.Event()
    )
    assert shown.runs == 3
