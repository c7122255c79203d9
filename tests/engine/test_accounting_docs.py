"""The numbers in docs/accounting.md are computed, not remembered."""

from __future__ import annotations

from pathlib import Path

from benchmarks import filter_table
from dpjupyter.engine import accounting

PAGE = Path(__file__).parents[2] / "docs" / "accounting.md"


def test_the_page_shows_the_table_as_computed() -> None:
    assert filter_table.table() in PAGE.read_text()


def test_counting_without_a_loop_agrees_with_asking_one_by_one() -> None:
    laplace, gauss = filter_table.queries()
    for query, total, delta in ((laplace, 3.0, 1e-6), (gauss, 1.0, 1e-6)):
        limits = accounting.row_limits(total, delta, delta / 2)
        spent, count = accounting.Spent(), 0
        while accounting.admits(spent, query.cost, limits):
            spent, count = accounting.add(spent, query.cost), count + 1
        assert count == filter_table.filter_count(query, total, delta)


def test_the_filter_admits_at_least_what_the_closed_forms_allow() -> None:
    for query in filter_table.queries():
        for total, delta in filter_table.BUDGETS:
            closed = [filter_table.closed_form_count(query, total, delta, f) for f in (accounting.drv_epsilon, accounting.kov_epsilon)]
            assert filter_table.filter_count(query, total, delta) >= max(closed)
