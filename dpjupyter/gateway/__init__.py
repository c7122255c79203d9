"""The gateway: the owner's Jupyter Server extension that answers questions over HTTP.

app        wiring: settings, server, start and stop
service    what the routes share: policies in force, ledger, warehouses, workers
shelf      the folder of policies
identity   tokens and roles
handlers   one module per group of routes
replies    engine records -> wire records
recovery   the job that ends budget cycles
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction] - Jupyter Server calls it
    from dpjupyter.gateway.app import GatewayApp  # noqa: PLC0415 - the package itself stays light

    return [{"module": "dpjupyter.gateway.app", "app": GatewayApp}]
