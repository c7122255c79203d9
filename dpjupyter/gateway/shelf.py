"""The policies in force: read from a folder, replaced as a whole or not at all.

A shelf is immutable. A reload builds a second one; only if every file is sound does it take the first one's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dpjupyter.engine.policy import Policy, load
from dpjupyter.errors import NotFound, PolicyError

Key = tuple[str, str]  # (prefix, database name)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every policy this gateway serves, by (prefix, database name)."""

    policies: Mapping[Key, Policy]

    @classmethod
    def read(cls, folder: Path) -> Shelf:
        """Read every ``*.toml`` of a folder.

        Raises: PolicyError: the folder is missing or empty, a file is broken, or two files claim one database or one private table;
            every broken file is named.
        """
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and not path.name.startswith("."))
        except OSError as error:
            raise PolicyError(f"the policy folder {folder} cannot be read ({type(error).__name__})") from None
        if not paths:
            raise PolicyError(f"the policy folder {folder} holds no .toml file", hint="Write one with `dpjupyter policy init`.")
        read: list[tuple[str, Policy]] = []
        wrong: list[str] = []
        for path in paths:
            try:
                read.append((path.name, load(path)))
            except PolicyError as error:
                wrong.append(error.message)
        wrong += _conflicts(read)
        if wrong:
            raise PolicyError("\n".join(wrong))
        return cls.of(policy for _, policy in read)

    @classmethod
    def of(cls, policies: Iterable[Policy]) -> Shelf:
        """A shelf of policies that are known to fit together."""
        return cls(MappingProxyType({(policy.database.prefix, policy.database.name): policy for policy in policies}))

    def find(self, database: str, prefix: str | None, reader: str | None) -> Policy:
        """The policy of a database. Prefix and backend kind may be left out where they leave no doubt.

        Raises: NotFound: no such database, or prefix or reader belong to another one.
        """
        named = [p for (_, name), p in self.policies.items() if name == database]
        fitting = [
            p
            for p in named
            if (prefix is None or p.database.prefix == prefix) and (reader is None or p.dialect.casefold() == reader.casefold())
        ]
        match fitting:
            case [policy]:
                return policy
            case []:
                what = f"no database {database!r}" if not named else f"database {database!r} has another prefix or reader"
                raise NotFound(what + " at this gateway", hint="See /api/v1/catalog for what is served.")
            case _:
                raise NotFound(f"several databases are named {database!r}", hint="Give dbconfig.prefix as /api/v1/catalog shows it.")


def _conflicts(read: list[tuple[str, Policy]]) -> list[str]:
    """Two budgets for the same rows would each keep its promise and together break it."""
    wrong: list[str] = []
    databases: dict[Key, str] = {}
    tables: dict[tuple[str, str], str] = {}
    for file, policy in read:
        key = (policy.database.prefix, policy.database.name)
        if key in databases:
            wrong.append(f"{file}: database {key[0]}/{key[1]} is already declared in {databases[key]}")
            continue
        databases[key] = file
        for name, table in policy.tables.items():
            if not table.private:
                continue
            place = (_warehouse(policy.database.backend), (table.source or name).casefold())
            if place in tables:
                wrong.append(f"{file}: tables.{name}: the warehouse's table {place[1]} already has a budget in {tables[place]}")
            tables.setdefault(place, file)
    return wrong


def _warehouse(url: str) -> str:
    """One spelling for one warehouse, as far as a URL tells."""
    kind, _, rest = url.partition("://")
    path = rest.partition("?")[0]
    if kind == "duckdb":
        return f"duckdb://{Path(path).resolve()}"
    return f"{kind}://{path}".casefold()
