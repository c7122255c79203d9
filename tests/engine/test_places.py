"""Every refusal says where: line, column and length in the analyst's own text."""

from __future__ import annotations

from functools import cache

import pytest

from dpjupyter.engine import policy as policies
from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote
from dpjupyter.errors import Refused, SyntaxRefused
from tests.conformance.corpus import cases, home, policy_of

POLICY = """
[database]
prefix = "local"
name = "clinic"
backend = "duckdb:///x"
[tables.visits]
unit = "patient"
[tables.visits.columns]
patient = { type = "BIGINT", nullable = false }
ward = { type = "VARCHAR", nullable = false, domain = ["east", "west"] }
cost = { type = "DOUBLE", bounds = [0, 100] }
debt = { type = "DOUBLE" }
day = { type = "DATE" }
doctor = { type = "VARCHAR" }
[tables.people]
unit = "patient"
[tables.people.columns]
patient = { type = "VARCHAR", nullable = false }
age = { type = "INTEGER", bounds = [0, 120] }
[tables.wards]
private = false
[tables.wards.columns]
ward = { type = "VARCHAR", nullable = false }
beds = { type = "INTEGER" }
"""

# What is marked with [[ ]] is what the caret must be under.
REFUSED = [
    "SELECT [[*]] FROM visits",
    "SELECT\n  [[*]]\nFROM visits LIMIT 3",
    "SELECT visits.[[*]] FROM visits",
    "SELECT 1, [[doctor]], cost FROM visits",
    "SELECT DISTINCT [[patient]] FROM visits",
    "SELECT [[UPPER]](doctor) AS d FROM visits ORDER BY d LIMIT 5",
    "SELECT [[patient]], COUNT(*) FROM visits GROUP BY patient",
    "WITH v AS (SELECT * FROM visits) SELECT [[*]] FROM v",
    "SELECT [[*]] FROM (SELECT patient FROM visits)",
    "SELECT [[*]]",
    "SELECT [[*]], COUNT(*) FROM visits",
    "SELECT [[SUM]](debt) FROM visits",
    "SELECT COUNT(*), [[AVG]](debt) FROM visits",
    "SELECT [[SUM]](doctor) FROM visits",
    "SELECT [[MEDIAN]](day) FROM visits",
    "SELECT AVG(s) FROM (SELECT patient, [[SUM]](debt) AS s FROM visits GROUP BY patient)",
    "SELECT COUNT(*) FROM [[visit]]",
    "SELECT COUNT(*) FROM visits v, [[people]] v",
    "SELECT COUNT(*) FROM visits JOIN [[visits]] ON visits.cost = 1",
    "SELECT COUNT(*) FROM visits, [[people]]",
    "SELECT COUNT(*) FROM visits v JOIN people p ON v.[[patient]] = p.patient",
    "SELECT COUNT(*) FROM visits WHERE [[nobody]] = 1",
    "SELECT COUNT(*) FROM visits GROUP BY [[doctor]]",
    "SELECT cost FROM visits UNION ALL SELECT [[beds]] FROM wards",
    "SELECT COUNT(*) FROM (SELECT ward FROM visits EXCEPT SELECT [[ward]] FROM visits)",
    "SELECT COUNT(*) FROM visits WHERE cost > (SELECT [[MAX]](cost) FROM visits)",
    "SELECT beds FROM [[wards]]",
    "SELECT COUNT(*) FROM visits TABLESAMPLE ([[10]])",
    "[[SELEC]] 1",
    "[[selct]] COUNT(*) FROM visits",
    "SELECT COUNT(*) [[FRM]] visits",
    "SELECT ward, COUNT(*) FROM visits [[GRUP]] BY ward",
    "[[DROP]] TABLE visits",
    "[[visits]]",
    "SELECT COUNT(*) FROM visits;\n[[DROP]] TABLE visits",
    "SELECT COUNT(*) FROM visits WHERE doctor = [[']]x",
    "SELECT COUNT(*) FROM visits [[/*]] x",
    "SELECT ([[1]]",
    "SELECT COUNT(*) FROM visits WHERE cost = [[:limit]]",
]
NO_TEXT_TO_POINT_AT = ("nested too deeply", "characters", "more than", "too many columns", "There is no statement")


@cache
def clinic() -> Policy:
    return policies.parse(POLICY)


def refusal(sql: str, policy: Policy) -> Refused:
    with pytest.raises(Refused) as refused:
        quote(sql, Ask(), policy)
    return refused.value


@pytest.mark.parametrize("marked", REFUSED)
def test_the_caret_is_under_what_is_refused(marked: str) -> None:
    before, rest = marked.split("[[")
    sought, after = rest.split("]]")
    sql = before + sought + after
    said = refusal(sql, clinic())
    assert said.place is not None, said
    line = sql.splitlines()[said.place.line - 1]
    assert line[said.place.column - 1 : said.place.column - 1 + said.place.length] == sought, said.shown(sql)
    assert said.place.line == before.count("\n") + 1
    shown = said.shown(sql).splitlines()
    assert "^" in shown[2]


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ("SELEC 1", "Did you mean SELECT?"),
        ("selct count(*) from visits", "Did you mean SELECT?"),
        ("SELECT COUNT(*) FRM visits", "Did you mean FROM?"),
        ("SELECT COUNT(*) FROM visits WERE cost > 1", "Did you mean WHERE?"),
        ("SHOW TABLES", "Only SELECT statements are answered."),
        ("EXPLAIN SELECT 1", "Only SELECT statements are answered."),
        ("hello", "Only SELECT statements are answered."),
        ("SELECT 'x", "Write ' where it ends."),
        ('SELECT "x', 'Write " where it ends.'),
        ("SELECT 1; SELECT 2", "Keep one SELECT and run the others in cells of their own."),
    ],
)
def test_a_text_that_is_no_select_gets_a_hint(sql: str, hint: str) -> None:
    said = refusal(sql, clinic())
    assert isinstance(said, SyntaxRefused)
    assert said.hint == hint


@pytest.mark.parametrize(
    "sql", ["SELECT FROM visits WHERE", "SELECT 1 +", "WITH a AS (SELECT 1)", "SELECT a b c FROM visits", "SELECT COUNT( FROM visits"]
)
def test_the_parsers_class_names_are_not_shown(sql: str) -> None:
    said = refusal(sql, clinic())
    assert said.place is not None
    assert not any(word in said.message for word in ("<", "Token", "class", "sqlglot", "SENTINEL"))


def test_every_refusal_in_the_corpus_has_a_place() -> None:
    """Whatever the corpus is refused for, the analyst sees where."""
    folder = home()
    known: dict[str, Policy] = {}
    nowhere: list[tuple[str, str]] = []
    told: list[tuple[str, str, Refused]] = []
    for case in [*cases(folder, "reject.jsonl"), *(c for c in cases(folder, "accept.jsonl") if c.verdict != "core")]:
        policy = known.setdefault(case.schema, policy_of(folder / "schemas", case.schema))
        try:
            quote(case.sql, Ask(), policy)
        except Refused as error:
            told.append((case.id, case.sql, error))
    for id_, sql, error in told:
        if error.place is None:
            nowhere += [] if any(text in error.message for text in NO_TEXT_TO_POINT_AT) else [(id_, error.message)]
            continue
        lines = sql.splitlines()
        assert 1 <= error.place.line <= len(lines), id_
        assert error.place.column <= len(lines[error.place.line - 1]) + 1, id_
    assert len(told) > 100
    assert nowhere == []
