"""Aggregation before a join: the same rows whatever the data, and only where the other side has one row per key."""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpjupyter.engine.algebra import walk
from dpjupyter.engine.bind import bind
from dpjupyter.engine.model import Aggregate, Join, Rel
from dpjupyter.engine.parse import parse
from dpjupyter.engine.plan.eager import aggregated_early
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.render import render


def policy(*, enforced: bool = True, key_type: str = "INTEGER") -> Policy:
    visits = {"columns": {"person": {"type": key_type}, "cost": {"type": "INTEGER"}, "kind": {"type": "VARCHAR"}}, "unit": "person"}
    people = {"columns": {"id": {"type": key_type}, "town": {"type": "VARCHAR"}}, "keys": [["id"]], "enforced_keys": enforced, "unit": "id"}
    database = {"prefix": "x", "name": "y", "backend": "duckdb:///z"}
    return Policy.model_validate({"database": database, "tables": {"visits": visits, "people": people}})


def rewritten(sql: str, policy: Policy) -> tuple[Rel, Rel]:
    rel = bind(parse(sql, "duckdb", {}), policy).root
    return rel, aggregated_early(rel, policy)


def is_early(rel: Rel) -> bool:
    return any(isinstance(node, Join) and isinstance(node.left, Aggregate) for node in walk(rel))


JOIN = "FROM visits v JOIN people p ON v.person = p.id"
EARLY = [
    f"SELECT v.person, p.town, SUM(v.cost), COUNT(*) {JOIN} GROUP BY v.person, p.town",
    f"SELECT v.person, p.town, v.kind, COUNT(v.cost), SUM(v.cost * 2) {JOIN} WHERE v.cost > 1 AND v.kind <> 'b' GROUP BY v.person, p.town, v.kind",
    f"SELECT person, town, SUM(c), MIN(c) FROM (SELECT v.person, p.town, v.cost + 1 AS c {JOIN}) WHERE c > 1 GROUP BY person, town",
    "SELECT v.person, p.town, COUNT(*) FROM people p JOIN visits v ON p.id = v.person GROUP BY v.person, p.town",
    f"SELECT v.person, UPPER(p.town), COUNT(*) {JOIN} GROUP BY v.person, UPPER(p.town)",
]
rows = st.lists(st.tuples(st.integers(0, 3) | st.none(), st.integers(-3, 3) | st.none(), st.sampled_from(["a", "b", None])), max_size=12)
towns = st.dictionaries(st.integers(0, 4), st.sampled_from(["Rome", "rome", None]), max_size=5)


@cache
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE visits (person INTEGER, cost INTEGER, kind VARCHAR); CREATE TABLE people (id INTEGER, town VARCHAR)")
    return connection


@pytest.mark.parametrize("sql", EARLY)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(visits=rows, people=towns)
def test_the_same_rows_come_out(sql: str, visits: list[tuple[Any, ...]], people: dict[int, str | None]) -> None:
    before, after = rewritten(sql, policy())
    assert is_early(after)
    assert not is_early(before)
    connection = database()
    for table, values in (("visits", visits), ("people", list(people.items()))):
        connection.execute(f"DELETE FROM {table}")
        if values:
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)
    found = [sorted(connection.execute(render(rel, "duckdb").sql("duckdb")).fetchall(), key=repr) for rel in (before, after)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT p.id, p.town, COUNT(*) {JOIN} GROUP BY p.id, p.town",  # equal need not be the same: collations
        f"SELECT p.town, COUNT(*) {JOIN} GROUP BY p.town",  # rows of one key spread over groups
        f"SELECT v.person, p.town, COUNT(p.town) {JOIN} GROUP BY v.person, p.town",
        f"SELECT v.person, p.town, COUNT(*) {JOIN} WHERE p.town = 'Rome' GROUP BY v.person, p.town",  # the join drops rows first
        f"SELECT v.person, p.town || v.kind, COUNT(*) {JOIN} GROUP BY v.person, p.town || v.kind",
        f"SELECT v.person, v.kind, COUNT(*) {JOIN} GROUP BY v.person, v.kind",  # nothing is gained
        "SELECT v.person, p.town, COUNT(*) FROM visits v LEFT JOIN people p ON v.person = p.id GROUP BY v.person, p.town",
        "SELECT v.person, p.town, COUNT(*) FROM visits v JOIN people p ON v.person = p.id AND v.kind = p.town GROUP BY v.person, p.town",
        "SELECT v.person, p.town, COUNT(*) FROM visits v JOIN people p ON v.person < p.id GROUP BY v.person, p.town",
        "SELECT v.person, w.kind, COUNT(*) FROM visits v JOIN visits w ON v.person = w.person GROUP BY v.person, w.kind",  # many to many
    ],
)
def test_elsewhere_nothing_changes(sql: str) -> None:
    assert not is_early(rewritten(sql, policy())[1])


def test_a_declared_key_is_no_fact_and_equal_texts_may_differ() -> None:
    assert not is_early(rewritten(EARLY[0], policy(enforced=False))[1])
    assert not is_early(rewritten(EARLY[0], policy(key_type="VARCHAR"))[1])
