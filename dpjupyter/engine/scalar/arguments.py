"""Arguments of functions: of the right kind, brought to a common type, never by a cast that can raise."""

from __future__ import annotations

import math
from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.model import (
    BOOL,
    DOUBLE,
    TEXT,
    TIMESTAMP,
    Interval,
    Kind,
    SqlType,
    Value,
)
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar import values
from dpjupyter.engine.scalar.sqltypes import (
    DAY_US,
    FLOAT32,
    NUMERIC,
    TIMED,
    decimal,
    int_digits,
    integer,
    limits,
    shown,
)
from dpjupyter.engine.scalar.terms import Scope, Term, refused
from dpjupyter.engine.scalar.trees import cast, try_cast


def as_double(term: Term, scope: Scope) -> Term:
    """The term as DOUBLE."""
    if term.type.kind is Kind.FLOAT and (scope.snowflake or term.type.text not in FLOAT32):
        return term
    return replace(term, tree=cast(term.tree, DOUBLE, scope.dialect), type=DOUBLE, domain=None)


def plain_integer(term: Term, scope: Scope) -> Term:
    """Signed binary integers for arithmetic: unsigned, DECIMAL(p,0) and 38-digit integers behave differently."""
    if term.type.kind is not Kind.INT or not isinstance(term.tree, exp.Column):
        return term
    if scope.snowflake:
        return term
    if term.type.precision or term.type.text.startswith("U"):
        wide = integer(max(term.type.bits, 64))
        return replace(term, tree=cast(term.tree, wide, scope.dialect), type=wide)
    return term


def operand(node: exp.Expression, scope: Scope) -> Term:
    """Argument of an arithmetic operator or function: a number.

    Raises: FunctionRefused: it is of another type.
    """
    term = scope.term(node)
    if term.type.kind is Kind.NULL:
        return replace(term, tree=cast(exp.null(), DOUBLE, scope.dialect), type=DOUBLE, interval=None, proven=None)
    if term.type.kind not in NUMERIC:
        raise refused(node, f"A number is needed here, not {shown(term.type)}.", "Cast it to a numeric type.")
    if term.type.kind is Kind.FLOAT and not scope.snowflake and term.type.text in FLOAT32:
        return as_double(term, scope)
    return plain_integer(term, scope)


def to_type(term: Term, type_: SqlType, scope: Scope, node: exp.Expression) -> Term:
    """Explicitly of ``type_``, NULL where a value does not fit.

    Raises: FunctionRefused: there is no conversion between the two.
    """
    have, want = term.type.kind, type_.kind
    if have is want and (want not in (Kind.INT, Kind.DECIMAL) or term.type == type_):
        return term
    if have is Kind.NULL:
        return replace(term, tree=cast(term.tree, type_, scope.dialect), type=type_)
    if have in NUMERIC and want in NUMERIC:
        return replace(term, tree=cast(term.tree, type_, scope.dialect), type=type_, domain=None)
    if have is Kind.DATE and want is Kind.TIMESTAMP:
        if not term.nullable and term.sure.lower == term.sure.upper and abs(term.sure.lower) < 1e5:
            return literal_term(values.at(term.sure.lower * DAY_US, type_), type_)
        tree = cast(term.tree, type_, scope.dialect) if scope.snowflake else try_cast(term.tree, type_, scope.dialect)
        scaled = [iv.mul(i, Interval(DAY_US, DAY_US)) if i else None for i in (term.interval, term.proven)]
        return replace(term, tree=tree, type=type_, interval=scaled[0], proven=scaled[1], domain=None)
    if have is Kind.TEXT and want not in (Kind.OTHER, Kind.NULL):
        return _from_text(term, type_, scope, node)
    raise refused(node, f"{shown(term.type)} and {shown(type_)} do not go together here.", "Cast one of them.")


def _from_text(term: Term, type_: SqlType, scope: Scope, node: exp.Expression) -> Term:
    if isinstance(term.tree, exp.Literal):
        value = values.parse(term.tree.name, type_)
        if value is None:
            raise refused(node, f"{term.tree.sql()} is not a value of type {shown(type_)}.", "Write it as YYYY-MM-DD or as a number.")
        return literal_term(value, type_)
    interval = limits(type_)
    whole = type_.kind in (Kind.INT, Kind.DATE, Kind.TIMESTAMP)
    tree = try_cast(term.tree, type_, scope.dialect)
    nan = type_.kind is Kind.FLOAT
    return Term(tree, type_, iv.ALL if interval else None, interval, nullable=True, integral=whole, from_unit=term.from_unit, nan=nan)


def literal_term(value: Value, type_: SqlType) -> Term:
    """Term of one value."""
    tree = values.literal(value, type_)
    if value is None:
        return Term(tree, type_, None, None, nullable=True)
    interval: Interval | None = None
    if type_.kind in (*NUMERIC, *TIMED, Kind.BOOL):
        at = values.ordinal(value, type_)
        interval = iv.ALL if math.isnan(at) else Interval(at, at)
    whole = type_.kind in (Kind.INT, Kind.DATE, Kind.TIMESTAMP) or (interval is not None and interval.lower.is_integer())
    return Term(tree, type_, interval, interval, nullable=False, integral=whole, domain=(value,))


def common_type(terms: list[Term], node: exp.Expression) -> SqlType:
    """Type that CASE, COALESCE, comparisons and lists give to their arguments."""
    kinds = {t.type.kind for t in terms} - {Kind.NULL}
    if not kinds:
        return SqlType(Kind.NULL, text="NULL")
    typed = [t for t in terms if t.type.kind is not Kind.NULL]
    # A string literal takes the type of its company.
    others = [t for t in typed if not (t.type.kind is Kind.TEXT and isinstance(t.tree, exp.Literal))]
    if others:
        kinds = {t.type.kind for t in others}
        typed = others
    if len(kinds) > 1 and Kind.TEXT in kinds:
        kinds.discard(Kind.TEXT)
        typed = [t for t in typed if t.type.kind is not Kind.TEXT]
    if kinds == {Kind.BOOL, Kind.INT}:
        return typed[0].type if all(t.type.kind is Kind.BOOL for t in typed) else next(t.type for t in typed if t.type.kind is Kind.INT)
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind is Kind.INT:
            return typed[0].type if len({(t.type.bits, t.type.precision) for t in typed}) == 1 else integer(max(t.type.bits for t in typed))
        if kind is not Kind.DECIMAL:
            return typed[0].type
    if kinds <= {Kind.INT, Kind.DECIMAL, Kind.FLOAT}:
        if Kind.FLOAT in kinds:
            return DOUBLE
        scale = max(t.type.scale for t in typed)
        digits = max(t.type.precision - t.type.scale if t.type.kind is Kind.DECIMAL else int_digits(t.sure) for t in typed)
        return decimal(max(digits + scale, 1), scale) if digits + scale <= 38 else DOUBLE
    if kinds == {Kind.DATE, Kind.TIMESTAMP}:
        return TIMESTAMP
    names = " and ".join(sorted(shown(t.type) for t in typed))
    raise refused(node, f"{names} do not go together here.", "Cast one of them.")


def unify(terms: list[Term], scope: Scope, node: exp.Expression) -> tuple[SqlType, list[Term]]:
    """Arguments brought to their common type, untouched where they already share it.

    Raises: FunctionRefused: they have none.
    """
    type_ = common_type(terms, node)
    if type_.kind is Kind.NULL:
        return type_, terms
    done: list[Term] = []
    for term in terms:
        same = term.type.kind is type_.kind and (
            type_.kind not in (Kind.INT, Kind.DECIMAL)
            or (type_.kind is Kind.DECIMAL and (term.type.precision, term.type.scale) == (type_.precision, type_.scale))
            or (type_.kind is Kind.INT and (scope.snowflake or bool(term.type.precision) == bool(type_.precision)))
        )
        if same or term.type.kind is Kind.NULL:
            done.append(term)
        elif term.type.kind is Kind.BOOL and type_.kind is Kind.INT:
            done.append(replace(term, tree=cast(term.tree, type_, scope.dialect), type=type_))
        elif term.literal and term.type.kind in NUMERIC and type_.kind in NUMERIC:
            done.append(replace(term, type=type_))
        else:
            done.append(to_type(term, type_, scope, node))
    return type_, done


def truth(node: exp.Expression, scope: Scope) -> Term:
    """Argument that must be a condition.

    Raises: FunctionRefused: it is of another type.
    """
    term = scope.term(node)
    if term.type.kind is Kind.NULL:
        return replace(term, tree=cast(exp.null(), BOOL, scope.dialect), type=BOOL)
    if term.type.kind is Kind.OTHER and term.type.text == "SUBQUERY":
        return replace(term, type=BOOL)
    if term.type.kind is not Kind.BOOL:
        raise refused(node, f"A condition is needed here, not {shown(term.type)}.", "Write a comparison, for example x <> 0.")
    return term


def text(node: exp.Expression | None, scope: Scope) -> Term:
    """Argument that must be text.

    Raises: FunctionRefused: it is of another type.
    """
    term = scope.term(node)
    if term.type.kind is Kind.NULL:
        return replace(term, tree=cast(exp.null(), TEXT, scope.dialect), type=TEXT)
    if term.type.kind is not Kind.TEXT:
        assert node is not None
        raise refused(node, f"Text is needed here, not {shown(term.type)}.", "Write CAST(... AS VARCHAR).")
    return term
