"""Policies: what is accepted, and what an owner is told about what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpjupyter.engine.policy import Policy, Unit, load, parse
from dpjupyter.errors import PolicyError

SMALL = """\
[database]
prefix = "p"
name = "d"
backend = "duckdb:///d.duckdb"

[tables.t]
unit = "row"

[tables.t.columns]
a = { type = "INTEGER", bounds = [0, 10] }
"""


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new, 1)


def refusal(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parse(text, "small.toml")
    return caught.value.message


def test_left_out_keys_take_the_documented_defaults() -> None:
    policy = parse(SMALL)
    assert policy.total is not None
    assert (policy.total.total_budget, policy.total.recover_cycle, policy.total.exhausted_strategy) == (10000.0, 30, "reject")
    assert policy.total.slack_or_default == policy.total.delta / 2
    assert (policy.limits.default_epsilon, policy.limits.default_delta, policy.limits.time_grid_ms) == (0.9, 1e-8, 250)
    assert (policy.tables["t"].max_rows, policy.tables["t"].max_groups, policy.tables["t"].private) == (1, 1, True)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[0, 10]", "[10, 0]", "small.toml:10: tables.t.columns.a: lower bound 10 is above upper bound 0"),
        ("[0, 10]", "[0, inf]", "small.toml:10: tables.t.columns.a: bounds and domains must be finite"),
        ("[0, 10]", "[nan, 1]", "small.toml:10: tables.t.columns.a: bounds and domains must be finite"),
        ("[0, 10]", '["a", 3]', "small.toml:10: tables.t.columns.a: 'a' is not a value of type INTEGER"),
        ("[0, 10]", "[true, false]", "small.toml:10: tables.t.columns.a: True is not a value of type INTEGER"),
        ("[0, 10]", "[0, 10], domain = []", "small.toml:10: tables.t.columns.a: domain is empty"),
        ("[0, 10]", "[0, 10], domain = [1, 1]", "small.toml:10: tables.t.columns.a: domain holds a value twice"),
        ("[0, 10]", "[0, 10], domain = [1, 11]", "small.toml:10: tables.t.columns.a: domain value 11 is outside the bounds"),
        ("[0, 10]", "[0, 10], domain = [1.5]", "small.toml:10: tables.t.columns.a: 1.5 is not a value of type INTEGER"),
        ('"INTEGER", bounds = [0, 10]', '"VARCHAR", domain = [true]', "small.toml:10: tables.t.columns.a: True is not a value of type VARCHAR"),
        ('"INTEGER", bounds = [0, 10]', '"DATE", bounds = [0, 10]', "small.toml:10: tables.t.columns.a: 0 is not a value of type DATE"),
        (
            '"INTEGER", bounds = [0, 10]',
            '"DATE", bounds = ["2020-13-01", "2021-01-01"]',
            "small.toml:10: tables.t.columns.a: '2020-13-01' is not a value of type DATE",
        ),
        (
            '"INTEGER", bounds',
            '"VARCHAR", bounds',
            "small.toml:10: tables.t.columns.a: bounds on a column of type VARCHAR: only numbers, dates and timestamps have them",
        ),
        ('"INTEGER"', '"INTGER"', "small.toml:10: tables.t.columns.a: 'INTGER' is not a type this version knows"),
        ('unit = "row"', "", "small.toml:6: tables.t: a private table needs `unit`: row, a column, or a path of foreign keys"),
        ('unit = "row"', 'unit = "zz"', "small.toml:6: tables.t: unit column 'zz' is not among the columns"),
        ('unit = "row"', 'unit = "a ->"', "small.toml:7: tables.t.unit: unit 'a ->' has an empty part"),
        ('unit = "row"', 'unit = "a -> x.y -> z"', "small.toml:7: tables.t.unit: no table 'x'"),
        ('unit = "row"', 'unit = "row"\nmax_row = 3', "small.toml:8: tables.t.max_row: unknown key; did you mean 'max_rows'?"),
        ('unit = "row"', 'unit = "row"\ntotal_budget = true', "small.toml:8: tables.t.total_budget: must be a number, not a boolean"),
        ('unit = "row"', 'unit = "row"\nmax_rows = 0', "small.toml:8: tables.t.max_rows: Input should be greater than or equal to 1"),
        ('unit = "row"', 'unit = "row"\nkeys = [["b"]]', "small.toml:6: tables.t: key column 'b' is not among the columns"),
        (
            'unit = "row"',
            'unit = "row"\nkey_delta = 1e-5',
            "small.toml:6: tables.t: key_delta 1e-05 must be below delta 1e-06: it is paid at every release of open keys",
        ),
        ('unit = "row"', 'unit = "row"\nslack = 1e-5', "small.toml:6: tables.t: slack must not exceed delta"),
        ('unit = "row"', 'private = false\nunit = "row"', "small.toml:6: tables.t: a public table has no `unit`"),
        ('unit = "row"', 'unit = "row"\nexhausted_strategy = "maybe"', "small.toml:8: tables.t.exhausted_strategy: Input should be 'reject' or 'allow'"),
        ('prefix = "p"', "", "small.toml:1: database.prefix: is missing"),
        ("[database]", "budget = 1\n[database]", "small.toml:1: budget: unknown key; known here: database, limits, total, analysts, tables"),
        ("[database]", "[limits]\ndefault_epsilon = 20\n[database]", "small.toml:1: limits: default_epsilon must lie within [min_epsilon, max_epsilon]"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(old: str, new: str, told: str) -> None:
    assert refusal(changed(old, new)) == told


def test_every_mistake_is_told_at_once() -> None:
    text = changed('"INTEGER"', '"INTGER"').replace('name = "d"', 'nmae = "d"')
    assert refusal(text).count("\n") == 2  # unknown nmae, missing name, unknown type


def test_broken_toml_is_told_with_its_place() -> None:
    assert "not valid TOML" in refusal(changed('name = "d"', 'name = "d'))
    assert "line 3" in refusal(changed('name = "d"', 'name = "d'))


def test_an_unreadable_file_is_a_policy_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"gone\.toml: cannot be read"):
        load(tmp_path / "gone.toml")
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="cannot be read"):
        load(binary)


def test_dates_may_be_written_as_toml_dates_or_as_text() -> None:
    column = '"INTEGER", bounds = [0, 10]'
    native = parse(changed(column, '"DATE", bounds = [2020-01-01, 2024-12-31]'))
    text = parse(changed(column, '"DATE", bounds = ["2020-01-01", "2024-12-31"]'))
    assert native.tables["t"].columns["a"].bounds == ("2020-01-01", "2024-12-31")
    assert native.checksum == text.checksum


def test_codes_kept_as_text_may_be_written_as_numbers() -> None:
    assert parse(changed('"INTEGER", bounds = [0, 10]', '"VARCHAR(1)", domain = [1, 2]')).tables["t"].columns["a"].domain == ("1", "2")


def test_the_database_wide_row_can_be_left_out_and_cannot_be_a_table() -> None:
    assert parse("total = false\n" + SMALL).total is None
    assert "'*' is the name of the database-wide budget row" in refusal(SMALL + '\n[tables."*"]\nunit = "row"\ncolumns = { a = { type = "INTEGER" } }\n')


def test_the_checksum_names_what_analysts_are_told() -> None:
    checksum = parse(SMALL).checksum
    assert len(checksum) == 64
    assert parse("# a remark\n" + SMALL.replace("d.duckdb", "elsewhere.duckdb")).checksum == checksum
    for old, new in (("[0, 10]", "[0, 11]"), ('unit = "row"', 'unit = "row"\nmax_rows = 2'), ('name = "d"', 'name = "e"'), ("duckdb://", "snowflake://")):
        assert parse(changed(old, new)).checksum != checksum


def test_names_that_differ_only_in_case_are_refused() -> None:
    assert "two column names differ only in case" in refusal(SMALL + 'A = { type = "INTEGER" }\n')
    assert "two names differ only in case" in refusal(SMALL + '\n[tables.T]\nunit = "row"\ncolumns = { a = { type = "INTEGER" } }\n')


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("row", "row", "row"),
        ("customer_id", "column", "customer_id"),
        ("order_id -> orders.order_id -> customer_id", "path", "order_id -> orders.order_id -> customer_id"),
        ("order_id->orders.order_id->customer_id", "path", "order_id -> orders.order_id -> customer_id"),
        ("customer_id -> customers.customer_id", "column", "customer_id"),
        ("line_id -> lines.id -> order_id -> orders.id -> customer_id", "path", "line_id -> lines.id -> order_id -> orders.id -> customer_id"),
    ],
)
def test_units_are_read_and_written(text: str, kind: str, shown: str) -> None:
    unit = Unit.parse(text)
    assert (unit.kind, str(unit)) == (kind, shown)
    assert Unit.parse(str(unit)) == unit


def test_a_path_may_not_run_through_a_public_table() -> None:
    text = SMALL.replace('unit = "row"', 'unit = "a -> u.k -> c"') + '\n[tables.u]\nprivate = false\ncolumns = { k = { type = "INTEGER" }, c = { type = "INTEGER" } }\n'
    assert refusal(text) == "small.toml:7: tables.t.unit: path runs through the public table u"


def test_policies_are_frozen() -> None:
    policy: Policy = parse(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        policy.tables["t"].max_rows = 5  # type: ignore[misc]
