"""An answer as JSON: the form in which it is filed before it is sent."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from dpjupyter.engine.model import Answer, Receipt


def to_json(answer: Answer, receipt: Receipt | None) -> str:
    """The answer and who paid for it."""
    data = {
        "version": 1,
        "columns": answer.columns,
        "rows": answer.rows,
        "intervals": answer.intervals,
        "utility": answer.utility,
        "cost": answer.cost,
        "notes": answer.notes,
        "kind": answer.kind,
        "unmetered": answer.unmetered,
        "drawn_from": answer.drawn_from,
        "decimals": answer.decimals,
        "receipt": None if receipt is None else asdict(receipt),
    }
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> tuple[Answer, Receipt | None]:
    """Read what :func:`to_json` wrote.

    Raises: ValueError, KeyError: it is something else.
    """
    data: dict[str, Any] = json.loads(text)
    if data["version"] != 1:
        raise ValueError("filed by another version")
    answer = Answer(
        columns=tuple((name, type_) for name, type_ in data["columns"]),
        rows=tuple(tuple(row) for row in data["rows"]),
        intervals={level: tuple(tuple(map(_interval, row)) for row in rows) for level, rows in data["intervals"].items()},
        utility=tuple(data["utility"]),
        cost=data["cost"],
        notes=tuple(data["notes"]),
        kind=data["kind"],
        unmetered=data.get("unmetered", False),  # not in answers filed before there were saved tables
        drawn_from=tuple(data.get("drawn_from", ())),
        decimals={n: tuple(texts) for n, texts in data.get("decimals", {}).items()},
    )
    paid = data["receipt"]
    if paid is None:
        return answer, None
    receipt = Receipt(
        request_id=paid["request_id"],
        analyst=paid["analyst"],
        debited=tuple(paid["debited"]),
        unmetered=tuple(paid["unmetered"]),
        time=paid["time"],
        balances=paid["balances"],
        before=paid["before"],
    )
    return answer, receipt


def _interval(cell: list[float] | None) -> tuple[float, float] | None:
    return None if cell is None else (cell[0], cell[1])
