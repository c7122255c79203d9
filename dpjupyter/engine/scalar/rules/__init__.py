"""The allow-list: one rule per class of expression, gathered from the files of this folder."""

from __future__ import annotations

from sqlglot import exp

from dpjupyter.engine.scalar.rules import anonymous, arithmetic, casts, dates, functions, logic, texts
from dpjupyter.engine.scalar.terms import Rule

RULES: dict[type[exp.Expression], Rule] = {
    **arithmetic.RULES,
    **functions.RULES,
    **logic.RULES,
    **casts.RULES,
    **texts.RULES,
    **dates.RULES,
    **anonymous.RULES,
}
