"""Write the parts of docs/ that are made from code:  make docs  (tests/test_package.py checks that they are current)."""

from __future__ import annotations

import json
from pathlib import Path

from dpjupyter.engine import policy, scalar

DOCS = Path(__file__).parent.parent / "docs"


def policy_schema() -> str:
    """JSON Schema of policy files, for editors."""
    return json.dumps(policy.schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def sql_reference() -> str:
    """docs/sql.md with its table of functions as the allow-list has it."""
    rows = [f"| {_cell(names, code=True)} | {_cell(how)} |" for names, how in scalar.table()]
    table = "\n".join(["| function | |", "|---|---|", *rows])
    before, _, rest = (DOCS / "sql.md").read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def _cell(text: str, *, code: bool = False) -> str:
    shown = text.replace("|", "\\|")
    return ", ".join(f"`{part}`" for part in shown.split(", ")) if code else shown


BEGIN, END = "<!-- functions: made by `make docs` -->", "<!-- end of functions -->"
MADE = {"policy.schema.json": policy_schema, "sql.md": sql_reference}


def main() -> None:
    """Write every file that has changed."""
    for name, make in MADE.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")


if __name__ == "__main__":
    main()
