"""``--save`` and ``saved.NAME`` as an analyst writes them, on a real gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.completer import provisionalcompleter

from tests.magics.conftest import Shell

COUNT = "SELECT city, COUNT(*) AS n FROM people GROUP BY city"


@pytest.fixture
def analyst(shell: Shell) -> Iterator[Shell]:
    """Alice with one saved answer; it is forgotten afterwards."""
    shell.run("%dpsql connect alice")
    shell.run(f"%%dpsql first << --save cities\n{COUNT}")
    yield shell
    shell.attempt("%dpsql saved forget cities")


def test_a_saved_answer_is_read_in_later_cells_for_nothing(analyst: Shell) -> None:
    first = analyst.run("first")
    assert "Kept as saved.cities until its budget cycle ends." in repr(first)
    answer = analyst.run(
        "%%dpsql\nSELECT s.city, s.n, s.n / t.total AS share\nFROM saved.cities s, (SELECT SUM(n) AS total FROM saved.cities) t ORDER BY city"
    )
    assert answer.df["n"].tolist() == first.df.sort_values("city")["n"].tolist()
    assert answer.df["share"].sum() == pytest.approx(1)
    assert answer.charged == 0
    assert "cost nothing" in answer.summary
    assert set(answer.noisy_columns) == {"n", "share"}
    assert answer.key_columns == ("city",)
    assert any("saved.cities" in note for note in answer.notices)
    was, now = (each.ends("n", 0.95)[0] for each in (first, answer))
    assert now == pytest.approx(was, rel=0.05)


def test_dry_run_of_a_saved_table_costs_nothing(analyst: Shell) -> None:
    quoted = analyst.run("%%dpsql --dry-run\nSELECT SUM(n) AS s FROM saved.cities")
    assert "saved.cities" in repr(quoted)


def test_saved_tables_are_listed_described_completed_and_forgotten(analyst: Shell) -> None:
    listed = repr(analyst.run("%dpsql saved"))
    assert "saved.cities" in listed
    assert "city, n" in listed
    assert "BIGINT" in repr(analyst.run("%dpsql describe saved.cities"))
    for typed, expected in (
        ("%%dpsql\nSELECT * FROM saved.", "saved.cities"),
        ("%%dpsql\nSELECT * FROM sav", "saved.cities"),
        ("%%dpsql\nSELECT saved.cities.", "saved.cities.city"),
        ("%dpsql describe saved", "saved.cities"),
        ("%dpsql saved f", "forget"),
        ("%dpsql saved forget ", "cities"),
    ):
        assert expected in _offered(analyst, typed), typed
    assert "saved.cities is forgotten." in repr(analyst.run("%dpsql saved forget saved.Cities"))
    assert "Nothing is saved" in repr(analyst.run("%dpsql saved"))
    assert "There is no saved table" in analyst.fail("%%dpsql\nSELECT * FROM saved.cities")
    analyst.run(f"%%dpsql --save cities\n{COUNT}")


def _offered(shell: Shell, typed: str) -> set[str]:
    """What Tab offers, with what was typed of the word before it."""
    with provisionalcompleter():
        return {completion.text for completion in shell.ip.Completer.completions(typed, len(typed))}


def test_a_refusal_points_at_the_saved_name(analyst: Shell) -> None:
    said = analyst.fail("%%dpsql\nSELECT *\nFROM saved.citys").splitlines()
    assert said[0] == "UnknownName: There is no saved table 'citys'."
    assert said[2].index("^") == said[1].index("citys")
    assert "%dpsql saved" in said[3]
    private = analyst.fail("%%dpsql\nSELECT COUNT(*) FROM people WHERE city IN (SELECT city FROM saved.cities)")
    assert "released" in private
    assert "Hint:" in private


def test_bad_names_and_bad_words_are_said(analyst: Shell) -> None:
    assert "not a name" in analyst.fail(f"%%dpsql --save 'a b'\n{COUNT}")
    assert "%dpsql saved [forget NAME]" in analyst.fail("%dpsql saved forget")
    assert "no saved table" in analyst.fail("%dpsql saved forget nothing")
