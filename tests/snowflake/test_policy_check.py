"""``dpjupyter policy check --warehouse`` against the emulator's catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpjupyter.cli import main
from dpjupyter.engine.backends.describe import from_snowflake_rows
from dpjupyter.engine.policy import parse
from tests.contracts.emulator import PASSWORD, Emulator
from tests.snowflake.conftest import policy_text


def test_the_shipped_policy_fits_the_emulated_warehouse(emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "titanic.toml"
    text = policy_text("titanic", emulator.url(tmp_path)).replace("enforced_keys = true\n", "")
    path.write_text(text)
    assert main(["policy", "check", str(path), "--warehouse"]) == 0, capsys.readouterr().out
    path.write_text(text.replace("[tables.passengers", "[tables.travellers"))
    capsys.readouterr()
    assert main(["policy", "check", str(path), "--warehouse", "--json"]) == 1
    out = capsys.readouterr().out
    (wrong,) = [note for note in json.loads(out)["notes"] if note["level"] == "wrong"]
    assert wrong["what"] == "the warehouse has no table 'travellers', or the role may not see it"
    assert PASSWORD not in out


def test_snowflakes_numbers_and_keys_are_told_as_what_they_are() -> None:
    """NUMBER(38,0) is what every integer column is there; declared keys are never enforced."""
    from dpjupyter.cli.comparison import differences

    tables = [{"s": "PUBLIC", "t": "PEOPLE", "c": "", "k": "BASE TABLE"}]
    columns = [
        {"s": "PUBLIC", "t": "PEOPLE", "n": "ID", "d": "NUMBER", "p": 38, "q": 0, "z": "NO", "c": ""},
        {"s": "PUBLIC", "t": "PEOPLE", "n": "PAY", "d": "NUMBER", "p": 12, "q": 2, "z": "YES", "c": ""},
    ]
    primary = [{"schema_name": "PUBLIC", "table_name": "PEOPLE", "constraint_name": "pk", "column_name": "ID", "key_sequence": 1}]
    described = from_snowflake_rows(tables, columns, primary, [], [])
    policy = parse("""
[database]
prefix = "local"
name = "s"
backend = "snowflake://x"
[tables.people]
unit = "id"
keys = [["id"]]
enforced_keys = true
columns.id = { type = "BIGINT", nullable = false }
columns.pay = { type = "DECIMAL(10,2)", bounds = [0, 9] }
""")
    told = {(note.level, note.where): note.what for note in differences(policy, described)}
    assert "a value too large for it" in told["missing", "tables.people.columns.id"]
    assert "narrower" in told["wrong", "tables.people.columns.pay"]
    assert "does not enforce keys" in told["wrong", "tables.people.keys"]
