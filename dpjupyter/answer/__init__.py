"""Answers as analysts see them: ``Answer`` (a DataFrame that knows its noise), ``Cell``, ``Comparison``; and ``Quoted``, a price.

formats     numbers, intervals and costs as text: one place decides how ``123 ± 8`` is written
cells       one value and its intervals; comparing two
answer      the Answer itself
explanation cost, balance and notices in words
frames      columns as pandas holds them
quoted      a price before it is paid
plots       Answer.plot(): loaded when first used
"""

from dpjupyter.answer.answer import Answer
from dpjupyter.answer.cells import Cell, Comparison
from dpjupyter.answer.quoted import Quoted

__all__ = ["Answer", "Cell", "Comparison", "Quoted"]
