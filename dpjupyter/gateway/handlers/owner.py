"""What owners do: read the audit log, suspend, reload. Analysts may read their own part of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dpjupyter.errors import BadRequest
from dpjupyter.gateway.audit import AuditQuery
from dpjupyter.gateway.handlers.base import Access, GatewayHandler, checked
from dpjupyter.gateway.replies import csv_text
from dpjupyter.wire import AuditReply, AuditRow, ReloadReply, SuspendReply, SuspendRequest


class Audit(GatewayHandler):
    """Who asked what, when, at which cost, and what became of it."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "audit")}

    async def get(self) -> None:
        """Newest first; as CSV where the query string or Accept says so."""
        query = checked(AuditQuery, {name: self.get_query_argument(name) for name in self.request.query_arguments})
        if self.caller.role != "owner":
            query = query.model_copy(update={"analyst": self.caller.username})
        rows, total = await self.read(lambda: self.service.audit(query))
        if query.format == "csv" or "text/csv" in self.request.headers.get("Accept", ""):
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.set_header("Content-Disposition", 'attachment; filename="audit.csv"')
            self.finish(csv_text(AuditRow, rows))
            return
        self.succeed(AuditReply(rows=rows, total=total))


class Suspend(GatewayHandler):
    """Stop an analyst or a table at once, or let it go on."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("write", "owner")}

    async def post(self) -> None:
        """Exactly one of: an analyst, or a table with its prefix and database."""
        request = self.body(SuspendRequest)
        named = (request.prefix, request.db_name, request.table_name)
        if (request.analyst is None) == all(part is None for part in named):
            raise BadRequest("name either an analyst, or prefix, db_name and table_name")
        if request.analyst is None and any(part is None for part in named):
            raise BadRequest("a table is named by prefix, db_name and table_name")
        who = self.caller.username
        suspended = await self.read(lambda: self.service.suspend(request, by=who))
        self.succeed(SuspendReply(suspended=suspended))


class Reload(GatewayHandler):
    """Read the policy folder again."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("write", "owner")}

    async def post(self) -> None:
        """Replace the policies in force by what the folder holds now, or by nothing if a file is broken."""
        policies = await self.read(self.service.reload)
        self.succeed(ReloadReply(policies=policies))
