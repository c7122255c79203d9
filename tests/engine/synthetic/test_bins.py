"""Bins come from the policy, and a warehouse finds the same bin for a value as we do."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpjupyter.engine.policy import Column, Policy, parse
from dpjupyter.engine.scalar import column_facts
from dpjupyter.engine.scalar.values import value_of
from dpjupyter.engine.synthetic.bins import DEFAULT_BINS, OUTSIDE, Axis, _axis
from dpjupyter.engine.synthetic.layout import children_axis, layout
from dpjupyter.errors import AskRefused, NotFound, PolicyError
from tests.engine.synthetic.conftest import POLICY, policy_of

COLUMNS = {
    "domain": Column(type="VARCHAR", domain=("a", "b'c", "")),
    "codes": Column(type="INTEGER", domain=(5, 1, 3), nullable=False),
    "flag": Column(type="BOOLEAN"),
    "few integers": Column(type="INTEGER", bounds=(0, 10)),
    "many integers": Column(type="BIGINT", bounds=(-1000, 2**40)),
    "double": Column(type="DOUBLE", bounds=(-3.5, 7.25)),
    "point": Column(type="DOUBLE", bounds=(2, 2)),
    "decimal": Column(type="DECIMAL(8,2)", bounds=(0, 25), nullable=False),
    "date": Column(type="DATE", bounds=("2020-01-01", "2024-12-31")),
    "moment": Column(type="TIMESTAMP", bounds=("2023-01-01 00:00:00", "2024-12-31 23:59:59")),
    "own number of bins": Column(type="DOUBLE", bounds=(0, 1), bins=3),
    "own cuts": Column(type="INTEGER", bounds=(0, 100), bins=(18, 65)),
}
numbers = st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(allow_nan=True, allow_infinity=True, width=32))
texts = st.sampled_from([None, "a", "b'c", "", "z"])
days = st.one_of(st.none(), st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2050, 1, 1)))  # noqa: DTZ001


def axis_of(name: str) -> Axis:
    found = _axis(name, COLUMNS[name], column_facts(COLUMNS[name]))
    assert isinstance(found, Axis)
    return found


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_warehouse_finds_the_bin_that_we_find(name: str, data: st.DataObject) -> None:
    axis, declared = axis_of(name), COLUMNS[name]
    kind = axis.type.kind.value
    source = texts if kind == "text" else st.sampled_from([None, True, False]) if kind == "boolean" else days if kind in ("date", "timestamp") else numbers
    values = data.draw(st.lists(source, min_size=1, max_size=20))
    sql = axis.expression("c1").sql("duckdb")
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t (c1 {declared.type})")
        for value in values:
            try:
                connection.execute("INSERT INTO t VALUES (?)", [value])
            except duckdb.Error:
                continue  # the column cannot hold it
        for value, found in connection.execute(f"SELECT c1, {sql} FROM t").fetchall():
            assert found == axis.bin_of(value_of(value, axis.type)), value
            assert found == OUTSIDE or 0 <= found < axis.size


def test_null_has_a_bin_of_its_own_only_where_the_policy_allows_it() -> None:
    assert axis_of("domain").bin_of(None) == 3
    assert axis_of("domain").size == 4
    assert axis_of("codes").size == 3
    assert axis_of("codes").bin_of(None) == OUTSIDE


def test_few_integers_keep_a_bin_each_and_many_are_cut_into_the_default_number() -> None:
    assert axis_of("few integers").ranges == 11
    assert axis_of("many integers").ranges == DEFAULT_BINS
    assert axis_of("own cuts").cuts == (0.0, 18.0, 65.0, 101.0)
    assert axis_of("own number of bins").ranges == 3


@pytest.mark.parametrize("most", [1, 2, 5, 20, 50, 1000])
def test_numbers_of_children_are_exact_while_small(most: int) -> None:
    axis = children_axis(most, least=0)
    assert axis.bin_of(0) == 0
    assert axis.bin_of(most) == axis.bin_of(most + 5) == axis.ranges - 1
    assert axis.cuts[-1] == most + 1
    assert all(a < b for a, b in zip(axis.cuts, axis.cuts[1:], strict=False))


def test_keys_and_units_are_structure_and_text_without_a_domain_is_left_out() -> None:
    policy = policy_of()
    people, lines = layout("people", policy), layout("lines", policy)
    assert [a.name for a in people.own] == ["city", "pay"]
    assert "name" in people.left_out
    assert lines.keys == ("n",)
    assert [a.name for a in lines.given] == ["day", "kind"]
    assert lines.tables == ("lines", "orders")
    assert layout("orders", policy).tables == ("orders", "people")


def test_a_public_or_unknown_table_has_no_twin() -> None:
    with pytest.raises(AskRefused):
        layout("places", policy_of())
    with pytest.raises(NotFound):
        layout("nothing", policy_of())


@pytest.mark.parametrize("bins", ["0", "257", "[0]", "[5, 5]", "[100, 50]", "1.5"])
def test_bins_that_make_no_sense_are_refused_when_the_policy_is_read(bins: str) -> None:
    with pytest.raises(PolicyError, match="bins"):
        parse(POLICY.replace("bins = 4", f"bins = {bins}"))


def test_bins_need_bounds() -> None:
    with pytest.raises(PolicyError, match="bounds"):
        parse(POLICY.replace('columns.name = {type = "VARCHAR"}', 'columns.name = {type = "VARCHAR", bins = 3}'))


def test_a_policy_without_bins_keeps_the_checksum_it_had() -> None:
    text = POLICY.replace(", bins = 4", "").replace(", bins = [1, 5]", "").replace(", bins = 3", "")
    policy: Policy = parse(text)
    assert "bins" not in str([c.model_dump(exclude_none=True) for t in policy.tables.values() for c in t.columns.values()])
    assert parse(POLICY).checksum != policy.checksum
