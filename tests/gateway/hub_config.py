"""A JupyterHub with its API and nothing else: no proxy, no spawner. Ports and database come from the environment."""

from __future__ import annotations

import os
from typing import Any

from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    """Routes nothing: the test talks to the Hub itself."""

    should_start = False

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Nothing to add to."""

    async def delete_route(self, routespec: str) -> None:
        """Nothing to delete from."""

    async def get_all_routes(self) -> dict[str, Any]:
        """No routes."""
        return {"/": {"routespec": "/", "target": os.environ["TEST_HUB_URL"], "data": {"hub": True}}}


SCOPE = "access:services!service=dpjupyter"
c = get_config()  # type: ignore[name-defined] # noqa: F821 - JupyterHub's own
c.JupyterHub.hub_bind_url = os.environ["TEST_HUB_URL"]
c.JupyterHub.bind_url = os.environ["TEST_HUB_URL"] + "/base"
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret = b"x" * 32
c.JupyterHub.services = [{"name": "dpjupyter", "api_token": "the-services-own-token-0123456789"}]
c.JupyterHub.load_roles = [
    {"name": "asks", "scopes": [SCOPE], "users": ["hanna", "otto"]},
    {"name": "user", "scopes": ["self"]},
]
c.JupyterHub.api_tokens = {
    "hanna-token-0123456789abcdef": "hanna",
    "otto-token-0123456789abcdefg": "otto",
    "nora-token-0123456789abcdefg": "nora",
}
