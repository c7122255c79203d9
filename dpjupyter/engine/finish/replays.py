"""Intervals of derived columns: the finishing query on many replays of the known noise.

Around the released values the same noise is laid again, in stratified draws (every replay of one number takes another
of the noise's equally likely parts, in an order mixed by a fixed hash): the same answer always gets the same intervals,
and no random generator comes near a release.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sqlglot import exp

from dpjupyter.engine.algebra import walk
from dpjupyter.engine.finish.desk import Desk, Released, shown
from dpjupyter.engine.finish.redraw import drawable, mixed, redrawn
from dpjupyter.engine.intervals import REPLAY, REPLAYS, ROW, Carried, Carrier, noisy_tables, quantiles, replayed_name
from dpjupyter.engine.model import (
    CONFIDENCES,
    Aggregate,
    Constants,
    Filter,
    Join,
    Kind,
    Measurement,
    NoisyRows,
    Project,
    Quote,
    Rel,
    Scan,
    SetOperation,
    Shared,
    Sort,
    Value,
    Window,
)
from dpjupyter.engine.render import column, render

MOST = 1000  # replays of a small answer
LEAST = 100  # below this an interval would say little
ROWS = 400_000  # rows of all released tables in all replays: about 0.3 s of work
VALUES = 20_000_000  # noisy numbers in all replays: 160 MB
TIME_S = 5.0
_EXACT = 2.0**53
_TYPES = {"int64": "BIGINT", "float64": "DOUBLE"}  # arrays that are of a column's type already
_log = logging.getLogger(__name__)
_NUMBERS = frozenset({Kind.INT, Kind.DECIMAL, Kind.FLOAT})

Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """Intervals per row of the answer: output number -> one interval per confidence."""

    replays: int
    columns: frozenset[int]
    cells: Sequence[Mapping[int, tuple[Interval, ...]]] = field(default_factory=list[Mapping[int, tuple[Interval, ...]]])


def replayed(desk: Desk, noisy: NoisyRows, quote: Quote, loaded: Mapping[str, Released], rows: Sequence[tuple[Value, ...]]) -> Replayed:
    """Intervals for every cell that is computed from noisy numbers and is a number itself.

    Columns that a selection (a quantile) enters have none: its spread cannot be told without asking the data again.
    Nothing is raised: the answer is paid for, and is worth having without intervals.
    """
    try:
        return _replayed(desk, noisy, quote, loaded, rows)
    except Exception as error:  # noqa: BLE001 - see above
        _log.warning("no intervals of derived columns: %s", type(error).__name__)
        return Replayed(0, frozenset(), [{}] * len(rows))


def _replayed(desk: Desk, noisy: NoisyRows, quote: Quote, loaded: Mapping[str, Released], rows: Sequence[tuple[Value, ...]]) -> Replayed:
    plan = quote.plan
    nothing = Replayed(0, frozenset(), [{}] * len(rows))
    wanted = [n for n, o in enumerate(plan.outputs) if o.direct is None and not o.is_key and o.type.kind in _NUMBERS]
    tables = noisy_tables(plan, quote.noise)
    groups = sum(loaded[name].rows for name in tables)
    if not wanted or not groups or not rows:
        return nothing
    carried = Carrier(tables).answer(plan.finishing)
    selections = {name for name, noise in quote.noise.items() if noise.mechanism == "exponential"}
    selections |= {f"{name}_{n}" for name, t in plan.saved.items() for n, c in enumerate(t.columns) if c.noisy and not c.replayable}
    wanted = [n for n in wanted if _moves(carried, plan.outputs[n].id, selections)]
    used = _used(plan.finishing)
    numbers = sum(loaded[m.name].rows * len(part.statistics) for m in plan.measurements for part in m.parts)
    numbers += sum(table.rows * len(drawable(name, table, used)) for name, table in plan.saved.items() if name in tables)
    replays = min(MOST, ROWS // max(groups, _rows(plan.finishing, loaded)), VALUES // max(numbers, 1))
    if not wanted or carried.replay is None or replays < LEAST:
        return nothing
    desk.hurry(TIME_S)
    desk.offer("numbers", {REPLAY: np.arange(replays + 1)})
    if any(isinstance(r, Scan) and r.table == REPLAYS for r in walk(carried.rel)):
        desk.create(REPLAYS, exp.select(exp.column(REPLAY)).from_("numbers"))
    seed = 0
    for m in plan.measurements:
        drawn, seed = _drawn(m, noisy.tables[m.name], quote, replays, seed)
        _load(desk, m.name, loaded[m.name], drawn, measured=True)
    for name, table in plan.saved.items():
        if name in tables:
            drawn, seed = redrawn(name, table, used, replays, seed)
            _load(desk, name, loaded[name], drawn, measured=False)
    found: dict[tuple[str, ...], list[Mapping[int, tuple[Interval, ...]]]] = {}
    for row in desk.rows(_summary(carried, [o.id for o in plan.outputs], wanted))[1]:
        values, spreads = row[: len(plan.outputs)], row[len(plan.outputs) :]
        cells = {n: _intervals(levels) for n, levels in zip(wanted, spreads, strict=True)}
        found.setdefault(_look([shown(v, o.type) for v, o in zip(values, plan.outputs, strict=True)]), []).append(cells)
    for candidates in found.values():
        candidates.reverse()  # several rows that look alike take theirs in turn
    return Replayed(replays, frozenset(wanted), [(found.get(_look(row)) or [{}]).pop() for row in rows])


def _rows(rel: Rel, loaded: Mapping[str, Released]) -> int:
    """Rows that one replay has to go through, roughly: joins with a condition are taken to find one partner a row."""
    match rel:
        case Scan():
            return loaded[rel.table].rows
        case Constants():
            return len(rel.rows)
        case Join(condition=None):
            return _rows(rel.left, loaded) * _rows(rel.right, loaded)
        case Join() | SetOperation():
            return _rows(rel.left, loaded) + _rows(rel.right, loaded)
        case Filter() | Project() | Aggregate() | Window() | Sort() | Shared():
            return _rows(rel.input, loaded)


def _used(rel: Rel) -> set[str]:
    """Columns of released tables that the finishing query reads."""
    return {column_ for node in walk(rel) if isinstance(node, Scan) for column_ in node.columns.values()}


def _moves(carried: Carried, id_: str, selections: set[str]) -> bool:
    used = carried.noisy.get(id_, frozenset())
    return bool(used or carried.chosen) and not used & selections


# ---------------------------------------------------------------- draws
def _drawn(
    m: Measurement, rows: Sequence[tuple[Value, ...]], quote: Quote, replays: int, seed: int
) -> tuple[dict[str, npt.NDArray[np.generic]], int]:
    """Columns of a released table in every replay, statistics in their own unit, and the next free seed."""
    n = len(rows)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        ROW: np.repeat(np.arange(n), replays + 1),
        REPLAY: np.tile(np.arange(replays + 1), n),
    }
    position = len(m.keys)
    for part in m.parts:
        for statistic in part.statistics:
            grid = float(statistic.grid)
            steps = [value if isinstance(value, int) else 0 for value in (row[position] for row in rows)]
            base = np.array([float(step * statistic.grid) for step in steps], dtype=np.float64)
            drawn = np.array(quantiles(quote.noise[statistic.name], replays), dtype=np.float64) * grid
            noise = np.zeros((n, replays + 1), dtype=np.float64)
            noise[:, 1:] = drawn[mixed(n, replays, seed)]
            values = (base[:, None] + noise).reshape(-1)
            # Whole numbers as such, where a DOUBLE holds them exactly.
            whole = statistic.grid == 1 and (n == 0 or float(np.abs(values).max()) < _EXACT)
            arrays[statistic.name] = values.astype(np.int64) if whole else values
            seed += n
            position += 1
        position += len(part.selections)
    return arrays, seed


def _load(desk: Desk, table: str, released: Released, arrays: Mapping[str, npt.NDArray[np.generic]], *, measured: bool) -> None:
    """Make the replayed form of one released table: keys and selections stay, statistics move."""
    numbers = {name: array.dtype.name for name, array in arrays.items() if measured and name not in (ROW, REPLAY)}
    given = {name for name, dtype in numbers.items() if released.types[name] == _TYPES.get(dtype)}
    desk.offer(f"{table}_drawn", arrays)
    columns: list[exp.Expression] = [exp.column(name, table="released", quoted=True) for name in released.types if name not in arrays]
    columns += [exp.column(name, table="drawn", quoted=True) for name in (ROW, REPLAY)]
    columns += [
        exp.column(name, table="drawn", quoted=True) if name in given else _value(name, released.types[name])
        for name in arrays
        if name not in (ROW, REPLAY)
    ]
    same = exp.EQ(this=exp.column(ROW, table="drawn", quoted=True), expression=exp.column(ROW, table="released", quoted=True))
    query = exp.select(*columns, copy=False).from_(exp.alias_(exp.to_table(f"{table}_drawn"), "drawn", table=True), copy=False)
    desk.create(replayed_name(table), query.join(exp.alias_(exp.to_table(table), "released", table=True), on=same, copy=False))


def _value(name: str, type_: str) -> exp.Alias:
    """Replay 0 is exactly what was released; the others are doubles brought to its type."""
    drawn = exp.TryCast(this=exp.column(name, table="drawn", quoted=True), to=exp.DataType.build(type_, dialect="duckdb"))
    zero: exp.Expression = exp.EQ(this=exp.column(REPLAY, table="drawn", quoted=True), expression=exp.Literal.number(0))
    missing = exp.Is(this=exp.column(name, table="released", quoted=True), expression=exp.null())
    zero = exp.Or(this=zero, expression=missing)  # what is NULL was not measured: it has no noise
    either = exp.Case().when(zero, exp.column(name, table="released", quoted=True), copy=False).else_(drawn, copy=False)
    return exp.Alias(this=either, alias=exp.to_identifier(name, quoted=True))


# ---------------------------------------------------------------- reading the replays
def _summary(carried: Carried, outputs: Sequence[str], wanted: Sequence[int]) -> exp.Select:
    """Per row of the answer: its values in replay 0, and the quantiles of its wanted columns over the others."""
    number = column(carried.replay or "")
    released = exp.EQ(this=number.copy(), expression=exp.Literal.number(0))
    drawn = exp.GT(this=number.copy(), expression=exp.Literal.number(0))
    tails = sorted({round(p, 6) for c in CONFIDENCES for p in ((1 - c) / 2, (1 + c) / 2)})
    levels = exp.Array(expressions=[exp.Literal.number(repr(p)) for p in tails])
    expressions: list[exp.Expression] = []
    for id_ in outputs:
        first = exp.Anonymous(this="ANY_VALUE", expressions=[column(id_)])
        expressions.append(exp.Filter(this=first, expression=exp.Where(this=released.copy())))
    for n in wanted:
        value = exp.cast(column(outputs[n]), "DOUBLE")
        spread = exp.Anonymous(this="QUANTILE_DISC", expressions=[value, levels.copy()])
        expressions.append(exp.Filter(this=spread, expression=exp.Where(this=drawn.copy())))
    once = exp.Filter(this=exp.Count(this=exp.Star()), expression=exp.Where(this=released.copy()))
    source = exp.Subquery(this=render(carried.rel, "duckdb"), alias=exp.TableAlias(this=exp.to_identifier("replayed")))
    summary = exp.select(*expressions, copy=False).from_(source, copy=False)
    if carried.rows:
        summary = summary.group_by(*(column(id_) for id_ in carried.rows), copy=False)
    # Rows that cannot be told apart in the answer cannot be followed through the replays.
    return summary.having(exp.EQ(this=once, expression=exp.Literal.number(1)), copy=False)


def _intervals(levels: object) -> tuple[Interval, ...]:
    if not isinstance(levels, list) or not levels:
        return (None,) * len(CONFIDENCES)
    ends = [float(v) for v in levels]  # ascending tails: the outermost pair belongs to the largest confidence
    pairs = [(ends[n], ends[-1 - n]) for n in reversed(range(len(CONFIDENCES)))]
    return tuple(pair if all(map(math.isfinite, pair)) else None for pair in pairs)


def _look(values: Sequence[Value]) -> tuple[str, ...]:
    # Float sums over groups may differ in the last digits between two plans of the same query.
    return tuple(f"{v:.9g}" if isinstance(v, float) else repr(v) for v in values)
