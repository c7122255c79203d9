"""Released tables that an analyst keeps: an answer as content of the ledger, and back as a table that later questions read.

The content is two lines of JSON: what a list of saved tables shows, then the values and what is known of their noise.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from dpjupyter.engine.model import (
    CONFIDENCES,
    DOUBLE,
    HUGEINT,
    NULLTYPE,
    TEXT,
    Answer,
    AnswerKind,
    Kind,
    Noise,
    SavedColumn,
    SavedTable,
    SqlType,
    Value,
)
from dpjupyter.engine.policy import Policy
from dpjupyter.errors import AskRefused

MAX_CELLS = 200_000
MAX_CHARACTERS = 4_000_000  # of the content: MySQL takes a statement of 16 MB at least
_HUGE = 2**127


@dataclass(frozen=True, slots=True)
class Head:
    """What a list of saved tables shows of one."""

    columns: tuple[tuple[str, str], ...]  # (name, type)
    rows: int
    kind: AnswerKind
    unmetered: bool


def keep(answer: Answer, tables: Sequence[str], policy: Policy, *, unmetered: bool) -> str:
    """An answer as the content of a saved table.

    Args:
        answer: as it was filed.
        tables: private tables behind it; with ``answer.drawn_from`` they say when it expires.
        policy: in force when it was released.
        unmetered: a budget row did not pay for it.
    Raises: AskRefused: the table is too large.
    """
    cells = len(answer.rows) * len(answer.columns)
    if cells > MAX_CELLS:
        raise AskRefused(
            f"A saved table holds at most {MAX_CELLS:,} values; this answer has {cells:,}.", hint="Aggregate further, or add LIMIT."
        )
    names = unique([name for name, _ in answer.columns])
    columns: list[dict[str, Any]] = []
    for n, (name, text) in enumerate(zip(names, (t for _, t in answer.columns), strict=True)):
        type_, values = _fitting(_type(text), answer.decimals.get(str(n)) or [row[n] for row in answer.rows])
        columns.append({"name": name, "type": _type_json(type_), "values": values, **_spread(answer, n)})
    head = {
        "version": 1,
        "columns": [[c["name"], c["type"]["text"]] for c in columns],
        "rows": len(answer.rows),
        "kind": answer.kind,
        "unmetered": unmetered or answer.unmetered,
        "tables": sorted({*tables, *answer.drawn_from}),
        "checksum": policy.checksum,
        "data_version": policy.database.data_version,
    }
    text = json.dumps(head, ensure_ascii=False) + "\n" + json.dumps(columns, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if len(text) > MAX_CHARACTERS:
        raise AskRefused(f"A saved table takes at most {MAX_CHARACTERS:,} characters; this answer takes {len(text):,}.")
    return text


def kept(name: str, content: str) -> SavedTable:
    """Read what :func:`keep` wrote.

    Raises: ValueError, KeyError: it is something else.
    """
    first, _, rest = content.partition("\n")
    head = _head(first)
    columns: list[SavedColumn] = []
    for said in json.loads(rest):
        noise = said["noise"]
        columns.append(
            SavedColumn(
                name=said["name"],
                type=SqlType(Kind(said["type"]["kind"]), *(said["type"][key] for key in ("bits", "precision", "scale", "text"))),
                values=tuple(said["values"]),
                mechanism=said["mechanism"],
                noise=Noise(noise["mechanism"], noise["scale"], noise["epsilon"]) if noise is not None else None,
                grid=noise["grid"] if noise is not None else 1.0,
                cells=tuple(tuple(None if c is None else (c[0], c[1]) for c in row) for row in said["cells"]),
            )
        )
    return SavedTable(
        name=name,
        columns=tuple(columns),
        rows=head["rows"],
        tables=tuple(head["tables"]),
        kind=head["kind"],
        unmetered=head["unmetered"],
        checksum=head["checksum"],
        data_version=head["data_version"],
        sha256=hashlib.sha256(content.encode()).hexdigest(),
    )


def tables_behind(content: str) -> tuple[str, ...]:
    """Private tables whose budget cycles a saved table lives by."""
    return tuple(_head(content.partition("\n")[0])["tables"])


def head_of(content: str) -> Head:
    """What a list shows, from the content's first line."""
    head = _head(content.partition("\n")[0])
    return Head(tuple((name, text) for name, text in head["columns"]), head["rows"], head["kind"], head["unmetered"])


def _head(line: str) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(line)
    if head["version"] != 1:
        raise ValueError("kept by another version")
    return head


# ---------------------------------------------------------------- noise
def _spread(answer: Answer, n: int) -> dict[str, Any]:
    """What is known of a column's noise: the noise of a number shown unchanged, else the intervals of its cells."""
    said: Mapping[str, Value] = answer.utility[n] if n < len(answer.utility) else {"key": True}
    if said.get("key"):
        return {"mechanism": "", "noise": None, "cells": []}
    mechanism, grid, scale = str(said.get("mechanism") or "noise"), said.get("grid"), said.get("scale")
    if not said.get("derived") and isinstance(grid, float) and isinstance(scale, float):
        noise = {"mechanism": mechanism, "scale": scale / grid, "epsilon": said.get("epsilon") or 0.0, "grid": grid}
        return {"mechanism": mechanism, "noise": noise, "cells": []}
    cells = [[answer.intervals[str(c)][row][n] for c in CONFIDENCES] for row in range(len(answer.rows))]
    return {"mechanism": mechanism, "noise": None, "cells": cells if any(c is not None for row in cells for c in row) else []}


# ---------------------------------------------------------------- types
def _type(text: str) -> SqlType:
    if text in ("", "NULL"):
        return NULLTYPE
    try:
        return SqlType.parse(text)
    except ValueError:
        return TEXT


def _type_json(type_: SqlType) -> dict[str, Any]:
    return {"kind": type_.kind.value, "bits": type_.bits, "precision": type_.precision, "scale": type_.scale, "text": type_.text}


def _fitting(type_: SqlType, values: Sequence[Value]) -> tuple[SqlType, list[Value]]:
    """The values in the type they were shown under, or in the narrowest wider one that holds them all without loss."""
    present = [v for v in values if v is not None]
    match type_.kind:
        case Kind.BOOL if all(isinstance(v, bool) for v in present):
            return type_, list(values)
        case Kind.INT if all(isinstance(v, int) and not isinstance(v, bool) and -_HUGE <= v < _HUGE for v in present):
            most = max((abs(v) for v in present if isinstance(v, int)), default=0)
            return (type_ if most < 2 ** (type_.bits - 1) else HUGEINT), list(values)
        case Kind.DECIMAL if (exact := _decimals(type_, values)) is not None:
            return exact
        case Kind.DATE if all(_reads(dt.date.fromisoformat, v) for v in present):
            return type_, list(values)
        case Kind.TIMESTAMP if all(_reads(dt.datetime.fromisoformat, v) for v in present):
            return type_, list(values)
        case Kind.TIME if all(_reads(dt.time.fromisoformat, v) for v in present):
            return type_, list(values)
        case Kind.NULL if not present:
            return type_, list(values)
        case Kind.TEXT if all(isinstance(v, str) for v in present):
            return type_, list(values)
        case Kind.INT | Kind.DECIMAL | Kind.FLOAT | Kind.BOOL if all(isinstance(v, int | float) for v in present):
            return (type_ if type_.kind is Kind.FLOAT else DOUBLE), [None if v is None else float(v) for v in values]
        case _:
            return TEXT, [None if v is None else str(v) for v in values]


def _decimals(type_: SqlType, values: Sequence[Value]) -> tuple[SqlType, list[Value]] | None:
    """DECIMALs as text of their scale, in a type with digits enough; None: they are something else."""
    read: list[Decimal | None] = []
    for value in values:
        try:
            read.append(None if value is None else Decimal(value if isinstance(value, str) else repr(value)))
        except InvalidOperation:
            return None
    scale = max([type_.scale, *(-int(v.as_tuple().exponent) for v in read if v is not None and v.is_finite())])
    digits = max([1, *(len(str(abs(int(v)))) for v in read if v is not None)])
    if not 0 < scale <= 38 or digits + scale > 38:
        return None
    fitted = type_ if scale == type_.scale and digits <= type_.precision - type_.scale else _decimal(38, scale)
    return fitted, [None if v is None else f"{v:.{scale}f}" for v in read]


def _decimal(precision: int, scale: int) -> SqlType:
    return SqlType(Kind.DECIMAL, precision=precision, scale=scale, text=f"DECIMAL({precision},{scale})")


def _reads(read: Any, value: Value) -> bool:
    try:
        read(value)
    except (TypeError, ValueError):
        return False
    return True


def unique(names: Sequence[str]) -> list[str]:
    """Names as the notebook's data frame has them: a second ``n`` is ``n_1``."""
    taken, seen = set(names), set[str]()
    result: list[str] = []
    for name in names:
        new, number = name, 0
        while new in seen or (number and new in taken):
            number += 1
            new = f"{name}_{number}"
        seen.add(new)
        result.append(new)
    return result
