"""Answer.plot(): the right shape for the columns, and an error bar on every noisy value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest

from dpjupyter.answer import Answer
from dpjupyter.errors import BadRequest
from tests.magics.test_answer import reply

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.container import BarContainer, ErrorbarContainer


@pytest.fixture(autouse=True)
def no_figure_stays() -> Iterator[None]:
    yield
    plt.close("all")


def counted(key: str, kind: str, values: list[Any], more: dict[str, list[Any]] | None = None) -> Answer:
    n = list(range(10, 10 + len(values)))
    data = {key: values} | (more or {}) | {"n": n}
    types = {key: kind} | dict.fromkeys(more or {}, "VARCHAR") | {"n": "BIGINT"}
    return Answer(reply(data, types, {"n": [2.0] * len(n)}))


def bars(axes: Any) -> list[BarContainer]:
    return [one for one in axes.containers if isinstance(one, BarContainer)]


def errors(axes: Any) -> list[ErrorbarContainer]:
    return [one for one in axes.containers if isinstance(one, ErrorbarContainer)]


def test_categories_become_bars_with_error_bars() -> None:
    axes = counted("city", "VARCHAR", ["Bern", None, "$x$"]).plot()
    assert [bar.get_height() for bar in bars(axes)[0]] == [10, 11, 12]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Bern", "NULL", r"\$x\$"]
    segments = errors(axes)[0].lines[2][0].get_segments()
    assert [(float(low[1]), float(high[1])) for low, high in segments] == [(8, 12), (9, 13), (10, 14)]
    assert axes.get_ylabel() == "n\n± at 95%"


def test_dates_become_a_line_in_order() -> None:
    axes = counted("day", "DATE", ["2024-03-01", "2024-01-01", "2024-02-01"]).plot()
    assert not bars(axes)
    assert list(errors(axes)[0].lines[0].get_ydata()) == [11, 12, 10]


def test_even_bins_become_a_histogram_and_few_numbers_bars() -> None:
    axes = counted("bin", "INTEGER", [0, 10, 20, 30, 40, 60, 70, 80]).plot()
    assert {bar.get_width() for bar in bars(axes)[0]} == {10}
    assert bars(axes)[0][0].get_x() == 0
    axes = counted("pclass", "INTEGER", [3, 1, 2]).plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]


def test_a_second_key_becomes_groups_with_a_legend() -> None:
    axes = counted("city", "VARCHAR", ["a", "a", "b", "b"], {"sex": ["f", "m", "f", "m"]}).plot()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["f", "m"]
    assert len(bars(axes)) == 2


def test_several_columns_get_axes_of_their_own() -> None:
    answer = Answer(reply({"n": [1], "m": [2.5]}, {"n": "BIGINT", "m": "DOUBLE"}, {"n": [1.0], "m": [0.5]}))
    assert [axes.get_ylabel().splitlines()[0] for axes in answer.plot()] == ["n", "m"]
    assert answer.plot("m", kind="bar").get_ylabel().startswith("m")


def test_what_cannot_be_drawn_says_why() -> None:
    answer = counted("city", "VARCHAR", ["a"])
    for arguments, said in (
        ({"y": "city"}, "not a number"),
        ({"y": "none"}, "no column"),
        ({"kind": "pie"}, "kind 'pie'"),
        ({"confidence": 0.97}, "no interval"),
        ({"x": "none"}, "no column"),
    ):
        with pytest.raises(BadRequest, match=said):
            answer.plot(**arguments)
    with pytest.raises(BadRequest, match="nothing to draw"):
        counted("city", "VARCHAR", []).plot()


def test_exact_numbers_are_drawn_without_error_bars() -> None:
    axes = Answer(reply({"city": ["a", "b"], "n": [1, 2]}, {"city": "VARCHAR", "n": "BIGINT"}, {}, kind="public")).plot()
    assert not errors(axes)
    assert axes.get_ylabel() == "n"


# ---------------------------------------------------------------- in words
def test_a_figure_says_what_it_shows() -> None:
    axes = counted("city", "VARCHAR", ["Bern", None, '"><script>']).plot()
    html = axes.figure._repr_html_()
    assert html.startswith(
        '<img alt="Bar chart of n by city, with intervals at 95%: Bern: 10 ± 2; NULL: 11 ± 2; &quot;&gt;&lt;script&gt;: 12 ± 2."'
    )
    assert html.count("<") == 1
    assert "data:image/png;base64," in html


def test_a_description_of_many_values_tells_their_span() -> None:
    axes = counted("day", "DATE", [f"2024-01-{day:02}" for day in range(1, 31)]).plot()
    assert axes.figure.description == "Line chart of n by day, with intervals at 95%: 30 values from 10 to 39."
    assert counted("bin", "INTEGER", list(range(0, 130, 10))).plot().figure.description.startswith("Histogram of n by bin")


def test_figures_of_ones_own_are_left_alone() -> None:
    figure, axes = plt.subplots()
    counted("city", "VARCHAR", ["Bern"]).plot(ax=axes)
    assert not hasattr(figure, "description")
