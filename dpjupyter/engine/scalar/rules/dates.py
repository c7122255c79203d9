"""Dates and timestamps: truncation and parts.

Outside years 1 to 9999 (where drivers and warehouses disagree or raise) the lowered forms give NULL.
"""

from __future__ import annotations

import math
from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.model import (
    BIGINT,
    DATE,
    DOUBLE,
    TEXT,
    TIMESTAMP,
    Interval,
    Kind,
)
from dpjupyter.engine.scalar import calendar, values
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import to_type
from dpjupyter.engine.scalar.sqltypes import (
    FIRST_DAY,
    LAST_DAY,
    TIMED,
    shown,
)
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, refused
from dpjupyter.engine.scalar.trees import between, cast, when

_CALENDAR_DAYS = Interval(float(FIRST_DAY), float(LAST_DAY))
_CALENDAR = Interval(calendar.FIRST_US, calendar.LAST_US)
_FIELDS = {
    "QUARTER": (1, 4), "MONTH": (1, 12), "WEEK": (1, 53), "DAY": (1, 31), "DOW": (0, 6), "ISODOW": (1, 7), "DOY": (1, 366),
    "HOUR": (0, 23), "MINUTE": (0, 59), "SECOND": (0, 59), "MILLISECOND": (0, 59_999), "MICROSECOND": (0, 59_999_999),
}  # fmt: skip
_CLOCK = ("HOUR", "MINUTE", "SECOND")
_YEARS = {"YEAR": 1, "ISOYEAR": 1, "DECADE": 10, "CENTURY": 100, "MILLENNIUM": 1000}
_ANY_YEAR = Interval(-6_000_000.0, 6_000_000.0)
TRUNC_UNITS = (*calendar.MONTHS, *calendar.MICROS)


def timed(node: exp.Expression, scope: Scope) -> Term:
    """Argument that must be a date or a timestamp; a literal string is read as one.

    Raises: FunctionRefused: it is of another type.
    """
    term = scope.term(node)
    if term.type.kind is Kind.NULL:
        return replace(term, tree=cast(exp.null(), TIMESTAMP, scope.dialect), type=TIMESTAMP, interval=iv.ALL, proven=iv.ALL)
    if term.type.kind is Kind.TEXT and isinstance(term.tree, exp.Literal):
        return to_type(term, TIMESTAMP if ":" in term.tree.name else DATE, scope, node)
    if term.type.kind not in TIMED:
        raise refused(node, f"A date or timestamp is needed here, not {shown(term.type)}.", "Write CAST(... AS DATE).")
    return term


def micros(term: Term, interval: Interval | None) -> Interval:
    """The interval in microseconds; a date's is that of its midnights."""
    found = interval or iv.ALL
    return found if term.type.kind is Kind.TIMESTAMP else iv.mul(found, Interval(calendar.DAY_US, calendar.DAY_US))


def _day_literal(day: int) -> exp.Expression:
    return values.literal(values.at(day, DATE), DATE)


def in_calendar(term: Term, low_pad: int = 0, high_pad: int = 0) -> Term:
    """The term within years 1 to 9999, less some days at either end; NULL elsewhere."""
    inner = Interval(float(FIRST_DAY + low_pad), float(LAST_DAY - high_pad))
    room = inner if term.type.kind is Kind.DATE else Interval(inner.lower * calendar.DAY_US, inner.upper * calendar.DAY_US)
    if iv.inside(term.sure, room):
        return term
    tree = when(between(term.tree, _day_literal(int(inner.lower)), _day_literal(int(inner.upper))), term.tree)
    promised = iv.inside(term.span, room)
    kept = (iv.meet(term.span, room) or room) if term.span.finite else term.interval
    return replace(
        term, tree=tree, interval=kept, proven=iv.meet(term.sure, room) or room, nullable=term.nullable or not promised, domain=None
    )


def truncate(node: exp.Expression, argument: exp.Expression, name: str, scope: Scope) -> Term:
    """``DATE_TRUNC(unit, x)``: a TIMESTAMP on DuckDB, of x's own type where written for Snowflake."""
    unit = calendar.unit(name)
    if unit not in TRUNC_UNITS:
        raise refused(
            node, f"{name} is not a unit that DATE_TRUNC is answered for.", "Use year, quarter, month, week, day, hour, minute or second."
        )
    a = timed(argument, scope)
    guarded = a if scope.snowflake else in_calendar(a, low_pad=366_000 if unit in ("MILLENNIUM", "CENTURY", "DECADE") else 0)

    def span(i: Interval | None) -> Interval:
        full = micros(a, i)
        return Interval(calendar.truncate(full.lower, unit), calendar.truncate(full.upper, unit))

    tree: exp.Expression = exp.TimestampTrunc(this=guarded.tree, unit=exp.var(unit))
    keep_date = a.type.kind is Kind.DATE and bool(node.args.get("input_type_preserved"))
    result = DATE if keep_date and unit not in ("HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND") else TIMESTAMP
    if scope.snowflake and result is TIMESTAMP and a.type.kind is Kind.DATE:
        tree = cast(tree, TIMESTAMP, scope.dialect)
    interval, proven = span(guarded.interval), span(guarded.proven)
    if result is DATE:
        tree = tree if scope.snowflake else cast(tree, DATE, scope.dialect)
        interval, proven = (Interval(i.lower / calendar.DAY_US, i.upper / calendar.DAY_US) for i in (interval, proven))
    return Term(tree, result, interval, proven, guarded.nullable, True, a.from_unit)


def date_trunc(node: exp.Expression, scope: Scope) -> Term:
    """DATE_TRUNC as parsed from either dialect."""
    if node.args.get("zone") is not None:
        raise refused(node, "Time zones are not answered.")
    unit = node.args.get("unit")
    if not isinstance(unit, (exp.Var, exp.Literal)):
        raise refused(node, "The unit of DATE_TRUNC must be a literal.")
    return truncate(node, node.this, unit.name, scope)


def part(node: exp.Expression, argument: exp.Expression, name: str, scope: Scope) -> Term:
    """``EXTRACT(unit FROM x)``, ``DATE_PART``, YEAR(x), MONTH(x) ..."""
    unit = calendar.unit(name)
    clock = scope.term(argument)
    if clock.type.kind is Kind.TIME and unit in _CLOCK:
        room = Interval(*map(float, _FIELDS[unit]))
        shown = (
            exp.Extract(this=exp.var(unit), expression=clock.tree)
            if scope.snowflake
            else exp.Anonymous(this=unit, expressions=[clock.tree])
        )
        return Term(shown, BIGINT, room, room, clock.nullable, True, clock.from_unit)
    a = timed(argument, scope)
    if unit == "EPOCH":
        scale = Interval(1e6, 1e6)
        tree: exp.Expression = (
            exp.Extract(this=exp.var("EPOCH_SECOND"), expression=a.tree) if scope.snowflake else exp.TimeToUnix(this=a.tree)
        )
        spans = [iv.outward(iv.div(micros(a, i), scale)) for i in (a.interval, a.proven)]
        return Term(tree, DOUBLE, spans[0], spans[1], may_be_infinite(a), from_unit=a.from_unit)
    if unit in _YEARS:
        guarded = in_calendar(a) if unit == "ISOYEAR" else a
        size, slack = _YEARS[unit], 1.0 if unit in ("ISOYEAR", "CENTURY", "MILLENNIUM") else 0.0

        def span(i: Interval | None) -> Interval:
            full = micros(a, i)
            ends = [_year(full.lower, _ANY_YEAR.lower), _year(full.upper, _ANY_YEAR.upper)]
            return Interval(ends[0] // size - (slack if unit == "ISOYEAR" else 0.0), ends[1] // size + slack)

        interval, proven = span(guarded.interval), span(guarded.proven)
    elif unit in _FIELDS:
        guarded = in_calendar(a) if unit == "WEEK" else a
        fixed = Interval(*map(float, _FIELDS[unit]))
        interval = proven = fixed
        if a.type.kind is Kind.DATE and unit in (*_CLOCK, "MILLISECOND", "MICROSECOND"):
            interval = proven = Interval(0.0, 0.0)
    else:
        raise refused(
            node,
            f"{name} is not a part of a date that is answered.",
            "Use year, quarter, month, week, day, dow, doy, hour, minute or second.",
        )
    if scope.snowflake:
        names = {"DOW": "DAYOFWEEK", "ISODOW": "DAYOFWEEKISO", "DOY": "DAYOFYEAR", "ISOYEAR": "YEAROFWEEKISO", "WEEK": "WEEKISO"}
        if unit in ("DECADE", "CENTURY", "MILLENNIUM", "MILLISECOND", "MICROSECOND"):
            raise refused(node)
        tree = exp.Extract(this=exp.var(names.get(unit, unit)), expression=guarded.tree)
    else:
        # DATE_PART of a constant NULL is a DOUBLE; the functions named after the parts are not.
        tree = exp.Anonymous(this={"DOW": "DAYOFWEEK", "DOY": "DAYOFYEAR"}.get(unit, unit), expressions=[guarded.tree])
    return Term(tree, BIGINT, interval, proven, guarded.nullable or may_be_infinite(a), True, a.from_unit)


def may_be_infinite(term: Term) -> bool:
    """Whether parts may be NULL: DuckDB's date 'infinity' has none."""
    return term.nullable or not (term.interval is not None and term.interval.finite)


def _year(position: float, otherwise: float) -> float:
    at = calendar.moment(position)
    return otherwise if at is None else float(at.year)


def _part(name: str) -> Rule:
    return lambda node, scope: part(node, node.this, name, scope)


def extract(node: exp.Expression, scope: Scope) -> Term:
    """``EXTRACT(unit FROM x)``."""
    unit = node.this
    if not isinstance(unit, (exp.Var, exp.Literal, exp.Column)):
        raise refused(node, "The part must be a name or a literal.")
    return part(node, node.expression, unit.name, scope)


def _name(node: exp.Expression, scope: Scope) -> Term:
    """``DAYNAME(x)``, ``MONTHNAME(x)``."""
    a = timed(node.this, scope)
    tree = type(node)(this=a.tree, **({"abbreviated": True} if node.args.get("abbreviated") else {}))
    return Term(tree, TEXT, nullable=may_be_infinite(a), from_unit=a.from_unit)


def last_day(node: exp.Expression, scope: Scope) -> Term:
    """``LAST_DAY(x)``."""
    if node.args.get("unit") is not None:
        raise refused(node, "LAST_DAY is answered for months.")
    a = timed(node.this, scope)
    guarded = in_calendar(a, high_pad=31)

    def span(i: Interval | None) -> Interval:
        full = micros(a, i)
        ends = [calendar.shift(calendar.truncate(v, "MONTH"), 1, -calendar.DAY_US) for v in (full.lower, full.upper)]
        return Interval(*(v if math.isinf(v) else float(v // calendar.DAY_US) for v in ends))

    return Term(exp.LastDay(this=guarded.tree), DATE, span(guarded.interval), span(guarded.proven), guarded.nullable, True, a.from_unit)


RULES: dict[type[exp.Expression], Rule] = {
    exp.TimestampTrunc: date_trunc,
    exp.DateTrunc: date_trunc,
    exp.Extract: extract,
    exp.Year: _part("YEAR"),
    exp.Quarter: _part("QUARTER"),
    exp.Month: _part("MONTH"),
    exp.Week: _part("WEEK"),
    exp.WeekOfYear: _part("WEEK"),
    exp.YearOfWeek: _part("ISOYEAR"),
    exp.Day: _part("DAY"),
    exp.DayOfMonth: _part("DAY"),
    exp.DayOfWeek: _part("DOW"),
    exp.DayOfWeekIso: _part("ISODOW"),
    exp.DayOfYear: _part("DOY"),
    exp.Hour: _part("HOUR"),
    exp.Minute: _part("MINUTE"),
    exp.Second: _part("SECOND"),
    exp.TimeToUnix: _part("EPOCH"),
    exp.Dayname: _name,
    exp.Monthname: _name,
    exp.LastDay: last_day,
}
