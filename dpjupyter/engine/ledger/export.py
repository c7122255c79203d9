"""Audit rows as files: CSV that no spreadsheet executes, JSON that no page executes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, fields

from dpjupyter.engine.ledger.records import AuditRow

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def to_csv(rows: Iterable[AuditRow]) -> str:
    """CSV with a header. A text a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow([column.name for column in fields(AuditRow)])
    for row in rows:
        writer.writerow([_cell(value) for value in asdict(row).values()])
    return out.getvalue()


def to_json(rows: Iterable[AuditRow]) -> str:
    """A JSON list. ``<``, ``>``, ``&`` are written as escapes, so that the text may stand inside a page."""
    text = json.dumps([asdict(row) for row in rows], ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _cell(value: object) -> object:
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return "'" + value
    return value
