"""Wiring: settings in, a running gateway out. Everything that touches the outside world is made here and passed in."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from jupyter_core.application import JupyterApp
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback
from traitlets import Int, Unicode, default
from traitlets.config import Config

from dpjupyter.engine.backends import Backend, open_backend
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.engine.noise import NoiseSource, OpenDPNoise
from dpjupyter.errors import DpError, LedgerUnavailable
from dpjupyter.gateway.credentials import ledger_password
from dpjupyter.gateway.handlers import routes
from dpjupyter.gateway.identity import RoleAuthorizer, TokenIdentity
from dpjupyter.gateway.recovery import Recovery
from dpjupyter.gateway.service import Service
from dpjupyter.gateway.twins import default_twins
from dpjupyter.gateway.workers import Workers

FLUSH_S = 60  # quotes are counted in the ledger this often


class GatewayServer(ServerApp):
    """A Jupyter Server with nothing but our routes: no kernels, no terminals, no files, no login page.

    It reads no Jupyter configuration of the account it runs under and leaves no file behind.
    """

    name = "dpjupyter-gateway"
    default_services = ("auth", "security")
    no_browser_open_file = True

    @default("identity_provider_class")
    def _tokens_only(self) -> type[TokenIdentity]:
        return TokenIdentity

    @default("authorizer_class")
    def _roles_only(self) -> type[RoleAuthorizer]:
        return RoleAuthorizer

    @default("cookie_secret")
    def _no_secret_file(self) -> bytes:
        return os.urandom(32)  # no cookie is ever set

    def load_config_file(self, suppress_errors: bool = True) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """Read none: what the gateway serves is said on its own command line or in the file named there."""

    def migrate_config(self) -> None:
        """Touch no other Jupyter's files."""

    def write_server_info_file(self) -> None:
        """Nobody attaches to this server by its pid."""

    def start_app(self) -> None:
        """Refuse to run as root unless told to, and say where we listen."""
        JupyterApp.start(self)
        if not self.allow_root and hasattr(os, "geteuid") and os.geteuid() == 0:
            self.log.critical("The gateway holds the warehouse's credentials: run it under a user of its own, or pass --allow-root.")
            self.exit(1)
        scheme = "https" if self.certfile else "http"
        self.log.info("dpjupyter gateway listens on %s://%s:%d%s", scheme, self.ip or "*", self.port, self.base_url)


class GatewayApp(ExtensionApp):
    """The extension. Launched by itself it runs in a :class:`GatewayServer`; it also loads into an owner's own Jupyter Server."""

    name = "dpjupyter_gateway"
    load_other_extensions = False
    serverapp_class = GatewayServer
    serverapp_config = {  # noqa: RUF012 - the base's attribute; never changed
        "open_browser": False,
        "port_retries": 0,
        "answer_yes": True,  # Ctrl-C stops, without a question
        "reraise_server_extension_failures": True,
    }  # pyright: ignore[reportIncompatibleVariableOverride]
    open_browser = False

    policies = Unicode("", config=True, help="folder of policy files (*.toml)")
    ledger = Unicode("", config=True, help="SQLAlchemy URL of the ledger: sqlite:///file or mysql+pymysql://user@host/database")
    ledger_password_file = Unicode("", config=True, help="file holding the ledger's password, which does not belong into the URL")
    twins = Unicode("", config=True, help="folder of synthetic twins, shared by all gateways on one ledger; empty: this account's own")
    workers = Int(4, min=1, config=True, help="questions answered at once")
    waiting = Int(16, min=0, config=True, help="further questions that may wait; beyond them the reply is 429")
    query_timeout_s = Int(600, min=1, config=True, help="longest time a statement may run in the warehouse, seconds")
    recover_at = Unicode("0 0 * * *", config=True, help="when budgets are recovered: five fields as in cron, UTC; also once at the start")
    recover_jitter_s = Int(60, min=0, config=True, help="random delay of a recovery, seconds, so that replicas do not all start at once")

    service: Service
    recovery: Recovery
    _flush: PeriodicCallback

    @classmethod
    def get_extension_package(cls) -> str:
        """The module that names this extension; ``dpjupyter`` itself names the analyst's one."""
        return cls.__module__

    @classmethod
    def launch(cls, config: Config) -> None:
        """Serve until stopped.

        Raises: DpError: policies, ledger or schedule are broken.
        """
        cls.make(config).start()

    @classmethod
    def make(cls, config: Config) -> ServerApp:
        """A server, ready to start."""
        return cls.initialize_server(argv=[], config=config)

    # ------------------------------------------------------------ the outside world; tests replace these
    def open_ledger(self) -> LedgerStore:
        """Connect to the ledger and bring its schema up to date."""
        return open_ledger(self.ledger, password=ledger_password(self.ledger_password_file or None))

    def open_backend(self, url: str) -> Backend:
        """Connect to a warehouse."""
        return open_backend(url)

    def noise_source(self) -> NoiseSource:
        """The one source of randomness that is shipped."""
        return OpenDPNoise()

    # ------------------------------------------------------------ Jupyter Server's hooks
    def load_config_file(self, suppress_errors: bool = True) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """In an owner's own server, that server's configuration counts; alone, none is read."""
        if not self.standalone:
            super().load_config_file(suppress_errors)

    @property
    def standalone(self) -> bool:
        """Whether the server is ours alone."""
        return isinstance(self.serverapp, GatewayServer)

    def initialize_settings(self) -> None:
        """Read the policies, open the ledger, make the rows that the policies declare.

        A broken policy or ledger stops the gateway here rather than at the first question.
        """
        identity = TokenIdentity(parent=self, log=self.log)
        self.service = Service(
            folder=Path(self.policies),
            ledger=self.open_ledger(),
            open_backend=self.open_backend,
            noise=self.noise_source(),
            identity=identity,
            authorizer=RoleAuthorizer(parent=self, log=self.log, identity_provider=identity),
            workers=Workers(self.workers, self.waiting),
            query_timeout_s=self.query_timeout_s,
            log=self.log,
            twins_folder=Path(self.twins) if self.twins else default_twins(self.ledger),
        )
        self.recovery = Recovery(self.service.recover, schedule=self.recover_at, jitter_s=self.recover_jitter_s, log=self.log)

    def initialize_handlers(self) -> None:
        """Our routes; standing alone also the refusal of every other path."""
        self.handlers.extend(routes(self.service, standalone=self.standalone))

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        del serverapp
        self.recovery.start()
        self._flush = PeriodicCallback(self._flush_quotes, FLUSH_S * 1000)
        self._flush.start()
        if self.standalone and hasattr(signal, "SIGHUP"):
            # `systemctl reload`: the owner says so, as with POST /reload.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    async def stop_extension(self) -> None:
        """Take no more questions and give everything back."""
        self.recovery.stop()
        self._flush.stop()
        self.service.close()

    async def _flush_quotes(self) -> None:
        try:
            await self.service.workers.read(self.service.flush_quotes)
        except LedgerUnavailable:
            self.log.warning("stage=quotes verdict=failed: counted with the next ones")

    def _reload(self) -> None:
        try:
            self.service.reload()
        except DpError as error:
            self.log.error("stage=reload verdict=refused reason=%s: %s", error.kind, error.message)  # noqa: TRY400 - no traceback for a typing mistake


def _jupyter_server_extension_points() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction] - Jupyter Server calls it
    return [{"module": __name__, "app": GatewayApp}]
