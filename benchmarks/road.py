"""Plain SQL, the engine's own statements, and the whole answer, side by side in one run.

    python benchmarks/road.py [--repeat 7] [--json]

Data: the demo's Titanic and shop. Columns (medians, ms): what the same DuckDB takes for the analyst's SQL, for the private
statements, for planning and pricing, for the ledger (debit and filing), for noise, for finishing with intervals, and for the
whole answer; the ratio is private statements to plain SQL.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dpjupyter.demo.build import build_all
from dpjupyter.engine import policy as policies
from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.engine.model import Ask
from dpjupyter.engine.noise import OpenDPNoise
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import Question, answer

QUERIES = {
    "titanic": {
        "count": "SELECT COUNT(*) FROM passengers",
        "means by class": "SELECT pclass, COUNT(*) AS n, AVG(fare) AS fare FROM passengers GROUP BY pclass ORDER BY pclass",
        "survival": "SELECT sex, SUM(survived) * 1.0 / COUNT(*) AS rate FROM passengers GROUP BY sex HAVING COUNT(*) > 10 ORDER BY rate",
        "median": "SELECT MEDIAN(age) FROM passengers",
        "spread": "SELECT STDDEV(age), VAR_POP(fare) FROM passengers",
    },
    "shop": {
        "orders by status": "SELECT status, COUNT(*) AS n, COUNT(DISTINCT customer_id) AS c FROM orders GROUP BY status",
        "cities (open keys)": "SELECT city, COUNT(*) AS n FROM customers GROUP BY city ORDER BY n DESC LIMIT 5",
        "months": "SELECT DATE_TRUNC('month', ordered_at) AS month, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1",
        "join": "SELECT c.segment, AVG(o.shipping) FROM customers c JOIN orders o ON o.customer_id = c.customer_id GROUP BY c.segment",
        "revenue by category": "SELECT p.category, SUM(l.quantity * l.unit_price) AS revenue FROM order_lines l "
        "JOIN products p ON p.product_id = l.product_id GROUP BY p.category",
        "orders per customer": "SELECT MEDIAN(n) FROM (SELECT customer_id, LEAST(COUNT(*), 100) AS n FROM orders GROUP BY customer_id)",
    },
}


def median_ms(work: Callable[[], object], repeat: int) -> float:
    """Median wall-clock time."""
    times: list[float] = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def measured(folder: Path, repeat: int) -> list[dict[str, object]]:
    """One row per query."""
    rows: list[dict[str, object]] = []
    ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
    for database, queries in QUERIES.items():
        text = (folder / "policies" / f"{database}.toml").read_text(encoding="utf-8")
        for budget in ("25.0", "40.0", "60.0"):
            text = text.replace(f"total_budget = {budget}", "total_budget = 1000000.0")
        policy = policies.parse(text)
        ledger.ensure_rows(policy)
        backend = DuckDBBackend.open(policy.database.backend)
        rows.extend({"query": f"{database}: {name}"} | _one(sql, policy, backend, ledger, repeat) for name, sql in queries.items())
        backend.close()
    ledger.close()
    return rows


def _one(sql: str, policy: Policy, backend: DuckDBBackend, ledger: LedgerStore, repeat: int) -> dict[str, object]:
    stages: dict[str, list[float]] = {}

    def whole() -> None:
        question = Question(sql, Ask(), "bench", f"r{time.perf_counter_ns()}", "0" * 64, skip_cache=True)
        given = {"ledger": ledger, "backend": backend, "noise_source": OpenDPNoise()}
        outcome = answer(question, policy, **given, cancelled=threading.Event(), progress=lambda _: None)
        for stage, ms in outcome.timings_ms.items():
            stages.setdefault(stage, []).append(ms)

    whole()  # native libraries and caches
    stages.clear()
    answered = median_ms(whole, repeat)
    plain = median_ms(lambda: backend.fetch(sql, tag="plain", timeout_s=60, cancelled=threading.Event()), repeat)
    taken = {stage: statistics.median(times) for stage, times in stages.items()}
    return {
        "plain": plain,
        "private": taken["run"],
        "ratio": taken["run"] / plain,
        "price": taken["price"],
        "ledger": taken["debit"] + taken["file"],
        "noise": taken["noise"],
        "finish": taken["finish"],
        "whole": answered,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build_all(Path(folder))
        rows = measured(Path(folder), given.repeat)
    if given.json:
        print(json.dumps(rows))
        return
    columns = list(rows[0])
    print(f"{columns[0]:30}" + "".join(f"{c:>10}" for c in columns[1:]))
    for row in rows:
        print(f"{row['query']!s:30}" + "".join(f"{row[c]:>10.1f}" for c in columns[1:]))


if __name__ == "__main__":
    main()
