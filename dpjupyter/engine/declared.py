"""Values an owner declares in a policy: the ends of bounds and the members of domains."""

from __future__ import annotations

import math
from datetime import date, datetime, time
from typing import Annotated, Any

from pydantic import BeforeValidator

from dpjupyter.engine.model import Kind

Scalar = bool | int | float | str
ORDERED = (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.DATE, Kind.TIMESTAMP)  # kinds of columns that may have bounds


def _plain(value: Any) -> Any:
    # TOML has dates of its own; here and over HTTP they travel as ISO text.
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date | time) else value


Declared = Annotated[Scalar, BeforeValidator(_plain)]


def comparable(value: Scalar, kind: Kind, shown: str) -> int | float | date | datetime:
    """A declared value of an ordered kind as what it is compared as.

    Args: shown: the column's type as the owner wrote it.
    Raises: ValueError: it is no value of that type, or not finite.
    """
    match kind:
        case Kind.DATE | Kind.TIMESTAMP if isinstance(value, str):
            try:
                return date.fromisoformat(value) if kind is Kind.DATE else datetime.fromisoformat(value)
            except ValueError:
                pass
        case Kind.INT | Kind.DECIMAL | Kind.FLOAT if isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise ValueError("bounds and domains must be finite")
            return value
        case _:
            pass
    raise ValueError(f"{value!r} is not a value of type {shown}")


def belongs(value: Scalar, kind: Kind, shown: str) -> None:
    """Check one member of a domain.

    Raises: ValueError: the column cannot hold it.
    """
    match kind:
        case Kind.BOOL:
            fits = isinstance(value, bool)
        case Kind.TEXT:
            fits = isinstance(value, str)
        case Kind.INT:
            number = comparable(value, kind, shown)
            fits = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
        case Kind.TIME:
            fits = isinstance(value, str)
            time.fromisoformat(str(value))
        case _ if kind in ORDERED:
            comparable(value, kind, shown)
            fits = True
        case _:
            raise ValueError(f"a column of type {shown} cannot have a domain")
    if not fits:
        raise ValueError(f"{value!r} is not a value of type {shown}")
