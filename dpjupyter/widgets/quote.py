"""QuoteView: a price before it is paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from dpjupyter.answer import Quoted
from dpjupyter.widgets.base import Panel, chosen, on_change, on_press


class QuoteView(Panel):
    """A quote with a choice of confidence and, where an action is given, a button that asks the question."""

    def __init__(self, quoted: Quoted, *, ask: Callable[[], Any] | None = None) -> None:
        """Show a quote.

        Args:
            quoted: the price.
            ask: asks and pays when the button is pressed; None: there is no button.
        """
        self.quoted = quoted
        self._body = ipywidgets.HTML(quoted.to_html())
        levels = sorted({float(level) for column in quoted.reply.utility for level in column.half_width})
        children: list[Any] = [self._body]
        if levels:
            start = min(levels, key=lambda level: abs(level - quoted.confidence))
            options = [(f"{level:.0%}", level) for level in levels]
            self.confidence = ipywidgets.Dropdown(options=options, value=start, description="confidence")
            on_change(self.confidence, self._changed)
            children.append(self.confidence)
        if ask is not None:
            self.button = ipywidgets.Button(description="Ask and pay", disabled=not quoted.affordable)
            on_press(self.button, ask)
            children.append(self.button)
        super().__init__(children)

    def text(self) -> str:
        """The quote as text."""
        return repr(self.quoted)

    def _changed(self) -> None:
        self.quoted.confidence = chosen(self.confidence)
        self._body.value = self.quoted.to_html()
