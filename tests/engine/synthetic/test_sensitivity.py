"""Hypothesis makes a database, removes one unit, and runs a twin's statements on both: within the declared sensitivity, always."""

from __future__ import annotations

import datetime as dt
from functools import cache

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpjupyter.engine.synthetic.layout import Layout, layout
from dpjupyter.engine.synthetic.statements import Statement, statements
from tests.conformance import sensitivity
from tests.engine.synthetic.conftest import CREATE, policy_of

units = st.one_of(st.none(), st.integers(0, 3))
keys = st.one_of(st.none(), st.integers(0, 5))
doubles = st.one_of(st.none(), st.floats(-12, 120), st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308]))
texts = st.sampled_from([None, "", "A", "B", "x", "y", "é"])
days = st.dates(dt.date(2023, 12, 25), dt.date(2024, 2, 5))
people = st.lists(st.tuples(units, texts, texts, doubles), max_size=10)
orders = st.lists(st.tuples(keys, units, days, texts), max_size=14)
lines = st.lists(st.tuples(keys, st.integers(0, 4), st.integers(-1, 4), st.one_of(st.none(), st.integers(-5, 20))), max_size=25)
survey = st.lists(st.tuples(doubles, st.one_of(st.none(), st.integers(0, 4)), st.one_of(st.none(), st.booleans()), st.none()), max_size=8)
TABLES = ("people", "orders", "lines", "survey")


@cache
def _planned(table: str) -> tuple[Layout, tuple[Statement, ...]]:
    policy = policy_of()
    found = layout(table, policy)
    return found, statements(found, policy)


def _histograms(statement: Statement, connection: duckdb.DuckDBPyConnection) -> dict[tuple[object, ...], dict[tuple[object, ...], int]]:
    """Per grouping set (which columns are not NULL): cell -> weight."""
    found: dict[tuple[object, ...], dict[tuple[object, ...], int]] = {}
    for *cell, weight in connection.execute(statement.sql.sql("duckdb")).fetchall():
        chosen = tuple(value is not None for value in cell)
        table = found.setdefault(chosen, {})
        assert tuple(cell) not in table, "a cell came twice"
        table[tuple(cell)] = int(weight)
    return found


@pytest.mark.timeout(300)
@settings(max_examples=45, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], derandomize=True)
@given(people=people, orders=orders, lines=lines, survey=survey, table=st.sampled_from(TABLES))
def test_removing_a_unit_moves_no_histogram_by_more_than_declared(people: list, orders: list, lines: list, survey: list, table: str) -> None:
    """Duplicate keys across people included: a shared key must not tie one person's rows to another's."""
    policy = policy_of()
    found, planned = _planned(table)
    with duckdb.connect() as connection:
        connection.execute(CREATE)
        for name, rows in (("people", people), ("orders", orders), ("lines", lines), ("survey", survey)):
            if rows:
                connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        before = [_histograms(statement, connection) for statement in planned]
        for victim in sensitivity.units(connection, policy, list(found.tables), 2, seed=len(orders)):
            with sensitivity.without(connection, policy, ["people", "orders", "lines", "survey"], victim):
                after = [_histograms(statement, connection) for statement in planned]
            for statement, one, other in zip(planned, before, after, strict=True):
                for chosen in set(one) | set(other):
                    a, b = one.get(chosen, {}), other.get(chosen, {})
                    moved = sum(abs(a.get(cell, 0) - b.get(cell, 0)) for cell in set(a) | set(b))
                    assert moved <= statement.largest, (statement.kind, chosen, moved, statement.largest)


def test_the_sensitivity_is_reached_where_a_unit_has_all_its_rows() -> None:
    """The declared bound is not only kept: for k rows of a unit it is what a unit really weighs."""
    found, planned = _planned("orders")
    with duckdb.connect() as connection:
        connection.execute(CREATE)
        connection.execute("INSERT INTO people VALUES (1, 'A', '', 5)")
        for rows in (1, 2, 3, 7):
            connection.execute("DELETE FROM orders")
            connection.execute(f"INSERT INTO orders SELECT i, 1, DATE '2024-01-05', 'x' FROM range({rows}) s(i)")
            for statement in planned:
                for table in _histograms(statement, connection).values():
                    weight = sum(table.values())
                    assert weight <= statement.largest
                    if statement.kind != "children":
                        assert weight == min(rows, 3) * found.weight or (rows == 7 and 0 <= statement.largest - weight < 7)


def test_every_pair_of_columns_is_measured_once() -> None:
    for table in TABLES:
        found, planned = _planned(table)
        with duckdb.connect() as connection:
            connection.execute(CREATE)
            connection.execute("INSERT INTO people VALUES (1, 'A', '', 5); INSERT INTO orders VALUES (1, 1, DATE '2024-01-05', 'x')")
            connection.execute("INSERT INTO lines VALUES (1, 1, 1, 1); INSERT INTO survey VALUES (1, 1, true, TIMESTAMP '2024-01-01 10:00:00')")
            pairs = []
            for statement in planned:
                if statement.kind == "pair":
                    sets = _histograms(statement, connection)
                    pairs += [tuple(n for n, there in zip(statement.columns, chosen, strict=True) if there) for chosen in sets]
        assert sorted(pairs) == sorted(found.pairs())
