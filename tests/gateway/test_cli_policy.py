"""``dpjupyter policy``: run as its user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from dpjupyter.cli import main
from dpjupyter.engine.policy import parse


def test_init_writes_a_skeleton_that_lacks_only_the_owners_decisions(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "init", f"duckdb:///{warehouse}", "--prefix", "test"]) == 0
    text = capsys.readouterr().out
    assert 'name = "clinic"' in text
    assert "[tables.visits.columns]" in text
    decided = text.replace('unit = "?"', 'unit = "person_id"')
    policy = parse(decided)
    assert policy.tables["visits"].columns["cost"].type == "DECIMAL(8,2)"
    assert "3000" not in text  # no value of the data


def test_init_never_overwrites(warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "clinic.toml"
    assert main(["policy", "init", f"duckdb:///{warehouse}", "--output", str(target)]) == 0
    before = target.read_text()
    assert main(["policy", "init", f"duckdb:///{warehouse}", "--output", str(target)]) == 1
    assert target.read_text() == before
    assert "cannot be written" in capsys.readouterr().err


def test_check_of_a_skeleton_names_every_undecided_unit(warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "clinic.toml"
    main(["policy", "init", f"duckdb:///{warehouse}", "--output", str(target)])
    assert main(["policy", "check", str(target)]) == 1
    told = capsys.readouterr().err
    assert "people" in told
    assert "visits" in told


def test_check_explains_every_missing_bound(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = policies / "clinic.toml"
    text = (
        path.read_text()
        .replace(", bounds = [0, 120]", "")
        .replace(', bounds = ["2024-01-01", "2024-12-31"]', "")
        .replace(', domain = ["Basel", "Bern", "Genf"]', "")
    )
    path.write_text(text.replace("key_delta = 1e-9\n", ""))
    assert main(["policy", "check", str(policies), "--json"]) == 0
    notes = {note["where"]: note for note in json.loads(capsys.readouterr().out)["notes"]}
    assert "bounds = [lowest, highest]" in notes["tables.people.columns.age"]["then"]
    assert "month" in notes["tables.visits.columns.day"]["what"]
    assert "domain" in notes["tables.people.columns.city"]["then"]
    assert "key_delta" in notes["tables.people"]["what"]
    assert "tables.people.columns.person_id" not in notes  # a unit is never summed
    assert main(["policy", "check", str(path), "--strict"]) == 1


def test_check_compares_with_the_warehouse(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = policies / "clinic.toml"
    path.write_text(
        path.read_text()
        .replace('age = { type = "INTEGER"', 'years = { type = "INTEGER"')
        .replace('income = { type = "DOUBLE"', 'income = { type = "INTEGER"')
    )
    assert main(["policy", "check", str(path), "--warehouse"]) == 1
    shown = capsys.readouterr().out
    assert "tables.people.columns.years: people has no such column" in shown
    assert "tables.people.columns.income: is DOUBLE in the warehouse" in shown


def test_check_compares_sizes_keys_and_both_ends_of_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Types that are too narrow make questions fail for single values; keys that nothing enforces are no facts."""
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE people (id BIGINT, code VARCHAR PRIMARY KEY, age INTEGER, pay DECIMAL(12,4), tier ENUM('a', 'b'), note VARCHAR);"
            "CREATE TABLE visits (person INTEGER NOT NULL, cost DECIMAL(10,2)); INSERT INTO people VALUES (4711, 'x', 1, 1, 'a', 'secret-note')"
        )
    (tmp_path / "w.toml").write_text(f"""
[database]
prefix = "local"
name = "w"
backend = "duckdb:///{tmp_path / 'w.duckdb'}"
[tables.people]
unit = "id"
keys = [["id"], ["code"]]
enforced_keys = true
columns.id = {{ type = "INTEGER", nullable = false }}
columns.code = {{ type = "VARCHAR" }}
columns.age = {{ type = "BIGINT", bounds = [0, 120] }}
columns.pay = {{ type = "DECIMAL(12,2)", bounds = [0, 9] }}
columns.tier = {{ type = "VARCHAR", domain = ["a", "b"] }}
[tables.visits]
unit = "person -> people.id"
columns.person = {{ type = "VARCHAR" }}
columns.cost = {{ type = "DECIMAL(8,2)", bounds = [0, 9] }}
""")
    assert main(["policy", "check", str(tmp_path / "w.toml"), "--warehouse", "--json"]) == 1
    out = capsys.readouterr().out
    told = {(note["level"], note["where"]): note["what"] for note in json.loads(out)["notes"]}
    assert "is BIGINT in the warehouse, INTEGER here, which is narrower" in told["wrong", "tables.people.columns.id"]
    assert "digits after the point differ" in told["wrong", "tables.people.columns.pay"]
    assert "is INTEGER in the warehouse, VARCHAR here" in told["wrong", "tables.visits.columns.person"]
    assert "narrower" in told["wrong", "tables.visits.columns.cost"]
    assert "does not declare (id) unique" in told["wrong", "tables.people.keys"]
    assert told["missing", "tables.people.columns.id"] == "the warehouse does not declare it NOT NULL"
    for fine in ("age", "tier", "code"):
        assert ("wrong", f"tables.people.columns.{fine}") not in told
    assert "4711" not in out
    assert "secret-note" not in out


def test_a_sound_policy_has_nothing_wrong(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", str(policies), "--warehouse"]) == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_a_broken_policy_names_file_line_and_key(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = policies / "clinic.toml"
    path.write_text(path.read_text().replace("total_budget = 2.0", "total_budget = -2.0"))
    line = path.read_text().splitlines().index("total_budget = -2.0") + 1
    assert main(["policy", "check", str(path)]) == 1
    assert f"clinic.toml:{line}: tables.visits.total_budget" in capsys.readouterr().err


def test_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["tables"]


@pytest.mark.parametrize("command", [["--help"], ["policy", "--help"], ["gateway", "--help"]])
def test_help_shows_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out
