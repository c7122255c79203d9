"""Twins as files: one parquet and one JSON card each, in a folder that all gateways of an owner share.

Names of files are made here, of hashes and hexadecimal numbers only: no name of a table, request or card becomes a path.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
from pydantic import ValidationError
from sqlglot import exp

from dpjupyter.engine.finish.desk import duckdb_type
from dpjupyter.engine.ledger.records import TwinCard
from dpjupyter.engine.model import Kind, SqlType
from dpjupyter.engine.synthetic.card import Card
from dpjupyter.engine.synthetic.sample import Drawn, places
from dpjupyter.errors import NotFound, PolicyError

_VERSION = re.compile(r"[0-9a-f]{16}")
_BLOCK = 1 << 20
CHUNK = 100_000  # rows written at a time


class Cards(Protocol):
    """What is needed of a ledger."""

    def publish_twin(self, prefix: str, db_name: str, table_name: str, *, version: str, card: str) -> None:
        """Keep a card."""
        ...

    def twins(self, prefix: str | None = None, db_name: str | None = None, *, retired: bool = False) -> tuple[TwinCard, ...]:
        """Cards, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Numbered:
    """A column of numbers, or of texts that hold them: a key, or a reference to one."""

    type: SqlType
    numbers: Any  # numpy int64


@dataclass(frozen=True, slots=True)
class Empty:
    """A column that is NULL throughout."""

    type: SqlType


Column = Drawn | Numbered | Empty


class TwinStore:
    """The folder. Thread-safe: files are written once, under names nobody else uses, and never changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()  # DuckDB is told which files it may open by their whole paths

    def check(self) -> None:
        """Make the folder where it is missing, and see that it can be written.

        Raises: PolicyError: it cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            trial = self.folder / f".trial-{secrets.token_hex(8)}"
            trial.touch()
            trial.unlink()
        except OSError as error:
            raise PolicyError(f"the folder of synthetic twins {self.folder} cannot be written ({type(error).__name__})") from None

    @staticmethod
    def new_version() -> str:
        """A name for a new twin."""
        return secrets.token_hex(8)

    def path(self, prefix: str, db_name: str, table: str, version: str) -> Path:
        """Where a twin's rows are.

        Raises: NotFound: that is no version.
        """
        if not _VERSION.fullmatch(version):
            raise NotFound("There is no such twin.")
        named = hashlib.sha256(json.dumps([prefix, db_name, table]).encode()).hexdigest()[:16]
        return self.folder / f"{named}-{version}.parquet"

    def write(self, path: Path, columns: Mapping[str, Column], rows: int, rng: np.random.Generator) -> str:
        """Write a twin's rows, all or nothing; values within bins are drawn from ``rng`` on the way.

        Returns: the file's sha256.
        """
        trial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            _parquet(trial, columns, rows, rng)
            _settled(trial, path)
        finally:
            trial.unlink(missing_ok=True)
        return file_sha256(path)

    def write_card(self, card: Card) -> None:
        """Put the card beside the rows: for people who find the file."""
        path = self.path(card.prefix, card.db_name, card.table, card.version).with_suffix(".json")
        trial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            trial.write_text(card.model_dump_json(indent=2), encoding="utf-8")
            _settled(trial, path)
        finally:
            trial.unlink(missing_ok=True)

    def cards(self, ledger: Cards, prefix: str, db_name: str) -> dict[str, Card]:
        """The current twin of each table: the newest that is not retired."""
        found: dict[str, Card] = {}
        for row in ledger.twins(prefix, db_name):
            if row.table_name not in found:
                card = read_card(row)
                if card is not None:
                    found[row.table_name] = card
        return found

    def rows_of(self, card: Card) -> Path:
        """The file of a twin, looked at: it is there, and is the one the card was written for.

        Raises: NotFound: it is not.
        """
        path = self.path(card.prefix, card.db_name, card.table, card.version)
        try:
            same = file_sha256(path) == card.file_sha256
        except OSError:
            same = False
        if not same:
            raise NotFound(f"the rows of the synthetic twin of {card.table} are not in this gateway's folder of twins")
        return path


def read_card(row: TwinCard) -> Card | None:
    """A card as the ledger keeps it; None: another version of this program wrote it, or it belongs to another row."""
    try:
        card = Card.model_validate_json(row.card)
    except ValidationError:
        return None
    same = (card.prefix, card.db_name, card.table, card.version) == (row.prefix, row.db_name, row.table_name, row.version)
    return card if same else None


def file_sha256(path: Path) -> str:
    """Checksum of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _settled(trial: Path, path: Path) -> None:
    """Give a complete file its name: whoever sees the name sees all of it."""
    with trial.open("rb+") as file:
        os.fsync(file.fileno())
    trial.replace(path)


def _parquet(path: Path, columns: Mapping[str, Column], rows: int, rng: np.random.Generator) -> None:
    """Row group by row group: no more than one is in memory as values."""
    parts: list[str] = []
    try:
        with duckdb.connect(":memory:", config={"threads": "1", "python_enable_replacements": "false"}) as connection:
            for start in range(0, max(rows, 1), CHUNK):
                parts.append(f"{path}.{start}")
                _part(connection, parts[-1], columns, (start, min(rows, start + CHUNK)), rng)
            files = exp.Array(expressions=[exp.Literal.string(part) for part in parts])
            source = exp.select("*").from_(exp.Anonymous(this="read_parquet", expressions=[files]))
            connection.execute(f"COPY ({source.sql('duckdb')}) TO {exp.Literal.string(str(path)).sql('duckdb')} (FORMAT parquet)")
    finally:
        for part in parts:
            Path(part).unlink(missing_ok=True)


def _part(
    connection: duckdb.DuckDBPyConnection, path: str, columns: Mapping[str, Column], between: tuple[int, int], rng: np.random.Generator
) -> None:
    arrays: dict[str, Any] = {}
    domains: list[list[Any]] = []
    shown: list[exp.Expression] = []
    for n, (name, column) in enumerate(columns.items()):
        value = _expression(n, column, slice(*between), rng, arrays, domains)
        shown.append(exp.Alias(this=value, alias=exp.to_identifier(name, quoted=True)))
    if arrays:
        connection.register("drawn", arrays)
        source = exp.select(*shown).from_("drawn")
    else:
        source = exp.select(*shown).from_(f"range({between[1] - between[0]})")
    connection.execute(f"COPY ({source.sql('duckdb')}) TO {exp.Literal.string(path).sql('duckdb')} (FORMAT parquet)", domains or None)


def _expression(
    n: int, column: Column, part: slice, rng: np.random.Generator, arrays: dict[str, Any], domains: list[list[Any]]
) -> exp.Expression:
    """A column of the file, of the type that the policy declares."""
    type_ = exp.DataType.build(duckdb_type(column.axis.type if isinstance(column, Drawn) else column.type), dialect="duckdb")
    match column:
        case Empty():
            return exp.cast(exp.null(), type_)
        case Numbered():
            arrays[f"v{n}"] = column.numbers[part]
            return exp.TryCast(this=exp.column(f"v{n}"), to=type_)
        case Drawn(axis=axis, bins=bins) if axis.values:
            arrays[f"v{n}"] = bins[part]
            domains.append(list(axis.values))
            values = exp.cast(
                exp.Parameter(this=exp.Literal.number(len(domains))), exp.DataType.build(f"{type_.sql('duckdb')}[]", dialect="duckdb")
            )
            at = exp.Add(this=exp.column(f"v{n}"), expression=exp.Literal.number(1))
            return exp.Anonymous(this="list_extract", expressions=[values, at])  # one past the end is NULL: NULL's own bin
        case Drawn(axis=axis, bins=bins):
            arrays[f"v{n}"], arrays[f"b{n}"] = places(axis, bins[part], rng), bins[part]
            value = _placed(exp.column(f"v{n}"), axis.type, type_)
            known = exp.LT(this=exp.column(f"b{n}"), expression=exp.Literal.number(axis.ranges))
            return exp.Case(ifs=[exp.If(this=known, true=value)])


def _placed(value: exp.Expression, type_: SqlType, wanted: exp.DataType) -> exp.Expression:
    match type_.kind:
        case Kind.DATE:
            epoch = exp.cast(exp.Literal.string("1970-01-01"), "DATE")
            return exp.cast(exp.Add(this=epoch, expression=exp.cast(value, "INT")), wanted)
        case Kind.TIMESTAMP:
            return exp.cast(exp.Anonymous(this="make_timestamp", expressions=[exp.cast(value, "BIGINT")]), wanted)
        case _:
            return exp.cast(value, wanted)


def bins_of(path: Path, names: Sequence[str], expressions: Sequence[exp.Expression], key: str) -> tuple[Any, list[Any]]:
    """A published twin's key column and the bins of some of its columns.

    Args:
        path: its file.
        names: columns, in the policy's spelling.
        expressions: over columns c0, c1, ... in the order of ``names``.
        key: the column that other rows refer to.
    """
    with duckdb.connect(":memory:", config={"threads": "1", "python_enable_replacements": "false"}) as connection:
        inner = exp.select(
            exp.alias_(exp.cast(exp.column(key, quoted=True), "BIGINT"), "k"),
            *(exp.alias_(exp.column(name, quoted=True), f"c{n}") for n, name in enumerate(names)),
        ).from_(exp.Anonymous(this="read_parquet", expressions=[exp.Literal.string(str(path))]))
        outer = exp.select("k", *(exp.alias_(e.copy(), f"b{n}") for n, e in enumerate(expressions))).from_(inner.subquery("t"))
        found = connection.execute(outer.sql("duckdb")).fetchnumpy()
        return found["k"], [found[f"b{n}"] for n in range(len(expressions))]
