"""The panels of ``%dpsql budget`` and ``%dpsql owner``: widgets with the session's client behind their buttons.

Shown panels follow the budgets: after each query, and after any cell when the figures are older than a while. There is no
timer: a notebook nobody works in asks nothing.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from dpjupyter import wire
from dpjupyter.widgets import BudgetPanel, OwnerActions, OwnerPanel, TwinActions

if TYPE_CHECKING:
    from dpjupyter.client import Client
    from dpjupyter.magics.session import Session

FRESH_S = 30.0  # figures this young are not asked for again after a cell that asked nothing
LONGEST_S = 600.0  # between two tries while the gateway is down
AUDIT_ROWS = 200

Panels = weakref.WeakSet[BudgetPanel | OwnerPanel]


class Follower:
    """Keeps the panels of one session up to date."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        """Follow a session's queries."""
        self._clock = clock
        self._panels: Panels = weakref.WeakSet()
        self._asked_s = clock()
        self._wait_s = FRESH_S
        session.on_answered.append(lambda: self.refresh(now=True))

    def add(self, panel: BudgetPanel | OwnerPanel) -> None:
        """Follow with this panel too."""
        self._panels.add(panel)
        self._asked_s = self._clock()

    def refresh(self, *, now: bool = False) -> None:
        """Ask for new figures if the old ones are old, or at once; silent while the gateway is down."""
        panels = [panel for panel in self._panels if panel.comm is not None]
        if not panels or (not now and self._clock() - self._asked_s < self._wait_s):
            return
        self._asked_s = self._clock()
        # Each panel asks with the token it was made with, which need not be the session's present one.
        went_well = [panel.refresh() for panel in panels]
        self._wait_s = FRESH_S if all(went_well) else min(LONGEST_S, 2 * self._wait_s)


def budget(session: Session) -> BudgetPanel:
    """Gauges of the rows this token may see."""
    client = session.connected()
    panel = BudgetPanel(client.budgets(), refresh=client.budgets)
    _follower(session).add(panel)
    return panel


def owner(session: Session, client: Client) -> OwnerPanel:
    """The owner's panel."""

    def audit(**filters: str | int | None) -> wire.AuditReply:
        return client.audit(**filters)

    twins = TwinActions(client.twins, client.quote_twin, client.publish_twin, client.retire_twin)
    actions = OwnerActions(client.budgets, client.set_budget, audit, client.suspend, twins)
    panel = OwnerPanel(client.budgets(), client.audit(limit=AUDIT_ROWS), actions)
    _follower(session).add(panel)
    return panel


def _follower(session: Session) -> Follower:
    if session.follower is None:
        session.follower = Follower(session)
    return session.follower
