"""Planning and pricing, in milliseconds of CPU: what a quote costs. No data is touched.

    python -m benchmarks.planning [--repeat 15]

Questions: those of benchmarks/road.py and two joins of ten tables. Targets: 15 ms for a typical question, 50 ms for ten tables.
CPU time of one thread, so that a busy machine does not show; median of the repetitions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from benchmarks.road import QUERIES
from dpjupyter import demo
from dpjupyter.engine import policy as policies
from dpjupyter.engine.model import Ask
from dpjupyter.engine.road import quote

_SELF = " ".join(f"JOIN orders o{n} ON o{n}.customer_id = o{n - 1}.customer_id" for n in range(1, 10))
_MORE = " ".join(f"JOIN orders x{n} ON x{n}.customer_id = c.customer_id" for n in range(6))
TEN_TABLES = {
    "ten orders": f"SELECT o0.status, COUNT(*), SUM(o9.shipping) FROM orders o0 {_SELF} GROUP BY o0.status",
    "four tables, six times orders": "SELECT c.segment, p.category, SUM(l.quantity * l.unit_price), COUNT(*) FROM customers c "
    "JOIN orders o ON o.customer_id = c.customer_id JOIN order_lines l ON l.order_id = o.order_id "
    f"JOIN products p ON p.product_id = l.product_id {_MORE} GROUP BY 1, 2",
}


def main() -> None:
    """Print one row a question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    folder = Path(demo.__file__).parent / "policies"
    print("| policy | question | ms |\n|---|---|---|")
    for name, questions in (*QUERIES.items(), ("shop", TEN_TABLES)):
        policy = policies.load(folder / f"{name}.toml")
        for label, sql in questions.items():
            spent: list[float] = []
            for _ in range(repeat):
                began = time.thread_time()
                quote(sql, Ask(), policy)
                spent.append(time.thread_time() - began)
            print(f"| {name} | {label} | {statistics.median(spent) * 1000:.1f} |", flush=True)


if __name__ == "__main__":
    main()
