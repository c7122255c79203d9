"""Building pieces of SQL trees."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from dpjupyter.engine.algebra import rebuilt
from dpjupyter.engine.model import (
    SqlType,
)
from dpjupyter.engine.scalar.sqltypes import (
    data_type,
)

_SAFE = (exp.Column, exp.Literal, exp.Func, exp.Paren, exp.Null, exp.Boolean, exp.Case, exp.Cast, exp.TryCast, exp.Identifier, exp.Var)
_OPERATOR = (exp.Binary, exp.Unary, exp.Between, exp.In, exp.Interval)


def wrap(tree: exp.Expression) -> exp.Expression:
    """In parentheses where the tree is an operator: trees are printed without regard to precedence."""
    if isinstance(tree, exp.Paren):
        return tree
    if isinstance(tree, _OPERATOR) and not isinstance(tree, exp.Func):
        return exp.Paren(this=tree)
    if isinstance(tree, (exp.And, exp.Or, exp.Xor, exp.Pow, exp.Mod, exp.Like, exp.ILike)):
        return exp.Paren(this=tree)
    return tree


def number(value: float) -> exp.Expression:
    """Literal of a whole number."""
    whole = int(value)
    return exp.Literal.number(str(whole)) if whole >= 0 else exp.Neg(this=exp.Literal.number(str(-whole)))


def cast(tree: exp.Expression, type_: SqlType, dialect: str) -> exp.Expression:
    """CAST that is known not to raise."""
    return exp.Cast(this=tree, to=data_type(type_, dialect))


def try_cast(tree: exp.Expression, type_: SqlType, dialect: str) -> exp.Expression:
    """TRY_CAST. On Snowflake only from text."""
    return exp.TryCast(this=tree, to=data_type(type_, dialect), safe=True, requires_string=dialect == "snowflake")


def when(condition: exp.Expression, tree: exp.Expression) -> exp.Expression:
    """``CASE WHEN condition THEN tree END``: NULL otherwise."""
    return exp.Case(ifs=[exp.If(this=condition, true=tree)])


def any_of(tests: list[exp.Expression]) -> exp.Expression:
    """``(a) OR (b) OR ...`` of at least one condition."""
    done = tests[0]
    for test in tests[1:]:
        done = exp.Or(this=wrap(done), expression=wrap(test))
    return done


def between(tree: exp.Expression, low: exp.Expression, high: exp.Expression) -> exp.Expression:
    """``tree BETWEEN low AND high``."""
    return exp.Between(this=wrap(tree.copy()), low=low, high=high)


def substituted(tree: exp.Expression, columns: Mapping[str, exp.Expression]) -> exp.Expression:
    """A copy of ``tree`` with columns replaced."""

    def swap(node: exp.Expression) -> exp.Expression | None:
        return columns[node.name].copy() if isinstance(node, exp.Column) and node.name in columns else None

    return rebuilt(tree, swap)


def whole_literal(node: exp.Expression | None) -> int | None:
    """The whole number that a literal states, else None."""
    sign = 1
    while isinstance(node, (exp.Neg, exp.Paren)):
        sign = -sign if isinstance(node, exp.Neg) else sign
        node = node.this
    if isinstance(node, exp.Literal) and not node.is_string and node.name.isdecimal():
        return sign * int(node.name)
    return None
