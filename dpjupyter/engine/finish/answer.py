"""finish(): released tables, through the rest of the query, to the answer that is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal

import duckdb
from sqlglot import exp

from dpjupyter.engine.accounting import ATTO, PICO
from dpjupyter.engine.algebra import walk
from dpjupyter.engine.finish.desk import Desk, measured_columns, public_columns, saved_columns, shown
from dpjupyter.engine.finish.replays import Replayed, replayed
from dpjupyter.engine.intervals import Carrier, half_width, noisy_tables
from dpjupyter.engine.model import (
    CONFIDENCES,
    Aggregate,
    Answer,
    AnswerKind,
    Join,
    Kind,
    NoisyRows,
    Output,
    Plan,
    Quote,
    Rel,
    SetOperation,
    Sort,
    Statistic,
    Value,
    Window,
)
from dpjupyter.engine.render import render
from dpjupyter.errors import UnsupportedSQL

Cell = tuple[float, float] | None


def finish(noisy: NoisyRows, quote: Quote, *, timeout_s: float = 30.0, intervals: bool = True) -> Answer:
    """Run the finishing query on the released tables and say how far each number may be off.

    Who paid is not part of it: the same answer is given to others who ask the same question.

    Args:
        noisy: released tables.
        quote: the priced plan they were released under.
        timeout_s: the finishing query is interrupted after this.
        intervals: whether to work out those of derived columns.
    Raises: duckdb.Error: the finishing query failed or took too long.
    """
    plan = quote.plan
    with Desk(timeout_s) as desk:
        loaded = {m.name: desk.load(m.name, measured_columns(m, noisy.tables[m.name])) for m in plan.measurements}
        for public in plan.publics:
            loaded[public.name] = desk.load(public.name, public_columns(plan, public.name, noisy.publics[public.name]))
        for name, table in plan.saved.items():
            loaded[name] = desk.load(name, saved_columns(name, table))
        names, fetched = desk.rows(render(plan.finishing, "duckdb"))
        order = [names.index(output.id) for output in plan.outputs]
        rows = tuple(tuple(shown(row[n], output.type) for n, output in zip(order, plan.outputs, strict=True)) for row in fetched)
        spread = replayed(desk, noisy, quote, loaded, rows) if intervals else Replayed(0, frozenset(), [{}] * len(rows))
    return Answer(
        columns=tuple((output.name, output.type.text) for output in plan.outputs),
        rows=rows,
        intervals={str(c): _level(rows, quote, spread, n) for n, c in enumerate(CONFIDENCES)},
        utility=_utility(quote, spread),
        cost=_cost(quote),
        notes=plan.notes,
        kind=_kind(plan),
        unmetered=any(table.unmetered for table in plan.saved.values()),
        drawn_from=tuple(sorted({name for table in plan.saved.values() for name in table.tables})),
        decimals=_decimals(plan, order, fetched),
    )


def tried(quote: Quote, *, timeout_s: float = 5.0) -> None:
    """Have the finishing query bound against empty tables, so that one that cannot run is refused before it is paid.

    Raises: UnsupportedSQL: types that do not fit; the text is DuckDB's, which has seen no data.
    """
    plan = quote.plan
    if not any(_can_fail(node) for node in walk(plan.finishing)):
        return
    tables = {m.name: measured_columns(m, ()) for m in plan.measurements}
    tables |= {public.name: public_columns(plan, public.name, ()) for public in plan.publics}
    tables |= {name: saved_columns(name, table) for name, table in plan.saved.items()}
    try:
        with Desk(timeout_s) as desk:
            for name, columns in tables.items():
                desk.load(name, [(column, type_, ()) for column, type_, _ in columns])
            desk.bind(render(plan.finishing, "duckdb"))
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0].partition("Error: ")[2].rstrip(". ")
    else:
        return
    raise UnsupportedSQL(
        f"What is done with the released numbers does not work: {reason or 'it is too complex'}.",
        hint="Check the types of what is added up, compared or cast above the aggregates. Nothing was charged.",
    )


def _can_fail(node: Rel) -> bool:
    # Arithmetic and functions have been checked by the planner, and aggregates of the data are its own; binding costs as much as planning.
    sorts_by_value = isinstance(node, Sort) and not all(isinstance(o.this, exp.Column) for o in node.order)
    return sorts_by_value or isinstance(node, (Window, Aggregate, SetOperation, Join))


def _kind(plan: Plan) -> AnswerKind:
    """A saved table's label stays with what is drawn from it: synthetic numbers never pass for an answer."""
    kinds = {table.kind for table in plan.saved.values()}
    if "synthetic" in kinds:
        return "synthetic"
    return "private" if plan.measurements or "private" in kinds else "public"


def _decimals(plan: Plan, order: Sequence[int], fetched: Sequence[tuple[object, ...]]) -> dict[str, tuple[str | None, ...]]:
    """DECIMAL columns as text, where the numbers shown, which are floats, have fewer digits."""
    exact: dict[str, tuple[str | None, ...]] = {}
    for at, (n, output) in enumerate(zip(order, plan.outputs, strict=True)):
        values = [row[n] for row in fetched] if output.type.kind is Kind.DECIMAL else []
        if any(isinstance(v, Decimal) and Decimal(repr(float(v))) != v for v in values):
            exact[str(at)] = tuple(None if v is None else str(v) for v in values)
    return exact


# ---------------------------------------------------------------- intervals
def _level(rows: Sequence[tuple[Value, ...]], quote: Quote, spread: Replayed, level: int) -> tuple[tuple[Cell, ...], ...]:
    """Intervals of every cell at one confidence: exact for direct columns, replayed for derived ones."""
    widths: dict[int, float] = {}
    for n, output in enumerate(quote.plan.outputs):
        statistic = _direct(output, quote.plan)
        if statistic is not None:
            widths[n] = half_width(quote.noise[statistic.name], CONFIDENCES[level]) * float(statistic.grid)
    result: list[tuple[Cell, ...]] = []
    for row, cells in zip(rows, spread.cells, strict=True):
        unknown = (None,) * len(CONFIDENCES)
        result.append(tuple(_around(value, widths[n]) if n in widths else cells.get(n, unknown)[level] for n, value in enumerate(row)))
    return tuple(result)


def _around(value: Value, width: float) -> Cell:
    return (value - width, value + width) if isinstance(value, int | float) else None


def _direct(output: Output, plan: Plan) -> Statistic | None:
    if output.direct is None:
        return None
    return next((s for m in plan.measurements for p in m.parts for s in p.statistics if s.name == output.direct), None)


# ---------------------------------------------------------------- what is said beside the numbers
def _utility(quote: Quote, spread: Replayed) -> tuple[Mapping[str, Value], ...]:
    noisy = Carrier(noisy_tables(quote.plan, quote.noise)).carry(quote.plan.finishing).noisy
    before = {f"{name}_{n}": c.mechanism for name, table in quote.plan.saved.items() for n, c in enumerate(table.columns)}
    result: list[Mapping[str, Value]] = []
    for n, output in enumerate(quote.plan.outputs):
        statistic = _direct(output, quote.plan)
        entering = sorted(noisy.get(output.id, frozenset()))
        used = [quote.noise[name] for name in entering if name in quote.noise]
        mechanisms = {u.mechanism for u in used} | {before[name] for name in entering if name in before}
        said: dict[str, Value] = {"name": output.name, "derived": False, "key": False}
        if statistic is not None:
            noise = quote.noise[statistic.name]
            grid = float(statistic.grid)
            said |= {"mechanism": noise.mechanism, "scale": noise.scale * grid, "epsilon": noise.epsilon, "grid": grid}
            said |= {f"half_width_{c}": half_width(noise, c) * float(statistic.grid) for c in CONFIDENCES}
        elif mechanisms:
            said |= {"derived": True, "mechanism": " + ".join(sorted({m for each in mechanisms for m in each.split(" + ")})), "scale": None}
            said |= {"epsilon": math.fsum(u.epsilon for u in used), "replays": spread.replays if n in spread.columns else 0}
        else:
            said["key"] = True  # or computed from keys and public values alone
        result.append(said)
    return tuple(result)


def _cost(quote: Quote) -> Mapping[str, object]:
    cost = quote.cost
    delta = (cost.atto_key_delta + cost.atto_gauss_delta) / ATTO
    epsilon = cost.pico_epsilon / PICO
    columns = {item.label: list(item.columns) for item in quote.plan.items}
    return {
        "epsilon": epsilon,
        "rho": cost.pico_rho / PICO,
        "delta": delta,
        "answers": [{**asdict(call), "columns": columns.get(call.label, [])} for call in cost.calls],
        "tables": [{"table": name, "epsilon": epsilon, "delta": delta} for name in quote.plan.tables],
    }
