"""Canonical text of algebra: column ids numbered by first use, so that equal questions have equal texts."""

from __future__ import annotations

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, signature
from dpjupyter.engine.model import (
    Aggregate,
    Call,
    Constants,
    Filter,
    Join,
    Project,
    Rel,
    Scan,
    SetOperation,
    Shared,
    Sort,
    Window,
)


class Numbering:
    """Canonical names of column ids, given in the order they are met."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def name(self, id_: str) -> str:
        """The canonical name of an id."""
        return self.names.setdefault(id_, f"n{len(self.names)}")

    def text(self, expr: exp.Expression) -> str:
        """Canonical text of an expression."""
        return signature(expr, self.name, lambda node: self.rel(node.args["rel"]))

    def call(self, call: Call) -> str:
        """Canonical text of an aggregate call."""
        arguments = ", ".join(self.text(a) for a in call.arguments)
        level = f" AT {call.parameter}" if call.parameter is not None else ""
        return f"{call.function}({'DISTINCT ' if call.distinct else ''}{arguments}{level})"

    def rel(self, rel: Rel) -> str:
        """Canonical text of a relation."""
        match rel:
            case Shared():
                return self.rel(rel.input)
            case Scan():
                columns = ", ".join(f"{name} {self.name(id_)}" for id_, name in sorted(rel.columns.items(), key=lambda item: item[1]))
                return f"scan({rel.table!r}: {columns})"
            case Constants():
                rows = "; ".join(", ".join(self.text(e) for e in row) for row in rel.rows)
                return f"constants({', '.join(map(self.name, rel.fields))}: {rows})"
            case Filter():
                return f"filter({self.rel(rel.input)}: {self.text(rel.predicate)})"
            case Project():
                inner = self.rel(rel.input)
                return f"project({inner}: {', '.join(f'{self.text(e)} {self.name(i)}' for i, e in rel.columns.items())})"
            case Join():
                left, right = self.rel(rel.left), self.rel(rel.right)
                return f"{rel.kind}({left}, {right}: {self.text(rel.condition) if rel.condition is not None else ''})"
            case Aggregate():
                inner = self.rel(rel.input)
                keys = ", ".join(f"{self.text(e)} {self.name(i)}" for i, e in rel.keys.items())
                calls = ", ".join(f"{self.call(c)} {self.name(i)}" for i, c in rel.calls.items())
                sets = "" if rel.sets is None else "|".join(",".join(sorted(self.name(i) for i in s)) for s in rel.sets)
                grouping = ", ".join(f"{self.name(k)} {self.name(i)}" for i, k in rel.grouping.items())
                return f"aggregate({inner}: {keys}: {calls}: {sets}: {grouping})"
            case Window():
                inner = self.rel(rel.input)
                return f"window({inner}: {', '.join(f'{self.text(e)} {self.name(i)}' for i, e in rel.columns.items())})"
            case SetOperation():
                left, right = self.rel(rel.left), self.rel(rel.right)
                sides = ", ".join(
                    f"{self.name(a)}~{self.name(b)} {self.name(n)}"
                    for a, b, n in zip(rel.left_fields, rel.right_fields, rel.fields, strict=True)
                )
                return f"{rel.kind}{' all' if rel.all else ''}({left}, {right}: {sides})"
            case Sort():
                inner = self.rel(rel.input)
                return f"sort({inner}: {', '.join(self.text(o) for o in rel.order)}: {rel.limit}: {rel.offset})"


def canonical(rel: Rel) -> tuple[str, Numbering]:
    """Canonical text of a relation with the numbering it used."""
    numbering = Numbering()
    text = numbering.rel(rel)
    for id_ in columns_of(rel):
        numbering.name(id_)
    return text, numbering
