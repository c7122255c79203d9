"""Where the ledger's password comes from: a file or the environment, never a command line or a URL in a log."""

from __future__ import annotations

import os
from pathlib import Path

from dpjupyter.errors import PolicyError

PASSWORD = "DPJUPYTER_LEDGER_PASSWORD"  # noqa: S105 - the name of a variable


def ledger_password(file: str | None) -> str | None:
    """The password in ``file``, else in the environment, else none.

    Raises: PolicyError: the file cannot be read.
    """
    if not file:
        return os.environ.get(PASSWORD) or None
    try:
        return Path(file).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"the ledger's password file cannot be read ({type(error).__name__})") from None
