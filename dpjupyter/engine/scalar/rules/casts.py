"""CAST, TRY_CAST, ``::`` and the TO_ functions: NULL where a value does not fit."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.model import Interval, Kind, SqlType
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar import values
from dpjupyter.engine.scalar.arguments import literal_term
from dpjupyter.engine.scalar.sqltypes import DAY_US, FLOAT32, NUMERIC, TIMED, data_type, int_digits, limits, shown
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, refused
from dpjupyter.engine.scalar.trees import cast, number, try_cast, when, wrap

_OK = (Kind.BOOL, Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT, Kind.DATE, Kind.TIMESTAMP, Kind.TIME)


def target(node: exp.Expression) -> SqlType:
    """Type named by a cast.

    Raises: FunctionRefused: it is not a type that can be computed with.
    """
    try:
        type_ = SqlType.parse(node.args["to"].sql("duckdb"))
    except ValueError:
        raise refused(node, f"Casting to {node.args['to'].sql()} is not answered.") from None
    if type_.kind not in _OK:
        raise refused(node, f"Casting to {shown(type_)} is not answered.")
    return type_


def cast_(node: exp.Expression, scope: Scope) -> Term:
    """``CAST(x AS T)``, ``TRY_CAST(x AS T)``, ``x::T``."""
    return convert(node, scope.term(node.this), target(node), scope)


def convert(node: exp.Expression, a: Term, type_: SqlType, scope: Scope) -> Term:
    """``a`` as ``type_``, NULL where it cannot be."""
    have, want = a.type.kind, type_.kind
    if have is Kind.NULL:
        return replace(a, tree=cast(exp.null(), type_, scope.dialect), type=type_)
    if isinstance(a.tree, exp.Literal) and a.tree.is_string and want is not Kind.TEXT:
        value = values.parse(a.tree.name, type_)
        if value is None:
            raise refused(node, f"{a.tree.sql()} is not a value of type {shown(type_)}.")
        return literal_term(value, type_)
    if have is Kind.OTHER:
        raise refused(node, f"{shown(a.type)} cannot be cast.")
    if want is Kind.TEXT:
        return _shown(node, a, type_, scope)
    if want in NUMERIC and have in (*NUMERIC, Kind.BOOL):
        return _number(a, type_, scope)
    if want is Kind.BOOL and have in NUMERIC:
        tree = exp.NEQ(this=wrap(a.tree), expression=number(0))
        return Term(tree, type_, iv.BOOLEAN, iv.BOOLEAN, a.nullable, True, a.from_unit)
    if have is want:
        return replace(a, type=type_)
    if have is Kind.TEXT:
        bounds = limits(type_, scope.dialect)
        whole = want in (Kind.INT, Kind.BOOL, *TIMED)
        interval = None if bounds is None else iv.BOOLEAN if want is Kind.BOOL else iv.ALL
        tree = exp.TryCast(this=a.tree, to=data_type_of(type_, scope), safe=True, requires_string=scope.snowflake)
        return Term(tree, type_, interval, bounds, True, whole, a.from_unit, nan=want is Kind.FLOAT)
    if have in TIMED and want in TIMED:
        spans = [_moved(i, want) for i in (a.span, a.sure)]
        # Every timestamp has a date; far dates have no timestamp on DuckDB.
        sure = scope.snowflake or want is Kind.DATE
        tree = cast(a.tree, type_, scope.dialect) if sure else try_cast(a.tree, type_, scope.dialect)
        return Term(tree, type_, spans[0], spans[1], a.nullable, True, a.from_unit)
    if have is Kind.TIMESTAMP and want is Kind.TIME:
        tree = cast(a.tree, type_, scope.dialect) if scope.snowflake else try_cast(a.tree, type_, scope.dialect)
        return Term(tree, type_, nullable=True, from_unit=a.from_unit)
    raise refused(node, f"{shown(a.type)} cannot be cast to {shown(type_)}.")


def _shown(node: exp.Expression, a: Term, type_: SqlType, scope: Scope) -> Term:
    """As text. VARCHAR(n) means something on Snowflake alone, where a longer text raises."""
    tree: exp.Expression = exp.Cast(this=a.tree, to=data_type(type_, scope.dialect))
    size = node.args["to"].expressions if "to" in node.args else []
    if scope.snowflake and size:
        fits = exp.LTE(this=exp.Length(this=tree), expression=exp.Literal.number(size[0].name))
        tree = when(fits, tree)
    return Term(tree, type_, nullable=a.nullable or bool(size), from_unit=a.from_unit)


def _moved(interval: Interval, to: Kind) -> Interval:
    """From days to microseconds or back."""
    if to is Kind.TIMESTAMP:
        return Interval(interval.lower * DAY_US, interval.upper * DAY_US)
    return Interval(*(end if abs(end) == iv.INF else float(end // DAY_US) for end in (interval.lower, interval.upper)))


def _number(a: Term, type_: SqlType, scope: Scope) -> Term:
    want = type_.kind
    digits = 0 if want is Kind.INT else type_.scale
    whole = want is Kind.INT or (a.integral and (a.type.kind is not Kind.FLOAT or want is Kind.FLOAT))
    single = type_.text in FLOAT32 and not scope.snowflake

    def span(i: Interval) -> Interval:
        if want is Kind.FLOAT:
            if single:
                return Interval(i.lower - abs(i.lower) * 2.0**-23 - 1e-44, i.upper + abs(i.upper) * 2.0**-23 + 1e-44)
            return i
        if a.type.kind in (Kind.INT, Kind.BOOL) or (want is Kind.DECIMAL and a.type.kind is Kind.DECIMAL and a.type.scale <= type_.scale):
            return i
        # Ties go to even from DOUBLE on DuckDB and away from zero elsewhere: the hull of both.
        found = iv.rounded(i, digits)
        if want is Kind.INT:
            ends = [_even(i.lower), _even(i.upper)]
            return Interval(min(found.lower, ends[0]), max(found.upper, ends[1]))
        return iv.outward(found)

    bounds = Interval(-3.4e38, 3.4e38) if single else limits(type_, scope.dialect) or iv.ALL
    interval, proven = span(a.span), span(a.sure)
    fits = (
        (want is Kind.FLOAT and (not single or iv.inside(a.sure, bounds)))
        or (a.type.kind in (Kind.INT, Kind.BOOL, Kind.DECIMAL) and want is not Kind.FLOAT and iv.inside(proven, bounds))
        or _digits_fit(a, proven, type_)
    )
    promised = fits or iv.inside(interval, bounds)
    if fits:
        tree = exp.Cast(this=a.tree, to=data_type_of(type_, scope))
    elif scope.snowflake:
        top = 10 ** ((type_.precision or 38) - type_.scale) - 1
        # NaN is greater than every number there, so BETWEEN keeps it out.
        guard = exp.Between(this=wrap(a.tree), low=number(-top), high=number(top))
        tree = exp.Cast(this=when(guard, a.tree), to=data_type_of(type_, scope))  # total in whatever order branches are evaluated
    else:
        tree = exp.TryCast(this=a.tree, to=data_type_of(type_, scope), safe=True)
    kept = interval if single else iv.meet(interval, bounds) or interval
    sure = proven if single else iv.meet(proven, bounds) or bounds
    # NaN has no place in an exact type.
    nullable = a.nullable or not promised or (a.nan and want is not Kind.FLOAT)
    return Term(tree, type_, kept, sure, nullable, whole, a.from_unit, nan=a.nan and want is Kind.FLOAT)


def _digits_fit(a: Term, proven: Interval, type_: SqlType) -> bool:
    return (
        type_.kind is Kind.DECIMAL
        and a.type.kind in (Kind.INT, Kind.DECIMAL, Kind.BOOL)
        and int_digits(proven) <= type_.precision - type_.scale
    )


def _even(value: float) -> float:
    return value if abs(value) >= 2.0**53 else float(round(value))


def data_type_of(type_: SqlType, scope: Scope) -> exp.DataType:
    """Cast target that keeps a 32-bit float as asked for."""
    if type_.kind is Kind.FLOAT and type_.text in FLOAT32 and not scope.snowflake:
        return exp.DataType.build("FLOAT")
    if type_.kind is Kind.INT and type_.text.startswith("U") and not scope.snowflake:
        return exp.DataType.build(type_.text, dialect="duckdb")
    return data_type(type_, scope.dialect)


def to_number(node: exp.Expression, scope: Scope) -> Term:
    """Snowflake's ``TO_NUMBER(x[, precision, scale])``."""
    if node.args.get("format") is not None:
        raise refused(node, "TO_NUMBER with a format is not answered.")
    precision = node.args.get("precision")
    scale = node.args.get("scale")
    type_ = SqlType.parse(f"DECIMAL({precision.name if precision else 38},{scale.name if scale else 0})")
    return convert(node, scope.term(node.this), type_, scope)


def to_double(node: exp.Expression, scope: Scope) -> Term:
    """``TO_DOUBLE(x)``."""
    return convert(node, scope.term(node.this), SqlType.parse("DOUBLE"), scope)


def to_date(node: exp.Expression, scope: Scope) -> Term:
    """``DATE(x)``, ``TO_DATE(x)`` without a format."""
    if node.args.get("format") is not None or node.args.get("zone") is not None:
        raise refused(node, "TO_DATE with a format is not answered.", "Write CAST(x AS DATE) or STRPTIME(x, '...').")
    return convert(node, scope.term(node.this), SqlType.parse("DATE"), scope)


RULES: dict[type[exp.Expression], Rule] = {
    exp.Cast: cast_,
    exp.TryCast: cast_,
    exp.ToNumber: to_number,
    exp.ToDouble: to_double,
    exp.TsOrDsToDate: to_date,
    exp.Date: to_date,
}
