"""Which gateway a notebook talks to: the connections file, the environment, or a prompt.

The file is ``$DPJUPYTER_CONNECTIONS`` or ``~/.config/dpjupyter/connections.toml``::

    default = "work"

    [connections.work]
    url = "https://dp.example.org"
    database = "shop"              # or "prefix/shop"
    token_file = "work.token"      # or token = "...", or token_env = "NAME"
    ca_file = "ca.pem"             # optional: a private certificate authority

    [settings]                     # optional: defaults of %%dpsql, see %dpsql config
    epsilon = 0.5

A file that holds a token must be readable by its owner only (mode 0600). Tokens are never shown.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from dpjupyter.errors import NotConnected

KEYS = ("url", "database", "token", "token_file", "token_env", "ca_file", "allow_http")
Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything needed to talk to one gateway."""

    name: str
    url: str  # no path, no trailing slash
    token: str = field(repr=False)
    database: str | None = None  # "name" or "prefix/name"; None: the gateway's only one
    ca_file: Path | None = None
    configured: bool = True  # False: an address given by hand, which no other process knows the token of


@dataclass(frozen=True, slots=True)
class ConnectionsFile:
    """A connections file as read; tokens are looked up only when a connection is opened."""

    path: Path
    default: str | None = None
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def file_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the connections file is, whether it exists or not."""
    named = environ.get("DPJUPYTER_CONNECTIONS")
    if named:
        return Path(named).expanduser()
    home = environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "dpjupyter" / "connections.toml"


def read(environ: Mapping[str, str] = os.environ) -> ConnectionsFile:
    """Read the connections file; a missing one is empty.

    Raises: NotConnected: it cannot be read, is not TOML, or has an unknown key.
    """
    path = file_path(environ)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ConnectionsFile(path)
    except (OSError, UnicodeDecodeError) as error:
        raise NotConnected(f"the connections file {path} cannot be read ({type(error).__name__})") from None
    except tomllib.TOMLDecodeError as error:
        raise NotConnected(f"{path}: not valid TOML: {error}") from None
    for key in data.keys() - {"default", "connections", "settings"}:
        raise NotConnected(f"{path}: unknown key {key!r}", hint='Write connections as [connections.NAME], the default as default = "NAME".')
    default, settings = data.get("default"), data.get("settings", {})
    entries = data.get("connections", {})
    if not isinstance(entries, dict) or not isinstance(settings, dict) or not isinstance(default, str | None):
        raise NotConnected(f"{path}: 'connections' and 'settings' are tables, 'default' is a name")
    checked: dict[str, Mapping[str, Any]] = {}
    for name, entry in cast("dict[str, Any]", entries).items():
        if not isinstance(entry, dict) or not isinstance(cast("dict[str, Any]", entry).get("url"), str):
            raise NotConnected(f'{path}: connections.{name}: needs url = "https://..."')
        fields = cast("dict[str, Any]", entry)
        for key, value in fields.items():
            if key not in KEYS:
                raise NotConnected(f"{path}: connections.{name}: unknown key {key!r}", hint=f"Known keys: {', '.join(KEYS)}.")
            if not isinstance(value, bool if key == "allow_http" else str):
                raise NotConnected(f"{path}: connections.{name}.{key} has the wrong type")
        checked[name] = fields
    if default is not None and default not in checked:
        raise NotConnected(f"{path}: default = {default!r} names no connection", hint=_known(tuple(checked)))
    return ConnectionsFile(path, default, checked, cast("dict[str, Any]", settings))


def names(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Names of the connections in the file, in its order."""
    return tuple(read(environ).entries)


def resolve(which: str | None = None, *, environ: Mapping[str, str] = os.environ, ask: Ask | None = None) -> Connection:
    """Find a connection by name or address, or the default one.

    Args:
        which: a name in the file, an address (``https://...``), or None: ``$DPJUPYTER_URL``, else the file's default.
        environ: the process's environment.
        ask: how to ask a person for the token where none is configured (``getpass.getpass``); None: refuse.
    Raises: NotConnected: nothing fits, a token file is open to others, or a token would travel in clear.
    """
    if which is None and environ.get("DPJUPYTER_URL"):
        return _from_environment(environ, ask)
    if which is not None and "://" in which:
        return _from_url(which, environ, ask)
    known = read(environ)
    name = which or known.default or (next(iter(known.entries)) if len(known.entries) == 1 else None)
    if name is None:
        raise NotConnected(
            "no default gateway is known",
            hint=f"Name one: %dpsql connect https://...; or set DPJUPYTER_URL and DPJUPYTER_TOKEN; or write {known.path}."
            + (f" {_known(tuple(known.entries))}" if known.entries else ""),
        )
    if name not in known.entries:
        raise NotConnected(f"no connection is named {name!r} in {known.path}", hint=_known(tuple(known.entries)))
    return _from_entry(name, known, environ, ask)


def write(path: Path, connections: Mapping[str, Mapping[str, Any]], default: str | None = None) -> None:
    """Write a connections file, readable by its owner only. Values are text or booleans, keys those of ``KEYS``."""
    lines = [f"default = {_toml(default)}\n"] if default is not None else []
    for name, entry in connections.items():
        lines.append(f"\n[connections.{_toml(name)}]\n")
        lines += [f"{key} = {_toml(entry[key])}\n" for key in KEYS if entry.get(key) is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    # The mode is given at creation: no moment at which others could read the token.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write("".join(lines))
    draft.replace(path)


def read_token(path: Path) -> str:
    """Read a token file: one line, mode 0600.

    Raises: NotConnected: it is missing, empty, or readable by others.
    """
    _private(path)
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotConnected(f"the token file {path} cannot be read ({type(error).__name__})") from None
    return _token(token, f"the token file {path}")


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())


def _from_environment(environ: Mapping[str, str], ask: Ask | None) -> Connection:
    url = _url(environ["DPJUPYTER_URL"], allow_http=environ.get("DPJUPYTER_ALLOW_HTTP") == "1", where="DPJUPYTER_URL")
    token = environ.get("DPJUPYTER_TOKEN")
    token_file = environ.get("DPJUPYTER_TOKEN_FILE")
    if token_file and not token:
        token = read_token(Path(token_file).expanduser())
    token = _token(token, "DPJUPYTER_TOKEN") if token else _asked(url, ask)
    ca_file = environ.get("DPJUPYTER_CA_FILE")
    return Connection("environment", url, token, environ.get("DPJUPYTER_DATABASE"), Path(ca_file).expanduser() if ca_file else None)


def _from_url(which: str, environ: Mapping[str, str], ask: Ask | None) -> Connection:
    # A configured token goes only to the address it was configured for.
    if environ.get("DPJUPYTER_URL", "").rstrip("/") == which.rstrip("/"):
        return _from_environment(environ, ask)
    known = read(environ)
    for name, entry in known.entries.items():
        if str(entry["url"]).rstrip("/") == which.rstrip("/"):
            return _from_entry(name, known, environ, ask)
    url = _url(which, allow_http=environ.get("DPJUPYTER_ALLOW_HTTP") == "1", where="the address")
    return Connection(urlsplit(url).netloc, url, _asked(url, ask), configured=False)


def _from_entry(name: str, known: ConnectionsFile, environ: Mapping[str, str], ask: Ask | None) -> Connection:
    entry = known.entries[name]
    where = f"{known.path}: connections.{name}"
    url = _url(str(entry["url"]), allow_http=bool(entry.get("allow_http")), where=where)
    if "token" in entry:
        _private(known.path)
        token = _token(str(entry["token"]), where)
    elif "token_file" in entry:
        token = read_token(known.path.parent / Path(str(entry["token_file"])).expanduser())
    elif "token_env" in entry:
        token = _token(environ.get(str(entry["token_env"]), ""), f"{where}: the variable {entry['token_env']}")
    else:
        token = _asked(url, ask)
    ca_file = entry.get("ca_file")
    return Connection(name, url, token, entry.get("database"), known.path.parent / Path(ca_file).expanduser() if ca_file else None)


def _url(text: str, *, allow_http: bool, where: str) -> str:
    try:
        parts = urlsplit(text.strip())
        _ = parts.port  # raises on a port that is no number
    except ValueError:
        raise NotConnected(f"{where}: not an address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotConnected(f"{where}: the gateway's address must look like https://host:port")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise NotConnected(f"{where}: the address holds more than scheme, host and port", hint="Tokens belong in a token file.")
    url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    if parts.scheme == "http" and not allow_http and not is_loopback(url):
        raise NotConnected(
            f"{where}: http:// to another machine would send the token in clear",
            hint="Use https://, or set allow_http = true (DPJUPYTER_ALLOW_HTTP=1) on a network you trust.",
        )
    return url


def _token(text: str, where: str) -> str:
    text = text.strip()
    if not text:
        raise NotConnected(f"{where}: the token is empty")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise NotConnected(f"{where}: this is not a token", hint="A token is one word of letters and digits.")
    return text


def _asked(url: str, ask: Ask | None) -> str:
    if ask is None:
        raise NotConnected(f"no token is configured for {url}", hint="Set token_file in the connections file, or DPJUPYTER_TOKEN.")
    try:
        answer = ask(f"Token for {url}: ")
    except (EOFError, NotImplementedError):  # no terminal; a notebook that runs without a reader
        hint = "Set token_file in the connections file, or DPJUPYTER_TOKEN."
        raise NotConnected(f"no token is configured for {url}, and nobody can be asked here", hint=hint) from None
    return _token(answer, "the prompt")


def _private(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise NotConnected(f"the token file {path} cannot be read ({type(error).__name__})") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotConnected(f"{path} holds a token and is open to others (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def _known(known: tuple[str, ...]) -> str:
    return f"Known connections: {', '.join(known)}." if known else "The file names no connection yet."
