"""Dates and timestamps: truncation, parts, differences, shifts, formats.

Outside years 1 to 9999 (where drivers and warehouses disagree or raise) the lowered forms give NULL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.model import BIGINT, DATE, DOUBLE, TEXT, TIMESTAMP, Interval, Kind, SqlType
from dpjupyter.engine.scalar import calendar
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.terms import (
    FIRST_DAY,
    LAST_DAY,
    TIMED,
    Rule,
    Scope,
    Term,
    between,
    cast,
    integer,
    number,
    operand,
    refused,
    shown,
    strict,
    tainted,
    text,
    to_type,
    when,
    whole_literal,
    within,
    wrap,
)

_CALENDAR_DAYS = Interval(float(FIRST_DAY), float(LAST_DAY))
_CALENDAR = Interval(calendar.FIRST_US, calendar.LAST_US)
_FIELDS = {
    "MONTH": (1, 12), "DAY": (1, 31), "HOUR": (0, 23), "MINUTE": (0, 59), "SECOND": (0, 59), "QUARTER": (1, 4), "DOW": (0, 6), "ISODOW": (1, 7),
    "DOY": (1, 366), "WEEK": (1, 53), "MILLISECOND": (0, 59_999), "MICROSECOND": (0, 59_999_999),
}  # fmt: skip
_YEARS = {"YEAR": 1, "ISOYEAR": 1, "DECADE": 10, "CENTURY": 100, "MILLENNIUM": 1000}
_ANY_YEAR = Interval(-6_000_000.0, 6_000_000.0)
_TRUNC_UNITS = (*calendar.MONTHS, *calendar.MICROS)


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
    from dpjupyter.engine.scalar import values

    return values.literal(values.at(day, DATE), DATE)


def in_calendar(term: Term, scope: Scope, low_pad: int = 0, high_pad: int = 0) -> Term:
    """The term within years 1 to 9999, less some days at either end; NULL elsewhere."""
    inner = Interval(float(FIRST_DAY + low_pad), float(LAST_DAY - high_pad))
    room = inner if term.type.kind is Kind.DATE else Interval(inner.lower * calendar.DAY_US, inner.upper * calendar.DAY_US)
    if iv.inside(term.sure, room):
        return term
    tree = when(between(term.tree, _day_literal(int(inner.lower)), _day_literal(int(inner.upper))), term.tree.copy())
    promised = iv.inside(term.span, room)
    kept = (iv.meet(term.span, room) or room) if term.span.finite else term.interval
    return replace(term, tree=tree, interval=kept, proven=iv.meet(term.sure, room) or room, nullable=term.nullable or not promised, domain=None)


# ---------------------------------------------------------------- truncation and parts
def truncate(node: exp.Expression, argument: exp.Expression, name: str, scope: Scope) -> Term:
    """``DATE_TRUNC(unit, x)``: a TIMESTAMP on DuckDB, of x's own type where written for Snowflake."""
    unit = calendar.unit(name)
    if unit not in _TRUNC_UNITS:
        raise refused(node, f"{name} is not a unit that DATE_TRUNC is answered for.", "Use year, quarter, month, week, day, hour, minute or second.")
    a = timed(argument, scope)
    guarded = a if scope.snowflake else in_calendar(a, scope, low_pad=366_000 if unit in ("MILLENNIUM", "CENTURY", "DECADE") else 0)

    def span(i: Interval | None) -> Interval:
        full = micros(a, i)
        return Interval(calendar.truncate(full.lower, unit), calendar.truncate(full.upper, unit))

    tree: exp.Expression = exp.TimestampTrunc(this=guarded.tree.copy(), unit=exp.var(unit))
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
    a = timed(argument, scope)
    if unit == "EPOCH":
        scale = Interval(1e6, 1e6)
        tree: exp.Expression = (
            exp.Extract(this=exp.var("EPOCH_SECOND"), expression=a.tree.copy()) if scope.snowflake else exp.TimeToUnix(this=a.tree.copy())
        )
        spans = [iv.outward(iv.div(micros(a, i), scale)) for i in (a.interval, a.proven)]
        return Term(tree, DOUBLE, spans[0], spans[1], _may_be_infinite(a), from_unit=a.from_unit)
    if unit in _YEARS:
        guarded = in_calendar(a, scope, 366, 366) if unit == "ISOYEAR" else a
        size, slack = _YEARS[unit], 1.0 if unit in ("ISOYEAR", "CENTURY", "MILLENNIUM") else 0.0

        def span(i: Interval | None) -> Interval:
            full = micros(a, i)
            ends = [_year(full.lower, _ANY_YEAR.lower), _year(full.upper, _ANY_YEAR.upper)]
            return Interval(ends[0] // size - (slack if unit == "ISOYEAR" else 0.0), ends[1] // size + slack)

        interval, proven = span(guarded.interval), span(guarded.proven)
    elif unit in _FIELDS:
        guarded = in_calendar(a, scope, 366, 366) if unit == "WEEK" else a
        fixed = Interval(*map(float, _FIELDS[unit]))
        interval = proven = fixed
        if a.type.kind is Kind.DATE and unit in ("HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"):
            interval = proven = Interval(0.0, 0.0)
    else:
        raise refused(node, f"{name} is not a part of a date that is answered.", "Use year, quarter, month, week, day, dow, doy, hour, minute or second.")
    if scope.snowflake:
        names = {"DOW": "DAYOFWEEK", "ISODOW": "DAYOFWEEKISO", "DOY": "DAYOFYEAR", "ISOYEAR": "YEAROFWEEKISO", "WEEK": "WEEKISO"}
        if unit in ("DECADE", "CENTURY", "MILLENNIUM", "MILLISECOND", "MICROSECOND"):
            raise refused(node)
        tree = exp.Extract(this=exp.var(names.get(unit, unit)), expression=guarded.tree.copy())
    else:
        # DATE_PART of a constant NULL is a DOUBLE; the functions named after the parts are not.
        tree = exp.Anonymous(this={"DOW": "DAYOFWEEK", "DOY": "DAYOFYEAR"}.get(unit, unit), expressions=[guarded.tree.copy()])
    return Term(tree, BIGINT, interval, proven, guarded.nullable or _may_be_infinite(a), True, a.from_unit)


def _may_be_infinite(term: Term) -> bool:
    # DuckDB's date 'infinity' has no parts.
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
    tree = type(node)(this=a.tree.copy(), **({"abbreviated": True} if node.args.get("abbreviated") else {}))
    return Term(tree, TEXT, nullable=_may_be_infinite(a), from_unit=a.from_unit)


def last_day(node: exp.Expression, scope: Scope) -> Term:
    """``LAST_DAY(x)``."""
    if node.args.get("unit") is not None:
        raise refused(node, "LAST_DAY is answered for months.")
    a = timed(node.this, scope)
    guarded = in_calendar(a, scope, high_pad=31)

    def span(i: Interval | None) -> Interval:
        full = micros(a, i)
        ends = [calendar.shift(calendar.truncate(v, "MONTH"), 1, -calendar.DAY_US) for v in (full.lower, full.upper)]
        return Interval(*(v if math.isinf(v) else float(v // calendar.DAY_US) for v in ends))

    return Term(exp.LastDay(this=guarded.tree.copy()), DATE, span(guarded.interval), span(guarded.proven), guarded.nullable, True, a.from_unit)


# ---------------------------------------------------------------- differences and shifts
def difference(node: exp.Expression, scope: Scope) -> Term:
    """``DATE_DIFF(unit, start, end)``: how many starts of the unit lie between."""
    unit = calendar.unit(node.args["unit"].name if node.args.get("unit") is not None else "DAY")
    if unit not in _TRUNC_UNITS or unit in ("DECADE", "CENTURY", "MILLENNIUM"):
        raise refused(node, "This unit of DATE_DIFF is not answered.", "Use year, quarter, month, week, day, hour, minute or second.")
    ends = [timed(node.this, scope), timed(node.expression, scope)]
    if ends[0].type.kind is not ends[1].type.kind:
        ends = [to_type(e, TIMESTAMP, scope, node) for e in ends]
    kept = [in_calendar(e, scope) for e in ends]

    def span(parts: list[Interval]) -> Interval:
        a, b = (Interval(calendar.index(i.lower, unit), calendar.index(i.upper, unit)) for i in parts)
        # DuckDB counts weeks from 1970 towards zero on both sides, so one boundary may be missed.
        return iv.add(iv.sub(a, b), Interval(-1.0, 1.0)) if unit == "WEEK" else iv.sub(a, b)

    interval = span([micros(e, e.interval) for e in kept])
    proven = span([micros(e, e.proven) for e in kept])
    tree = exp.DateDiff(this=kept[0].tree.copy(), expression=kept[1].tree.copy(), unit=exp.var(unit))
    return Term(tree, BIGINT, interval, proven, strict(kept), True, tainted(kept))


def arithmetic(node: exp.Expression, scope: Scope) -> Term | None:
    """``x + INTERVAL``, ``x + days``, ``x - y``; None where no date takes part."""
    left, right = node.this, node.expression
    minus = isinstance(node, exp.Sub)
    if isinstance(right, exp.Interval):
        months, us = amount(right)
        sign = -1 if minus else 1
        return shifted(node, timed(left, scope), sign * months, sign * us, scope, keep_date=False)
    if isinstance(left, exp.Interval) and not minus:
        months, us = amount(left)
        return shifted(node, timed(right, scope), months, us, scope, keep_date=False)
    a, b = scope.term(left), scope.term(right)
    kinds = (a.type.kind, b.type.kind)
    if not any(k in TIMED for k in kinds):
        return None
    if minus and kinds == (Kind.DATE, Kind.DATE):
        tree = exp.Sub(this=wrap(a.tree.copy()), expression=wrap(b.tree.copy()))
        proven = Interval(-(2.0**33), 2.0**33)
        return Term(tree, BIGINT, iv.sub(a.span, b.span), proven, strict((a, b)), True, tainted((a, b)))
    if kinds[0] is Kind.DATE and kinds[1] is Kind.INT:
        return _days(a, right, minus, scope)
    if kinds[1] is Kind.DATE and kinds[0] is Kind.INT and not minus:
        return _days(b, left, minus, scope)
    raise refused(node, f"{shown(a.type)} and {shown(b.type)} cannot be added or subtracted.", "Use DATE_DIFF('day', a, b), or x + INTERVAL 1 DAY.")


def _days(a: Term, count: exp.Expression, minus: bool, scope: Scope) -> Term:  # noqa: FBT001
    k = within(operand(count, scope), 4_000_000)
    narrow = k if k.literal or (k.type.bits <= 32 and not k.type.precision) else replace(k, tree=cast(k.tree, integer(32), scope.dialect))
    span = iv.sub if minus else iv.add
    pads = [int(max(0.0, -v)) for v in ((-k.sure.upper, k.sure.lower) if not minus else (k.sure.lower, -k.sure.upper))]
    high, low = (pads[0], pads[1]) if not minus else (pads[0], pads[1])
    kind = exp.Sub if minus else exp.Add
    if k.literal:
        kept = in_calendar(a, scope, low, high)
        tree: exp.Expression = kind(this=wrap(kept.tree.copy()), expression=wrap(narrow.tree.copy()))
        interval, proven = span(kept.span, k.span), span(kept.sure, k.sure)
        return Term(tree, DATE, interval, proven, strict((kept, k)), True, tainted((a, k)))
    kept = in_calendar(a, scope)
    tree = kind(this=wrap(kept.tree.copy()), expression=wrap(narrow.tree.copy()))
    moved = Term(tree, DATE, span(kept.span, k.span), span(kept.sure, k.sure), strict((kept, k)), True, tainted((a, k)))
    return in_calendar(moved, scope)


def amount(node: exp.Interval) -> tuple[int, int]:
    """Months and microseconds of a literal interval.

    Raises: FunctionRefused: not a literal, or too long.
    """
    value, unit = node.this, node.args.get("unit")
    text_ = ""
    sign = 1
    while isinstance(value, (exp.Neg, exp.Paren)):
        sign = -sign if isinstance(value, exp.Neg) else sign
        value = value.this
    if isinstance(value, exp.Literal):
        text_ = value.name
    name = unit.name if isinstance(unit, (exp.Var, exp.Literal)) else ""
    found = re.fullmatch(r"\s*(-?\d{1,9})\s*([A-Za-z]*)\s*", text_)
    if found is None or not (name or found[2]):
        raise refused(node, "An interval must be a literal whole number of one unit.", "Write INTERVAL 7 DAY.")
    count, unit_name = sign * int(found[1]), calendar.unit(name or found[2])
    if unit_name in calendar.MONTHS:
        months, us = count * calendar.MONTHS[unit_name], 0
    elif unit_name in calendar.MICROS:
        months, us = 0, count * calendar.MICROS[unit_name]
    else:
        raise refused(node, f"{unit_name} is not a unit of an interval that is answered.")
    if abs(months) > 12_000 or abs(us) > 366_000 * calendar.DAY_US:
        raise refused(node, "Intervals of more than 1000 years are not answered.")
    return months, us


def shifted(node: exp.Expression, a: Term, months: int, us: int, scope: Scope, *, keep_date: bool) -> Term:
    """``x`` moved by months or by microseconds; NULL where that leaves years 1 to 9999."""
    del node
    pad = abs(months) * 31 + abs(us) // calendar.DAY_US + 1
    back = months < 0 or us < 0
    kept = in_calendar(a, scope, pad if back else 0, 0 if back else pad)
    whole_days = us % calendar.DAY_US == 0
    result = DATE if keep_date and a.type.kind is Kind.DATE and whole_days else TIMESTAMP

    def span(i: Interval | None) -> Interval:
        full = micros(a, i)
        return Interval(calendar.shift(full.lower, months, us), calendar.shift(full.upper, months, us))

    interval, proven = span(kept.interval), span(kept.proven)
    if months:
        count, unit = months, "MONTH"
    else:
        unit = next(u for u, size in calendar.MICROS.items() if u != "WEEK" and us % size == 0)
        count = us // calendar.MICROS[unit]
    if scope.snowflake:
        tree: exp.Expression = exp.DateAdd(this=kept.tree.copy(), expression=number(count), unit=exp.var(unit))
        if result is TIMESTAMP and a.type.kind is Kind.DATE and (months or whole_days):
            tree = cast(tree, TIMESTAMP, scope.dialect)
    else:
        step = exp.Interval(this=exp.Literal.string(str(abs(count))), unit=exp.var(unit))
        tree = (exp.Sub if count < 0 else exp.Add)(this=wrap(kept.tree.copy()), expression=step)
        if result is DATE:
            tree = cast(tree, DATE, scope.dialect)
    if result is DATE:
        interval, proven = (Interval(*(v if math.isinf(v) else v // calendar.DAY_US for v in (i.lower, i.upper))) for i in (interval, proven))
    return Term(tree, result, interval, proven, kept.nullable, True, a.from_unit)


def _add(sign: int) -> Rule:
    """DATEADD(unit, n, x), DATE_ADD(x, INTERVAL n unit), DATE_SUB."""

    def rule(node: exp.Expression, scope: Scope) -> Term:
        a = timed(node.this, scope)
        step = node.expression
        if isinstance(step, exp.Interval):
            months, us = amount(step)
            return shifted(node, a, sign * months, sign * us, scope, keep_date=False)
        count, unit = whole_literal(step), node.args.get("unit")
        if count is None or unit is None:
            raise refused(node, "The step must be a literal whole number of one unit.", "Write DATEADD(day, 7, x) or x + INTERVAL 7 DAY.")
        months, us = amount(exp.Interval(this=exp.Literal.string(str(count)), unit=exp.var(unit.name)))
        return shifted(node, a, sign * months, sign * us, scope, keep_date=True)

    return rule


# ---------------------------------------------------------------- formats
_TIME_ONLY = re.compile(r"(?:[^%]|%[HIMSpf%])*")
_FORMAT = re.compile(r"(?:[^%]|%-?[aAbBcdfgGHIjmMnpSuUVwWxXyYzZ%])*")
_DAY_1900 = Interval(-2_208_988_800e6, -2_208_988_800e6 + calendar.DAY_US - 1)


def _format(node: exp.Expression) -> str:
    form = node.args.get("format")
    if not (isinstance(form, exp.Literal) and form.is_string) or len(form.name) > 100 or not _FORMAT.fullmatch(form.name):
        raise refused(node, "The format must be a literal string of known directives.")
    return form.name


def strptime(node: exp.Expression, scope: Scope) -> Term:
    """``STRPTIME(x, 'format')``: NULL where the text does not fit. A format without a date means 1900-01-01."""
    if scope.snowflake:
        raise refused(node, "STRPTIME is DuckDB's.", "Write TRY_CAST(x AS TIMESTAMP).")
    argument = node.this if not isinstance(node, exp.Anonymous) else node.expressions[0]
    form = _format(node if not isinstance(node, exp.Anonymous) else exp.StrToTime(this=argument.copy(), format=node.expressions[1].copy()))
    if "%z" in form or "%Z" in form:
        raise refused(node, "Time zones are not answered.")
    a = text(argument, scope)
    tree = exp.Anonymous(this="TRY_STRPTIME", expressions=[a.tree.copy(), exp.Literal.string(form)])
    day = _DAY_1900 if _TIME_ONLY.fullmatch(form) else iv.ALL
    return Term(tree, TIMESTAMP, day, day, nullable=True, integral=True, from_unit=a.from_unit)


def strftime(node: exp.Expression, scope: Scope) -> Term:
    """``STRFTIME(x, 'format')``."""
    form = _format(node)
    a = timed(node.this, scope)
    return Term(exp.TimeToStr(this=a.tree.copy(), format=exp.Literal.string(form)), TEXT, nullable=a.nullable, from_unit=a.from_unit)


def to_char(node: exp.Expression, scope: Scope) -> Term:
    """Snowflake's ``TO_CHAR(x[, 'format'])``; the format for dates only."""
    form = node.args.get("format")
    if form is None:
        term = scope.term(node.this)
        if term.type.kind in (Kind.OTHER,):
            raise refused(node)
        return Term(cast(term.tree.copy(), TEXT, scope.dialect), TEXT, nullable=term.nullable, from_unit=term.from_unit)
    if not (isinstance(form, exp.Literal) and form.is_string):
        raise refused(node, "The format of TO_CHAR must be a literal string.")
    from sqlglot.dialects.snowflake import Snowflake
    from sqlglot.time import format_time

    known = format_time(form.name, Snowflake.TIME_MAPPING) or form.name
    return strftime(exp.TimeToStr(this=node.this.copy(), format=exp.Literal.string(known)), scope)


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
    exp.DateDiff: difference,
    exp.TimestampDiff: difference,
    exp.DateAdd: _add(1),
    exp.TimestampAdd: _add(1),
    exp.DateSub: _add(-1),
    exp.StrToTime: strptime,
    exp.TimeToStr: strftime,
    exp.ToChar: to_char,
}
