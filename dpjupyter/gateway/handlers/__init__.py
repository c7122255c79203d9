"""Routes: which handler answers which path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpjupyter import wire
from dpjupyter.gateway.handlers import ask, budget, owner, public, twin
from dpjupyter.gateway.handlers.base import Missing

if TYPE_CHECKING:
    from dpjupyter.gateway.service import Service


def routes(service: Service, *, standalone: bool) -> list[tuple[str, Any, dict[str, Any]]]:
    """The route table. Alone, everything else is refused; inside another server its other routes stay."""
    given = {"service": service}
    table: list[tuple[str, Any, dict[str, Any]]] = [
        (wire.QUERY, ask.Query, given),
        (wire.QUERY + r"/([^/]+)", ask.Cancel, given),
        (wire.QUOTE, ask.Quote, given),
        (wire.SAVED + r"(?:/([^/]+))?", ask.Saved, given),
        (wire.BUDGET_SET, budget.BudgetSet, given),
        (wire.BUDGET_GET, budget.BudgetGet, given),
        (wire.BUDGET_LIST, budget.BudgetList, given),
        (wire.CATALOG, public.Catalog, given),
        (wire.AUDIT, owner.Audit, given),
        (wire.SUSPEND, owner.Suspend, given),
        (wire.TWIN, twin.Cards, given),
        (wire.TWIN_QUOTE, twin.Quote, given),
        (wire.TWIN_PUBLISH, twin.Publish, given),
        (wire.TWIN_RETIRE, twin.Retire, given),
        (wire.RELOAD, owner.Reload, given),
        (wire.ME, public.Me, given),
        (wire.HEALTH, public.Health, given),
        (wire.OPENAPI.replace(".", r"\."), public.OpenApi, given),
        (wire.API + wire.METRICS, public.MetricsPage, given),
        (wire.API + r"(?:/.*)?", Missing, given),
    ]
    if standalone:
        # In an owner's own server /metrics is Jupyter's; there ours is under /api/v1 only.
        table += [(wire.METRICS, public.MetricsPage, given), (r"/.*", Missing, given)]
    return table
