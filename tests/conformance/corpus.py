"""The external corpus as policies, data and queries. Nothing of it is copied: it is read where it lies."""

from __future__ import annotations

import importlib.util
import json
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from dpjupyter.engine.policy import Policy

HERE = Path(__file__).resolve()


def home() -> Path:
    """The corpus folder beside the checkout.

    Raises: FileNotFoundError: it is not there; a run without it proves nothing.
    """
    for parent in HERE.parents:
        candidate = parent / "shared" / "corpus"
        if (candidate / "accept.jsonl").exists():
            return candidate
    raise FileNotFoundError("the corpus is not beside this checkout (shared/corpus)")


@dataclass(frozen=True, slots=True)
class Case:
    """One query of the corpus with its verdict."""

    id: str
    schema: str
    sql: str
    verdict: str  # core, extended, policy | must_reject, reject_or_dp, may_answer_with_dp
    tags: tuple[str, ...]
    columns: tuple[str, ...]


def cases(folder: Path, name: str) -> list[Case]:
    """The lines of accept.jsonl or reject.jsonl."""
    found: list[Case] = []
    for line in (folder / name).read_text(encoding="utf-8").splitlines():
        if line.strip():
            row = json.loads(line)
            expected = row.get("expected") or {}
            found.append(
                Case(
                    row["id"],
                    row["schema"],
                    row["sql"],
                    row.get("level") or row["oracle"],
                    tuple(row.get("tags", ())),
                    tuple(expected.get("columns", ())),
                )
            )
    return found


def policy_of(schemas: Path, name: str, *, max_rows: int = 50, max_groups: int = 50) -> Policy:
    """A corpus schema as an owner would write it: declared facts only, keys not enforced by the warehouse."""
    schema = json.loads((schemas / f"{name}.json").read_text(encoding="utf-8"))
    tables = {table: _table(spec, schema["tables"], max_rows, max_groups) for table, spec in schema["tables"].items()}
    return Policy.model_validate(
        {"database": {"prefix": "corpus", "name": name, "backend": "duckdb:///:memory:"}, "limits": {"time_grid_ms": 0}, "tables": tables}
    )


def _table(spec: dict[str, Any], tables: dict[str, Any], max_rows: int, max_groups: int) -> dict[str, Any]:
    columns = {}
    for name, column in spec["columns"].items():
        columns[name] = {"type": column["type"], "nullable": bool(column.get("nullable", False))}
        for key in ("bounds", "domain"):
            if key in column:
                columns[name][key] = column[key]
    keys = [spec["primary_key"]] if spec.get("primary_key") else []
    keys += [k for k in spec.get("unique_keys", []) if k not in keys]
    table: dict[str, Any] = {"private": spec["privacy"] == "private", "columns": columns, "keys": keys}
    if table["private"]:
        unit = spec["privacy_unit"]
        if unit["kind"] == "row":
            table["unit"] = "row"
        elif unit["kind"] == "path":
            hops = [f"{s['column']} -> {s['ref_table']}.{s['ref_column']}" for s in unit["path"]]
            table["unit"] = " -> ".join([*hops, unit["column"]])
        else:
            table["unit"] = unit.get("column") or unit["columns"][0]
        table |= {"max_rows": max_rows, "max_groups": max_groups, "key_delta": 1e-7}
    else:
        table["rows"] = spec["rows"]
    return table


@cache
def _generator(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("corpus_gen_data", folder / "gen_data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(schemas: Path, name: str) -> duckdb.DuckDBPyConnection:
    """An in-memory database filled with the schema's deterministic data."""
    folder = schemas.parent
    connection = duckdb.connect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the generator leaves closing its files to the collector
        _generator(folder).load(connection, name, base=str(folder))
    return connection
