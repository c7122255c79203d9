"""Types: their limits, their widths, and how they are named in casts."""

from __future__ import annotations

import functools

from sqlglot import exp

from dpjupyter.engine.model import (
    Interval,
    Kind,
    SqlType,
)
from dpjupyter.engine.scalar import intervals as iv

NUMERIC = (Kind.INT, Kind.DECIMAL, Kind.FLOAT)
TIMED = (Kind.DATE, Kind.TIMESTAMP)
# Lowered expressions keep to the calendar that both warehouses and every driver can represent.
FIRST_DAY, LAST_DAY = -719162, 2932896  # 0001-01-01 and 9999-12-31 in days since 1970-01-01
DAY_US = 86_400_000_000
FLOAT32 = ("FLOAT", "REAL", "FLOAT4")


@functools.lru_cache(maxsize=1024)
def limits(type_: SqlType, dialect: str = "duckdb") -> Interval | None:
    """Interval that a value of this type cannot leave; None for types without order or arithmetic."""
    match type_.kind:
        case Kind.INT:
            if type_.precision:
                top = float(10**type_.precision - 1)
                top = top if type_.precision < 16 else iv.above(top)
                return Interval(-top, top)
            # Snowflake's INTEGER is NUMBER(38, 0).
            top = 1e38 if dialect == "snowflake" else 2.0 ** (type_.bits - 1)
            return Interval(-top, top - 1 if top < 2.0**53 else top)
        case Kind.DECIMAL:
            digits = type_.precision - type_.scale
            top = 10.0**digits if digits < 16 else iv.above(10.0**digits)
            return Interval(-top, top)
        case Kind.BOOL:
            return iv.BOOLEAN
        case Kind.FLOAT | Kind.DATE | Kind.TIMESTAMP:
            return iv.ALL
        case _:
            return None


def integer(bits: int) -> SqlType:
    """Integer type of that width."""
    return SqlType(Kind.INT, bits=bits, text={8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}.get(bits, "HUGEINT"))


def decimal(precision: int, scale: int) -> SqlType:
    """DECIMAL of that size."""
    return SqlType(Kind.DECIMAL, precision=precision, scale=scale, text=f"DECIMAL({precision},{scale})")


def data_type(type_: SqlType, dialect: str) -> exp.DataType:
    """Type to cast to."""
    return _data_type(type_, dialect).copy()


@functools.lru_cache(maxsize=256)
def _data_type(type_: SqlType, dialect: str) -> exp.DataType:
    if type_.kind is Kind.INT:
        if dialect == "snowflake":
            return exp.DataType.build(f"DECIMAL({type_.precision or 38}, 0)")
        if type_.precision:
            return exp.DataType.build(f"DECIMAL({type_.precision}, 0)")
        names = {8: "TINYINT", 16: "SMALLINT", 32: "INT", 64: "BIGINT", 128: "INT128"}
        return exp.DataType.build(names[type_.bits])
    if type_.kind is Kind.DECIMAL:
        return exp.DataType.build(f"DECIMAL({type_.precision}, {type_.scale})")
    names = {
        Kind.BOOL: "BOOLEAN",
        Kind.FLOAT: "DOUBLE",
        Kind.TEXT: "TEXT",
        Kind.DATE: "DATE",
        Kind.TIMESTAMP: "TIMESTAMP",
        Kind.TIME: "TIME",
    }
    return exp.DataType.build(names[type_.kind])


def int_digits(interval: Interval) -> int:
    """Digits before the point that the interval needs."""
    top = max(abs(interval.lower), abs(interval.upper))
    return 400 if top == iv.INF else len(str(int(top))) if top >= 1 else 0


def bits_for(interval: Interval) -> int:
    """Width of the narrowest integer type that holds the interval; 0 if none does."""
    for bits in (8, 16, 32, 64):
        top = 2.0 ** (bits - 1)
        if -top <= interval.lower and interval.upper < top:
            return bits
    return 128 if int_digits(interval) <= 38 else 0


def shown(type_: SqlType) -> str:
    """Name of a type for messages."""
    return type_.text or type_.kind.value.upper()
