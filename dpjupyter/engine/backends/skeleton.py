"""A policy file to start from: everything the warehouse declares, and marks where the owner must decide."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from dpjupyter.engine.backends.describe import TableDescription
from dpjupyter.engine.model import Kind, SqlType

MARK = "FILL IN"
UNKNOWN_UNIT = "?"  # is no column: `dpjupyter policy check` names every table whose unit is still to be chosen
_BOUNDED = (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.DATE, Kind.TIMESTAMP)
_ENUM = re.compile(r"\s*ENUM\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_-]+")

_HEAD = """\
# Policy skeleton: names, types, keys and comments come from the warehouse's catalogue; no value of the data was read.
# Everything marked "{mark}" is a decision of yours. Bounds and domains must be public knowledge, never read off the data.
# Then run: dpjupyter policy check THIS_FILE

[database]
prefix = {prefix}
name = {name}
backend = {url}
data_version = "1"
unit_entity = "person" # {mark}: whom a privacy unit is, in words

[limits]
default_epsilon = 0.9 # per answer
max_epsilon = 5.0

[total] # what all tables together may reveal in one cycle
total_budget = 10.0 # {mark}: epsilon of one cycle
delta = 1e-6 # well below 1 / number of people
recover_cycle = 30 # days
"""


def skeleton(tables: Sequence[TableDescription], prefix: str, name: str, url: str) -> str:
    """TOML of a policy for ``tables``. It does not load before the owner has chosen every private table's unit."""
    parts = [_HEAD.format(mark=MARK, prefix=_string(prefix), name=_string(name), url=_string(url))]
    parts += ["\n".join(_table(table, tables)) for table in tables]
    return "\n".join(parts) + "\n"


def _table(table: TableDescription, tables: Sequence[TableDescription]) -> Iterator[str]:
    key = f"[tables.{_key(table.name)}"
    yield f"{key}]" + (" # a view: its rows are computed at every question" if table.view else "")
    if table.comment:
        yield f"description = {_string(table.comment)}"
    if table.source:
        yield f"source = {_string(table.source)}"
    yield f"# {MARK}: remove `unit` and write `private = false` if no row of this table is about a person."
    yield f"unit = {_string(UNKNOWN_UNIT)} # {MARK}: row | column | key -> table.key -> column"
    yield from (f"#   unit = {_string(path)}" for path in _candidates(table, tables))
    keys = [list(columns) for columns in (table.primary_key, *table.unique_keys) if columns]
    if keys:
        yield f"keys = {json.dumps(keys, ensure_ascii=False)}"
        yield "enforced_keys = true" if table.enforced else "enforced_keys = false # the warehouse only notes these keys"
    yield f"total_budget = 10.0 # {MARK}: epsilon of one cycle"
    yield f"max_rows = 1 # {MARK}: rows of one unit that count in one group"
    yield f"max_groups = 1 # {MARK}: groups one unit counts in"
    yield "# key_delta = 1e-8 # allows GROUP BY of values that no domain declares"
    yield ""
    yield f"{key}.columns]"
    for column, type_, nullable in table.columns:
        yield _column(column, type_, table.column_comments.get(column, ""), nullable=nullable)
    yield ""


def _column(name: str, type_: str, comment: str, *, nullable: bool) -> str:
    domain = ""
    if enum := _ENUM.fullmatch(type_):
        values = [value.replace("''", "'") for value in re.findall(r"'((?:[^']|'')*)'", enum[1])]
        type_, domain = "VARCHAR", f", domain = {json.dumps(values, ensure_ascii=False)}"
    try:
        kind = SqlType.parse(type_).kind
    except ValueError:
        return f"# {_key(name)} = {{ type = {_string(type_)} }} # this type cannot be used"
    fields = f"type = {_string(type_)}" + ("" if nullable else ", nullable = false") + domain
    if comment:
        fields += f", description = {_string(comment)}"
    if domain:
        hint = f" # {MARK}: these values are the type's declaration; are they public?"
    elif kind in _BOUNDED:
        hint = f" # {MARK}: bounds = [lowest, highest], to sum, average or rank"
    elif kind is Kind.TEXT:
        hint = f" # {MARK}: domain = [...], if all values are public"
    else:
        hint = ""
    return f"{_key(name)} = {{ {fields} }}{hint}"


def _candidates(table: TableDescription, tables: Sequence[TableDescription], depth: int = 3) -> list[str]:
    """Units that the declared keys suggest: paths of single-column foreign keys, then the table's own key."""
    by_name = {other.name: other for other in tables}
    found: list[str] = []

    def follow(here: TableDescription, start: str, seen: tuple[str, ...]) -> None:
        for foreign in here.foreign_keys:
            there = by_name.get(foreign.ref_table)
            if len(foreign.columns) != 1 or there is None or there.name in seen or len(seen) > depth:
                continue
            path = f"{start}{foreign.columns[0]} -> {there.name}.{foreign.ref_columns[0]}"
            if not there.foreign_keys:
                found.append(path if start else foreign.columns[0])
            follow(there, f"{path} -> ", (*seen, there.name))

    follow(table, "", (table.name,))
    if len(table.primary_key) == 1 and not table.foreign_keys:
        found.append(table.primary_key[0])
    return found


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    # A TOML basic string is a JSON string, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
