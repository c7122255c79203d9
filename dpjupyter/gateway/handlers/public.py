"""What describes the gateway: catalog, me, health, openapi.json, metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from dpjupyter import __version__
from dpjupyter.gateway.handlers.base import PUBLIC, Access, GatewayHandler
from dpjupyter.gateway.metrics import Metrics
from dpjupyter.gateway.openapi import document
from dpjupyter.gateway.replies import catalog
from dpjupyter.wire import HealthReply, MeReply


class Catalog(GatewayHandler):
    """The policies, as far as analysts may read them. The warehouse is not asked."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "catalog")}

    async def get(self) -> None:
        """Every database served here."""
        caller = self.caller
        twins = await self.read(self.service.twins)
        saved = await self.read(lambda: self.service.all_saved(caller))
        self.succeed(catalog(self.service.shelf, twins, saved))


class Me(GatewayHandler):
    """Whose token this is."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "me")}

    async def get(self) -> None:
        """Name, role and expiry."""
        caller = self.caller
        self.succeed(MeReply(name=caller.username, role=caller.role, expires=caller.expires, gateway_version=__version__))


class Health(GatewayHandler):
    """For load balancers: no token, so no detail."""

    access: ClassVar[Mapping[str, Access]] = {"GET": PUBLIC}

    async def get(self) -> None:
        """200 when the ledger answers; 503 (LedgerUnavailable) when it does not."""
        await self.read(self.service.ledger.health)
        self.succeed(HealthReply(ok=True, version=__version__))


class OpenApi(GatewayHandler):
    """The description of this interface."""

    access: ClassVar[Mapping[str, Access]] = {"GET": PUBLIC}

    async def get(self) -> None:
        """A bare OpenAPI document, without our envelope: tools read it."""
        self.finish(json.dumps(document(), indent=1))


class MetricsPage(GatewayHandler):
    """Prometheus' page. The owner's: timings depend on data."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "owner")}

    async def get(self) -> None:
        """The text format, balances refreshed."""
        await self.read(self.service.refresh_balances)
        self.set_header("Content-Type", Metrics.content_type)
        self.finish(self.service.metrics.render())
