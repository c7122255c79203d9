"""Single values: as literals in trees, as ordinals in intervals, and as they come from drivers."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlglot import exp

from dpjupyter.engine.model import Facts, Interval, Kind, SqlType, Value
from dpjupyter.engine.policy import Column
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.errors import UnsupportedSQL

_EPOCH_DAY = dt.date(1970, 1, 1)
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - SQL TIMESTAMP has no zone
_DATE = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})\s*")
_TIMESTAMP = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6})\d*)?)?)?Z?\s*")
_TYPE_NAMES = {
    Kind.BOOL: "BOOLEAN",
    Kind.FLOAT: "DOUBLE",
    Kind.TEXT: "TEXT",
    Kind.DATE: "DATE",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIME: "TIME",
    Kind.INT: "INT128",
    Kind.OTHER: "TEXT",
    Kind.NULL: "INT",
}


def type_name(type_: SqlType) -> exp.DataType:
    """Type to cast a literal to; INT128 is printed as NUMBER(38) or HUGEINT."""
    if type_.kind is Kind.DECIMAL:
        return exp.DataType.build(f"DECIMAL({type_.precision}, {type_.scale})")
    if type_.kind is Kind.INT:
        if type_.precision:
            return exp.DataType.build(f"DECIMAL({type_.precision}, 0)")
        return exp.DataType.build({8: "TINYINT", 16: "SMALLINT", 32: "INT", 64: "BIGINT"}.get(type_.bits, "DECIMAL(38, 0)"))
    return exp.DataType.build(_TYPE_NAMES[type_.kind])


def literal(value: Value, type_: SqlType) -> exp.Expression:
    """Tree that evaluates to ``value`` with exactly that type, on both warehouses.

    Raises: ValueError: the value cannot be of that type.
    """
    if value is None:
        return exp.Cast(this=exp.null(), to=type_name(type_))
    match type_.kind:
        case Kind.BOOL:
            return exp.Boolean(this=bool(value))
        case Kind.INT:
            return _number(str(int(value)))
        case Kind.DECIMAL:
            text = f"{_decimal(value):.{type_.scale}f}"
            return exp.Cast(this=_number(text), to=type_name(type_))
        case Kind.FLOAT:
            return exp.Cast(this=exp.Literal.string(repr(float(value))), to=type_name(type_))
        case Kind.DATE | Kind.TIMESTAMP | Kind.TIME:
            return exp.Cast(this=exp.Literal.string(str(value)), to=type_name(type_))
        case _:
            return exp.Literal.string(str(value))


def _number(text: str) -> exp.Expression:
    return exp.Neg(this=exp.Literal.number(text[1:])) if text.startswith("-") else exp.Literal.number(text)


def _decimal(value: Value) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(str(value))


def ordinal(value: Value, type_: SqlType) -> float:
    """Position on the axis of :class:`Interval`: the number itself, days or microseconds since 1970-01-01.

    Raises: ValueError: NULL, or a value without order on that axis.
    """
    match type_.kind:
        case Kind.DATE if isinstance(value, str):
            return float((dt.date.fromisoformat(_canonical_date(value)) - _EPOCH_DAY).days)
        case Kind.TIMESTAMP if isinstance(value, str):
            return float((dt.datetime.fromisoformat(_canonical_timestamp(value)) - _EPOCH) // dt.timedelta(microseconds=1))
        case Kind.BOOL | Kind.INT | Kind.DECIMAL | Kind.FLOAT | Kind.DATE | Kind.TIMESTAMP if isinstance(value, (bool, int, float)):
            try:
                return float(value)
            except OverflowError:
                return math.inf if value > 0 else -math.inf
        case _:
            raise ValueError(f"{value!r} has no place among values of type {type_.text or type_.kind.value}")


def at(position: float, type_: SqlType) -> Value:
    """Value at an ordinal: the inverse of :func:`ordinal` for whole positions within years 1 to 9999."""
    match type_.kind:
        case Kind.BOOL:
            return bool(position)
        case Kind.INT:
            return int(position)
        case Kind.DATE:
            return (_EPOCH_DAY + dt.timedelta(days=int(position))).isoformat()
        case Kind.TIMESTAMP:
            return _show(_EPOCH + dt.timedelta(microseconds=int(position)))
        case _:
            return float(position)


def parse(text: str, type_: SqlType) -> Value:
    """Value that a string literal stands for where one of ``type_`` is expected; None if it is none."""
    try:
        match type_.kind:
            case Kind.DATE:
                return _canonical_date(text)
            case Kind.TIMESTAMP:
                return _canonical_timestamp(text)
            case Kind.TIME:
                return dt.time.fromisoformat(text.strip()).isoformat()
            case Kind.INT:
                return int(text.strip())
            case Kind.DECIMAL | Kind.FLOAT:
                return float(text.strip())
            case Kind.BOOL:
                return {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False}[text.strip().lower()]
            case _:
                return text
    except (ValueError, KeyError):
        return None


def value_of(obj: object, type_: SqlType) -> Value:
    """What a driver returned, in the one form in which it equals values of domains.

    Raises: ValueError: it is no value of that type.
    """
    if obj is None or _missing(obj):
        return None
    if hasattr(obj, "item") and not isinstance(obj, (str, bytes)):
        obj = _item(obj)
    if hasattr(obj, "to_pydatetime"):
        obj = obj.to_pydatetime()  # type: ignore[union-attr]
    match type_.kind:
        case Kind.BOOL:
            return bool(obj)
        case Kind.INT:
            return int(obj) if not isinstance(obj, str) else int(Decimal(obj))  # type: ignore[call-overload]
        case Kind.DECIMAL | Kind.FLOAT:
            return float(obj)  # type: ignore[arg-type]
        case Kind.DATE:
            if isinstance(obj, dt.datetime):
                return obj.date().isoformat()
            return obj.isoformat() if isinstance(obj, dt.date) else _canonical_date(str(obj)[:10])
        case Kind.TIMESTAMP:
            if isinstance(obj, dt.datetime):
                return _show(obj.replace(tzinfo=None))
            if isinstance(obj, dt.date):
                return f"{obj.isoformat()} 00:00:00"
            return _canonical_timestamp(str(obj))
        case Kind.TIME:
            return obj.isoformat() if isinstance(obj, dt.time) else str(obj)
        case _:
            if isinstance(obj, bytes):
                return obj.hex()
            return obj if isinstance(obj, (bool, int, float, str)) else str(obj)


def _missing(obj: object) -> bool:
    # pandas' NaT and NA: the only objects that are not equal to themselves and are no float.
    return type(obj).__name__ in ("NaTType", "NAType")


def _item(obj: Any) -> object:
    if type(obj).__name__ == "datetime64":
        return obj.astype("datetime64[us]").item()
    return obj.item()


def _canonical_date(text: str) -> str:
    found = _DATE.fullmatch(text) or _TIMESTAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a date")
    return dt.date(int(found[1]), int(found[2]), int(found[3])).isoformat()


def _canonical_timestamp(text: str) -> str:
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a timestamp")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    micro = int((found[7] or "0").ljust(6, "0"))
    return _show(dt.datetime(year, month, day, hour, minute, second, micro))  # noqa: DTZ001


def _show(moment: dt.datetime) -> str:
    return moment.isoformat(sep=" ")


def sort_key(value: Value) -> tuple[int, Any]:
    """Ascending order with NULL last, as answers are sorted."""
    if value is None:
        return (2, 0)
    if isinstance(value, float) and math.isnan(value):
        return (1, 0)
    return (0, value)


def ordered(found: set[Value] | list[Value]) -> tuple[Value, ...]:
    """Distinct values in ascending order, NULL last.

    Raises: UnsupportedSQL: texts among numbers; which of the two a warehouse makes the other is its own affair.
    """
    try:
        return tuple(sorted(set(found), key=sort_key))
    except TypeError:
        raise UnsupportedSQL("Values of different types stand side by side.", hint="Write them all as texts, or all as numbers.") from None


def column_facts(column: Column) -> Facts:
    """What the policy says of a column.

    Raises: ValueError: a bound or domain value is not of the column's type.
    """
    type_ = column.sql_type
    interval: Interval | None = None
    domain: tuple[Value, ...] | None = None
    if column.bounds is not None:
        low, high = column.bounds
        interval = Interval(ordinal(low, type_), ordinal(high, type_))
        if max(abs(interval.lower), abs(interval.upper)) > 2.0**53:
            interval = iv.outward(interval, 1)
    if column.domain is not None:
        try:
            kept = [value_of(value, type_) for value in column.domain]
        except (ValueError, TypeError, InvalidOperation, KeyError) as error:
            raise ValueError(f"domain holds a value that is not of type {column.type}") from error
        if type_.kind in (Kind.BOOL, Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.DATE, Kind.TIMESTAMP):
            places = {value: ordinal(value, type_) for value in kept}
            if interval is not None:
                kept = [value for value in kept if iv.holds(interval, places[value])]
            if kept:
                interval = Interval(min(places[value] for value in kept), max(places[value] for value in kept))
        domain = ordered(kept)
    elif type_.kind is Kind.BOOL:
        domain, interval = (False, True), iv.BOOLEAN
    integral = type_.kind in (Kind.INT, Kind.BOOL, Kind.DATE, Kind.TIMESTAMP)
    return Facts(type_, interval, column.nullable, domain, from_unit=False, integral=integral)
