"""Write constraints/all.txt: every package of this environment as name==version, without addresses.

Run in a fresh environment after changing a lower bound in pyproject.toml:
    .venv/bin/python scripts/constrain.py
"""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

LEFT_OUT = {"dpjupyter", "pip", "setuptools", "wheel"}  # ourselves, and what brings an environment into being


def main() -> None:
    """Write the file beside the others in constraints/."""
    found = {d.metadata["Name"]: d.version for d in distributions()}
    lines = [f"{name}=={found[name]}" for name in sorted(found, key=str.lower) if name.lower() not in LEFT_OUT]
    target = Path(__file__).parent.parent / "constraints" / "all.txt"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{target.name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
