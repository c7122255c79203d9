"""The ledger, as every command names and opens it. A password never stands on a command line."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpjupyter.engine.ledger.store import LedgerStore

LEDGER = "DPJUPYTER_LEDGER"
PASSWORD_FILE = "DPJUPYTER_LEDGER_PASSWORD_FILE"  # noqa: S105 - the name of a variable


def ledger_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--ledger`` and ``--ledger-password-file``."""
    parser.add_argument(
        "--ledger",
        metavar="URL",
        help=f"sqlite:///file or mysql+pymysql://user@host/database (default: ${LEDGER}, else a SQLite file of this account)",
    )
    parser.add_argument(
        "--ledger-password-file", type=Path, metavar="FILE",
        default=Path(os.environ[PASSWORD_FILE]) if os.environ.get(PASSWORD_FILE) else None,
        help=f"file holding the MySQL password (default: ${PASSWORD_FILE}); or set DPJUPYTER_LEDGER_PASSWORD",
    )  # fmt: skip


def ledger_url(args: argparse.Namespace) -> str:
    """The URL given, or that of this account's own file.

    The default does not depend on the working directory: a gateway started elsewhere must not begin with fresh budgets.
    """
    return args.ledger or os.environ.get(LEDGER) or default_url()


def default_url() -> str:
    """SQLite file in the account's data folder (``$XDG_DATA_HOME`` or ``~/.local/share``)."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return f"sqlite:///{home / 'dpjupyter' / 'ledger.sqlite'}"


def actor() -> str:
    """Who acts, for the owner's part of the ledger: the operating system's account."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container's numeric user
        return f"cli:{os.getuid()}"


@contextmanager
def open_ledger_of(args: argparse.Namespace) -> Generator[LedgerStore]:
    """The ledger a command line names, closed afterwards.

    Raises: PolicyError: the URL or the password file is wrong. LedgerUnavailable.
    """
    from dpjupyter.engine.ledger.store import open_ledger  # noqa: PLC0415 - loads SQLAlchemy
    from dpjupyter.gateway.credentials import ledger_password  # noqa: PLC0415

    ledger = open_ledger(ledger_url(args), password=ledger_password(str(args.ledger_password_file or "")), pool_size=1)
    try:
        yield ledger
    finally:
        ledger.close()
