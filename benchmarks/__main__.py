"""Every benchmark that needs no data of its own, one after the other: ``python -m benchmarks``. TPC-H: see benchmarks/tpch.py."""

from __future__ import annotations

import subprocess
import sys

ALONE = (["filter_table"], ["planning"], ["road"], ["ledger"], ["snowflake", "overhead"], ["twin", "quality"], ["twin", "related"])

for name, *arguments in ALONE:
    print(f"\n## {name} {' '.join(arguments)}\n", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=True)
