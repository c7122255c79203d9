"""Answers as analysts see them: ``Answer`` (a DataFrame that knows its noise), ``Cell``, ``Comparison``.

formats     numbers, intervals and costs as text: one place decides how ``123 ± 8`` is written
cells       one value and its intervals; comparing two
answer      the Answer itself
plots       Answer.plot(): loaded when first used
"""

from dpjupyter.answer.answer import Answer
from dpjupyter.answer.cells import Cell, Comparison

__all__ = ["Answer", "Cell", "Comparison"]
