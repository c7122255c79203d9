"""Dates read from text and shown as text, with literal formats."""

from __future__ import annotations

import re

from sqlglot import exp
from sqlglot.dialects.snowflake import Snowflake
from sqlglot.time import format_time

from dpjupyter.engine.model import (
    TEXT,
    TIMESTAMP,
    Interval,
    Kind,
)
from dpjupyter.engine.scalar import calendar
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import text
from dpjupyter.engine.scalar.rules.dates import timed
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, refused
from dpjupyter.engine.scalar.trees import cast

_TIME_ONLY = re.compile(r"(?:[^%]|%[HIMSpf%]|%-[HIMS])*")
_FORMAT = re.compile(r"(?:[^%]|%[aAbBcdfgGHIjmMnpSuUVwWxXyYzZ%]|%-[dHIjmMSy])*")
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
    tree = exp.Anonymous(this="TRY_STRPTIME", expressions=[a.tree, exp.Literal.string(form)])
    day = _DAY_1900 if _TIME_ONLY.fullmatch(form) else iv.ALL
    return Term(tree, TIMESTAMP, day, day, nullable=True, integral=True, from_unit=a.from_unit)


def strftime(node: exp.Expression, scope: Scope) -> Term:
    """``STRFTIME(x, 'format')``."""
    form = _format(node)
    a = timed(node.this, scope)
    return Term(exp.TimeToStr(this=a.tree, format=exp.Literal.string(form)), TEXT, nullable=a.nullable, from_unit=a.from_unit)


def to_char(node: exp.Expression, scope: Scope) -> Term:
    """Snowflake's ``TO_CHAR(x[, 'format'])``; the format for dates only."""
    form = node.args.get("format")
    if form is None:
        term = scope.term(node.this)
        if term.type.kind is Kind.OTHER:
            raise refused(node)
        return Term(cast(term.tree, TEXT, scope.dialect), TEXT, nullable=term.nullable, from_unit=term.from_unit)
    if not (isinstance(form, exp.Literal) and form.is_string):
        raise refused(node, "The format of TO_CHAR must be a literal string.")

    known = format_time(form.name, Snowflake.TIME_MAPPING) or form.name
    return strftime(exp.TimeToStr(this=node.this.copy(), format=exp.Literal.string(known)), scope)


RULES: dict[type[exp.Expression], Rule] = {
    exp.StrToTime: strptime,
    exp.TimeToStr: strftime,
    exp.ToChar: to_char,
}
