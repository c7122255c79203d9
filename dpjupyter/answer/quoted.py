"""A price before it is paid: what a question would cost and how exact its answer would be."""

from __future__ import annotations

import math
from html import escape

from dpjupyter import wire
from dpjupyter.answer import formats
from dpjupyter.answer.cells import DEFAULT_CONFIDENCE
from dpjupyter.answer.explanation import price, price_lines
from dpjupyter.answer.formats import Shown


class Quoted:
    """A quote, shown as text and HTML. Free: it comes from the question and the policy alone."""

    def __init__(
        self, reply: wire.QuoteReply, *, sql: str = "", asides: tuple[str, ...] = (), confidence: float = DEFAULT_CONFIDENCE
    ) -> None:
        """Wrap a reply.

        Args:
            reply: what the gateway sent.
            sql: the question.
            asides: what else a reader must know.
            confidence: of the half-widths shown.
        """
        self.reply = reply
        self.sql = sql
        self.confidence = confidence
        self._asides = asides

    @property
    def cost(self) -> wire.Privacy:
        """What would be charged: .epsilon, .rho, .delta, .answers, .tables."""
        return self.reply.privacy

    @property
    def affordable(self) -> bool:
        """Whether every budget that must pay can."""
        return self.reply.affordable

    @property
    def headline(self) -> str:
        """Cost and whether it can be paid, on one line."""
        if self.reply.cached:
            return "price nothing: the same question was answered before in this cycle"
        if not self.reply.privacy.tables and not self.reply.privacy.epsilon:
            return "price nothing: no private table is read"
        verdict = "affordable" if self.affordable else "NOT AFFORDABLE"
        return f"price {price(self.reply.privacy.epsilon, self.reply.privacy.delta)} · {verdict}"

    def half_widths(self) -> dict[str, float | None]:
        """Expected half-width by column; None where it is known only after the answer."""
        return {column.name: _width(column, self.confidence) for column in self.reply.utility if column.mechanism or column.derived}

    def __repr__(self) -> str:
        lines = [self.headline]
        if self.reply.utility:
            lines += ["", formats.text_table(*self._table()), ""]
        return "\n".join([*lines, *(line.strip() for line in price_lines(self.reply.privacy)), *self._asides, *self.reply.notes])

    def to_html(self) -> str:
        """The quote as escaped HTML."""
        table = formats.html_table(*self._table()) if self.reply.utility else ""
        lines = [*(line.strip() for line in price_lines(self.reply.privacy)), *self._asides, *self.reply.notes]
        small = "".join(f"<div>{escape(line)}</div>" for line in lines)
        head = f"<div><strong>{escape(self.headline)}</strong></div>"
        return f'<div class="dpjupyter-quote" role="group" aria-label="quote">{head}{table}<div style="font-size:90%">{small}</div></div>'

    def _repr_html_(self) -> str:
        return self.to_html()

    def _table(self) -> tuple[list[str], list[list[Shown]], list[bool]]:
        rows = [
            [Shown(column.name), Shown(_how(column)), Shown(_expected(column, self.confidence))]
            for column in self.reply.utility
        ]
        return ["column", "made by", f"expected at {self.confidence:.0%}"], rows, [False, False, True]


def _width(column: wire.ColumnUtility, confidence: float) -> float | None:
    return next((width for level, width in column.half_width.items() if math.isclose(float(level), confidence)), None)


def _expected(column: wire.ColumnUtility, confidence: float) -> str:
    width = _width(column, confidence)
    if width is not None:
        return formats.plus_minus(width)
    return "known with the answer" if column.mechanism or column.derived else "exact"


def _how(column: wire.ColumnUtility) -> str:
    if column.derived:
        return "computed from released values"
    return formats.mechanism(column.mechanism) or "key"
