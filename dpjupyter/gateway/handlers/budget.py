"""The budget interface of the requirement, /set and /get, and our /list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from dpjupyter.errors import Forbidden
from dpjupyter.gateway.handlers.base import Access, GatewayHandler, checked, strict_json
from dpjupyter.gateway.replies import budget_info, budget_row
from dpjupyter.wire import BudgetListReply, BudgetSetRequest, Name


class BudgetName(BaseModel):
    """Which row /get is asked for."""

    model_config = ConfigDict(extra="forbid")

    prefix: Name
    db_name: Name
    table_name: Name
    analyst: Name | None = None


class BudgetSet(GatewayHandler):
    """Create or change a row. What was spent stays spent."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("write", "budget")}

    async def post(self) -> None:
        """Apply the fields that were given; null means left out."""
        request = self.body(BudgetSetRequest)
        who = self.caller.username
        await self.read(lambda: self.service.set_budget(request, by=who))
        self.succeed()


class BudgetGet(GatewayHandler):
    """One row, from the query string or a JSON body."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "budget")}

    async def get(self) -> None:
        """The requirement's columns. Analysts see shared rows and their own quota."""
        name = checked(BudgetName, self._asked())
        if name.analyst is not None and self.caller.role == "analyst" and name.analyst != self.caller.username:
            raise Forbidden("analysts see their own quota only")
        found = await self.read(lambda: self.service.ledger.get_budget(name.prefix, name.db_name, name.table_name, name.analyst))
        self.succeed(budget_info(found))

    def _asked(self) -> Any:
        if self.request.body:
            return strict_json(self.request.body)
        # Names are compared byte for byte: nothing is stripped.
        asked: dict[str, Any] = {}
        for name in self.request.query_arguments:
            values = self.get_query_arguments(name, strip=False)
            asked[name] = values[0] if len(values) == 1 else values
        return asked


class BudgetList(GatewayHandler):
    """All rows the caller may see."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "budget")}

    async def get(self) -> None:
        """Analysts see shared rows of served databases and their own quotas; owners and viewers see everything."""
        caller = self.caller
        rows = await self.read(lambda: self.service.budgets(caller))
        self.succeed(BudgetListReply(budgets=[budget_row(row) for row in rows]))
