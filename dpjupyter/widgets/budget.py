"""BudgetPanel: what is left, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import ipywidgets

from dpjupyter import wire
from dpjupyter.errors import DpError
from dpjupyter.widgets import gauges
from dpjupyter.widgets.base import Panel, on_press


def utc_now() -> datetime:
    """This machine's clock; only the countdown is made from it."""
    return datetime.now(UTC)


class BudgetPanel(Panel):
    """Gauges of budget rows; ``update`` shows new rows."""

    def __init__(
        self,
        rows: Sequence[wire.BudgetRow],
        *,
        refresh: Callable[[], Sequence[wire.BudgetRow]] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Show rows.

        Args:
            rows: what the gateway said.
            refresh: asked when the button is pressed; None: there is no button.
            now: clock, UTC.
        """
        self._rows, self._refresh, self._now = list(rows), refresh, now
        self._gauges = ipywidgets.HTML()
        self._status = ipywidgets.HTML()
        children: list[Any] = [self._gauges]
        if refresh is not None:
            button = ipywidgets.Button(description="Refresh", tooltip="Ask the gateway again", layout={"width": "auto"})
            on_press(button, self.refresh)
            children.append(ipywidgets.HBox([button, self._status]))
        super().__init__(children)
        self.update(rows)

    @property
    def rows(self) -> list[wire.BudgetRow]:
        """What is shown."""
        return list(self._rows)

    def update(self, rows: Sequence[wire.BudgetRow]) -> None:
        """Show these rows from now on."""
        self._rows = list(rows)
        self._gauges.value = gauges.budgets_html(self._rows, self._now())
        self._status.value = ""

    def refresh(self) -> bool:
        """Ask again; where that fails the old figures stay, marked so. Returns whether it went well."""
        if self._refresh is None:
            return False
        try:
            rows = self._refresh()
        except DpError as error:
            self._status.value = f'<span style="opacity:.75">offline: {escape(error.message)}</span>'
            return False
        self.update(rows)
        return True

    def text(self) -> str:
        """The rows as text."""
        return gauges.budgets_text(self._rows, self._now())
