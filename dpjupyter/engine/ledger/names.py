"""Names of budget rows: checked once, so that both databases agree on which names are equal."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from dpjupyter.errors import BadRequest

TOTAL = "*"  # table_name of the database-wide budget
MAX_NAME = 255  # characters; three names of 4 bytes each stay below InnoDB's 3072-byte keys
MAX_REQUEST_ID = 128


@dataclass(frozen=True, slots=True, order=True)
class RowName:
    """Which budget row: a table's (or ``*``), or one analyst's quota of it."""

    prefix: str
    db_name: str
    table_name: str
    analyst: str | None = None

    @property
    def key(self) -> str:
        """Hex sha256 of the four names: equal exactly when the names are equal byte for byte."""
        return digest("budget", self.prefix, self.db_name, self.table_name, self.analyst)

    @property
    def shown(self) -> str:
        """Name in receipts and messages: the table's, or ``analyst:table`` for the quota row."""
        return self.table_name if self.analyst is None else f"analyst:{self.table_name}"

    def checked(self) -> RowName:
        """This name, if both databases compare it byte for byte.

        Raises: BadRequest.
        """
        for what, text in (("prefix", self.prefix), ("db_name", self.db_name), ("table_name", self.table_name)):
            check_name(text, what)
        if self.analyst is not None:
            check_name(self.analyst, "analyst")
        return self


def check_name(text: str, what: str, longest: int = MAX_NAME) -> str:
    """``text``, if it can be a name.

    Trailing spaces are refused because MySQL's utf8mb4_bin ignores them in comparisons; control characters and
    lone surrogates because not every client can send them.

    Raises: BadRequest: empty, too long, spaces at an end, control characters, not encodable.
    """
    if not isinstance(text, str) or not text:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BadRequest(f"{what} must be a non-empty text.")
    if len(text) > longest:
        raise BadRequest(f"{what} is longer than {longest} characters.")
    if text != text.strip():
        raise BadRequest(f"{what} must not begin or end with a space.")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise BadRequest(f"{what} must not hold control characters.")
    return text


@lru_cache(maxsize=4096)
def digest(*parts: str | None) -> str:
    """Hex sha256 of the parts, unambiguous whatever characters they hold."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def request_key(analyst: str, request_id: str) -> str:
    """Identity of a request: (analyst, request_id) is unique."""
    return digest("request", analyst, request_id)
