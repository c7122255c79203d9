"""Write the parts of docs/ that are made from code:  make docs  (tests/test_package.py checks that they are current)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dpjupyter.engine import policy
from dpjupyter.engine.model import Ask
from dpjupyter.engine.road import quote
from dpjupyter.engine.scalar.allowed import markdown
from dpjupyter.errors import Refused

DOCS = Path(__file__).parent.parent / "docs"


def policy_schema() -> str:
    """JSON Schema of policy files, for editors."""
    return json.dumps(policy.schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _cell(text: str) -> str:
    shown = text.replace("|", "\\|").encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."


def answered() -> str:
    """docs/answered.md: every attack and every answered shape of the tests, with what the engine says of it today."""
    sys.path.insert(0, str(DOCS.parent))
    from tests.engine.test_attacks import POLICY, PRIVATE, REFUSED  # noqa: PLC0415 - only the documentation reads tests

    parsed = policy.parse(POLICY)
    lines = [HEAD]
    for attack, queries in REFUSED.items():
        lines += [f"\n### {attack[0].upper()}{attack[1:]}\n", "| query | refused as | because | instead |", "|---|---|---|---|"]
        for query in queries:
            try:
                quote(query, Ask(), parsed)
                raise AssertionError(query)
            except Refused as error:
                lines.append(f"| `{_cell(query)}` | {error.kind} | {_cell(error.message)} | {_cell(error.hint)} |")
    lines += ["\n## Answered\n", "| query | measured | said in the quote |", "|---|---|---|"]
    for query in PRIVATE:
        plan = quote(query, Ask(), parsed).plan
        lines.append(
            f"| `{_cell(query)}` | {len(plan.items)} answers, {len(plan.measurements)} measurements | {_cell(' '.join(plan.notes))} |"
        )
    return "\n".join(lines) + "\n"


LONGEST = 220
HEAD = """# Answered and refused, by example

Made from the engine by `make docs`: each line is a query of the tests (`tests/engine/test_attacks.py`, where the tables are declared),
with the engine's own words. The answered ones are tested against removing one person from hostile data.

Of the external corpus of queries these are refused on purpose: `gsql-a-064` (SUM of a column without bounds), `gsql-a-089` (STDDEV of a
column without bounds) and `qrlew-a-079` (a released average used on private rows in the same query: ask for it first).

## Refused"""
MADE = {"policy.schema.json": policy_schema, "functions.md": markdown, "answered.md": answered}


def main() -> None:
    """Write every file that has changed."""
    for name, make in MADE.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")


if __name__ == "__main__":
    main()
