"""What is known of columns once a condition is known to be TRUE or FALSE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from dpjupyter.engine.model import Facts, Interval, Kind, Value
from dpjupyter.engine.scalar import evaluation, values
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.sqltypes import FLOAT32, NUMERIC, TIMED, limits
from dpjupyter.engine.scalar.terms import Scope, Term
from dpjupyter.errors import FunctionRefused

Known = dict[str, Facts]
_MIRRORED: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.LT: exp.GT,
    exp.GT: exp.LT,
    exp.LTE: exp.GTE,
    exp.GTE: exp.LTE,
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
    exp.NullSafeEQ: exp.NullSafeEQ,
}
_NEGATED: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.LT: exp.GTE,
    exp.GTE: exp.LT,
    exp.GT: exp.LTE,
    exp.LTE: exp.GT,
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
}
# NULL in an argument makes the result NULL, so a TRUE or FALSE result means no argument was NULL.
_STRICT = (
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.Like, exp.ILike, exp.Escape, exp.Add, exp.Sub, exp.Mul,
    exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Paren, exp.Abs, exp.Floor, exp.Ceil, exp.Round, exp.Trunc, exp.Cast, exp.TryCast,
    exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Substring, exp.Left, exp.Right, exp.StartsWith, exp.EndsWith, exp.Contains,
    exp.StrPosition, exp.Sqrt, exp.Ln, exp.Exp, exp.Year, exp.Month, exp.Day, exp.Extract, exp.TimestampTrunc, exp.DateTrunc,
    exp.DateDiff, exp.DPipe, exp.Xor,
)  # fmt: skip
_ATOM_DOMAIN = 20_000  # largest domain that a condition is evaluated on


def assume(node: exp.Expression, columns: Mapping[str, Facts], scope: Scope, *, holds: bool) -> Known:
    """Facts of all columns for rows where ``node`` is TRUE (or, with ``holds`` off, FALSE)."""
    match node:
        case exp.Paren():
            return assume(node.this, columns, scope, holds=holds)
        case exp.Is() if node.args.get("negate"):
            return assume(exp.Is(this=node.this.copy(), expression=node.expression.copy()), columns, scope, holds=not holds)
        case exp.Not():
            return assume(node.this, columns, scope, holds=not holds)
        case exp.And() | exp.Or():
            if isinstance(node, exp.And) == holds:
                return assume(node.expression, assume(node.this, columns, scope, holds=holds), scope, holds=holds)
            return _either(assume(node.this, columns, scope, holds=holds), assume(node.expression, columns, scope, holds=holds))
        case exp.Between() if not node.args.get("symmetric"):
            low = exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())
            high = exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())
            return assume(exp.And(this=low, expression=high), columns, scope, holds=holds)
        case _:
            return _atom(node, dict(columns), scope, holds=holds)


def _either(a: Known, b: Known) -> Known:
    done: Known = {}
    for name, left in a.items():
        right = b[name]
        interval = iv.hull((left.interval, right.interval)) if left.interval and right.interval else None
        domain = values.ordered([*left.domain, *right.domain]) if left.domain is not None and right.domain is not None else None
        done[name] = replace(left, interval=interval, domain=domain, nullable=left.nullable or right.nullable)
    return done


def _atom(node: exp.Expression, known: Known, scope: Scope, *, holds: bool) -> Known:
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        if not holds:
            for name in _strict_columns(node.this):
                known[name] = replace(known[name], nullable=False)
        elif isinstance(node.this, exp.Column) and node.this.name in known:
            known[node.this.name] = replace(known[node.this.name], domain=())
        return known
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean) and holds:
        return assume(node.this, known, scope, holds=bool(node.expression.this))
    for name in _strict_columns(node):
        known[name] = replace(known[name], nullable=False)
    match node:
        case exp.Column() if node.name in known and known[node.name].type.kind is Kind.BOOL:
            at = 1.0 if holds else 0.0
            known[node.name] = replace(known[node.name], interval=Interval(at, at), domain=(holds,), nullable=False)
        case exp.In() if node.expressions and isinstance(node.this, exp.Column) and node.this.name in known:
            known[node.this.name] = replace(known[node.this.name], nullable=False)
            if holds:
                _listed(node.this.name, list(node.expressions), known, scope)
        case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE() | exp.NullSafeEQ():
            _compared(node, known, scope, holds=holds)
        case _:
            pass
    if not _pruned(node, known, holds=holds):
        _filter_domain(node, known, scope, holds=holds)
    return known


def _strict_columns(node: exp.Expression) -> set[str]:
    """Columns that cannot be NULL where ``node`` is not NULL."""
    if isinstance(node, exp.Column):
        return {node.name}
    if isinstance(node, exp.In):
        return _strict_columns(node.this)
    if not isinstance(node, _STRICT):
        return set()
    return {name for child in node.iter_expressions() for name in _strict_columns(child)}


# ---------------------------------------------------------------- comparisons
def _compared(node: exp.Expression, known: Known, scope: Scope, *, holds: bool) -> None:
    operator: type[exp.Expression] = type(node)
    if not holds:
        if operator not in _NEGATED:
            return
        operator = _NEGATED[operator]
    left, right = bare(node.this), bare(node.expression)
    _side(left, operator, right, known, scope)
    _side(right, _MIRRORED[operator], left, known, scope)


def bare(node: exp.Expression) -> exp.Expression:
    """Without parentheses."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _side(subject: exp.Expression, operator: type[exp.Expression], other: exp.Expression, known: Known, scope: Scope) -> None:
    """Narrow the column that ``subject`` is, or is a shifted or scaled form of."""
    form = _linear(subject)
    if form is not None:
        _inverted(form, operator, other, known, scope)
        return
    if not isinstance(subject, exp.Column) or subject.name not in known:
        return
    name = subject.name
    facts = known[name]
    try:
        term = scope.on(known).term(other)
    except FunctionRefused:
        return
    constant = not any(other.find_all(exp.Column))
    if operator in (exp.EQ, exp.NullSafeEQ) and constant and operator is not exp.NullSafeEQ:
        _listed(name, [other], known, scope)
        return
    bound = _bound_of(term, other, facts)
    if bound is None or facts.type.kind not in (*NUMERIC, *TIMED):
        return
    if term.type.kind is Kind.FLOAT and not constant and operator is not exp.EQ:
        return  # NaN is greater than every number: it bounds nothing
    known[name] = _bounded(facts, _half(operator, bound, whole=facts.integral or facts.type.kind in (Kind.INT, *TIMED)))


def _half(operator: type[exp.Expression], bound: Interval, *, whole: bool) -> Interval | None:
    """Where x lies if ``x operator b`` for some b within bounds."""
    step = 1.0 if whole else 0.0
    if operator is exp.LTE:
        return Interval(-iv.INF, bound.upper)
    if operator is exp.GTE:
        return Interval(bound.lower, iv.INF)
    if operator is exp.LT:
        return Interval(-iv.INF, bound.upper - step if bound.upper.is_integer() else bound.upper)
    if operator is exp.GT:
        return Interval(bound.lower + step if bound.lower.is_integer() else bound.lower, iv.INF)
    if operator is exp.EQ:
        return bound
    return None


def _bounded(facts: Facts, room: Interval | None) -> Facts:
    if room is None:
        return facts
    if facts.type.text in FLOAT32:
        # Compared as 32-bit floats on DuckDB: a little more may pass.
        room = Interval(room.lower - abs(room.lower) * 2.0**-22, room.upper + abs(room.upper) * 2.0**-22)
    elif any(2.0**53 < abs(end) < iv.INF for end in (room.lower, room.upper)):
        room = iv.outward(room, 1)
    if facts.integral:
        room = iv.whole(room)
    kept = iv.meet(facts.interval or iv.ALL, room)
    # Nothing is left: any interval is right; the old one is the least surprising.
    return replace(facts, interval=kept or facts.interval or room)


def _bound_of(term: Term, node: exp.Expression, facts: Facts) -> Interval | None:
    """The other side's interval on the column's axis."""
    if facts.type.kind not in (*NUMERIC, *TIMED):
        return None
    if term.type.kind is Kind.TEXT and isinstance(node, exp.Literal):
        value = values.parse(node.name, facts.type)
        if value is None:
            return None
        at = values.ordinal(value, facts.type)
        return Interval(at, at)
    if term.interval is None:
        return None
    if term.type.kind in NUMERIC and facts.type.kind in NUMERIC:
        return term.interval
    if term.type.kind is facts.type.kind:
        return term.interval
    day = Interval(86_400_000_000.0, 86_400_000_000.0)
    if term.type.kind is Kind.DATE and facts.type.kind is Kind.TIMESTAMP:
        return iv.mul(term.interval, day)
    if term.type.kind is Kind.TIMESTAMP and facts.type.kind is Kind.DATE:
        return iv.div(term.interval, day)
    return None


def _listed(name: str, nodes: list[exp.Expression], known: Known, scope: Scope) -> None:
    """The column equals one of ``nodes``."""
    facts = known[name]
    found: list[Value] = []
    parts: list[Interval] = []
    sure = True
    for node in nodes:
        if isinstance(bare(node), exp.Null):
            continue
        try:
            term = scope.on(known).term(node)
        except FunctionRefused:
            return
        bound = _bound_of(term, bare(node), facts)
        if bound is not None:
            parts.append(bound)
        value = _constant(bare(node), term, facts)
        if value is None:
            sure = False
        elif not _mismatch(value, facts):
            found.append(value)
    if sure and facts.type.kind is not Kind.OTHER and facts.type.text not in FLOAT32:
        kept = [v for v in values.ordered(found) if _possible(v, facts)]
        known[name] = facts = replace(facts, domain=tuple(kept))
        if kept and facts.type.kind in (*NUMERIC, *TIMED):
            places = [values.ordinal(v, facts.type) for v in kept]
            parts = [Interval(min(places), max(places))] * len(parts)
    if parts and len(parts) == len([n for n in nodes if not isinstance(bare(n), exp.Null)]) and facts.type.kind in (*NUMERIC, *TIMED):
        known[name] = _bounded(facts, iv.hull(parts))


def _possible(value: Value, facts: Facts) -> bool:
    """Whether what is known of the column leaves room for the value."""
    if facts.domain is not None and value not in facts.domain:
        return False
    return (
        facts.interval is None or facts.type.kind not in (*NUMERIC, *TIMED) or iv.holds(facts.interval, values.ordinal(value, facts.type))
    )


def _constant(node: exp.Expression, term: Term, facts: Facts) -> Value:
    try:
        if isinstance(node, exp.Literal) and node.is_string:
            return values.parse(node.name, facts.type)
        if term.domain is not None and len(term.domain) == 1 and term.domain[0] is not None:
            value = term.domain[0]
            if facts.type.kind is Kind.INT and isinstance(value, float) and value.is_integer():
                return int(value)
            if facts.type.kind in (Kind.FLOAT, Kind.DECIMAL) and isinstance(value, int):
                return float(value)
            if facts.type.kind is Kind.TIMESTAMP and term.type.kind is Kind.DATE:
                return f"{value} 00:00:00"
            return value
    except (ValueError, OverflowError):
        pass
    return None


def _mismatch(value: Value, facts: Facts) -> bool:
    """A number with a fraction, or outside the type's range, never equals an integer column."""
    if facts.type.kind not in (Kind.INT, Kind.DECIMAL) or not isinstance(value, (int, float)):
        return False
    room = limits(facts.type)
    return (facts.type.kind is Kind.INT and isinstance(value, float) and not value.is_integer()) or (
        room is not None and not iv.holds(room, value)
    )


# ---------------------------------------------------------------- x + 1 > 5
@dataclass(frozen=True, slots=True)
class _Linear:
    """``column + constant``, ``constant - column``, ``column * constant`` ..."""

    column: exp.Column
    operation: type[exp.Expression]
    constant: exp.Expression
    constant_left: bool


def _linear(node: exp.Expression) -> _Linear | None:
    node = bare(node)
    if not isinstance(node, (exp.Add, exp.Sub, exp.Mul)):
        return None
    left, right = bare(node.this), bare(node.expression)
    if isinstance(left, exp.Column) and not any(right.find_all(exp.Column)):
        return _Linear(left, type(node), right, constant_left=False)
    if isinstance(right, exp.Column) and not any(left.find_all(exp.Column)):
        return _Linear(right, type(node), left, constant_left=True)
    return None


def _inverted(form: _Linear, operator: type[exp.Expression], other: exp.Expression, known: Known, scope: Scope) -> None:
    """``x + 1 > 5``: x > 4."""
    inner, operation, constant = form.column, form.operation, form.constant
    if inner.name not in known or operator not in (exp.LT, exp.LTE, exp.GT, exp.GTE, exp.EQ):
        return
    facts = known[inner.name]
    try:
        fixed, bound = scope.on(known).term(constant), scope.on(known).term(other)
    except FunctionRefused:
        return
    if facts.type.kind not in NUMERIC or bound.type.kind not in NUMERIC or bound.interval is None or fixed.interval is None:
        return
    if bound.type.kind is Kind.FLOAT and any(other.find_all(exp.Column)):
        return
    room = _half(operator, bound.interval, whole=facts.integral and fixed.integral)
    if room is None:
        return
    if operation is exp.Add:
        room = iv.sub(room, fixed.interval)
    elif operation is exp.Sub:
        room = iv.sub(fixed.interval, room) if form.constant_left else iv.add(room, fixed.interval)
    else:
        room = iv.div(room, fixed.interval)
    # Floating point may have rounded the sum or product across the bound.
    known[inner.name] = _bounded(facts, iv.outward(room, 8) if Kind.FLOAT in (facts.type.kind, fixed.type.kind) else iv.outward(room, 1))


# ---------------------------------------------------------------- domains
def _pruned(node: exp.Expression, known: Known, *, holds: bool) -> bool:
    """Domains of columns compared with literals, without asking DuckDB; whether that was all there is to know."""
    if not isinstance(node.this, exp.Column) or node.this.name not in known:
        return False
    name, others = node.this.name, node.expressions or [node.expression]
    facts = known[name]
    if facts.domain is None or not all(isinstance(other, exp.Literal) for other in others):
        return False
    equal = isinstance(node, (exp.EQ, exp.In)) if holds else isinstance(node, exp.NEQ)
    unequal = isinstance(node, exp.NEQ) if holds else isinstance(node, (exp.EQ, exp.In))
    text = facts.type.kind is Kind.TEXT and all(other.args.get("is_string") for other in others)
    if equal and holds and text:
        return True
    if unequal and text:
        excluded = {other.name for other in others}
        known[name] = replace(facts, domain=tuple(v for v in facts.domain if v not in excluded))
        return True
    if isinstance(node, (exp.LT, exp.LTE, exp.GT, exp.GTE)) and facts.type.kind in (Kind.INT, *TIMED) and facts.interval is not None:
        room = facts.interval
        known[name] = replace(facts, domain=tuple(v for v in facts.domain if iv.holds(room, values.ordinal(v, facts.type))))
        return True
    return False


def _filter_domain(node: exp.Expression, known: Known, scope: Scope, *, holds: bool) -> None:
    """Keep the values of a small domain for which the condition comes out right: computed, not reasoned."""
    names = {column.name for column in node.find_all(exp.Column)}
    if len(names) != 1:
        return
    name = next(iter(names))
    facts = known.get(name)
    if facts is None or facts.domain is None or not facts.domain or len(facts.domain) > _ATOM_DOMAIN or isinstance(node, exp.Column):
        return
    if any(isinstance(n, (exp.Window, exp.AggFunc)) or n.key == "boundsubquery" for n in node.walk()):
        return
    try:
        kept = evaluation.where(node, name, facts, scope, holds=holds)
    except FunctionRefused:
        return
    interval = facts.interval
    if kept and facts.type.kind in (*NUMERIC, *TIMED, Kind.BOOL):
        places = [values.ordinal(v, facts.type) for v in kept]
        spot = Interval(min(places), max(places))
        interval = (iv.meet(interval, spot) or spot) if interval else spot
    known[name] = replace(facts, domain=tuple(kept), interval=interval)
