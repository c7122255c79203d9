"""OwnerPanel: budgets to set, consumption, the audit log, suspensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import ipywidgets

from dpjupyter import wire
from dpjupyter.answer import formats
from dpjupyter.widgets import charts, suspicion
from dpjupyter.widgets.audit import AuditView
from dpjupyter.widgets.base import Panel
from dpjupyter.widgets.budget import BudgetPanel, utc_now
from dpjupyter.widgets.forms import BudgetForm, SuspendForm


@dataclass(frozen=True, slots=True)
class OwnerActions:
    """What the panel's buttons do; each may raise a DpError, which is shown."""

    budgets: Callable[[], Sequence[wire.BudgetRow]]
    set_budget: Callable[[wire.BudgetSetRequest], None]
    audit: Callable[..., wire.AuditReply]  # filters as keywords: analyst, table, verdict, since, until, limit
    suspend: Callable[[wire.SuspendRequest], None]


class OwnerPanel(Panel):
    """Everything an owner does from a notebook. Nothing is changed without a second press that says what will change."""

    def __init__(
        self,
        rows: Sequence[wire.BudgetRow],
        log: wire.AuditReply,
        actions: OwnerActions,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Show budgets and log.

        Args:
            rows: every budget row.
            log: newest part of the audit log.
            actions: what buttons do.
            now: clock, UTC.
        """
        self._actions = actions
        self.budgets = BudgetPanel(rows, refresh=actions.budgets, now=now)
        self.form = BudgetForm(rows, actions.set_budget, self._after_change)
        self.consumption = ipywidgets.HTML()
        self.audit = AuditView(log, actions.audit)
        self.suspension = SuspendForm(rows, actions.suspend, self._after_change)
        first = ipywidgets.VBox([self.budgets, self.form])
        titles = ["Budgets", "Consumption", "Audit log", "Suspend"]
        tabs = ipywidgets.Tab([first, self.consumption, self.audit, self.suspension], titles=titles)
        super().__init__([tabs])
        self._show_consumption(rows, log.rows)

    def update(self, rows: Sequence[wire.BudgetRow]) -> None:
        """Show these budget rows from now on."""
        self.budgets.update(rows)
        self.form.update(rows)
        self._show_consumption(rows, self.audit.rows)

    def text(self) -> str:
        """Budgets, then what is suspicious, as text."""
        repeated = [f"Repeated: {one}" for one in suspicion.repetitions(self.audit.rows)]
        return "\n".join([self.budgets.text(), f"Audit log: {self.audit.total} requests", *repeated])

    def _after_change(self) -> None:
        if self.budgets.refresh():
            self.update(self.budgets.rows)

    def _show_consumption(self, rows: Sequence[wire.BudgetRow], log: Sequence[wire.AuditRow]) -> None:
        paid = [row for row in log if row.epsilon > 0]
        by_analyst: dict[str, float] = {}
        for row in paid:
            by_analyst[row.analyst] = by_analyst.get(row.analyst, 0.0) + row.epsilon
        shared = {f"{row.db_name}.{formats.row_name(row.table_name)}": row.consumed_budget for row in rows if row.analyst is None}
        self.consumption.value = (
            charts.bars(shared, "ε spent in this cycle, by budget")
            + charts.bars(by_analyst, "ε of the requests in the audit log, by analyst")
            + charts.running_total([(row.time, row.epsilon) for row in paid], "ε of the requests in the audit log, added up")
        )
