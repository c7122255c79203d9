"""Who is asking, and what they may do. Identity comes from the token alone, never from the request's body.

Tokens are random, kept hashed in the ledger, expire and can be revoked. Cookies are neither read nor set, so no
other web page can act for a signed-in person. JupyterHub's tokens are accepted where a Hub is configured.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

from jupyter_server.auth import Authorizer, IdentityProvider, User
from tornado.web import RequestHandler
from traitlets import Any as AnyTrait
from traitlets import Dict, Unicode, default

from dpjupyter.errors import LedgerUnavailable, Unauthorized

Role = Literal["analyst", "owner", "viewer"]
Resource = Literal["ask", "budget", "catalog", "audit", "owner", "me"]

# What each role may touch; "write" is asked only of "budget" and "owner".
READS: dict[Role, frozenset[Resource]] = {
    "analyst": frozenset({"ask", "budget", "catalog", "audit", "me"}),
    "viewer": frozenset({"budget", "me"}),
    "owner": frozenset({"ask", "budget", "catalog", "audit", "owner", "me"}),
}
_HEADER = re.compile(r"\s*(?:token|bearer)\s+(\S{1,512})\s*", re.IGNORECASE)


@dataclass
class Caller(User):
    """An authenticated person or program."""

    role: Role = "viewer"
    expires: str | None = None  # YYYY-MM-DD HH:MM:SS UTC


Lookup = Callable[[str], Caller | None]  # blocking; raises Unauthorized for a token that is known but no longer valid


class TokenIdentity(IdentityProvider):
    """Authenticates ``Authorization: token X``. Without a lookup it knows nobody."""

    hub_api_url = Unicode("", config=True, help="JupyterHub's API, e.g. https://hub.example.org/hub/api; empty: no Hub")
    hub_scope = Unicode("", config=True, help="Scope a Hub token needs, e.g. access:services!service=dpjupyter")
    hub_roles = Dict(
        config=True,
        help="Hub user name -> analyst, owner or viewer; a Hub user who is not named is an analyst. Hub admins are not owners by that.",
    )
    lookup = AnyTrait(None, allow_none=True)
    _hub: Any = None

    async def get_user(self, handler: RequestHandler) -> User | None:  # pyright: ignore[reportIncompatibleMethodOverride] - the base allows a coroutine
        """The caller, or None when no token came.

        Raises: Unauthorized: the token is wrong, expired or revoked.
        """
        known = getattr(handler, "_jupyter_current_user", None)
        if known is not None:
            return cast("User", known)
        header = handler.request.headers.get("Authorization")
        if header is None or self.lookup is None:
            return None
        match = _HEADER.fullmatch(header)
        if match is None:
            raise Unauthorized("the Authorization header is not `token <your token>`")
        lookup = cast("Lookup", self.lookup)
        caller = await asyncio.get_running_loop().run_in_executor(None, lookup, match[1])
        caller = caller or await self._from_hub(match[1])
        if caller is None:
            raise Unauthorized("the token is unknown, expired or revoked", hint="Ask the owner for a new one: `dpjupyter token create`.")
        handler._token_authenticated = True  # type: ignore[attr-defined] # noqa: SLF001 - Jupyter Server's own marker: no XSRF check needed
        return caller

    @default("token")
    def _no_shared_token(self) -> str:
        return ""  # Jupyter's single token opens nothing here

    def get_handlers(self) -> list[tuple[str, object]]:
        """No login page: tokens only."""
        return []

    async def _from_hub(self, token: str) -> Caller | None:
        if not self.hub_api_url:
            return None
        if not self.hub_scope:
            # Any Hub user's any token would do: that is never what an owner wants.
            raise Unauthorized("this gateway's Hub settings name no scope", hint="The owner sets TokenIdentity.hub_scope.")
        if self._hub is None:
            from jupyterhub.services.auth import HubAuth  # noqa: PLC0415 - only where a Hub is configured

            self._hub = HubAuth(api_url=self.hub_api_url, api_token="-", cache_max_age=30)  # noqa: S106 - the caller's own token is sent, ours never
        try:
            model = await self._hub.user_for_token(token, sync=False)
        except Exception:  # noqa: BLE001 - aiohttp's and tornado's errors alike: the Hub did not answer
            raise LedgerUnavailable("JupyterHub does not answer", hint="Try again in a moment.") from None
        if not model or model.get("kind", "user") != "user" or not self._hub.check_scopes({self.hub_scope}, model):
            return None
        role = self.hub_roles.get(model["name"], "analyst")
        return Caller(username=f"hub:{model['name']}", name=model["name"], role=role if role in READS else "viewer")


class RoleAuthorizer(Authorizer):
    """Roles decide. Refuses whatever it does not know."""

    def is_authorized(self, handler: RequestHandler, user: User, action: str, resource: str) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whether ``user`` may do ``action`` (read or write) on one of our resources."""
        del handler
        if not isinstance(user, Caller):
            return False
        match action:
            case "read":
                return resource in READS.get(user.role, frozenset())
            case "write":
                return user.role == "owner" and resource in ("budget", "owner")
            case _:
                return False
