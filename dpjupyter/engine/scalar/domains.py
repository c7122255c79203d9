"""The finite set of values that an expression may take as a GROUP BY key.

Leaves with few values (domains, bounded integers and dates, conditions) stand for themselves; where a leaf has too
many (a DOUBLE, a TIMESTAMP), the smallest part of the expression around it with few values (FLOOR, DATE_TRUNC,
a comparison) takes its place. The whole is then computed over all combinations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from dpjupyter.engine.model import Facts, Interval, Kind, SqlType, Value
from dpjupyter.engine.scalar import calendar, evaluation, values
from dpjupyter.engine.scalar.rules import RULES
from dpjupyter.engine.scalar.rules.anonymous import rewritten
from dpjupyter.engine.scalar.terms import Scope, Term
from dpjupyter.engine.scalar.trees import whole_literal
from dpjupyter.errors import FunctionRefused

_LEAF = 100_000  # most values of one leaf
_PRODUCT = 400_000  # most combinations computed
# Functions that see only the day of a timestamp.
_BY_DAY = (
    exp.Year, exp.Quarter, exp.Month, exp.Week, exp.WeekOfYear, exp.YearOfWeek, exp.Day, exp.DayOfMonth, exp.DayOfWeek, exp.DayOfWeekIso,
    exp.DayOfYear, exp.Dayname, exp.Monthname, exp.LastDay,
)  # fmt: skip
_CLOCK = re.compile(r"%-?[HIMSpfcXngG]")  # directives of STRFTIME that show the time of day
_DAY_PARTS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOW", "ISODOW", "DOY", "ISOYEAR", "DECADE", "CENTURY", "MILLENNIUM")


@dataclass(slots=True)
class _Cover:
    """Placeholders found so far: name -> type and values."""

    scope: Scope
    leaves: dict[str, tuple[SqlType, list[Value]]] = field(default_factory=dict[str, tuple[SqlType, list[Value]]])
    names: dict[str, str] = field(default_factory=dict[str, str])

    def stand_in(self, node: exp.Expression, type_: SqlType, found: Sequence[Value]) -> exp.Expression:
        key = node.sql("duckdb")
        if key not in self.names:
            name = f"d{len(self.names)}"
            self.names[key] = name
            self.leaves[name] = (type_, list(found))
        return exp.column(self.names[key])


def domain(expr: exp.Expression, columns: Mapping[str, Facts], cap: int) -> tuple[Value, ...] | None:
    """Values of ``expr``, ascending, NULL last if it may occur; None if unknown or more than ``cap``.

    Raises: FunctionRefused: the expression is not on the allow-list.
    """
    bare = _bare(expr)
    scope = Scope(columns, "duckdb", RULES)
    term = scope.term(bare)
    if term.type.kind in (Kind.OTHER, Kind.NULL):
        return None
    if isinstance(bare, exp.Column):
        found = _leaf(columns[bare.name], cap)
        return None if found is None or len(found) > cap else values.ordered(found)
    cover = _Cover(scope)
    tree = _covered(bare, cover)
    if tree is None:
        return _union(bare, columns, cap)
    size = math.prod(len(found) for _, found in cover.leaves.values())
    if size > _PRODUCT:
        whole = _own(bare, term, cap)
        return values.ordered(whole) if whole is not None and len(whole) <= cap else _union(bare, columns, cap)
    facts = {name: Facts(type_, nullable=None in found) for name, (type_, found) in cover.leaves.items()}
    lowered = Scope(facts, "duckdb", RULES).term(tree)
    found = evaluation.distinct(lowered.tree, lowered.type, cover.leaves, cap)
    if found is None:
        return None
    return values.ordered([v for v in found if not (isinstance(v, float) and math.isnan(v))])


def _bare(node: exp.Expression) -> exp.Expression:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _leaf(facts: Facts, most: int) -> list[Value] | None:
    """All values of a column."""
    null: list[Value] = [None] if facts.nullable else []
    if facts.domain is not None:
        return [*facts.domain, *null]
    if facts.type.kind is Kind.BOOL:
        return [False, True, *null]
    found = _whole(facts.type, facts.interval, facts.integral, most)
    return None if found is None else [*found, *null]


def _whole(type_: SqlType, interval: Interval | None, integral: bool, most: int) -> list[Value] | None:  # noqa: FBT001
    if interval is None or not interval.finite or interval.upper - interval.lower > most:
        return None
    if max(abs(interval.lower), abs(interval.upper)) >= 2.0**53:
        return None  # doubles do not tell neighbours apart there
    if type_.kind in (Kind.INT, Kind.DATE) or (integral and type_.kind in (Kind.FLOAT, Kind.DECIMAL)):
        try:
            return [values.at(v, type_) for v in calendar.days(interval)]
        except OverflowError:
            return None
    return None


def _covered(node: exp.Expression, cover: _Cover) -> exp.Expression | None:
    """The expression with stand-ins for its leaves; None if some part has too many values."""
    if isinstance(node, exp.Paren):
        inner = _covered(node.this, cover)
        return None if inner is None else exp.Paren(this=inner)
    if isinstance(node, exp.Column):
        facts = cover.scope.columns[node.name]
        found = _leaf(facts, _LEAF)
        return None if found is None else cover.stand_in(node, facts.type, found)
    if isinstance(node, exp.Anonymous):
        node = rewritten(node)
    if not any(node.find_all(exp.Column)):
        return node.copy()
    copy = node.copy()
    kept = dict(cover.leaves), dict(cover.names)
    whole = True
    for key, value in node.args.items():
        if isinstance(value, exp.Expression) and not isinstance(value, (exp.Var, exp.DataType, exp.Identifier)):
            child = _covered(value, cover)
            if child is None:
                whole = False
                break
            copy.set(key, child)
        elif isinstance(value, list) and any(isinstance(v, exp.Expression) for v in value):
            children = [_covered(v, cover) if isinstance(v, exp.Expression) else v for v in value]
            if any(c is None for c in children):
                whole = False
                break
            copy.set(key, children)
    if whole:
        return copy
    cover.leaves, cover.names = kept
    by_day = _day_only(node, cover)
    if by_day is not None:
        return by_day
    if type(node) not in RULES or (isinstance(node, exp.If) and isinstance(node.parent, exp.Case)):
        return None
    term = cover.scope.term(node)
    found = _own(node, term, _LEAF)
    return None if found is None else cover.stand_in(node, term.type, found)


def _own(node: exp.Expression, term: Term, most: int) -> list[Value] | None:
    """Values of a part, from its facts alone."""
    null: list[Value] = [None] if term.nullable else []
    if term.type.kind is Kind.BOOL:
        return [False, True, *null]
    found = _whole(term.type, term.interval, term.integral, most)
    if found is None and isinstance(node, exp.Round):
        found = _grid(node, term, most)
    if found is None and isinstance(node, (exp.TimestampTrunc, exp.DateTrunc)) and term.interval is not None:
        unit = calendar.unit(node.args["unit"].name)
        full = term.interval if term.type.kind is Kind.TIMESTAMP else None
        starts = calendar.steps(full, unit, most) if full is not None else None
        found = None if starts is None else [values.at(v, term.type) for v in starts]
    return None if found is None else [*found, *null]


def _grid(node: exp.Expression, term: Term, most: int) -> list[Value] | None:
    """Multiples of 10^-digits within bounds, as ROUND gives them."""
    digits = whole_literal(node.args.get("decimals"))
    if digits is None or not 0 < digits <= 15 or term.interval is None or not term.interval.finite:
        return None
    scale = 10**digits
    first, last = round(term.interval.lower * scale), round(term.interval.upper * scale)
    if last - first > most:
        return None
    return [step / scale for step in range(first, last + 1)]


def _day_only(node: exp.Expression, cover: _Cover) -> exp.Expression | None:
    """A function of the day of a bounded timestamp: the days stand for it."""
    if isinstance(node, exp.Extract):
        key, sees_days = "expression", calendar.unit(node.this.name) in _DAY_PARTS
    elif isinstance(node, (exp.Cast, exp.TryCast)):
        key, sees_days = "this", node.to.this is exp.DataType.Type.DATE
    else:
        key, sees_days = (
            "this",
            isinstance(node, _BY_DAY) or (isinstance(node, exp.TimeToStr) and not _CLOCK.search(node.args["format"].name)),
        )
    if not sees_days:
        return None
    argument = node.args[key]
    term = cover.scope.term(argument)
    if term.type.kind not in (Kind.TIMESTAMP, Kind.DATE):
        return None
    days: list[float] | None = None
    if term.interval is not None and term.interval.finite:
        if term.type.kind is Kind.DATE:
            return None
        days = calendar.steps(term.interval, "DAY", _LEAF)
    elif isinstance(node, (exp.Dayname, exp.Monthname)):
        # One leap year shows every name.
        days = calendar.steps(Interval(1_577_836_800e6, 1_577_836_800e6 + 365 * calendar.DAY_US), "DAY", 400)
        if days is not None and term.type.kind is Kind.DATE:
            days = [d / calendar.DAY_US for d in days]
    if days is None:
        return None
    found: list[Value] = [values.at(d, term.type) for d in days]
    if term.nullable or term.interval is None or not term.interval.finite:
        found.append(None)
    copy = node.copy()
    stood = exp.Anonymous(this="DAYS", expressions=[argument.copy()])  # a key of its own: the column itself may stand elsewhere
    copy.set(key, cover.stand_in(stood, term.type, found))
    return copy


def _union(node: exp.Expression, columns: Mapping[str, Facts], cap: int) -> tuple[Value, ...] | None:
    """A choice takes its values from its branches, whatever the conditions."""
    node = _bare(node)
    match node:
        case exp.Case():
            parts = [branch.args["true"] for branch in node.args["ifs"]] + [node.args.get("default") or exp.null()]
        case exp.If():
            parts = [node.args["true"], node.args.get("false") or exp.null()]
        case exp.Coalesce():
            parts = [node.this, *node.expressions]
        case exp.Nullif():
            parts = [node.this, exp.null()]
        case _:
            return None
    type_ = Scope(columns, "duckdb", RULES).term(node).type
    found: list[Value] = []
    for part in parts:
        if isinstance(part, exp.Null):
            found.append(None)
            continue
        try:
            some = domain(part, columns, cap)
        except FunctionRefused:
            return None
        if some is None:
            return None
        found += [values.value_of(v, type_) for v in some]
    done = values.ordered(found)
    return done if len(done) <= cap else None
