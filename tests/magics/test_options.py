"""The first line of a cell, placeholders, and settings: read exactly or refused clearly."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpjupyter.errors import AskRefused, BadRequest, DpError, NotConnected
from dpjupyter.magics import settings
from dpjupyter.magics.options import OPTIONS, Within, literal, parse, split_query
from dpjupyter.magics.parameters import bound, placeholders, typed


def test_a_full_line() -> None:
    options = parse(
        "res << --epsilon=0.5 --delta 1e-9 --mechanism GAUSS --answers n=0.2,fare=1 --within 50 --confidence 90% --max-rows 3"
        " --max-groups 2 --no-cache --param x=5 --param 'y=New York' --synthetic --timeout 2.5 --database shop"
    )
    assert options.target == "res"
    assert (options.epsilon, options.delta, options.mechanism) == (0.5, 1e-9, "Gauss")
    assert (options.answers, options.within, options.confidence) == ({"n": 0.2, "fare": 1.0}, Within(every=50.0), 0.9)
    assert (options.max_rows, options.max_groups, options.no_cache, options.synthetic) == (3, 2, True, True)
    assert (options.param, options.timeout, options.database) == ({"x": 5, "y": "New York"}, 2.5, "shop")


def test_every_option_is_documented_and_parsed() -> None:
    examples = {
        "--epsilon": "1", "--delta": "0.1", "--mechanism": "gauss", "--answers": "n=1", "--within": "n=2", "--confidence": "0.5", "--max-rows": "1",
        "--max-groups": "1", "--param": "a=1", "--save": "name", "--rehearse": "3", "--timeout": "1", "--database": "d", "--dry-run": "", "--no-cache": "",
        "--synthetic": "",
    }  # fmt: skip
    for option in OPTIONS:
        assert option.help
        assert getattr(parse(f"{option.flag} {examples[option.flag]}"), option.field) not in (None, False, {})


@pytest.mark.parametrize(
    ("line", "value"),
    [("--rehearse", 20), ("--rehearse 5", 5), ("--rehearse=7", 7), ("--rehearse --no-cache", 20)],
)
def test_a_value_that_may_be_left_out(line: str, value: int) -> None:
    assert parse(line).rehearse == value


@pytest.mark.parametrize(
    "line",
    [
        "--epsilon inf", "--epsilon 1,5", "--delta x", "--max-rows 0", "--max-rows 1.5", "--max-groups -1", "--confidence 1", "--confidence 0",
        "--confidence 95", "--within 0", "--within -1", "--within nan", "--within n=", "--answers n", "--answers n=1,=2", "--param x", "--param 1x=2",
        "--save a.b", "--save 'a b'", "--timeout 0", "--rehearse 0", "--dry-run=1", "--unknown", "-e 1", "word", "--epsilon", "--epsilon --delta 1",
        "--epsilon '1", "1x << --epsilon 1", "<< --epsilon 1", "for <<", "a.b << ", "--dry-run --save x", "--save x --save y",
    ],
)  # fmt: skip
def test_malformed_lines_are_refused(line: str) -> None:
    with pytest.raises((AskRefused, BadRequest)) as caught:
        parse(line)
    assert caught.value.hint or "given twice" in caught.value.message or "takes no value" in caught.value.message or "--dry-run" in caught.value.message


@pytest.mark.parametrize(
    ("line", "options", "sql"),
    [
        ("SELECT 1", "", "SELECT 1"),
        ("--epsilon 0.5 SELECT 1", "--epsilon 0.5 ", "SELECT 1"),
        ("--epsilon=0.5 --dry-run SELECT '--no-cache'", "--epsilon=0.5 --dry-run ", "SELECT '--no-cache'"),
        ("--param x='a b' --rehearse WITH t AS (SELECT 1) SELECT 2", "--param x='a b' --rehearse ", "WITH t AS (SELECT 1) SELECT 2"),
        ("--rehearse 3 SELECT 2", "--rehearse 3 ", "SELECT 2"),
    ],
)
def test_one_line_questions_are_divided(line: str, options: str, sql: str) -> None:
    assert split_query(line) == (options, sql)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-5", -5), ("5.", 5.0), (".5", 0.5), ("1e3", 1000.0), ("true", True), ("False", False), ("NULL", None), ("none", None),
        ("'5'", "5"), ('"true"', "true"), ("New York", "New York"), ("", ""), ("'it''s", "'it''s"), ("0x10", "0x10"), ("1_000", "1_000"), ("'", "'"),
    ],
)  # fmt: skip
def test_literals(text: str, value: Any) -> None:
    found = literal(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a, :b_2 WHERE x=:a", ["a", "b_2", "a"]),
        ("SELECT ':a', \":b\", ':c '':d' -- :e\n/* :f \n */ , :g", ["g"]),
        ("SELECT a::INT, (a)::INT, v:field, v:field.x:y, 'k':z, \"K\":z, x[1:n]", []),
        ("SELECT x[ :n], CASE WHEN :p THEN 1 END, ( :q), f(:r)", ["n", "p", "q", "r"]),
        ("SELECT $$ :a $$, $t$ :b $t$, :c", ["c"]),
        ("SELECT 'open :a", []),
        ("/* open :a", []),
        ("SELECT : a, :1, ::a", []),
        ("SELECT 1+:a,-:b|| :c", ["a", "b", "c"]),
    ],
)
def test_placeholders(sql: str, names: list[str]) -> None:
    assert [placeholder.name for placeholder in placeholders(sql)] == names


def test_a_placeholder_knows_its_place() -> None:
    place = placeholders("SELECT 1\n  WHERE ä = :abc")[0].place
    assert (place.line, place.column, place.length) == (2, 13, 4)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"), (Decimal("2.50"), 2.5), (Decimal(7), 7), (None, None),
        (dt.date(2024, 2, 29), "2024-02-29"), (dt.datetime(2024, 2, 29, 1, 2), "2024-02-29 01:02:00"),  # noqa: DTZ001
        (pd.Timestamp("2024-01-01"), "2024-01-01 00:00:00"), (np.datetime64("2024-01-01"), "2024-01-01"),
    ],
)  # fmt: skip
def test_notebook_values_become_literals(value: Any, sent: Any) -> None:
    found = typed("x", value)
    assert found == sent
    assert type(found) is type(sent)


@pytest.mark.parametrize("value", [[1], {"a": 1}, np.array([1]), float("nan"), float("inf"), pd.NaT, pd.NA, b"x", object(), 1j, Decimal("NaN")])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(BadRequest, match="cannot stand for :x"):
        bound("SELECT :x", {}, {"x": value})


def test_options_win_over_variables_and_none_is_a_value() -> None:
    assert bound("SELECT :x, :y", {"x": None}, {"x": 1, "y": 2}) == {"x": None, "y": 2}


def test_settings_from_the_file() -> None:
    found = settings.from_file({"epsilon": 0.5, "mechanism": "gauss", "progress": False, "confidence": 0.9, "timeout": 30})
    assert (found.epsilon, found.mechanism, found.progress, found.confidence, found.timeout) == (0.5, "Gauss", False, 0.9, 30.0)
    assert found.with_value("epsilon", "none").epsilon is None
    with pytest.raises(NotConnected, match=r"\[settings\]: setting 'epsylon' is not known"):
        settings.from_file({"epsylon": 1})


def test_errors_point_at_the_place_with_a_caret() -> None:
    with pytest.raises(DpError) as caught:
        bound("SELECT\t:missing", {}, {})
    assert caught.value.shown("SELECT\t:missing").splitlines()[1:3] == ["  SELECT :missing", "         ^^^^^^^^"]
