"""One form of values for every warehouse: what crosses from a driver into the engine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal

from dpjupyter.engine.model import Value


def plain(value: object) -> Value:
    """A driver's value as a plain one.

    Integers stay exact whatever their width (a DECIMAL without digits after the point is an integer);
    other decimals become floats; dates, times and timestamps become ISO text (``2020-01-31 10:00:00``);
    whatever else a warehouse may hold becomes its text.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            # Warehouses group -0.0 with 0.0 and show either: which one must not depend on a single row.
            return value + 0.0
        case Decimal():
            exponent = value.as_tuple().exponent
            return int(value) if isinstance(exponent, int) and exponent >= 0 else float(value)
        case datetime():  # before date: a datetime is one
            return value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


_PLAIN = frozenset({int, str, bool, type(None)})


def plain_rows(rows: Iterable[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows of plain values; rows that are plain already are passed on untouched."""
    return [row if all(type(value) in _PLAIN for value in row) else tuple(map(plain, row)) for row in rows]
