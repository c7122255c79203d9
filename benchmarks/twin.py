"""Synthetic twins: how well they fit (Titanic, against non-private floors) and how they scale (40 columns, a million rows).

    python benchmarks/twin.py quality [--epsilon 1] [--delta 1e-6] [--draws 50]
    python benchmarks/twin.py related [--epsilon 2] [--delta 1e-7] [--draws 5]
    python benchmarks/twin.py scale   [--columns 40] [--rows 1000000]

Quality compares with the data themselves: that is for example data only, never for an owner's own.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
import uuid
from pathlib import Path

import duckdb
import numpy as np

from dpjupyter.demo.build import build_shop, build_titanic
from dpjupyter.engine.backends.duckdb import LOCKED, DuckDBBackend
from dpjupyter.engine.ledger.store import open_ledger
from dpjupyter.engine.noise import OpenDPNoise
from dpjupyter.engine.policy import Policy, load, parse
from dpjupyter.engine.synthetic import Publication, TwinStore, publish_twin
from dpjupyter.engine.synthetic.counts import ExactCounts
from dpjupyter.engine.synthetic.fit import fit
from dpjupyter.engine.synthetic.layout import Layout, layout
from dpjupyter.engine.synthetic.measure import Released, measure
from dpjupyter.engine.synthetic.price import price
from dpjupyter.engine.synthetic.publish import Prepared, run
from dpjupyter.engine.synthetic.sample import sample
from dpjupyter.engine.synthetic.statements import statements

EIGHT = ("survived", "pclass", "sex", "age", "sibsp", "parch", "fare", "embarked")
POLICIES = Path(__file__).parents[1] / "dpjupyter" / "demo" / "policies"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    quality_ = commands.add_parser("quality")
    quality_.add_argument("--epsilon", type=float, default=1.0)
    quality_.add_argument("--delta", type=float, default=1e-6)
    quality_.add_argument("--draws", type=int, default=50)
    related_ = commands.add_parser("related")
    related_.add_argument("--epsilon", type=float, default=2.0)
    related_.add_argument("--delta", type=float, default=1e-7)
    related_.add_argument("--draws", type=int, default=5)
    scale_ = commands.add_parser("scale")
    scale_.add_argument("--columns", type=int, default=40)
    scale_.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    match args.command:
        case "quality":
            quality(args.epsilon, args.delta, args.draws)
        case "related":
            related(args.epsilon, args.delta, args.draws)
        case _:
            scale(args.columns, args.rows)


# ---------------------------------------------------------------- quality
def eight_columns() -> Policy:
    """The demo's policy with the eight columns that other tools are usually tried on."""
    policy = load(POLICIES / "titanic.toml")
    table = policy.tables["passengers"]
    kept = {name: column for name, column in table.columns.items() if name in (*EIGHT, "passenger_id")}
    return policy.model_copy(update={"tables": {"passengers": table.model_copy(update={"columns": kept})}})


def quality(epsilon: float, delta: float, draws: int) -> None:
    policy = eight_columns()
    plan = layout("passengers", policy)
    priced = price(plan, policy, epsilon=epsilon, delta=delta)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "titanic.duckdb"
        build_titanic(path)
        backend = DuckDBBackend.open(f"duckdb:///{path}")
        publication = Publication("passengers", epsilon, delta, "owner", "benchmark", "")
        exact = run(Prepared(priced, None, statements(plan, policy)), backend, publication, threading.Event())
        backend.close()
    rows = int(exact.table((0,), plan).sum())
    errors, times = [], []
    for _ in range(draws):
        started = time.perf_counter()
        released = measure(exact, priced, {}, 0, OpenDPNoise())
        bins = sample(fit(released, plan), plan, round(released.rows), {}, np.random.default_rng())
        times.append(time.perf_counter() - started)
        errors.append(distances(bins, exact, plan))
    print(f"epsilon {epsilon:g}, delta {delta:g}, {rows} rows, {len(plan.own)} columns, {sum(a.size for a in plan.own)} bins, mean of {draws} twins")
    print(f"{'':34}1-way   2-way   (mean total variation distance over all columns, all pairs)")
    one, two = np.mean(errors, axis=0)
    print(f"{'twin':32}  {one:.4f}  {two:.4f}   measured, fitted and drawn in {1000 * float(np.median(times)):.0f} ms")
    for name, found in floors(exact, plan, rows).items():
        print(f"{name:32}  {found[0]:.4f}  {found[1]:.4f}")


def distances(bins: dict[int, np.ndarray], exact: ExactCounts, plan: Layout) -> tuple[float, float]:
    """Mean total variation distance of one- and two-way tables, over all columns and all pairs."""
    one, two = [], []
    for n, axis in enumerate(plan.axes):
        one.append(_distance(np.bincount(bins[n], minlength=axis.size), exact.table((n,), plan)))
    for a, b in plan.pairs():
        held = np.zeros((plan.axes[a].size, plan.axes[b].size))
        np.add.at(held, (bins[a], bins[b]), 1)
        two.append(_distance(held, exact.table((a, b), plan)))
    return float(np.mean(one)), float(np.mean(two))


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one / max(1, one.sum()) - other / max(1, other.sum())).sum()) / 2


def floors(exact: ExactCounts, plan: Layout, rows: int) -> dict[str, tuple[float, float]]:
    """What no noise at all would give: the same tree of exact tables; independent columns; a second sample of as many people."""
    tree = _exact_tree(exact, plan)
    found = {}
    for name, pairs in (("floor: exact tree, no noise", tree), ("floor: exact columns, independent", ())):
        noisy = {n: exact.table((n,), plan).astype(float) for n in range(len(plan.axes))}
        groups = {n: np.arange(axis.size) for n, axis in enumerate(plan.axes)}
        two_way = {pair: exact.table(pair, plan).astype(float) for pair in pairs}
        released = Released(float(rows), None, None, None, noisy, groups, two_way, 1.0, 1.0)
        drawn = [distances(sample(fit(released, plan), plan, rows, {}, np.random.default_rng(n)), exact, plan) for n in range(10)]
        found[name] = tuple(np.mean(drawn, axis=0))
    rng = np.random.default_rng(0)
    one = np.mean([[_distance(rng.multinomial(rows, t.ravel() / t.sum()), t.ravel()) for n in range(len(plan.axes)) for t in [exact.table((n,), plan)]] for _ in range(20)])
    two = np.mean([[_distance(rng.multinomial(rows, t.ravel() / t.sum()), t.ravel()) for p in plan.pairs() for t in [exact.table(p, plan)]] for _ in range(20)])
    found["floor: another sample of people"] = (float(one), float(two))
    return found


def _exact_tree(exact: ExactCounts, plan: Layout) -> tuple[tuple[int, int], ...]:
    """Chow and Liu: the tree of largest mutual information."""
    gain = {}
    for a, b in plan.pairs():
        joint = exact.table((a, b), plan) / exact.table((a, b), plan).sum()
        product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        there = joint > 0
        gain[a, b] = float((joint[there] * np.log(joint[there] / product[there])).sum())
    root = list(range(len(plan.axes)))
    tree = []
    for a, b in sorted(gain, key=lambda pair: -gain[pair]):
        if root[a] != root[b]:
            tree.append((a, b))
            root = [root[a] if r == root[b] else r for r in root]
    return tuple(tree)


# ---------------------------------------------------------------- related tables
KNOWN = "customer_id IN (SELECT customer_id FROM customers)"
NUMBERS = {
    "orders": f"SELECT COUNT(*) FROM orders WHERE {KNOWN}",
    "orders, at most 20 of a customer": f"SELECT SUM(LEAST(n, 20)) FROM (SELECT COUNT(*) AS n FROM orders WHERE {KNOWN} GROUP BY customer_id)",
    "customers without an order": "SELECT COUNT(*) FROM customers WHERE customer_id NOT IN (SELECT customer_id FROM orders WHERE customer_id IS NOT NULL)",
    "lines of an order, mean": f"SELECT AVG(n) FROM (SELECT COUNT(*) AS n FROM order_lines l JOIN orders o USING (order_id) WHERE {KNOWN} GROUP BY order_id)",
    "orders of a business customer, mean": "SELECT COUNT(*) / COUNT(DISTINCT customer_id) FROM orders JOIN customers USING (customer_id) WHERE segment = 'business'",
}
SHARES = {
    "orders by segment and channel": "SELECT segment, channel, COUNT(*) FROM orders JOIN customers USING (customer_id) GROUP BY ALL",
    "orders by segment and status": "SELECT segment, status, COUNT(*) FROM orders JOIN customers USING (customer_id) GROUP BY ALL",
    "lines by channel and category": f"SELECT channel, category, COUNT(*) FROM order_lines JOIN orders USING (order_id) JOIN products USING (product_id) WHERE {KNOWN} GROUP BY ALL",
}


def related(epsilon: float, delta: float, draws: int) -> None:
    policy = load(POLICIES / "shop.toml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "shop.duckdb"
        build_shop(path)
        backend = DuckDBBackend.open(f"duckdb:///{path}")
        real = duckdb.connect(str(path), read_only=True, config=dict(LOCKED))
        numbers: dict[str, list[float]] = {}
        shares: dict[str, list[float]] = {}
        for draw in range(draws):
            ledger = open_ledger(f"sqlite:///{folder}/{draw}.db")
            ledger.ensure_rows(policy)
            store = TwinStore(folder / f"twins{draw}")
            with duckdb.connect() as twin:
                twin.execute("CREATE TABLE products (product_id INTEGER, category VARCHAR)")
                twin.executemany("INSERT INTO products VALUES (?, ?)", real.execute("SELECT product_id, category FROM products").fetchall())
                for table in ("customers", "orders", "order_lines"):
                    publication = Publication(table, epsilon, delta, "owner", uuid.uuid4().hex, "")
                    card = publish_twin(publication, policy, ledger=ledger, backend=backend, noise_source=OpenDPNoise(), store=store, cancelled=threading.Event())
                    twin.execute(f"CREATE TABLE {table} AS SELECT * FROM '{store.rows_of(card)}'")
                for what, sql in NUMBERS.items():
                    numbers.setdefault(what, []).append(float(twin.execute(sql).fetchall()[0][0]))
                for what, sql in SHARES.items():
                    shares.setdefault(what, []).append(_shares_apart(twin.execute(sql).fetchall(), real.execute(sql).fetchall()))
            ledger.close()
        print(f"shop, epsilon {epsilon:g} and delta {delta:g} for each of three tables, mean of {draws} draws")
        for what, found in numbers.items():
            print(f"{what:40} data {float(real.execute(NUMBERS[what]).fetchall()[0][0]):9.2f}   twin {np.mean(found):9.2f}")
        for what, apart in shares.items():
            print(f"{what:40} total variation distance {np.mean(apart):.3f}")
        real.close()
        backend.close()


def _shares_apart(one: list[tuple[object, ...]], other: list[tuple[object, ...]]) -> float:
    a, b = ({row[:-1]: int(str(row[-1])) for row in rows} for rows in (one, other))
    totals = max(1, sum(a.values())), max(1, sum(b.values()))
    return sum(abs(a.get(k, 0) / totals[0] - b.get(k, 0) / totals[1]) for k in set(a) | set(b)) / 2


# ---------------------------------------------------------------- scale
def scale(columns: int, rows: int) -> None:
    declared = "\n".join(
        f'columns.c{n} = {{type = "DOUBLE", bounds = [0, 100], nullable = false}}' if n % 2 else f'columns.c{n} = {{type = "INTEGER", bounds = [0, 999]}}'
        for n in range(columns)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "wide.duckdb"
        with duckdb.connect(str(path)) as connection:
            made = ", ".join(
                f"((hash(i * {n + 1}) % 1000) / 10.0)::DOUBLE AS c{n}" if n % 2 else f"((i * {n + 3}) % 1000)::INTEGER AS c{n}" for n in range(columns)
            )
            connection.execute(f"CREATE TABLE wide AS SELECT {made}, (i % {rows // 2 or 1})::BIGINT AS u FROM range({rows}) s(i)")
        for unit, extra in (("row", ""), ("u", "max_rows = 1")):
            policy = parse(
                f'[database]\nprefix = "b"\nname = "b"\nbackend = "duckdb:///{path}"\n'
                f'[tables.wide]\nunit = "{unit}"\n{extra}\ncolumns.u = {{type = "BIGINT"}}\n{declared}\n'
            )
            ledger = open_ledger(f"sqlite:///{folder}/{unit}.db")
            ledger.ensure_rows(policy)
            backend = DuckDBBackend.open(f"duckdb:///{path}?memory=2GB")
            before, started = _memory(), time.perf_counter()
            card = publish_twin(
                Publication("wide", 1.0, 1e-6, "owner", uuid.uuid4().hex, ""), policy, ledger=ledger, backend=backend,
                noise_source=OpenDPNoise(), store=TwinStore(folder / "twins"), cancelled=threading.Event(),
            )  # fmt: skip
            took = time.perf_counter() - started
            print(f"unit = {unit}: {columns} columns x {rows} rows, {columns * (columns - 1) // 2} pairs: {took:.1f} s, twin of {card.rows} rows, "
                  f"peak memory {_memory():.0f} MB (before: {before:.0f} MB)")  # fmt: skip
            backend.close()
            ledger.close()


def _memory() -> float:
    """Largest resident size of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
