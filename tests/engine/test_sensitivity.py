"""Hypothesis makes a database, removes one unit, and runs the pushed-down statements on both: within the declared bounds, always."""

from __future__ import annotations

import datetime as dt
from functools import cache

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpjupyter.engine import policy as policies
from dpjupyter.engine.model import Ask, Plan
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote
from tests.conformance import sensitivity
from tests.engine.test_attacks import POLICY, PRIVATE

TABLES = """
CREATE TABLE people (uid INTEGER, city VARCHAR, name VARCHAR, pay DOUBLE, tags INTEGER[]);
CREATE TABLE visits (uid INTEGER, other INTEGER, day DATE, cost DOUBLE, n BIGINT, place VARCHAR);
CREATE TABLE survey (v DOUBLE, k INTEGER);
CREATE TABLE places (place VARCHAR, region VARCHAR, uid INTEGER);
CREATE TABLE big (uid INTEGER, place VARCHAR);
INSERT INTO places VALUES ('p0', 'x', 1), ('p1', 'y', 2), ('p2', 'x', 3), ('p2', 'y', 4);
"""
units = st.one_of(st.none(), st.integers(0, 4))
doubles = st.one_of(st.none(), st.floats(-12, 12), st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, -0.0, 5e-324]))
longs = st.one_of(st.integers(-3, 12), st.sampled_from([2**63 - 1, -(2**63)]))
texts = st.sampled_from([None, "", "p0", "p1", "p2", "A", "B", "é", "\U0001f600"])
days = st.one_of(st.dates(dt.date(2023, 12, 25), dt.date(2024, 2, 5)), st.sampled_from([dt.date(1, 1, 1), dt.date(9999, 12, 31)]))
people = st.lists(st.tuples(units, texts, texts, doubles, st.one_of(st.none(), st.lists(st.integers(0, 3), max_size=2))), max_size=12)
visits = st.lists(st.tuples(units, st.integers(0, 3), days, doubles, longs, texts), max_size=25)
survey = st.lists(st.tuples(doubles, st.one_of(st.none(), st.integers(0, 4))), max_size=12)
asks = st.sampled_from([Ask(), Ask(max_rows=1, max_groups=1), Ask(max_rows=2, max_groups=1), Ask(max_rows=1, max_groups=3), Ask(max_rows=50, max_groups=50)])


@cache
def _policy() -> Policy:
    return policies.parse(POLICY)


@cache
def _plan(sql: str, rows: int | None, groups: int | None) -> Plan:
    return quote(sql, Ask(max_rows=rows, max_groups=groups), _policy()).plan


@pytest.mark.timeout(600)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], derandomize=True)
@given(people=people, visits=visits, survey=survey, ask=asks, picked=st.lists(st.sampled_from(PRIVATE), min_size=3, max_size=3, unique=True))
def test_removing_a_unit_stays_within_the_declared_sensitivity(people: list, visits: list, survey: list, ask: Ask, picked: list[str]) -> None:
    """And no statement fails or returns a key twice, whatever the values."""
    policy = _policy()
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        for table, rows in (("people", people), ("visits", visits), ("survey", survey)):
            if rows:
                connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        private = [name for name, table in policy.tables.items() if table.private]
        for sql in picked:
            plan = _plan(sql, ask.max_rows, ask.max_groups)
            before = sensitivity.results(plan, connection)
            for victim in sensitivity.units(connection, policy, list(plan.tables), 2, seed=len(visits)):
                with sensitivity.without(connection, policy, private, victim):
                    after = sensitivity.results(plan, connection)
                assert sensitivity.violations(plan, before, after) == [], sql
