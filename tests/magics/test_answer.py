"""Answer without a gateway: how values, noise and price are shown, compared and drawn. Replies are written out by hand."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpjupyter import wire
from dpjupyter.answer import Answer, Quoted, formats
from dpjupyter.errors import BadRequest

LEVELS = {"0.5": 0.4, "0.8": 0.7, "0.9": 0.9, "0.95": 1.0, "0.99": 1.5}


def reply(data: dict[str, list[Any]], types: dict[str, str], halves: dict[str, list[float | None]], **info: Any) -> wire.QueryReply:
    """An answer whose columns in ``halves`` have these half-widths at 95%."""
    intervals = {
        level: {
            name: [None if half is None or value is None else [value - part * half, value + part * half] for value, half in zip(data[name], widths, strict=True)]
            for name, widths in halves.items()
        }
        for level, part in LEVELS.items()
    }
    dp_info = {
        "privacy": {"epsilon": 0.9, "rho": 0.4, "delta": 0.0, "tables": [{"table": "t", "epsilon": 0.9, "delta": 0.0}]},
        "utility": [{"name": name, "mechanism": "discrete_laplace"} for name in halves],
        "intervals": intervals if halves else {},
        "balance": {"*": 9.0, "t": 1.1, "analyst:t": 0.5},
        "receipt": {"request_id": "r1", "debited": ["*", "t"]},
    }
    return wire.QueryReply.model_validate(
        {"Data": data, "Meta": [{"Name": name, "Type": kind} for name, kind in types.items()], "dp_info": dp_info | info}
    )


def cities(**info: Any) -> Answer:
    data = {"city": ["Bern", "<b>Genf</b>", None], "n": [216, 1184, -3], "fare": [84.1547, 20.66, None]}
    types = {"city": "VARCHAR", "n": "BIGINT", "fare": "DOUBLE"}
    return Answer(reply(data, types, {"n": [4.2, 4.2, 4.2], "fare": [1.734, 0.0512, None]}, **info), sql="SELECT 1")


def test_text_is_stable() -> None:
    assert repr(cities(notes=["fare was clamped to 0 … 600"])) == (
        "city                n            fare\n"
        "Bern          216 ± 5    84.2 ± 1.8\n"
        "<b>Genf</b>  1184 ± 5  20.660 ± 0.052\n"
        "NULL           -3 ± 5    NULL\n"
        "\n"
        "3 rows · cost ε 0.9 · balance t ε 1.1, whole database ε 9, your quota ε 0.5 · ± at 95%\n"
        "fare was clamped to 0 … 600"
    )


class Elements(HTMLParser):
    """Names of the elements of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)


def elements(html: str) -> set[str]:
    parser = Elements()
    parser.feed(html)
    return parser.names


ATTACK = "<img src=x onerror=alert(1)>"


def test_html_escapes_everything_that_comes_from_elsewhere() -> None:
    hostile = Answer(
        reply({ATTACK: [ATTACK], "n": [1]}, {ATTACK: "VARCHAR", "n": "BIGINT"}, {"n": [1]}, notes=[ATTACK], balance={ATTACK: 1.0}), sql=ATTACK, asides=(ATTACK,)
    )
    quote = wire.QuoteReply.model_validate(
        {
            "privacy": {
                "epsilon": 1, "rho": 1, "delta": 0, "answers": [{"label": ATTACK, "epsilon": 1, "delta": 0, "mechanism": ATTACK}],
                "tables": [{"table": ATTACK, "analyst": ATTACK, "epsilon": 1, "delta": 0}],
            },
            "utility": [{"name": ATTACK, "mechanism": ATTACK}], "affordable": True, "notes": [ATTACK], "checksum": "",
        }
    )  # fmt: skip
    for html in (hostile.to_html(), hostile.explain()._repr_html_(), Quoted(quote, sql=ATTACK).to_html()):
        assert ATTACK not in html
        assert "img" not in elements(html)


def test_control_characters_cannot_drive_a_terminal() -> None:
    answer = Answer(reply({"k": ["a\x1b[2Jb\nc\u202e"], "n": [1]}, {"k": "VARCHAR", "n": "BIGINT"}, {"n": [1]}))
    assert r"a\x1b[2Jb\nc\u202e  1 ± 1" in repr(answer)


@pytest.mark.parametrize(
    ("value", "interval", "kind", "shown"),
    [
        (123, (115, 131), "BIGINT", "123 ± 8"),
        (123, (115.2, 130.8), "BIGINT", "123 ± 8"),
        (1234567, (1230000, 1239134), "BIGINT", "1234567 ± 4567"),
        (12.34567, (12.2, 12.49134), "DOUBLE", "12.35 ± 0.15"),
        (99.96, (89.96, 109.96), "DOUBLE", "100 ± 10"),
        (0.004, (0.0, 0.02), "DOUBLE", "0.004 (0.000 … 0.020)"),
        (-0.02, (-10, 9.96), "DOUBLE", "0.0 ± 10.0"),
        (5.0, (5.0, 5.0), "DOUBLE", "5 ± 0"),
        (891, (891.0, 891.0), "BIGINT", "891 ± 0"),  # noisy: not written like an exact number
        (5.0, (-math.inf, math.inf), "DOUBLE", "5 (-∞ … ∞)"),
        (1e-15, (0.5e-15, 1.5e-15), "DOUBLE", "1e-15 ± 5e-16"),
        (3.14159, None, "DOUBLE", "3.14159"),
        (True, None, "BOOLEAN", "true"),
        (None, (0, 1), "BIGINT", "NULL"),
        ("1995-06-17", (9290.0, 9303.0), "DATE", "1995-06-17 (1995-06-09 … 1995-06-22)"),
        ("1970-01-01 00:00:01", (0.0, 2_000_000.0), "TIMESTAMP", "1970-01-01 00:00:01 (1970-01-01 00:00:00 … 1970-01-01 00:00:02)"),
        ("1970-01-02", (-1e12, 1e12), "DATE", "1970-01-02 (-∞ … ∞)"),
    ],
)
def test_a_cell_is_written_so(value: Any, interval: Any, kind: str, shown: str) -> None:
    assert str(formats.cell(value, interval, kind)) == shown


def test_half_widths_are_never_understated() -> None:
    for half in np.geomspace(1e-6, 1e6, 500):
        shown = str(formats.cell(0.5, (0.5 - half, 0.5 + half), "DOUBLE")).partition(" ± ")[2]
        assert half * (1 - 1e-6) <= float(shown) <= half * 1.11


def test_what_an_answer_is_not_private_by_is_said() -> None:
    assert cities(cached=True).summary.startswith("cached · 3 rows · cost nothing")
    assert cities(unmetered=True).summary.startswith("UNMETERED · ")
    assert cities(kind="synthetic").summary.startswith("SYNTHETIC · ")
    assert "UNMETERED: t could not pay; its privacy promise is void until it recovers" in repr(
        cities(unmetered=True, privacy={"epsilon": 0.9, "rho": 0.4, "delta": 0, "tables": [{"table": "t", "epsilon": 0.9, "delta": 0, "unmetered": True}]})
    )
    synthetic = cities(kind="synthetic")
    assert "synthetic: computed from the published twin" in repr(synthetic)
    assert 'aria-label="synthetic answer"' in synthetic.to_html()
    public = Answer(reply({"step": [1, 2]}, {"step": "INTEGER"}, {}, kind="public"))
    assert repr(public) == "step\n   1\n   2\n\n2 rows · cost nothing · balance t ε 1.1, whole database ε 9, your quota ε 0.5\nexact: only public tables were read; free"


def test_data_frames_keep_types_and_missing_values() -> None:
    data = {"a": [1, None], "b": [1.5, None], "c": [True, None], "d": ["2024-01-31", None], "e": [2**70, 1], "f": ["9999-01-01", "1995-01-01"], "g": ["1.25", None]}
    types = {"a": "INTEGER", "b": "DOUBLE", "c": "BOOLEAN", "d": "DATE", "e": "HUGEINT", "f": "DATE", "g": "DECIMAL(8,2)"}
    frame = Answer(reply(data, types, {})).df
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "float64", "boolean", "datetime64[ns]", "object", "object", "float64"]
    assert frame["e"][0] == 2**70
    assert pd.isna(frame["a"][1])
    assert frame["g"][0] == 1.25
    assert Answer(reply({"a": [], "n": []}, {"a": "VARCHAR", "n": "BIGINT"}, {"n": []})).df.shape == (0, 2)


def test_intervals_stand_beside_the_values() -> None:
    answer = cities()
    ends = answer.intervals(0.99)
    assert list(ends.columns) == [("n", "lower"), ("n", "upper"), ("fare", "lower"), ("fare", "upper")]
    assert ends["n"]["upper"][0] == pytest.approx(216 + 1.5 * 4.2)
    assert pd.isna(ends["fare"]["lower"][2])
    with pytest.raises(BadRequest, match=r"no interval at confidence 0\.97") as caught:
        answer.intervals(0.97)
    assert caught.value.hint == "Offered: 0.5, 0.8, 0.9, 0.95, 0.99."


def test_cells_are_found_by_key() -> None:
    answer = cities()
    assert repr(answer.cell("n", "Bern")) == "n[Bern] = 216 ± 5"
    assert answer.cell("n", {"city": None}).value == -3
    assert str(answer.cell("city", "Bern")) == "Bern"
    for wrong, said in (("Basel", "no row with city = Basel"), (("a", "b"), "names no row"), (None, "3 rows with no key given")):
        with pytest.raises(BadRequest, match=said):
            answer.cell("n", wrong)
    with pytest.raises(BadRequest, match="no column 'm'"):
        answer.cell("m", "Bern")


def test_comparing_says_indistinguishable_when_noise_explains_it() -> None:
    data = {"k": ["a", "b", "c"], "n": [100, 103, 120]}
    answer = Answer(reply(data, {"k": "VARCHAR", "n": "BIGINT"}, {"n": [4, 4, 4]}))
    same, other = answer.compare("a", "b"), answer.compare("c", "a")
    assert (same.verdict, same.distinguishable) == ("indistinguishable", False)
    assert repr(same) == "n[a] and n[b] are indistinguishable at 95%: they differ by -3 ± 6"
    assert repr(other) == "n[c] is larger than n[a] at 95%: they differ by 20 ± 6"
    assert answer.compare(answer.cell("n", "a"), 90).verdict == "larger"
    # Below 95% half-widths of Laplace noise do not add in quadrature: both intervals are taken wider.
    assert answer.compare("a", "b", confidence=0.9).upper == pytest.approx(-3 + 2 * 4)
    for confidence in (0.97, 0.42):
        with pytest.raises(BadRequest):
            answer.compare("a", "b", confidence=confidence)


def test_values_with_a_common_source_of_noise_are_compared_carefully() -> None:
    data = {"k": ["a", "b"], "r": [1.0, 2.0]}
    answer = Answer(reply(data, {"k": "VARCHAR", "r": "DOUBLE"}, {"r": [0.4, 0.4]}, utility=[{"name": "r", "derived": True}]))
    found = answer.compare("a", "b")
    assert found.upper - found.lower == pytest.approx(2 * 2 * 0.4 * 1.5)
    with pytest.raises(BadRequest, match="common source"):
        answer.compare("a", "b", confidence=0.99)


def test_columns_of_a_single_row_are_compared_by_name() -> None:
    answer = Answer(reply({"women": [300], "men": [500]}, {"women": "BIGINT", "men": "BIGINT"}, {"women": [4], "men": [4]}))
    assert repr(answer.compare("men", "women")) == "men is larger than women at 95%: they differ by 200 ± 6"
    with pytest.raises(BadRequest, match="not one value"):
        _ = answer.value


@pytest.mark.parametrize(("b1", "b2"), [(1.0, 1.0), (1.0, 0.5), (1.0, 0.2), (1.0, 0.05), (3.0, 7.0)])
def test_quadrature_holds_for_laplace_noise_of_any_two_scales(b1: float, b2: float) -> None:
    def tail(t: float) -> float:
        """P(|X1 - X2| > t) for independent Laplace noises, exactly."""
        if b1 == b2:
            return (1 + t / (2 * b1)) * math.exp(-t / b1)
        return (b1**2 * math.exp(-t / b1) - b2**2 * math.exp(-t / b2)) / (b1**2 - b2**2)

    for confidence in (0.95, 0.99):
        widths = [b * math.log(1 / (1 - confidence)) for b in (b1, b2)]
        assert tail(math.hypot(*widths)) <= 1 - confidence


def test_explain_tells_the_whole_story() -> None:
    assert cities(notes=["clamped"]).explain() == (
        "SELECT 1\n\nColumns\n  city: key\n  n: discrete Laplace\n  fare: discrete Laplace\nCost  ε 0.9\n  t: ε 0.9\n"
        "Balance  t ε 1.1, whole database ε 9, your quota ε 0.5\nReceipt  request_id r1; debited whole database, t\nNote: clamped"
    )


def test_many_rows_are_cut_in_display_only() -> None:
    answer = Answer(reply({"n": list(range(100))}, {"n": "BIGINT"}, {"n": [1.0] * 100}))
    assert "… 60 more rows in .df" in repr(answer)
    assert len(answer.df) == 100
