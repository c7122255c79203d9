# ruff: noqa: INP001 - a script
"""Print src/wire.ts: the records of dpjupyter/wire.py that the extension reads and writes, as TypeScript.

    python labextension/scripts/wire_types.py > labextension/src/wire.ts

A test compares the file with this output, so the two sides cannot drift apart.
"""

from __future__ import annotations

import sys
from typing import Any

from pydantic import BaseModel

from dpjupyter import wire

WRITTEN: tuple[type[BaseModel], ...] = (wire.QueryRequest,)
READ: tuple[type[BaseModel], ...] = (
    wire.ErrorInfo, wire.QuoteReply, wire.BudgetListReply, wire.CatalogReply, wire.MeReply, wire.HealthReply, wire.AuditReply,
)  # fmt: skip
HEADER = """\
// Made by scripts/wire_types.py from dpjupyter/wire.py; change it there.
// What is read has every field (the gateway fills defaults in); what is written may leave defaults out.
"""


def main() -> None:
    """Write the file to standard output."""
    sys.stdout.write(written())


def written() -> str:
    """The whole of wire.ts."""
    parts: dict[str, str] = {}
    for kinds, mode in ((WRITTEN, "validation"), (READ, "serialization")):
        for kind in kinds:
            schema = kind.model_json_schema(mode=mode)
            for name, record in [*schema.get("$defs", {}).items(), (kind.__name__, schema)]:
                parts[name] = _interface(name, record, optional=mode == "validation")
    return HEADER + "\n" + "\n".join(parts[name] for name in sorted(parts))


def _interface(name: str, record: dict[str, Any], *, optional: bool) -> str:
    required = set(record.get("required", ()))
    lines = [f"/** {record['description'].splitlines()[0]} */"] if record.get("description") else []
    lines.append(f"export interface I{name} {{")
    for field, kind in record.get("properties", {}).items():
        mark = "?" if optional and field not in required else ""
        lines.append(f"  {field}{mark}: {_type(kind)};")
    return "\n".join([*lines, "}", ""])


def _type(kind: dict[str, Any]) -> str:
    match kind:
        case {"$ref": str(ref)}:
            return "I" + ref.rsplit("/", 1)[-1]
        case {"anyOf": options}:
            return " | ".join(dict.fromkeys(_type(option) for option in options))
        case {"enum": values}:
            return " | ".join(f"'{value}'" for value in values)
        case {"const": value}:
            return f"'{value}'"
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(_type(item) for item in items)}]"
        case {"type": "array", "items": items}:
            inner = _type(items)
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case {"type": "object", "additionalProperties": dict(values)}:
            keys = kind.get("propertyNames")
            return f"Partial<Record<{_type(keys)}, {_type(values)}>>" if keys else f"Record<string, {_type(values)}>"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as plain}:
            return plain
        case _:
            raise TypeError(f"no TypeScript is known for {kind}")


if __name__ == "__main__":
    main()
