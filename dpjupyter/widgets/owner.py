"""OwnerPanel: budgets to set, consumption, the audit log, suspensions, synthetic twins."""

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
from dpjupyter.widgets.twins import TwinActions, TwinForm


@dataclass(frozen=True, slots=True)
class OwnerActions:
    """What the panel's buttons do; each may raise a DpError, which is shown."""

    budgets: Callable[[], Sequence[wire.BudgetRow]]
    set_budget: Callable[[wire.BudgetSetRequest], None]
    audit: Callable[..., wire.AuditReply]  # filters as keywords: analyst, table, verdict, since, until, limit
    suspend: Callable[[wire.SuspendRequest], None]
    twins: TwinActions | None = None  # None: the gateway publishes none


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
        self.form = BudgetForm(rows, actions.set_budget, self.refresh)
        self.consumption = ipywidgets.HTML()
        self.audit = AuditView(log, actions.audit)
        self.suspension = SuspendForm(rows, actions.suspend, self.refresh)
        first = ipywidgets.VBox([self.budgets, self.form])
        self.twins = TwinForm(rows, actions.twins, self.refresh) if actions.twins is not None else None
        titles = ["Budgets", "Consumption", "Audit log", "Suspend", *(["Synthetic twins"] if self.twins is not None else [])]
        pages = [first, self.consumption, self.audit, self.suspension, *([self.twins] if self.twins is not None else [])]
        tabs = ipywidgets.Tab(pages, titles=titles)
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

    def refresh(self) -> bool:
        """Ask for the budgets again; whether it went well."""
        if not self.budgets.refresh():
            return False
        self.update(self.budgets.rows)
        return True

    def _show_consumption(self, rows: Sequence[wire.BudgetRow], log: Sequence[wire.AuditRow]) -> None:
        paid = [row for row in log if row.epsilon > 0]
        by_analyst = {f"{row.analyst}, {row.db_name}": row.consumed_budget for row in rows if row.analyst and _widest(row, rows)}
        shared = {f"{row.db_name}.{formats.row_name(row.table_name)}": row.consumed_budget for row in rows if row.analyst is None}
        self.consumption.value = (
            charts.bars(shared, "ε spent in this cycle, by budget")
            + charts.bars(by_analyst, "ε spent in this cycle, by analyst")
            + charts.running_total([(row.time, row.epsilon) for row in paid], "ε of the requests in the audit log, added up")
        )


def _widest(row: wire.BudgetRow, rows: Sequence[wire.BudgetRow]) -> bool:
    """Whether this quota sums up the analyst's others: the database-wide one, or the most spent where there is none."""
    own = [other for other in rows if (other.analyst, other.prefix, other.db_name) == (row.analyst, row.prefix, row.db_name)]
    return row is max(own, key=lambda other: (other.table_name == formats.WHOLE_DATABASE, other.consumed_budget))
