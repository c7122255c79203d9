"""Differences of dates, and dates moved by intervals; within years 1 to 9999."""

from __future__ import annotations

import math
import re

from sqlglot import exp

from dpjupyter.engine.model import (
    BIGINT,
    DATE,
    TIMESTAMP,
    Interval,
    Kind,
)
from dpjupyter.engine.scalar import calendar, values
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import literal_term, operand, to_type
from dpjupyter.engine.scalar.rules.dates import TRUNC_UNITS, in_calendar, micros, timed
from dpjupyter.engine.scalar.sqltypes import (
    TIMED,
    integer,
    shown,
)
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, refused, strict, tainted, within
from dpjupyter.engine.scalar.trees import cast, number, whole_literal, wrap


def difference(node: exp.Expression, scope: Scope) -> Term:
    """``DATE_DIFF(unit, start, end)``: how many starts of the unit lie between."""
    unit = calendar.unit(node.args["unit"].name if node.args.get("unit") is not None else "DAY")
    if unit not in TRUNC_UNITS or unit in ("DECADE", "CENTURY", "MILLENNIUM"):
        raise refused(node, "This unit of DATE_DIFF is not answered.", "Use year, quarter, month, week, day, hour, minute or second.")
    ends = [timed(node.this, scope), timed(node.expression, scope)]
    if ends[0].type.kind is not ends[1].type.kind:
        ends = [to_type(e, TIMESTAMP, scope, node) for e in ends]
    kept = [in_calendar(e) for e in ends]

    def span(parts: list[Interval]) -> Interval:
        a, b = (Interval(calendar.index(i.lower, unit), calendar.index(i.upper, unit)) for i in parts)
        # DuckDB counts weeks from 1970 towards zero on both sides, so one boundary may be missed.
        return iv.add(iv.sub(a, b), Interval(-1.0, 1.0)) if unit == "WEEK" else iv.sub(a, b)

    interval = span([micros(e, e.interval) for e in kept])
    proven = span([micros(e, e.proven) for e in kept])
    tree = exp.DateDiff(this=kept[0].tree, expression=kept[1].tree, unit=exp.var(unit))
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
        tree = exp.Sub(this=wrap(a.tree), expression=wrap(b.tree))
        proven = Interval(-(2.0**33), 2.0**33)
        return Term(tree, BIGINT, iv.sub(a.span, b.span), proven, strict((a, b)), True, tainted((a, b)))
    if kinds[0] is Kind.DATE and kinds[1] is Kind.INT:
        return _days(a, right, scope, minus=minus)
    if kinds[1] is Kind.DATE and kinds[0] is Kind.INT and not minus:
        return _days(b, left, scope, minus=False)
    raise refused(
        node, f"{shown(a.type)} and {shown(b.type)} cannot be added or subtracted.", "Use DATE_DIFF('day', a, b), or x + INTERVAL 1 DAY."
    )


def _days(a: Term, count: exp.Expression, scope: Scope, *, minus: bool) -> Term:
    """A date moved by a number of days."""
    k = within(operand(count, scope), 4_000_000)
    span = iv.sub if minus else iv.add
    if k.literal:
        shift = iv.neg(k.sure) if minus else k.sure
        kept = in_calendar(a, int(max(0.0, -shift.lower)), int(max(0.0, shift.upper)))
    else:
        kept = in_calendar(a)
    if scope.snowflake:
        days = exp.Neg(this=wrap(k.tree)) if minus else k.tree
        tree: exp.Expression = exp.DateAdd(this=kept.tree, expression=days, unit=exp.var("DAY"))
    else:
        small = k.literal or (k.type.bits <= 32 and not k.type.precision)
        days = k.tree if small else cast(k.tree, integer(32), scope.dialect)
        tree = (exp.Sub if minus else exp.Add)(this=wrap(kept.tree), expression=wrap(days))
    moved = Term(tree, DATE, span(kept.span, k.span), span(kept.sure, k.sure), strict((kept, k)), True, tainted((a, k)))
    return moved if k.literal else in_calendar(moved)


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
    kept = in_calendar(a, pad if back else 0, 0 if back else pad)
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
        tree: exp.Expression = exp.DateAdd(this=kept.tree, expression=number(count), unit=exp.var(unit))
        if result is TIMESTAMP and a.type.kind is Kind.DATE and (months or whole_days):
            tree = cast(tree, TIMESTAMP, scope.dialect)
    else:
        step = exp.Interval(this=exp.Literal.string(str(abs(count))), unit=exp.var(unit))
        tree = (exp.Sub if count < 0 else exp.Add)(this=wrap(kept.tree), expression=step)
        if result is DATE:
            tree = cast(tree, DATE, scope.dialect)
    if result is DATE:
        interval, proven = (
            Interval(*(v if math.isinf(v) else v // calendar.DAY_US for v in (i.lower, i.upper))) for i in (interval, proven)
        )
    if not kept.nullable and proven.lower == proven.upper and abs(proven.lower) < 2.0**53:
        return literal_term(values.at(proven.lower, result), result)  # DATE '1998-12-01' - INTERVAL 90 DAY
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


RULES: dict[type[exp.Expression], Rule] = {
    exp.DateDiff: difference,
    exp.TimestampDiff: difference,
    exp.DateAdd: _add(1),
    exp.TimestampAdd: _add(1),
    exp.DateSub: _add(-1),
}
