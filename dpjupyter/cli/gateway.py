"""``dpjupyter gateway``: serve private answers over HTTP."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path
from typing import Any

from dpjupyter.cli.ledger import ledger_options, ledger_url
from dpjupyter.cli.output import Failed

EXAMPLES = """\
examples:
  dpjupyter gateway --policies policies/
      on loopback, ledger in a SQLite file of this account
  dpjupyter gateway --policies policies/ --ip 0.0.0.0 --certfile gateway.crt --keyfile gateway.key \\
      --ledger mysql+pymysql://dpjupyter@db.example.org/dpjupyter --ledger-password-file /etc/dpjupyter/ledger.password
      for others, with TLS and a MySQL ledger
  dpjupyter gateway --policies policies/ --behind-proxy
      a reverse proxy on this host does the TLS (on another host: with --ip)

A changed policy is read when you say so: `dpjupyter policy reload URL`, or SIGHUP.
"""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the command."""
    del name
    parser.epilog = EXAMPLES
    parser.add_argument("--policies", type=Path, required=True, metavar="DIR", help="folder of policy files (*.toml)")
    ledger_options(parser)
    parser.add_argument(
        "--twins", type=Path, metavar="DIR",
        help="folder of synthetic twins, shared by all gateways on one ledger (default: beside the ledger)",
    )  # fmt: skip
    parser.add_argument("--ip", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8899, help="port to listen on; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--certfile", type=Path, help="TLS certificate (PEM)")
    parser.add_argument("--keyfile", type=Path, help="its private key (PEM)")
    parser.add_argument("--behind-proxy", action="store_true", help="a reverse proxy does the TLS: serve any host name, in the clear")
    parser.add_argument("--base-url", default="/", help="path in front of /api/v1 (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="questions answered at once (default: %(default)s)")
    parser.add_argument("--waiting", type=int, default=16, help="further questions that may wait; then 429 (default: %(default)s)")
    parser.add_argument(
        "--query-timeout", type=int, default=600, metavar="SECONDS", help="longest time a statement may run (default: %(default)s)"
    )
    parser.add_argument(
        "--recover-at",
        default="0 0 * * *",
        metavar="CRON",
        help='when budgets are recovered, UTC (default: "%(default)s" and at the start)',
    )
    parser.add_argument(
        "--hub-api", default="", metavar="URL", help="accept JupyterHub users: the Hub's API, e.g. https://hub.example.org/hub/api"
    )
    parser.add_argument("--hub-scope", default="", metavar="SCOPE", help="scope a Hub token needs, e.g. access:services!service=dpjupyter")
    parser.add_argument("--config", type=Path, help="further settings of Jupyter Server (a .py or .json file)")
    parser.add_argument("--allow-root", action="store_true", help="run as root (in a container)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    from dpjupyter.gateway.app import GatewayApp  # noqa: PLC0415 - loads a web server

    GatewayApp.launch(settings(args))
    return 0


def settings(args: argparse.Namespace) -> Any:
    """The command line as traitlets configuration; it wins over ``--config``.

    Raises: Failed: settings that would send tokens in the clear, or a file that cannot be read.
    """
    from traitlets.config import Config  # noqa: PLC0415

    _refuse_clear_text(args)
    config = Config()
    if args.config is not None:
        config.merge(_read(args.config))
    server: dict[str, Any] = {"ip": args.ip, "port": args.port, "base_url": args.base_url, "allow_root": args.allow_root}
    if args.behind_proxy:
        server["allow_remote_access"] = True  # the proxy hands on the name it was called by
    for name in ("certfile", "keyfile"):
        path = getattr(args, name)
        if path is not None:
            if not path.is_file():
                raise Failed(f"--{name}: there is no file {path}")
            server[name] = str(path)
    config.merge(
        Config(
            {
                "ServerApp": server,
                "GatewayApp": {
                    "policies": str(args.policies),
                    "ledger": ledger_url(args),
                    "ledger_password_file": str(args.ledger_password_file or ""),
                    "twins": str(args.twins or ""),
                    "workers": args.workers,
                    "waiting": args.waiting,
                    "query_timeout_s": args.query_timeout,
                    "recover_at": args.recover_at,
                },
            }
        )
    )
    if args.hub_api:
        config.merge(Config({"TokenIdentity": {"hub_api_url": args.hub_api, "hub_scope": args.hub_scope}}))
    return config


def _refuse_clear_text(args: argparse.Namespace) -> None:
    if args.certfile is not None or args.behind_proxy or _loopback(args.ip):
        return
    raise Failed(
        f"listening on {args.ip or 'all addresses'} without TLS would send tokens and answers in the clear; "
        "give --certfile and --keyfile, or --behind-proxy if a proxy does the TLS"
    )


def _loopback(ip: str) -> bool:
    if ip == "localhost":
        return True
    try:
        return ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> Any:
    from traitlets.config.loader import ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader  # noqa: PLC0415

    loader = JSONFileConfigLoader if path.suffix == ".json" else PyFileConfigLoader
    try:
        return loader(path.name, str(path.resolve().parent)).load_config()
    except (ConfigFileNotFound, OSError, ValueError, SyntaxError) as error:
        raise Failed(f"--config: {path} cannot be read ({type(error).__name__})") from None
