"""The folder of policies: read as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpjupyter.errors import NotFound, PolicyError
from dpjupyter.gateway.shelf import Shelf
from tests.gateway.running import PEOPLE_POLICY


def test_a_database_is_found_by_name_prefix_and_reader(policies: Path) -> None:
    shelf = Shelf.read(policies)
    policy = shelf.find("clinic", None, None)
    assert shelf.find("clinic", "test", "duckdb") is policy
    assert shelf.find("clinic", "test", "DuckDB") is policy


@pytest.mark.parametrize(
    ("database", "prefix", "reader"), [("other", None, None), ("clinic", "elsewhere", None), ("clinic", "test", "snowflake")]
)
def test_a_mismatch_is_not_found(policies: Path, database: str, prefix: str | None, reader: str | None) -> None:
    with pytest.raises(NotFound):
        Shelf.read(policies).find(database, prefix, reader)


def test_one_name_under_two_prefixes_needs_the_prefix(policies: Path, warehouse: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    (policies / "second.toml").write_text(PEOPLE_POLICY.format(warehouse=other, prefix="second", name="clinic"))
    shelf = Shelf.read(policies)
    with pytest.raises(NotFound, match=r"several"):
        shelf.find("clinic", None, None)
    assert shelf.find("clinic", "second", None).database.prefix == "second"


def test_two_files_for_one_database_are_refused(policies: Path, tmp_path: Path) -> None:
    (policies / "again.toml").write_text(PEOPLE_POLICY.format(warehouse=tmp_path / "x.duckdb", prefix="test", name="clinic"))
    with pytest.raises(PolicyError, match=r"already declared in again.toml"):
        Shelf.read(policies)


def test_one_warehouse_table_in_two_policies_is_refused(policies: Path, warehouse: Path) -> None:
    (policies / "z.toml").write_text(PEOPLE_POLICY.format(warehouse=warehouse, prefix="alias", name="clinic"))
    with pytest.raises(PolicyError, match=r"tables.people: the warehouse's table people already has a budget"):
        Shelf.read(policies)


def test_another_spelling_of_the_file_is_the_same_warehouse(policies: Path, warehouse: Path) -> None:
    spelled = f"{warehouse.parent}/../{warehouse.parent.name}/{warehouse.name}?threads=1"
    (policies / "z.toml").write_text(PEOPLE_POLICY.format(warehouse=spelled, prefix="alias", name="clinic"))
    with pytest.raises(PolicyError, match=r"already has a budget"):
        Shelf.read(policies)


def test_one_table_twice_in_one_policy_is_refused(policies: Path) -> None:
    text = (policies / "clinic.toml").read_text()
    (policies / "clinic.toml").write_text(
        text + '\n[tables.twin]\nunit = "row"\nsource = "PEOPLE"\n[tables.twin.columns]\nage = { type = "INTEGER" }\n'
    )
    with pytest.raises(PolicyError, match=r"tables.twin"):
        Shelf.read(policies)


def test_every_broken_file_is_named(policies: Path) -> None:
    (policies / "a.toml").write_text("not toml")
    (policies / "b.toml").write_text("[database]\n")
    with pytest.raises(PolicyError) as caught:
        Shelf.read(policies)
    assert "a.toml" in caught.value.message
    assert "b.toml" in caught.value.message


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"no .toml"):
        Shelf.read(tmp_path)
    with pytest.raises(PolicyError, match=r"cannot be read"):
        Shelf.read(tmp_path / "missing")
