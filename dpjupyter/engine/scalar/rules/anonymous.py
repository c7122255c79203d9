"""Functions that the parser knows only by name. Anything not listed here for the dialect is refused."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from dpjupyter.engine.scalar.terms import Scope, Term, refused

_Build = Callable[[list[exp.Expression]], exp.Expression]


def _zero() -> exp.Expression:
    return exp.Literal.number("0")


def _timestamp(arguments: list[exp.Expression]) -> exp.Expression:
    return exp.Cast(this=arguments[0], to=exp.DataType.build("TIMESTAMP"))


# name -> (number of arguments, the same thing as a node that has a rule)
_DUCKDB: dict[str, tuple[int, _Build]] = {
    "IFF": (3, lambda a: exp.If(this=a[0], true=a[1], false=a[2])),
    "ZEROIFNULL": (1, lambda a: exp.Coalesce(this=a[0], expressions=[_zero()])),
    "NULLIFZERO": (1, lambda a: exp.Nullif(this=a[0], expression=_zero())),
    "PREFIX": (2, lambda a: exp.StartsWith(this=a[0], expression=a[1])),
    "SUFFIX": (2, lambda a: exp.EndsWith(this=a[0], expression=a[1])),
    "DATE_PART": (2, lambda a: exp.Extract(this=a[0], expression=a[1])),
    "DATEPART": (2, lambda a: exp.Extract(this=a[0], expression=a[1])),
    "WEEKDAY": (1, lambda a: exp.DayOfWeek(this=a[0])),
    "ISOYEAR": (1, lambda a: exp.YearOfWeek(this=a[0])),
    "TRY_STRPTIME": (2, lambda a: exp.StrToTime(this=a[0], format=a[1])),
    "SQUARE": (1, lambda a: exp.Pow(this=a[0], expression=exp.Literal.number("2"))),
    "LOG10": (1, lambda a: exp.Log(this=exp.Literal.number("10"), expression=a[0])),
    "LOG2": (1, lambda a: exp.Log(this=exp.Literal.number("2"), expression=a[0])),
    "EQUAL_NULL": (2, lambda a: exp.NullSafeEQ(this=a[0], expression=a[1])),
    "DIV0": (
        2,
        lambda a: exp.Coalesce(this=exp.Div(this=a[0], expression=exp.Nullif(this=a[1], expression=_zero())), expressions=[_zero()]),
    ),
}
_SNOWFLAKE: dict[str, tuple[int, _Build]] = {
    "ZEROIFNULL": _DUCKDB["ZEROIFNULL"],
    "NULLIFZERO": _DUCKDB["NULLIFZERO"],
    "DATE_PART": _DUCKDB["DATE_PART"],
    "TO_TIMESTAMP": (1, _timestamp),
    "TRY_TO_TIMESTAMP": (1, _timestamp),
    "TO_TIMESTAMP_NTZ": (1, _timestamp),
    "TRY_TO_TIMESTAMP_NTZ": (1, _timestamp),
}
TABLE = {**_DUCKDB, **_SNOWFLAKE}
NAMES = tuple(sorted(TABLE))


def known(node: exp.Anonymous) -> bool:
    """Whether the name is listed."""
    return node.name.upper() in TABLE


def rewritten(node: exp.Anonymous) -> exp.Expression:
    """The node with a rule that stands for it.

    Raises: FunctionRefused: unknown name, or another number of arguments.
    """
    name = node.name.upper()
    if name not in TABLE:
        raise refused(node)
    count, build = TABLE[name]
    if len(node.expressions) != count:
        raise refused(node, f"{name} takes {count} argument{'s' if count > 1 else ''}.")
    return build([a.copy() for a in node.expressions])


def anonymous(node: exp.Expression, scope: Scope) -> Term:
    """The rule of the node that stands for it."""
    assert isinstance(node, exp.Anonymous)
    return scope.term(rewritten(node))


RULES = {exp.Anonymous: anonymous}
