"""Scalar SQL expressions: what is allowed, what is known of their values, and forms that never raise.

    check(expr)                       refuse what is not on the allow-list
    facts(expr, columns)              type, interval, nullability
    total(expr, columns, dialect)     same values, NULL instead of an error
    narrow(predicate, columns)        facts of the columns where the predicate is TRUE
    domain(expr, columns, cap)        finite set of values as a GROUP BY key
    literal, ordinal, value_of, column_facts
    NAMES, table()                    for completion and the docs

Columns are ``exp.Column`` nodes named ``c<n>`` without a table; ``columns`` maps those names to Facts.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from dpjupyter.engine.model import Facts
from dpjupyter.engine.scalar import narrowing
from dpjupyter.engine.scalar.allowed import NAMES, check, table
from dpjupyter.engine.scalar.domains import domain
from dpjupyter.engine.scalar.rules import RULES
from dpjupyter.engine.scalar.terms import Scope
from dpjupyter.engine.scalar.values import column_facts, literal, ordinal, value_of

__all__ = ["NAMES", "check", "column_facts", "domain", "facts", "literal", "narrow", "ordinal", "table", "total", "value_of"]


def facts(expr: exp.Expression, columns: Mapping[str, Facts], dialect: str = "duckdb") -> Facts:
    """What is known of the values of ``total(expr, columns, dialect)``.

    Raises: FunctionRefused: not on the allow-list, or arguments of types that do not fit.
    """
    return Scope(columns, dialect, RULES).term(expr).facts


def total(expr: exp.Expression, columns: Mapping[str, Facts], dialect: str) -> exp.Expression:
    """A tree with the same value wherever plain SQL has one, and NULL where plain SQL would raise.

    It holds whatever the data: bounds in ``columns`` are not relied on.

    Raises: FunctionRefused: not on the allow-list, or arguments of types that do not fit.
    """
    return Scope(columns, dialect, RULES).term(expr).tree.copy()


def narrow(predicate: exp.Expression, columns: Mapping[str, Facts]) -> dict[str, Facts]:
    """Facts of all columns for the rows that ``WHERE predicate`` keeps."""
    return narrowing.assume(predicate, columns, Scope(columns, "duckdb", RULES), holds=True)
