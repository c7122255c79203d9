"""Columns as pandas holds them, chosen by their SQL type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dpjupyter.wire import Value

if TYPE_CHECKING:
    import pandas as pd

INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
NUMBERS = INTEGERS | {"DOUBLE", "FLOAT", "REAL", "DECIMAL", "NUMERIC", "NUMBER"}
TIMES = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATETIME"})
LONGEST_INT64 = 2**63


def base_type(text: str) -> str:
    """DECIMAL of ``DECIMAL(18,3)``; empty where there is no type."""
    match = re.match(r"\s*([A-Za-z_0-9]+)", text)
    return match.group(1).upper() if match else ""


def guessed_type(values: list[Value]) -> str:
    """The type of values that came without one."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return "BOOLEAN"
    if known and all(isinstance(value, int) for value in known):
        return "BIGINT"
    return "DOUBLE" if known and all(isinstance(value, int | float) for value in known) else "VARCHAR"


def series(values: list[Value], kind: str, name: str) -> pd.Series:
    """A column: whole numbers stay whole (Int64 where a value is missing), dates become timestamps where pandas can hold them."""
    import pandas as pd  # noqa: PLC0415 - as in Answer.df

    missing = any(value is None for value in values)
    if kind in INTEGERS and all(value is None or (isinstance(value, int) and abs(value) < LONGEST_INT64) for value in values):
        return pd.Series(values, dtype="Int64" if missing else "int64", name=name)
    if kind in NUMBERS - INTEGERS:
        try:
            return pd.Series([None if value is None else float(value) for value in values], dtype="float64", name=name)
        except ValueError:
            return pd.Series(values, dtype="object", name=name)
    if kind == "BOOLEAN":
        return pd.Series(values, dtype="boolean" if missing else "bool", name=name)
    if kind in TIMES:
        try:
            return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), format="ISO8601"), name=name)
        except ValueError:  # beyond the years pandas can hold
            return pd.Series(values, dtype="object", name=name)
    return pd.Series(values, dtype="object", name=name)
