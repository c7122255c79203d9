"""Forms of the owner's panel: set a budget, suspend and lift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any

import ipywidgets
from pydantic import ValidationError

from dpjupyter import wire
from dpjupyter.answer import formats
from dpjupyter.errors import DpError
from dpjupyter.widgets import gauges
from dpjupyter.widgets.base import LINES, chosen, mistake, on_change, on_press

NAMES = {"analyst": "quota of analyst", "total_budget": "total ε", "recover_cycle": "cycle, days", "exhausted_strategy": "when exhausted"}


class BudgetForm(ipywidgets.VBox):
    """Change a budget row: check, then confirm."""

    def __init__(self, rows: Sequence[wire.BudgetRow], save: Callable[[wire.BudgetSetRequest], None], done: Callable[[], object]) -> None:
        """Offer the given rows; ``save`` is called on confirmation, then ``done``."""
        self._save, self._done = save, done
        self._pending: wire.BudgetSetRequest | None = None
        wide: Any = {"description_width": "120px"}
        self.row = ipywidgets.Dropdown(description="budget", style=wide)
        self.analyst = ipywidgets.Text(description="quota of analyst", placeholder="shared budget", style=wide)
        self.total = ipywidgets.Text(description="total ε", style=wide)
        self.cycle = ipywidgets.Text(description="cycle, days", style=wide)
        self.strategy = ipywidgets.Dropdown(options=["reject", "allow"], description="when exhausted", style=wide)
        self.check = ipywidgets.Button(description="Check the change")
        self.confirm = ipywidgets.Button(description="Confirm", button_style="warning", layout={"display": "none"})
        self.cancel = ipywidgets.Button(description="Cancel", layout={"display": "none"})
        self.said = ipywidgets.HTML()
        on_change(self.row, self._fill)
        on_press(self.check, self._checked)
        on_press(self.confirm, self._confirmed)
        on_press(self.cancel, self._start_over)
        buttons = ipywidgets.HBox([self.check, self.confirm, self.cancel])
        super().__init__([self.row, self.analyst, self.total, self.cycle, self.strategy, buttons, self.said])
        self.update(rows)

    def update(self, rows: Sequence[wire.BudgetRow]) -> None:
        """Offer these rows, keeping the choice."""
        before = self.row.label
        self._rows = gauges.ordered(rows)
        self.row.options = [(f"{row.db_name}: {gauges.name(row)}", index) for index, row in enumerate(self._rows)]
        labels = [label for label, _ in self.row.options]
        if labels:
            self.row.value = labels.index(before) if before in labels else 0
        self._fill()

    def _fill(self) -> None:
        if self.row.value is None:
            return
        row = self._rows[self.row.value]
        self.analyst.value = row.analyst or ""
        self.total.value = formats.epsilon(row.total_budget)
        self.cycle.value = str(row.recover_cycle)
        self.strategy.value = row.exhausted_strategy
        self._start_over()

    def _checked(self) -> None:
        if self.row.value is None:
            self._start_over("There is no budget to change.")
            return
        row = self._rows[self.row.value]
        try:
            request = wire.BudgetSetRequest.model_validate(
                {
                    "prefix": row.prefix,
                    "db_name": row.db_name,
                    "table_name": row.table_name,
                    "analyst": self.analyst.value.strip() or None,
                    "total_budget": _number(self.total.value),
                    "recover_cycle": _number(self.cycle.value),
                    "exhausted_strategy": self.strategy.value,
                }
            )
        except ValidationError as error:
            self._start_over(mistake(error, NAMES))
            return
        self._pending = request
        self.said.value = f'<div role="status" style="{LINES}">{escape(change_in_words(row, request))}</div>'
        self.confirm.layout.display = self.cancel.layout.display = None

    def _confirmed(self) -> None:
        if self._pending is None:
            return
        request, self._pending = self._pending, None
        try:
            self._save(request)
        except DpError as error:
            self._start_over(error.shown())
            return
        self._done()
        self._start_over("Done.")

    def _start_over(self, said: str = "") -> None:
        self._pending = None
        self.said.value = f'<div role="status" style="{LINES}">{escape(said)}</div>' if said else ""
        self.confirm.layout.display = self.cancel.layout.display = "none"


class SuspendForm(ipywidgets.VBox):
    """Suspend an analyst or a table at once, or lift it."""

    def __init__(self, rows: Sequence[wire.BudgetRow], act: Callable[[wire.SuspendRequest], None], done: Callable[[], object]) -> None:
        """Offer the given rows' tables; ``act`` is called with the request, then ``done``."""
        self._act, self._done = act, done
        shared = [row for row in gauges.ordered(rows) if row.analyst is None]
        self.analyst = ipywidgets.Text(description="analyst")
        tables = [(f"{row.db_name}: {gauges.name(row)}", (row.prefix, row.db_name, row.table_name)) for row in shared]
        self.table = ipywidgets.Dropdown(options=[("(an analyst)", None), *tables], description="or table")
        self.reason = ipywidgets.Text(description="reason")
        self.suspend = ipywidgets.Button(description="Suspend", button_style="danger")
        self.lift = ipywidgets.Button(description="Lift")
        self.said = ipywidgets.HTML()
        on_press(self.suspend, partial(self._decide, lift=False))
        on_press(self.lift, partial(self._decide, lift=True))
        super().__init__([self.analyst, self.table, self.reason, ipywidgets.HBox([self.suspend, self.lift]), self.said])

    def _decide(self, *, lift: bool) -> None:
        analyst, table = self.analyst.value.strip(), chosen(self.table)
        if bool(analyst) == (table is not None):
            self.said.value = "Name either an analyst or a table."
            return
        what: dict[str, Any] = {"analyst": analyst} if analyst else dict(zip(("prefix", "db_name", "table_name"), table, strict=True))
        try:
            self._act(wire.SuspendRequest.model_validate(what | {"lift": lift, "reason": self.reason.value.strip()}))
        except (DpError, ValidationError) as error:
            self.said.value = escape(error.shown() if isinstance(error, DpError) else mistake(error, {"analyst": "analyst"}))
            return
        self.said.value = "Lifted." if lift else "Suspended."
        self._done()


def change_in_words(row: wire.BudgetRow, request: wire.BudgetSetRequest) -> str:
    """What a confirmation would do."""
    if (request.analyst or None) != row.analyst:
        whose = f"the quota of {request.analyst}" if request.analyst else "the shared budget"
        on = f"{whose} on {formats.row_name(row.table_name)}"
        total = formats.epsilon(request.total_budget or 0)
        return f"This sets {on} to ε {total}, every {request.recover_cycle} days, {request.exhausted_strategy}."
    changes: list[str] = []
    if request.total_budget is not None and request.total_budget != row.total_budget:
        changes.append(f"total ε {formats.epsilon(row.total_budget)} → {formats.epsilon(request.total_budget)}")
        if request.total_budget < row.consumed_budget:
            changes.append(f"less than the {formats.epsilon(row.consumed_budget)} spent: it is exhausted until it recovers")
    if request.recover_cycle is not None and request.recover_cycle != row.recover_cycle:
        changes.append(f"cycle {row.recover_cycle} → {request.recover_cycle} days")
    if request.exhausted_strategy is not None and request.exhausted_strategy != row.exhausted_strategy:
        changes.append(f"when exhausted: {row.exhausted_strategy} → {request.exhausted_strategy}")
        if request.exhausted_strategy == "allow":
            changes.append("ANSWERS WILL GO ON UNMETERED when it is exhausted: its privacy promise is then void")
    if not changes:
        return "Nothing would change."
    return f"{gauges.name(row)}: {'; '.join(changes)}. What was spent stays spent."


def _number(text: str) -> Any:
    text = text.strip()
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
