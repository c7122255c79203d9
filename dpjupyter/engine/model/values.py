"""Values, their types, and what is known of them."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Literal

Mechanism = Literal["laplace", "gauss"]
AnswerKind = Literal["private", "public", "synthetic"]
Value = None | bool | int | float | str  # dates and timestamps travel as ISO strings


class Kind(enum.Enum):
    """Families of SQL types that the rules distinguish."""

    BOOL = "boolean"
    INT = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    TEXT = "text"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    NULL = "null"
    OTHER = "other"  # arrays, structs, blobs: may be counted and carried, not computed with


_INT_BITS = {
    "TINYINT": 8,
    "SMALLINT": 16,
    "INT": 32,
    "INTEGER": 32,
    "MEDIUMINT": 32,
    "BIGINT": 64,
    "HUGEINT": 128,
    "INT128": 128,
    "UTINYINT": 16,
    "USMALLINT": 32,
    "UINT": 64,
    "UINTEGER": 64,
    "UBIGINT": 128,
    "BYTEINT": 8,
}


@dataclass(frozen=True, slots=True)
class SqlType:
    """A column's type: its family and, for exact numbers, its size."""

    kind: Kind
    bits: int = 0  # INT: width
    precision: int = 0  # DECIMAL: digits in all
    scale: int = 0  # DECIMAL: digits after the point
    text: str = ""  # as declared, for showing

    @classmethod
    def parse(cls, text: str) -> SqlType:
        """Read a warehouse type name such as ``DECIMAL(15,2)`` or ``NUMBER``.

        Raises: ValueError: not a type name.
        """
        match = re.fullmatch(r"\s*([A-Za-z_0-9 ]+?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*((?:\[\])*)\s*", text)
        if match is None:
            if re.fullmatch(r"\s*(STRUCT|MAP|UNION|OBJECT|ARRAY|ENUM)\b.*", text, re.IGNORECASE | re.DOTALL):
                return cls(Kind.OTHER, text=text.strip())
            raise ValueError(f"{text!r} is not a type name")
        name, first, second, array = match[1].upper(), match[2], match[3], match[4]
        shown = text.strip().upper()
        if array:
            return cls(Kind.OTHER, text=shown)
        if name in _INT_BITS:
            return cls(Kind.INT, bits=_INT_BITS[name], text=shown)
        if name in ("DECIMAL", "NUMERIC", "NUMBER", "DEC"):
            precision = int(first) if first else (38 if name == "NUMBER" else 18)
            scale = int(second) if second else (0 if first or name == "NUMBER" else 3)
            if not 1 <= precision <= 38 or scale > precision:
                raise ValueError(f"{text!r}: precision must be 1..38 and scale at most that")
            if scale == 0:
                return cls(Kind.INT, bits=128 if precision > 18 else 64, precision=precision, text=shown)
            return cls(Kind.DECIMAL, precision=precision, scale=scale, text=shown)
        families = {
            Kind.BOOL: ("BOOLEAN", "BOOL", "LOGICAL"),
            Kind.FLOAT: ("DOUBLE", "FLOAT", "REAL", "FLOAT4", "FLOAT8", "DOUBLE PRECISION"),
            Kind.TEXT: ("VARCHAR", "TEXT", "STRING", "CHAR", "CHARACTER", "BPCHAR", "NVARCHAR", "UUID"),
            Kind.DATE: ("DATE",),
            Kind.TIMESTAMP: ("TIMESTAMP", "DATETIME", "TIMESTAMP_NTZ", "TIMESTAMPNTZ", "TIMESTAMP_S", "TIMESTAMP_MS"),
            Kind.TIME: ("TIME",),
            Kind.OTHER: (
                "BLOB",
                "BINARY",
                "VARBINARY",
                "BYTEA",
                "JSON",
                "VARIANT",
                "ARRAY",
                "OBJECT",
                "INTERVAL",
                "BIT",
                "GEOGRAPHY",
                "TIMESTAMPTZ",
                "TIMESTAMP_TZ",
                "TIMESTAMP_LTZ",
                "TIMESTAMP WITH TIME ZONE",
                "TIMETZ",
            ),
        }
        for kind, names in families.items():
            if name in names:
                return cls(kind, text=shown)
        raise ValueError(f"{text!r} is not a type this version knows")


BOOL = SqlType(Kind.BOOL, text="BOOLEAN")
INTEGER = SqlType(Kind.INT, bits=32, text="INTEGER")
BIGINT = SqlType(Kind.INT, bits=64, text="BIGINT")
HUGEINT = SqlType(Kind.INT, bits=128, text="HUGEINT")
DOUBLE = SqlType(Kind.FLOAT, text="DOUBLE")
TEXT = SqlType(Kind.TEXT, text="VARCHAR")
DATE = SqlType(Kind.DATE, text="DATE")
TIMESTAMP = SqlType(Kind.TIMESTAMP, text="TIMESTAMP")
TIME = SqlType(Kind.TIME, text="TIME")
NULLTYPE = SqlType(Kind.NULL, text="NULL")


@dataclass(frozen=True, slots=True)
class Interval:
    """Closed interval that a non-NULL, non-NaN value lies in.

    Numbers as themselves, booleans as 0/1, dates as days and timestamps as microseconds since 1970-01-01.
    Rounded outward; infinite ends mean unbounded.
    """

    lower: float
    upper: float

    @property
    def finite(self) -> bool:
        """Whether both ends are finite."""
        return -float("inf") < self.lower and self.upper < float("inf")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is publicly known of an expression's values.

    The bounds are promises only as far as the data keeps the policy: statements clamp again with the same numbers.
    """

    type: SqlType
    interval: Interval | None = None  # None: not an ordered number, date or timestamp, or nothing is known
    nullable: bool = True
    domain: tuple[Value, ...] | None = None  # every non-NULL value that may occur, sorted, distinct
    from_unit: bool = False  # computed from a unit column: may be counted, never shown or grouped by
    integral: bool = False  # every value is a whole number, whatever the type (FLOOR of a DOUBLE)
