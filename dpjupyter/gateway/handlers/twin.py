"""GET /twin, POST /twin/quote, /twin/publish, /twin/retire: synthetic twins. Analysts read cards; owners do the rest."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import ClassVar

from dpjupyter.gateway.handlers.base import Access, GatewayHandler
from dpjupyter.wire import TwinRequest, TwinRetireRequest


class Cards(GatewayHandler):
    """What is published, what it cost, how well it fits what was released."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "catalog")}

    async def get(self) -> None:
        """Newest first; ``retired=true`` shows those no longer offered, too."""
        prefix, db_name, table = (self.get_query_argument(name, None) for name in ("prefix", "db_name", "table_name"))
        retired = self.get_query_argument("retired", "false") == "true"
        self.succeed(await self.read(lambda: self.service.twin_desk.cards(prefix, db_name, table, retired=retired)))


class Quote(GatewayHandler):
    """What publishing would cost. Touches no data."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("write", "owner")}

    async def post(self) -> None:
        """Price a twin."""
        request, caller = self.body(TwinRequest), self.caller
        self.succeed(await self.service.workers.price(lambda: self.service.twin_desk.price(request, caller)))


class Publish(GatewayHandler):
    """Pay for a twin, make it, offer it."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("write", "owner")}

    async def post(self) -> None:
        """The same traceid again gets the same twin, at no further cost."""
        request, caller = self.body(TwinRequest), self.caller
        self.request_id = request.traceid or self.request_id
        request_id = self.request_id
        publish = self.service.twin_desk.publish
        self.succeed(await self.service.workers.ask(lambda: publish(request, caller, request_id, cancelled=threading.Event())))


class Retire(GatewayHandler):
    """Offer a twin no longer. What it cost stays spent."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("write", "owner")}

    async def post(self) -> None:
        """The version named, or the current one."""
        request = self.body(TwinRetireRequest)
        self.succeed(await self.read(lambda: self.service.twin_desk.retire(request)))
