"""Any SQL on twins: the same planner, nothing private read, nothing paid, and no way out of the twins' files."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest

from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import parse
from dpjupyter.engine.synthetic import TwinStore, use
from dpjupyter.engine.synthetic.use import Twins, answer_free, asks_for_rows, prepare, warehouse
from dpjupyter.errors import AskRefused, Refused
from tests.engine.synthetic.conftest import POLICY, Shop


@pytest.fixture
def shop(published: Shop) -> Shop:
    return published


@pytest.fixture
def twins(published: Shop) -> Twins:
    return published.twins()


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT * FROM people", True),
        ("SELECT name, pay * 2 FROM people WHERE pay > 3 ORDER BY pay LIMIT 10", True),
        ("SELECT DISTINCT city FROM people", True),
        ("SELECT * FROM people p JOIN orders o ON o.uid = p.uid", True),
        ("SELECT COUNT(*) FROM people", False),
        ("SELECT city, AVG(pay) FROM people GROUP BY city", False),
        ("SELECT * FROM places", False),
    ],
)
def test_what_asks_for_rows_of_people(shop: Shop, sql: str, rows: bool) -> None:
    assert asks_for_rows(sql, Ask(), shop.policy) == rows


def test_rows_are_answered_and_labelled(shop: Shop, twins: Twins) -> None:
    found = shop.ask("SELECT * FROM people ORDER BY pay DESC LIMIT 10")
    assert found.kind == "synthetic"
    assert [name for name, _ in found.columns] == ["uid", "city", "name", "pay"]
    assert len(found.rows) == 10
    assert "synthetic" in found.notes[0]
    assert found.cost["epsilon"] == 0
    pays = [row[3] for row in found.rows]
    assert pays == sorted(pays, key=lambda v: (v is None, -(v or 0)))  # type: ignore[operator, arg-type] - NULLs last, as DuckDB orders


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT city, COUNT(*) AS n, AVG(pay) AS pay FROM people GROUP BY city ORDER BY city",
        "SELECT uid, COUNT(*) FROM orders GROUP BY uid ORDER BY 2 DESC LIMIT 5",
        "SELECT name FROM people WHERE uid IN (SELECT uid FROM orders) LIMIT 3",
        "SELECT place, n, ROW_NUMBER() OVER (PARTITION BY place ORDER BY n) FROM lines ORDER BY 1, 2 LIMIT 7",
        "SELECT r.region, SUM(l.cost) FROM lines l JOIN places r ON r.place = l.place JOIN orders o ON o.oid = l.oid GROUP BY 1 ORDER BY 1",
        "WITH big AS (SELECT * FROM people WHERE pay > 50) SELECT COUNT(*), MAX(pay) FROM big",
        "SELECT k FROM survey UNION SELECT place FROM lines",
        "SELECT MEDIAN(pay), QUANTILE_CONT(pay, 0.9), VARIANCE(pay) FROM people",
        "SELECT p.uid, q.uid FROM people p JOIN people q ON p.pay < q.pay LIMIT 4",
    ],
)
def test_any_sql_runs_on_twins(shop: Shop, twins: Twins, sql: str) -> None:
    found = shop.ask(sql)
    assert found.kind == "synthetic"
    assert found.rows


def test_nothing_is_paid_and_the_private_warehouse_is_not_asked(shop: Shop, twins: Twins) -> None:
    spent = shop.spent()
    shop.backend._root.execute("DROP TABLE people; DROP TABLE orders; DROP TABLE lines; DROP TABLE survey")
    assert shop.ask("SELECT COUNT(*) FROM people p JOIN orders o ON o.uid = p.uid").rows[0][0] > 0  # type: ignore[operator]
    assert shop.spent() == spent


def test_a_table_without_a_twin_is_refused_with_the_owners_command(shop: Shop) -> None:
    shop.ledger.retire_twin("test", "shop", "people", version=shop.twins().cards["people"].version)
    with pytest.raises(AskRefused, match="No synthetic twin of people") as refused:
        shop.ask("SELECT * FROM people")
    assert "dpjupyter twin publish people" in refused.value.hint


def test_a_long_result_is_refused_and_a_long_table_may_be_aggregated(shop: Shop, twins: Twins) -> None:
    with pytest.raises(AskRefused, match="more than 200 rows"):
        shop.ask("SELECT * FROM survey")
    with pytest.raises(AskRefused, match="more than 200 rows"):
        shop.ask("SELECT * FROM survey LIMIT 1000000")
    assert len(shop.ask("SELECT * FROM survey LIMIT 200").rows) == 200
    assert len(shop.ask("SELECT k, COUNT(*) FROM survey GROUP BY k").rows) <= 4


def test_a_question_that_would_never_end_is_stopped(shop: Shop, twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "TIMEOUT_S", 1.0)
    with pytest.raises(AskRefused, match="takes too long"):
        shop.ask("SELECT COUNT(DISTINCT a.v * b.v + c.v * d.v) FROM survey a, survey b, survey c, survey d")


def test_a_child_and_another_version_of_its_parent_are_not_joined(shop: Shop, twins: Twins) -> None:
    shop.publish("people")
    with pytest.raises(AskRefused, match="older twin of people"):
        shop.ask("SELECT COUNT(*) FROM people p JOIN orders o ON o.uid = p.uid")
    assert shop.ask("SELECT COUNT(*) FROM orders").rows  # alone it is as good as ever


def test_a_twin_of_an_earlier_policy_is_used_while_its_columns_are_the_same(shop: Shop, twins: Twins) -> None:
    shop.policy = parse(POLICY.replace("max_rows = 3", "max_rows = 2"))
    assert any("earlier policy" in note for note in shop.ask("SELECT COUNT(*) FROM people").notes)
    shop.policy = parse(POLICY.replace('columns.name = {type = "VARCHAR"}', 'columns.name = {type = "VARCHAR"}\ncolumns.more = {type = "INTEGER"}'))
    with pytest.raises(AskRefused, match="other columns"):
        shop.ask("SELECT COUNT(*) FROM people")
    assert shop.ask("SELECT COUNT(*) FROM orders").rows


def test_the_warehouse_of_twins_opens_no_other_file(shop: Shop, twins: Twins) -> None:
    cards = (twins.cards["people"],)
    other = shop.store.rows_of(twins.cards["survey"])
    backend = warehouse(cards, (), twins, threading.Event())
    try:
        cursor = backend._root
        for sql in (
            f"SELECT * FROM read_parquet('{other}')", f"SELECT * FROM '{other}'", "SELECT * FROM read_text('/etc/hostname')",
            "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM glob('/*')", "ATTACH '/tmp/x.db'", "SET enable_external_access = true",
            "SET allowed_paths = ['/etc/passwd']", "COPY people TO '/tmp/stolen.csv'", "INSTALL httpfs", "LOAD httpfs",
        ):  # fmt: skip
            with pytest.raises(duckdb.Error):
                cursor.execute(sql).fetchall()
        assert cursor.execute("SELECT COUNT(*) FROM people").fetchall()[0][0] > 0
    finally:
        backend.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_parquet('x')", "SELECT * FROM duckdb_settings()", "SELECT getenv('HOME')", 'SELECT * FROM "/etc/passwd"',
        "SELECT * FROM people; SELECT 1", "COPY people TO 'x'", "SELECT * FROM information_schema.tables", "PRAGMA database_list",
    ],
)  # fmt: skip
def test_what_the_language_refuses_is_refused_on_twins_too(shop: Shop, twins: Twins, sql: str) -> None:
    with pytest.raises(Refused):
        shop.ask(sql)


def test_preparing_touches_no_file(shop: Shop, twins: Twins) -> None:
    blind = Twins(twins.policy, twins.cards, lambda card: (_ for _ in ()).throw(AssertionError(card)), lambda: (_ for _ in ()).throw(AssertionError))
    free = prepare("SELECT * FROM people LIMIT 3", Ask(), blind)
    assert free.priced.cost.pico_epsilon == 0
    assert answer_free(free, twins, cancelled=threading.Event()).rows


def test_a_twin_that_a_row_did_not_pay_for_says_so_in_every_answer(shop: Shop) -> None:
    change = {"recover_cycle": None, "analyst": None, "default": None, "by": "owner"}
    shop.ledger.set_budget("test", "shop", "survey", total_budget=0.1, exhausted_strategy="allow", **change)  # type: ignore[arg-type]
    card = shop.publish("survey", epsilon=5.0)
    assert card.unmetered == ["survey"]
    found = shop.ask("SELECT COUNT(*) FROM survey")
    assert found.unmetered
    assert any("promise is void" in note for note in found.notes)


def test_a_relative_folder_of_twins_is_found(shop: Shop, twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.store.folder.parent)
    shop.store = TwinStore(Path("twins"))
    assert shop.ask("SELECT COUNT(*) FROM people").rows


def test_a_quote_character_in_the_folders_name_is_no_way_out(shop: Shop, tmp_path: Path) -> None:
    shop.store = TwinStore(tmp_path / "owner's, [twins]")
    shop.publish("survey")
    assert shop.ask("SELECT COUNT(*) FROM survey").rows
