"""Write the parts of docs/ that are made from code:  make docs  (tests/test_package.py checks that they are current)."""

from __future__ import annotations

import json
from pathlib import Path

from dpjupyter.engine import policy

DOCS = Path(__file__).parent.parent / "docs"


def policy_schema() -> str:
    """JSON Schema of policy files, for editors."""
    return json.dumps(policy.schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


MADE = {"policy.schema.json": policy_schema}


def main() -> None:
    """Write every file that has changed."""
    for name, make in MADE.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")


if __name__ == "__main__":
    main()
