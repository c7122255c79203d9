"""What the gateway adds to Snowflake, measured against the fakesnow emulator.

    python benchmarks/snowflake.py overhead [--repeat 60]
    python benchmarks/snowflake.py statements FOLDER [--repeat 5]      # TPC-H SF1 as Parquet files in FOLDER
    python benchmarks/snowflake.py tpch FOLDER                         # makes them with DuckDB 1.5.5 and its tpch package, in another venv

overhead    a question with ten groups over HTTP to a real gateway process: client, gateway, plan, debit, noise, finish. The warehouse's
            time is taken off in two ways: the gateway's run stage, and the same statement by a bare Snowflake cursor. Target: 60 ms.
statements  the pushed-down statements on the emulator through Snowpark, and the same statements directly on DuckDB with the same data
            and threads, in turns. Target: ratio 1.15 for statements over 300 ms. Also what is fetched, in bytes and rows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import duckdb
import httpx
import sqlglot

from dpjupyter.demo.build import build_titanic
from dpjupyter.engine import policy as policies
from dpjupyter.engine.backends import open_backend
from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote
from tests.contracts.emulator import Emulator, Recorder
from tests.gateway.running import Starter

TEN_GROUPS = "SELECT FLOOR(age / 10) * 10 AS decade, COUNT(*) AS n FROM passengers WHERE age BETWEEN 0 AND 99 GROUP BY 1 ORDER BY 1"
TPCH_VERSION = "1.5.5"  # the last DuckDB whose tpch extension is published as a package
TPCH_POLICY = """\
[database]
prefix = "tpch"
name = "sf1"
backend = "{backend}"
unit_entity = "customer"

[tables.customer]
unit = "c_custkey"
keys = [["c_custkey"]]
columns.c_custkey = {{ type = "BIGINT", nullable = false }}
columns.c_mktsegment = {{ type = "VARCHAR", domain = ["AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY"] }}
columns.c_acctbal = {{ type = "DECIMAL(15,2)", bounds = [-1000, 10000] }}

[tables.orders]
unit = "o_custkey"
keys = [["o_orderkey"]]
max_rows = 50
max_groups = 10
columns.o_orderkey = {{ type = "BIGINT", nullable = false }}
columns.o_custkey = {{ type = "BIGINT", nullable = false }}
columns.o_orderdate = {{ type = "DATE", bounds = ["1992-01-01", "1998-12-31"] }}
columns.o_orderpriority = {{ type = "VARCHAR", domain = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"] }}
columns.o_totalprice = {{ type = "DECIMAL(15,2)", bounds = [0, 600000] }}

[tables.lineitem]
unit = "l_orderkey -> orders.o_orderkey -> o_custkey"
max_rows = 300
max_groups = 10
columns.l_orderkey = {{ type = "BIGINT", nullable = false }}
columns.l_quantity = {{ type = "DECIMAL(15,2)", bounds = [0, 50] }}
columns.l_extendedprice = {{ type = "DECIMAL(15,2)", bounds = [0, 110000] }}
columns.l_discount = {{ type = "DECIMAL(15,2)", bounds = [0, 0.1] }}
columns.l_returnflag = {{ type = "VARCHAR", domain = ["A", "N", "R"] }}
columns.l_linestatus = {{ type = "VARCHAR", domain = ["F", "O"] }}
columns.l_shipdate = {{ type = "DATE", bounds = ["1992-01-01", "1998-12-31"] }}
"""
TPCH = {
    "pricing summary (Q1)": "SELECT l_returnflag, l_linestatus, SUM(l_quantity) AS q, SUM(l_extendedprice) AS p, COUNT(*) AS n "
    "FROM lineitem WHERE l_shipdate <= '1998-09-02'::DATE GROUP BY l_returnflag, l_linestatus",
    "forecast (Q6)": "SELECT SUM(l_extendedprice * l_discount) AS revenue FROM lineitem WHERE l_shipdate BETWEEN '1994-01-01'::DATE AND "
    "'1994-12-31'::DATE AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    "priorities": "SELECT o_orderpriority, COUNT(*) AS n, AVG(o_totalprice) AS p FROM orders GROUP BY o_orderpriority",
    "segments": "SELECT c.c_mktsegment, SUM(o.o_totalprice) AS p FROM customer c "
    "JOIN orders o ON o.o_custkey = c.c_custkey GROUP BY c.c_mktsegment",
    "months": "SELECT DATE_TRUNC('month', o_orderdate) AS m, COUNT(*) AS n FROM orders GROUP BY 1",
    "customers": "SELECT COUNT(DISTINCT o_custkey) AS n FROM orders WHERE o_totalprice > 100000",
}


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def overhead(repeat: int) -> None:
    """Print what a question costs beside the warehouse."""
    with tempfile.TemporaryDirectory() as name, Emulator(Path(name)) as emulator:
        folder = Path(name)
        build_titanic(folder / "titanic.duckdb")
        with duckdb.connect(str(folder / "titanic.duckdb")) as connection:
            connection.execute(f"COPY passengers TO '{folder / 'passengers.parquet'}' (FORMAT parquet)")
        emulator.run(f"CREATE TABLE passengers AS SELECT * FROM read_parquet('{folder / 'passengers.parquet'}')")
        served = folder / "policies"
        served.mkdir()
        policy_text = _generous((files("dpjupyter.demo") / "policies" / "titanic.toml").read_text(encoding="utf-8"), emulator.url(folder))
        (served / "titanic.toml").write_text(policy_text, encoding="utf-8")
        (statement,) = _statements(TEN_GROUPS, policies.parse(policy_text))
        starter = Starter()
        try:
            with starter.run(folder / "gateway", served) as gateway, _cursor(emulator) as cursor:
                body = {"sql": TEN_GROUPS, "dbconfig": {"database": "titanic", "prefix": "demo", "queryOption": {"skip_cache": 1}}}
                body |= {"dpconfig": {"budget_setting": {"epsilon": 0.1}}, "extra": {"debug": True}}
                whole: list[float] = []
                run: list[float] = []
                bare: list[float] = []
                for turn in range(repeat + 5):
                    reply: list[httpx.Response] = []
                    took = seconds(lambda reply=reply: reply.append(gateway.post("/api/v1/query", body, "olga"))) * 1000
                    reply[0].raise_for_status()
                    direct = seconds(lambda: cursor.execute(statement).fetchall()) * 1000
                    if turn >= 5:  # the first ones fill caches and open sessions
                        whole.append(took)
                        run.append(reply[0].json()["status"]["data"]["debug"]["timings_ms"]["run"])
                        bare.append(direct)
        finally:
            starter.close()
    rows = {
        "whole answer": whole,
        "run stage (Snowpark: submit, status, fetch)": run,
        "the statement by a bare cursor": bare,
        "answer minus run stage": [a - b for a, b in zip(whole, run, strict=True)],
        "answer minus bare cursor": [a - b for a, b in zip(whole, bare, strict=True)],
    }
    print(f"{'ms, ' + str(repeat) + ' answers of ten groups':46}{'p10':>9}{'median':>9}{'p90':>9}")
    for name_, values in rows.items():
        tenths = statistics.quantiles(values, n=10)
        print(f"{name_:46}{tenths[0]:9.1f}{statistics.median(values):9.1f}{tenths[8]:9.1f}")


def statements(data: Path, repeat: int) -> None:
    """Print the emulator's and DuckDB's time for the same statements, in turns."""
    tables = sorted(data.glob("*.parquet"))
    with tempfile.TemporaryDirectory() as name, Emulator(Path(name)) as emulator, Recorder(emulator.port) as door:
        emulator.run(*(f"CREATE TABLE {file.stem} AS SELECT * FROM read_parquet('{file}')" for file in tables))
        direct = duckdb.connect()
        for file in tables:
            direct.execute(f"CREATE TABLE {file.stem} AS SELECT * FROM read_parquet('{file}')")
        backend = open_backend(emulator.url(Path(name), port=door.port, network_timeout=600))
        policy = policies.parse(_generous(TPCH_POLICY.format(backend="snowflake://x"), "snowflake://x"))
        print(f"{'best of ' + str(repeat) + ', ms':24}{'emulator':>10}{'DuckDB':>10}{'ratio':>8}{'plain SQL':>11}{'groups':>8}{'bytes':>9}")
        for title, sql in TPCH.items():
            # The emulator, too, translates with sqlglot: the same statement, without the network and Snowpark.
            pairs = [(statement, sqlglot.transpile(statement, read="snowflake", write="duckdb")[0]) for statement in _statements(sql, policy)]
            theirs, ours, plain, fetched, rows = _race(backend.fetch, direct, door, pairs, sql, repeat)
            print(f"{title:24}{theirs:10.0f}{ours:10.0f}{theirs / ours:8.2f}{plain:11.0f}{rows:8}{fetched:9}", flush=True)
        backend.close()
        direct.close()


def _race(
    fetch: Callable[..., list[tuple[object, ...]]],
    direct: duckdb.DuckDBPyConnection,
    door: Recorder,
    pairs: Sequence[tuple[str, str]],
    sql: str,
    repeat: int,
) -> tuple[float, float, float, int, int]:
    theirs: list[float] = []
    ours: list[float] = []
    plain: list[float] = []
    rows = fetched = 0
    for _ in range(repeat):
        before = door.bytes_back
        started = time.perf_counter()
        rows = sum(len(fetch(s, tag="bench", timeout_s=600, cancelled=threading.Event())) for s, _ in pairs)
        theirs.append((time.perf_counter() - started) * 1000)
        fetched = door.bytes_back - before
        ours.append(seconds(lambda: [direct.execute(s).fetchall() for _, s in pairs]) * 1000)
        plain.append(seconds(lambda: direct.execute(sql).fetchall()) * 1000)
    return min(theirs), min(ours), min(plain), fetched, rows


def tpch(folder: Path) -> None:
    """Write TPC-H SF1 as Parquet, with the generator that DuckDB 1.5.5's tpch package holds."""
    folder.mkdir(parents=True, exist_ok=True)
    if list(folder.glob("*.parquet")):
        return
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=True)
        python = Path(name, "bin", "python")
        packages = [f"duckdb=={TPCH_VERSION}", f"duckdb-extension-tpch=={TPCH_VERSION}"]
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        code = (
            "import sys, pathlib, duckdb\n"
            "extension = next(p for r in sys.path for p in pathlib.Path(r).rglob('tpch.duckdb_extension'))\n"
            "c = duckdb.connect(config={'allow_unsigned_extensions': 'true'})\n"
            "c.execute(f\"LOAD '{extension}'\"); c.execute('CALL dbgen(sf=1)')\n"
            "for t in ('customer', 'orders', 'lineitem'):\n"
            f"    c.execute(f\"COPY {{t}} TO '{folder.resolve()}/{{t}}.parquet' (FORMAT parquet)\")\n"
        )
        subprocess.run([python, "-c", code], check=True)


def _statements(sql: str, policy: Policy) -> list[str]:
    plan = quote(sql, Ask(), policy).plan
    return [part.statement.sql(policy.dialect) for measurement in plan.measurements for part in measurement.parts]


def _generous(text: str, backend: str) -> str:
    """A policy without time grid whose budgets do not end during a benchmark."""
    lines = [line for line in text.splitlines() if not line.startswith(("total_budget", "backend ="))]
    text = "\n".join(lines).replace("[database]", f'[database]\nbackend = "{backend}"')
    limits = "[limits]\ntime_grid_ms = 0"
    text = text.replace("[limits]", limits) if "[limits]" in text else f"{text}\n\n{limits}\n"
    return text.replace("[total]", "[total]\ntotal_budget = 1000000.0")


class _cursor:  # noqa: N801 - used as a function
    """A bare Snowflake cursor on the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        import snowflake.connector

        self._connection = snowflake.connector.connect(
            user="bench", password="x", account="fakesnow", host="127.0.0.1", port=emulator.port, protocol="http",  # noqa: S106
            database="DB1", schema="S1", session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
        )  # fmt: skip

    def __enter__(self) -> object:
        return self._connection.cursor()

    def __exit__(self, *_: object) -> None:
        self._connection.close(retry=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two, or make the data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("overhead").add_argument("--repeat", type=int, default=60)
    both = commands.add_parser("statements")
    both.add_argument("folder", type=Path)
    both.add_argument("--repeat", type=int, default=5)
    commands.add_parser("tpch").add_argument("folder", type=Path)
    given = parser.parse_args(argv)
    match given.command:
        case "overhead":
            overhead(given.repeat)
        case "statements":
            statements(given.folder, given.repeat)
        case _:
            tpch(given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
