"""The owner's command line: ``dpjupyter gateway | policy | token | budget | twin | audit | suspend | lift | demo``.

Each command lives in a module of its own: ``add`` describes it to argparse, ``run`` functions do it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from dpjupyter import __version__
from dpjupyter.cli.output import Failed
from dpjupyter.errors import DpError

# command -> module; a module is imported only when its command is named, so `dpjupyter policy` does not load a web server
COMMANDS = {
    "gateway": ("dpjupyter.cli.gateway", "serve private answers over HTTP"),
    "policy": ("dpjupyter.cli.policy", "write, check and reload policies"),
    "token": ("dpjupyter.cli.tokens", "create, list and revoke API tokens"),
    "budget": ("dpjupyter.cli.budget", "set, show and recover budgets"),
    "twin": ("dpjupyter.cli.twin", "publish, list, show and retire synthetic twins"),
    "audit": ("dpjupyter.cli.audit", "read, export and verify the ledger"),
    "suspend": ("dpjupyter.cli.suspend", "stop an analyst or a table at once"),
    "lift": ("dpjupyter.cli.suspend", "let a suspended analyst or table go on"),
    "demo": ("", "start a gateway with example data and JupyterLab connected to it"),
}

EXAMPLES = """\
examples:
  dpjupyter demo
  dpjupyter policy init duckdb:///shop.duckdb --name shop > policies/shop.toml
  dpjupyter policy check policies/
  dpjupyter token create alice --role analyst --days 30
  dpjupyter gateway --policies policies/ --port 8899
  dpjupyter budget set shop.example shop orders --total 3 --cycle 30
  dpjupyter twin publish orders --policies policies/ --epsilon 1 --delta 1e-7 --quote

`dpjupyter COMMAND --help` shows a command's options and examples.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns: exit status: 0 done, 1 refused or failed, 2 the command line is wrong.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["demo"]:
        # The demo has its own options: everything after its name is handed on.
        return _demo(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="dpjupyter",
        description="SQL with differential privacy: the owner's tools.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dpjupyter {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == chosen and module:
            importlib.import_module(module).add(sub, name)
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args) or 0)
    except (DpError, Failed) as error:
        sys.stderr.write(_told(error) + "\n")
        return 1
    except BrokenPipeError:  # `dpjupyter audit list | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def _told(error: DpError | Failed) -> str:
    if isinstance(error, DpError):
        return f"dpjupyter: {error.message}" + (f"\nHint: {error.hint}" if error.hint else "")
    return f"dpjupyter: {error}"


def _demo(arguments: list[str]) -> int:
    try:
        demo = importlib.import_module("dpjupyter.demo.run")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"dpjupyter: the demo needs the package {error.name!r}: pip install 'dpjupyter[owner]' jupyterlab\n")
        return 1
    return int(demo.main(arguments) or 0)
