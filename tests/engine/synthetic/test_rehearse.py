"""A rehearsal is the private road on the twin: free, as noisy as the real thing, and never near the data."""

from __future__ import annotations

import threading

import pytest

from dpjupyter.engine.model import Answer, Ask
from dpjupyter.engine.synthetic.rehearse import Rehearsal, rehearse
from dpjupyter.errors import AskRefused, Refused
from tests.engine.plans import Fixed, ZeroNoise
from tests.engine.synthetic.conftest import Shop


def run(shop: Shop, sql: str, *, times: int = 30, **ask: object) -> tuple[Answer, Rehearsal]:
    return rehearse(sql, Ask(**ask), shop.twins(), times=times, noise_source=shop.noise, cancelled=threading.Event())  # type: ignore[arg-type]


def test_it_is_free_and_asks_no_private_table(published: Shop) -> None:
    spent = published.spent()
    published.backend._root.execute("DROP TABLE people; DROP TABLE orders; DROP TABLE lines; DROP TABLE survey")
    answer, found = run(published, "SELECT k, COUNT(*) AS n FROM survey GROUP BY k ORDER BY k")
    assert published.spent() == spent
    assert answer.kind == "synthetic"
    assert found.runs == 30
    assert found.shown[:3] == (1.0, 1.0, 1.0)
    assert any("Rehearsed 30 times" in note for note in answer.notes)
    assert found.priced.cost.pico_epsilon > 0


def test_errors_shrink_as_epsilon_grows_and_are_what_noise_of_that_scale_makes(published: Shop) -> None:
    sql = "SELECT COUNT(*) AS n FROM survey"
    _, rough = run(published, sql, times=200, epsilon=0.1)
    answer, fine = run(published, sql, times=200, epsilon=10.0)
    assert rough.columns[0].median_error == pytest.approx(10 * 0.693, rel=0.5)  # median of |Laplace(10)| is 10 ln 2
    assert fine.columns[0].median_error < 1  # type: ignore[operator]
    low, high = answer.intervals["0.95"][0][0]  # type: ignore[misc]
    assert low <= answer.rows[0][0] <= high  # type: ignore[operator]


def test_what_clamping_takes_away_shows_as_bias(published: Shop) -> None:
    published.noise = ZeroNoise()
    _, found = run(published, "SELECT SUM(LEAST(GREATEST(pay, 0), 10)) AS s, COUNT(*) AS n FROM people", times=2)
    assert found.columns[1].bias == pytest.approx(0, abs=1e-6)
    _, limited = run(published, "SELECT COUNT(*) AS n FROM orders", times=2, max_rows=1)
    assert limited.columns[0].bias < 0  # type: ignore[operator]


def test_groups_that_a_threshold_hides_are_counted(published: Shop) -> None:
    published.noise = Fixed(-(10**6))
    with pytest.raises(Refused):
        run(published, "SELECT uid, COUNT(*) FROM orders GROUP BY uid")  # no private answer, so no rehearsal of one


@pytest.mark.parametrize("sql", ["SELECT region FROM places", "SELECT * FROM people LIMIT 3"])
def test_what_is_not_paid_for_is_not_rehearsed(published: Shop, sql: str) -> None:
    with pytest.raises(Refused):
        run(published, sql)


def test_joins_and_public_tables_are_rehearsed(published: Shop) -> None:
    sql = "SELECT p.region, COUNT(*) AS n FROM lines l JOIN places p ON p.place = l.place GROUP BY p.region ORDER BY 1"
    with pytest.raises(Refused):
        run(published, sql.replace("lines", "nothing"))
    try:
        answer, found = run(published, sql, times=5)
    except AskRefused as refused:
        pytest.fail(refused.message)
    assert found.runs == 5
    assert len(answer.rows) >= 2
