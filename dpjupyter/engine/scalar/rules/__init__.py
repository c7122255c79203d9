"""The allow-list: one rule per class of expression, gathered from the files of this folder."""

from __future__ import annotations

from sqlglot import exp

from dpjupyter.engine.scalar.rules import anonymous, arithmetic, casts, dates, extremes, formats, logic, real, rounding, shifts, texts
from dpjupyter.engine.scalar.terms import Rule

RULES: dict[type[exp.Expression], Rule] = {
    **arithmetic.RULES,
    **rounding.RULES,
    **real.RULES,
    **extremes.RULES,
    **logic.RULES,
    **casts.RULES,
    **texts.RULES,
    **dates.RULES,
    **shifts.RULES,
    **formats.RULES,
    **anonymous.RULES,
}
