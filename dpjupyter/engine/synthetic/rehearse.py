"""A private question rehearsed on twins: its whole road, many times over, to see the error before paying for it.

The plan is the private one: the same measurements, limits of contribution, noise and thresholds. Only its statements run
on the twin instead of the data, once; noise and finishing are repeated. The error of a cell is its distance from what
plain SQL says of the twin: noise, clamping, dropped rows and hidden groups all show in it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import duckdb

from dpjupyter.engine.bind import bind
from dpjupyter.engine.finish import finish
from dpjupyter.engine.model import CONFIDENCES, Answer, Ask, Kind, Quote, Saved, Value, nothing_saved
from dpjupyter.engine.noise import NoiseSource, noise
from dpjupyter.engine.parse import parse
from dpjupyter.engine.plan import plan
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.price import price
from dpjupyter.engine.synthetic.use import TIMEOUT_S, Twins, answer_free, fetched, prepare, private_policy, usable, warehouse
from dpjupyter.errors import AskRefused

MOST_ROWS = 5000  # of one rehearsed answer: every run keeps its numbers
_NUMBERS = frozenset({Kind.INT, Kind.DECIMAL, Kind.FLOAT})
Cell = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ColumnRehearsal:
    """How far one column's numbers strayed from the twin's own, over all rows and runs."""

    name: str
    median_error: float | None
    p95_error: float | None
    bias: float | None  # mean of the signed errors: what clamping and limits take away
    row_p95: tuple[float | None, ...]  # per row of the answer


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rehearsal showed."""

    runs: int
    priced: Quote  # what asking for real costs
    columns: tuple[ColumnRehearsal, ...]
    shown: tuple[float, ...]  # per row: share of runs in which it was there at all
    extra: float  # rows per run that the twin's own answer has not


def rehearse(
    sql: str,
    ask: Ask,
    twins: Twins,
    *,
    times: int,
    noise_source: NoiseSource,
    cancelled: threading.Event,
    saved: Saved = nothing_saved,
    timeout_s: float = TIMEOUT_S,
) -> tuple[Answer, Rehearsal]:
    """The twin's own answer with intervals as wide as the private answers strayed, and how they did.

    Raises: Refused: the question has no private answer, or a table has no twin. NotFound: a twin's file is gone.
    """
    deadline = time.monotonic() + min(timeout_s, TIMEOUT_S)
    priced = _quote(sql, ask, twins.policy, saved)
    if not priced.plan.measurements:
        raise AskRefused("This question costs nothing: there is nothing to rehearse.")
    free = prepare(sql, ask, twins, saved)
    plain = answer_free(free, twins, cancelled=cancelled, timeout_s=timeout_s)
    if len(plain.rows) > MOST_ROWS:
        raise AskRefused(f"An answer of more than {MOST_ROWS} rows is not rehearsed.")
    local = _quote(sql, ask, private_policy(twins.policy), saved)
    # The private plan reads more than the question names: tables on the way to a unit.
    cards = usable([*(card.table for card in free.cards), *local.plan.tables], twins)
    with closing(warehouse(cards, free.publics, twins, cancelled)) as backend:
        exact = fetched(local.plan, backend, deadline, cancelled)
    runs: list[Answer] = []
    while len(runs) < times and (time.monotonic() < deadline or not runs) and not cancelled.is_set():
        try:
            runs.append(finish(noise(exact, local, noise_source), local, intervals=False))
        except duckdb.Error:
            raise AskRefused("The question could not be finished on the synthetic twin.") from None
    if not runs:
        raise AskRefused("The rehearsal was cancelled.")
    return _compared(plain, runs, local, priced, times)


def _quote(sql: str, ask: Ask, policy: Policy, saved: Saved) -> Quote:
    return price(plan(bind(parse(sql, policy.dialect, ask.parameters), policy, saved), policy, ask), ask, policy)


def _compared(plain: Answer, runs: Sequence[Answer], local: Quote, priced: Quote, times: int) -> tuple[Answer, Rehearsal]:
    outputs = local.plan.outputs
    noisy = [n for n, said in enumerate(runs[0].utility) if not said.get("key")]
    keys = [n for n in range(len(outputs)) if n not in noisy]
    numbers = [n for n in noisy if outputs[n].type.kind in _NUMBERS]
    places: dict[tuple[str, ...], int] = {}
    for at, row in enumerate(plain.rows):
        places.setdefault(_key(row, keys), at)
    errors: dict[tuple[int, int], list[float]] = {}
    seen, extra = [0] * len(plain.rows), 0
    for run in runs:
        for key, row in {_key(row, keys): row for row in run.rows}.items():
            at = places.get(key)
            if at is None:
                extra += 1
                continue
            seen[at] += 1
            for n in numbers:
                there, here = plain.rows[at][n], row[n]
                if _number(there) and _number(here):
                    errors.setdefault((at, n), []).append(float(here) - float(there))  # type: ignore[arg-type]
    intervals = {str(c): tuple(_row(plain, errors, at, c) for at in range(len(plain.rows))) for c in CONFIDENCES}
    columns = tuple(_column(plain, errors, n) for n in numbers)
    utility = tuple(_utility(outputs[n].name, runs[0].utility[n], is_key=n in keys) for n in range(len(outputs)))
    notes = [
        f"Rehearsed {len(runs)} times on the synthetic twin, free: ± is how far the private answer is likely to be from what it asks for.",
        f"Asking for real costs epsilon {priced.cost.pico_epsilon / 1e12:g}.",
    ]
    if len(runs) < times:
        notes.append(f"Time was up before all {times} runs.")
    hidden = sum(1 for count in seen if count < len(runs) / 2)
    if hidden:
        notes.append(f"{hidden} of {len(seen)} rows stayed hidden in more than half of the runs.")
    shown = tuple(count / len(runs) for count in seen)
    answer = replace(plain, intervals=intervals, utility=utility, notes=(*notes, *plain.notes))
    return answer, Rehearsal(len(runs), priced, columns, shown, extra / len(runs))


def _number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _key(row: Sequence[Value], keys: Sequence[int]) -> tuple[str, ...]:
    # 1 and 1.0 are one key: a private plan may carry a number in another type than plain SQL.
    return tuple(f"{float(v):.12g}" if isinstance(v, int | float) else repr(v) for v in (row[n] for n in keys))


def _row(plain: Answer, errors: Mapping[tuple[int, int], list[float]], at: int, confidence: float) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    for n, value in enumerate(plain.rows[at]):
        strayed = errors.get((at, n))
        if not strayed or not _number(value):
            cells.append(None)
            continue
        # Symmetric: what will be paid for is the distance, whichever way noise goes then.
        width = _quantile([abs(e) for e in strayed], confidence)
        cells.append((float(value) - width, float(value) + width))  # type: ignore[arg-type]
    return tuple(cells)


def _column(plain: Answer, errors: Mapping[tuple[int, int], list[float]], n: int) -> ColumnRehearsal:
    every = [e for at in range(len(plain.rows)) for e in errors.get((at, n), [])]
    sizes = [abs(e) for e in every]
    rows = tuple(_quantile([abs(e) for e in strayed], 0.95) if (strayed := errors.get((at, n))) else None for at in range(len(plain.rows)))
    return ColumnRehearsal(
        plain.columns[n][0],
        _quantile(sizes, 0.5) if sizes else None,
        _quantile(sizes, 0.95) if sizes else None,
        math.fsum(every) / len(every) if every else None,
        rows,
    )


def _quantile(values: list[float], level: float) -> float:
    """Smallest value that at least this share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(level * len(ordered)) - 1))]


def _utility(name: str, said: Mapping[str, Value], *, is_key: bool) -> Mapping[str, Value]:
    """As of the private answer, without its widths: those shown are the rehearsed ones."""
    return {
        "name": name,
        "key": is_key,
        "derived": bool(said.get("derived")),
        "mechanism": said.get("mechanism"),
        "epsilon": said.get("epsilon"),
    }
