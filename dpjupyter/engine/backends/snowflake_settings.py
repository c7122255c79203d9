"""From ``snowflake://...`` to connection options. Secrets come from files or the environment, never from the URL."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from dpjupyter.errors import PolicyError

_PLAIN = frozenset({"account", "user", "role", "warehouse", "database", "schema", "host", "authenticator"})
_NUMBERS = {"pool": (1, 64), "port": (1, 65535), "network_timeout": (1, 86400), "login_timeout": (1, 3600)}
_SECRET_FILES = {"password_file": "password", "token_file": "token", "private_key_file_pwd_file": "private_key_file_pwd"}
_SECRET_ENV = {"password_env": "password", "token_env": "token", "private_key_file_pwd_env": "private_key_file_pwd"}
_REFUSED = frozenset({"password", "token", "private_key", "private_key_file_pwd", "passcode", "oauth_client_secret"})
_AUTHENTICATORS = ("snowflake", "snowflake_jwt", "oauth", "programmatic_access_token")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KNOWN = sorted(_PLAIN | set(_NUMBERS) | set(_SECRET_FILES) | set(_SECRET_ENV) | {"private_key_file", "protocol"})

POOL = 8  # sessions at most; each answers one statement at a time


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is: read anew at every login, so that it can be rotated while the gateway runs."""

    option: str  # the driver's name for it
    file: Path | None = None
    variable: str = ""

    def read(self) -> str:
        """The secret's value.

        Raises: PolicyError: the file or variable is missing or empty.
        """
        try:
            value = self.file.read_text(encoding="utf-8").strip() if self.file else os.environ.get(self.variable, "")
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{self.option} cannot be read from {self.file} ({type(error).__name__})") from None
        if not value:
            raise PolicyError(f"{self.option}: {self.file or 'the environment variable ' + self.variable} is empty")
        return value


@dataclass(frozen=True, slots=True)
class Settings:
    """How to log in. ``options`` are the driver's, without secrets."""

    options: Mapping[str, object]
    secrets: tuple[Secret, ...] = ()
    pool: int = POOL
    warnings: tuple[str, ...] = field(default=())

    def login(self) -> dict[str, object]:
        """Options with the secrets in place, for one login; keep them nowhere."""
        return {**self.options, **{secret.option: secret.read() for secret in self.secrets}}


def read(url: str) -> Settings:
    """Read a Snowflake URL.

    ``snowflake://NAME`` is a connection of Snowflake's own connections.toml; without a name the account is in the
    query: ``snowflake://?account=..&user=..&role=..&warehouse=..&database=..&schema=..&private_key_file=..``.
    Secrets: ``private_key_file`` (+ ``private_key_file_pwd_file`` or ``_env``), ``token_file`` or ``_env``
    (``authenticator=oauth`` or ``programmatic_access_token``, the default), ``password_file`` or ``_env``.
    Others: pool, network_timeout, login_timeout (seconds), host, port, protocol (http on loopback only).

    Raises: PolicyError: anything unknown, a secret in the URL, or a secret's file that is not there.
    """
    try:
        parts = urlsplit(url)
        name, port = unquote(parts.netloc), parts.port
    except ValueError:
        raise PolicyError("the Snowflake URL is malformed") from None
    # Nothing of the URL is echoed below before it is known to hold no secret.
    if parts.scheme != "snowflake" or "@" in name or port is not None or parts.path not in ("", "/") or parts.fragment:
        raise PolicyError("a Snowflake URL is snowflake://connection_name or snowflake://?account=..&user=..", hint="It holds no password.")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    given = dict(pairs)
    if len(given) != len(pairs):
        raise PolicyError("the Snowflake URL gives a parameter twice")
    if secret := next((key for key in given if key.lower() in _REFUSED), None):
        hint = "Put the secret into a file and name it: password_file, token_file, private_key_file, private_key_file_pwd_file."
        raise PolicyError(f"{secret.lower()} may not stand in a policy", hint=hint)
    if unknown := next((key for key in given if key not in _KNOWN), None):
        raise PolicyError(f"{unknown!r} is not a parameter of a Snowflake URL", hint=f"Known: {', '.join(_KNOWN)}.")
    return _settings(name, given)


def _settings(name: str, given: dict[str, str]) -> Settings:
    options: dict[str, object] = {key: value for key, value in given.items() if key in _PLAIN}
    options.update({key: _number(key, value) for key, value in given.items() if key in _NUMBERS and key != "pool"})
    if name:
        options["connection_name"] = name
    elif not {"account", "user"} <= given.keys():
        raise PolicyError("the Snowflake URL names neither a connection nor an account and a user")
    if given.get("protocol", "https") == "http":
        # The emulator speaks HTTP; anywhere else the credentials would travel in the clear.
        if given.get("host") not in _LOOPBACK:
            raise PolicyError("protocol=http is for a server on this machine only (host=127.0.0.1)")
        options["protocol"] = "http"
    elif given.get("protocol", "https") != "https":
        raise PolicyError("protocol must be https, or http on loopback")
    if str(options.get("authenticator", "snowflake")).lower() not in _AUTHENTICATORS:
        raise PolicyError(f"authenticator must be one of {', '.join(_AUTHENTICATORS)}", hint="A gateway has no browser.")
    secrets = [Secret(_SECRET_FILES[key], file=Path(given[key]).expanduser()) for key in given if key in _SECRET_FILES]
    secrets += [Secret(_SECRET_ENV[key], variable=given[key]) for key in given if key in _SECRET_ENV]
    files = [secret.file for secret in secrets if secret.file is not None]
    if key_file := given.get("private_key_file"):
        path = Path(key_file).expanduser()
        files.append(path)
        options["private_key_file"] = str(path)
        options.setdefault("authenticator", "snowflake_jwt")
    kinds = {secret.option for secret in secrets}
    if len(kinds) != len(secrets) or len({"password", "token"} & kinds) + bool(key_file) > 1:
        raise PolicyError("the Snowflake URL gives more than one way to log in")
    if not name and not key_file and not kinds & {"password", "token"}:
        raise PolicyError("the Snowflake URL gives no way to log in", hint="Add private_key_file, token_file or password_file.")
    if "token" in kinds:
        options.setdefault("authenticator", "programmatic_access_token")
    pool = _number("pool", given["pool"]) if "pool" in given else POOL
    return Settings(options, tuple(secrets), pool, tuple(warning for file in files for warning in _exposed(file)))


def _number(key: str, value: str) -> int:
    low, high = _NUMBERS[key]
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise PolicyError(f"{key} must be a whole number from {low} to {high}")
    return int(value)


def _exposed(file: Path) -> list[str]:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise PolicyError(f"the secret's file {file} cannot be read ({type(error).__name__})") from None
    if not stat.S_ISREG(mode):
        raise PolicyError(f"the secret's file {file} is not a regular file")
    return [f"{file} can be read by others than its owner: chmod 600"] if mode & 0o077 else []
