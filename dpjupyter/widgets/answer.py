"""AnswerView: an answer's values with intervals, its chart, and comparisons."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import Any

import ipywidgets

from dpjupyter.answer import Answer, formats
from dpjupyter.answer.plots import described
from dpjupyter.errors import DpError
from dpjupyter.widgets.base import Panel, chosen, on_change

MOST_ROWS = 500  # rows offered for comparison


class AnswerView(Panel):
    """Tabs: the values, a chart with error bars, and whether two values can be told apart."""

    def __init__(self, answer: Answer) -> None:
        """Show an answer; the chart is drawn when its tab is opened."""
        self.answer = answer
        self._table = ipywidgets.HTML(_spaced(answer.to_html()))
        self._chart = ipywidgets.VBox()
        levels = sorted(answer.confidences)
        self.confidence = ipywidgets.Dropdown(
            options=[(f"{level:.0%}", level) for level in levels] or [("exact", answer.confidence)],
            value=min(levels, key=lambda level: abs(level - answer.confidence)) if levels else answer.confidence,
            description="confidence",
        )
        on_change(self.confidence, self._changed)
        tabs: list[Any] = [self._table, self._chart]
        titles = ["Values", "Chart"]
        if answer.noisy_columns and 1 < len(answer) <= MOST_ROWS:
            tabs.append(self._comparison())
            titles.append("Compare")
        self.tabs = ipywidgets.Tab(tabs, titles=titles)
        on_change(self.tabs, self._opened, trait="selected_index")
        super().__init__([*([self.confidence] if levels else []), self.tabs])

    def text(self) -> str:
        """The answer as text."""
        return repr(self.answer)

    def _comparison(self) -> ipywidgets.VBox:
        keys = self.answer.key_columns
        rows = [", ".join(formats.plain(self.answer.reply.Data[key][i]) for key in keys) or f"row {i + 1}" for i in range(len(self.answer))]
        options = [(label, index) for index, label in enumerate(rows)]
        self.column = ipywidgets.Dropdown(options=self.answer.noisy_columns, description="column")
        self.first = ipywidgets.Dropdown(options=options, value=0, description="is")
        self.second = ipywidgets.Dropdown(options=options, value=1, description="unlike")
        self.verdict = ipywidgets.HTML()
        for choice in (self.column, self.first, self.second):
            on_change(choice, self._judge)
        self._judge()
        return ipywidgets.VBox([self.column, self.first, self.second, self.verdict])

    def _judge(self) -> None:
        try:
            one, other = (self.answer.cell_at(chosen(self.column), chosen(choice)) for choice in (self.first, self.second))
            said = str(one.compare(other, chosen(self.confidence)))
        except DpError as error:
            said = error.shown()
        self.verdict.value = f'<div aria-live="polite">{escape(said)}</div>'

    def _changed(self) -> None:
        self.answer.confidence = chosen(self.confidence)
        self._table.value = _spaced(self.answer.to_html())
        self._chart.children = ()
        self._opened()
        if hasattr(self, "verdict"):
            self._judge()

    def _opened(self) -> None:
        if self.tabs.selected_index == 1 and not self._chart.children:
            self._chart.children = (self._drawn(),)

    def _drawn(self) -> ipywidgets.Widget:
        try:
            from matplotlib.figure import Figure  # noqa: PLC0415 - an optional part of the analyst's install
        except ImportError:
            return ipywidgets.HTML("<div>The chart needs matplotlib: pip install 'dpjupyter[plot]'</div>")
        images: list[str] = []
        for column in self.answer.drawable_columns:
            figure = Figure(figsize=(7, 3.2), layout="constrained")
            try:
                self.answer.plot(column, ax=figure.subplots(), confidence=chosen(self.confidence))
            except DpError as error:
                images.append(f"<div>{escape(error.shown())}</div>")
                continue
            buffer = BytesIO()
            figure.savefig(buffer, format="png", dpi=110)
            data = base64.b64encode(buffer.getvalue()).decode()
            label = escape(described(self.answer, column, chosen(self.confidence)), quote=True)
            # Not ipywidgets.Image: it has no text for those who cannot see it.
            images.append(f'<img alt="{label}" style="max-width:100%" src="data:image/png;base64,{data}">')
        return ipywidgets.HTML("".join(images) or "<div>The answer holds nothing to draw.</div>")


def _spaced(html: str) -> str:
    # ipywidgets sets every line of HTML as high as a button.
    return f'<div style="line-height:1.4">{html}</div>'
