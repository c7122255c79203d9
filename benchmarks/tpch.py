"""Ten TPC-H questions (SF1, customer as unit): plain SQL, the best hand-written private statement, and the generated one, side by side.

    python -m venv tpch && tpch/bin/pip install duckdb==1.5.5 duckdb-extension-tpch==1.5.5
    tpch/bin/python benchmarks/tpch_data.py DIR       # writes the tables as parquet
    .venv/bin/python -m benchmarks.tpch DIR [--runs 7]

Every statement is run in turn, several rounds; the best of each is shown. The target is the ratio to the hand-written statement.
The hand-written statements are safe: units that are NULL are dropped, NULL sums are zero, both limits are kept, bins are limited.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import duckdb

from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote

QUESTIONS = {
    "count": "SELECT COUNT(*) FROM orders",
    "sum": "SELECT SUM(o_totalprice) FROM orders",
    "avg+count by priority": "SELECT o_orderpriority, AVG(o_totalprice), COUNT(*) FROM orders GROUP BY o_orderpriority",
    "count+sum by status": "SELECT o_orderstatus, COUNT(*), SUM(o_totalprice) FROM orders GROUP BY o_orderstatus",
    "distinct by month": "SELECT EXTRACT(year FROM o_orderdate), EXTRACT(month FROM o_orderdate), COUNT(DISTINCT o_custkey) FROM orders GROUP BY 1, 2",
    "sum by segment, join": "SELECT c_mktsegment, SUM(o_totalprice) FROM orders JOIN customer ON o_custkey = c_custkey GROUP BY c_mktsegment",
    "Q1-like": "SELECT l_returnflag, l_linestatus, SUM(l_extendedprice * (1 - l_discount)) FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY 1, 2",
    "distinct by date": "SELECT o_orderdate, COUNT(DISTINCT o_custkey) FROM orders GROUP BY o_orderdate",
    "median": "SELECT MEDIAN(o_totalprice) FROM orders",
    "stddev": "SELECT STDDEV(o_totalprice) FROM orders",
}

_LIMITED = "CASE WHEN s IS NULL THEN 0 WHEN s < 0 THEN 0 WHEN s > {high} THEN {high} ELSE s END"
_BY_PRIORITY = ", ".join(
    f"sum(least(n{i}, 30)), sum(CASE WHEN s{i} IS NULL THEN 0 WHEN s{i} < 0 THEN 0 WHEN s{i} > 1500000000 THEN 1500000000 ELSE s{i} END)" for i in range(5)
)
_PRIORITIES = ", ".join(
    f"count(*) FILTER (o_orderpriority = '{p}') n{i}, sum(CAST(o_totalprice * 100 AS BIGINT)) FILTER (o_orderpriority = '{p}') s{i}"
    for i, p in enumerate(["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"])
)
HAND = {
    "count": "SELECT sum(least(n, 30)) FROM (SELECT o_custkey, count(*) n FROM orders WHERE o_custkey IS NOT NULL GROUP BY o_custkey)",
    "sum": f"SELECT sum({_LIMITED.format(high='15000000.00')}) FROM (SELECT o_custkey, sum(o_totalprice) s FROM orders WHERE o_custkey IS NOT NULL GROUP BY o_custkey)",
    "avg+count by priority": f"SELECT {_BY_PRIORITY} FROM (SELECT o_custkey, {_PRIORITIES} FROM orders WHERE o_custkey IS NOT NULL GROUP BY o_custkey)",
    "count+sum by status": f"""SELECT g, sum(least(n, 30)), sum({_LIMITED.format(high='15000000.00')}) FROM
        (SELECT o_custkey u, o_orderstatus g, count(*) n, sum(o_totalprice) s FROM orders WHERE o_custkey IS NOT NULL GROUP BY ALL) GROUP BY g""",
    "distinct by month": """WITH d AS MATERIALIZED (SELECT DISTINCT o_custkey u, year(o_orderdate) y, month(o_orderdate) m FROM orders WHERE o_custkey IS NOT NULL),
        heavy AS MATERIALIZED (SELECT u FROM d GROUP BY u HAVING count(*) > 30)
        SELECT y, m, count(*) FROM (SELECT y, m FROM d ANTI JOIN heavy USING (u) UNION ALL
        SELECT y, m FROM (SELECT * FROM d SEMI JOIN heavy USING (u) QUALIFY row_number() OVER (PARTITION BY u ORDER BY hash(u, y, m, 7731)) <= 30)) GROUP BY y, m""",
    "sum by segment, join": f"""SELECT c_mktsegment g, sum({_LIMITED.format(high='15000000.00')}) FROM
        (SELECT o_custkey u, sum(o_totalprice) s FROM orders WHERE o_custkey IS NOT NULL GROUP BY o_custkey) JOIN customer ON c_custkey = u GROUP BY g""",
    "Q1-like": f"""SELECT f, l, sum({_LIMITED.format(high='12600000')}) FROM (SELECT o_custkey u, l_returnflag f, l_linestatus l, sum(l_extendedprice * (1 - l_discount)) s
        FROM orders JOIN lineitem ON o_orderkey = l_orderkey WHERE o_custkey IS NOT NULL GROUP BY ALL) GROUP BY f, l""",
    "distinct by date": """WITH heavy AS MATERIALIZED (SELECT o_custkey FROM orders GROUP BY o_custkey HAVING count(*) > 30)
        SELECT g, count(*) FROM (SELECT DISTINCT o_custkey u, o_orderdate g FROM orders ANTI JOIN heavy USING (o_custkey) WHERE o_custkey IS NOT NULL UNION ALL
        SELECT * FROM (SELECT DISTINCT o_custkey u, o_orderdate g FROM orders SEMI JOIN heavy USING (o_custkey))
        QUALIFY row_number() OVER (PARTITION BY u ORDER BY hash(u, g, 7731)) <= 30) GROUP BY g""",
    "median": """WITH h AS MATERIALIZED (SELECT o_custkey, CAST(30 * 1048576 // count(*) AS BIGINT) w FROM orders WHERE o_totalprice IS NOT NULL GROUP BY o_custkey HAVING count(*) > 30)
        SELECT CASE WHEN o_totalprice <= 0 THEN 0 WHEN o_totalprice >= 500000 THEN 499 ELSE CAST(o_totalprice AS INTEGER) // 1000 END b, sum(coalesce(w, 1048576))
        FROM orders LEFT JOIN h USING (o_custkey) WHERE o_custkey IS NOT NULL AND o_totalprice IS NOT NULL GROUP BY b""",
    "stddev": """SELECT sum(least(n, 30)), sum(CASE WHEN s IS NULL THEN 0 WHEN s < -7500000 THEN -7500000 WHEN s > 7500000 THEN 7500000 ELSE s END),
        sum(CASE WHEN q IS NULL THEN 0 WHEN q > 1875000000000 THEN 1875000000000 ELSE q END) FROM (SELECT o_custkey, count(c) n, sum(c) s, sum(c * c) q FROM
        (SELECT o_custkey, CASE WHEN o_totalprice <= 0 THEN -250000 WHEN o_totalprice >= 500000 THEN 250000 ELSE CAST(o_totalprice AS BIGINT) - 250000 END c
         FROM orders WHERE o_custkey IS NOT NULL) GROUP BY o_custkey)""",
}


def _policy() -> Policy:
    def col(type_: str, **more: object) -> dict[str, object]:
        return {"type": type_, "nullable": False, **more}

    orders = {
        "o_orderkey": col("BIGINT"),
        "o_custkey": col("BIGINT"),
        "o_orderstatus": col("VARCHAR", domain=["F", "O", "P"]),
        "o_totalprice": col("DECIMAL(15,2)", bounds=[0, 500000]),
        "o_orderdate": col("DATE", bounds=["1992-01-01", "1998-08-02"]),
        "o_orderpriority": col("VARCHAR", domain=["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"]),
    }
    lineitem = {
        "l_orderkey": col("BIGINT"),
        "l_returnflag": col("VARCHAR", domain=["A", "N", "R"]),
        "l_linestatus": col("VARCHAR", domain=["F", "O"]),
        "l_extendedprice": col("DECIMAL(15,2)", bounds=[0, 105000]),
        "l_discount": col("DECIMAL(15,2)", bounds=[0, 1]),
    }
    customer = {"c_custkey": col("BIGINT"), "c_mktsegment": col("VARCHAR", domain=["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"])}
    return Policy.model_validate(
        {
            "database": {"prefix": "bench", "name": "tpch", "backend": "duckdb:///tpch"},
            "tables": {
                "customer": {"unit": "c_custkey", "enforced_keys": True, "keys": [["c_custkey"]], "columns": customer},
                "orders": {
                    "unit": "o_custkey -> customer.c_custkey",
                    "enforced_keys": True,
                    "keys": [["o_orderkey"]],
                    "max_rows": 30,
                    "max_groups": 30,
                    "columns": orders,
                },
                "lineitem": {"unit": "l_orderkey -> orders.o_orderkey -> o_custkey", "max_rows": 120, "max_groups": 30, "columns": lineitem},
            },
        }
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with customer.parquet, orders.parquet, lineitem.parquet")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", default="", help="questions whose name contains this")
    options = parser.parse_args()
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    for table in ("customer", "orders", "lineitem"):
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM '{options.data / table}.parquet'")
    policy = _policy()
    print("| question | planning ms | plain ms | hand-written ms | generated ms | generated / hand-written |\n|---|---|---|---|---|---|")
    for name, sql in QUESTIONS.items():
        if options.only not in name:
            continue
        quote(sql, Ask(), policy)
        started = time.perf_counter()
        plan = quote(sql, Ask(), policy).plan
        planning = time.perf_counter() - started
        ours = [part.statement.sql("duckdb") for m in plan.measurements for part in m.parts]
        best = [float("inf")] * 3
        for _ in range(options.runs):
            for i, statements in enumerate(([sql], [HAND[name]], ours)):
                started = time.perf_counter()
                for statement in statements:
                    connection.execute(statement).fetchall()
                best[i] = min(best[i], time.perf_counter() - started)
        plain, hand, generated = (1000 * b for b in best)
        print(f"| {name} | {1000 * planning:.0f} | {plain:.1f} | {hand:.1f} | {generated:.1f} | {generated / hand:.2f} |")


if __name__ == "__main__":
    main()
