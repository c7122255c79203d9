"""Run one query of the corpus down the road without noise, and compare it with plain SQL."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import duckdb

from dpjupyter.engine.finish import finish
from dpjupyter.engine.model import Answer, Ask, ExactRows, Quote
from dpjupyter.engine.noise import noise
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote


class ZeroNoise:
    """A noise source that adds nothing and selects the best score: for tests of exactness only."""

    def laplace(self, scale: float, n: int) -> list[int]:
        return [0] * n

    def gaussian(self, scale: float, n: int) -> list[int]:
        return [0] * n

    def select(self, scores: list[int], scale: float) -> int:
        return max(range(len(scores)), key=scores.__getitem__)


@dataclass(slots=True)
class Ran:
    """A query that was answered without noise."""

    quote: Quote
    answer: Answer
    statements: list[str] = field(default_factory=list[str])


def exact_rows(priced: Quote, connection: duckdb.DuckDBPyConnection) -> ExactRows:
    """What the warehouse returns for a plan."""
    parts = {
        (m.name, n): connection.execute(p.statement.sql("duckdb")).fetchall()
        for m in priced.plan.measurements
        for n, p in enumerate(m.parts)
    }
    publics = {p.name: connection.execute(p.statement.sql("duckdb")).fetchall() for p in priced.plan.publics}
    return ExactRows(parts, publics)


def run(sql: str, policy: Policy, connection: duckdb.DuckDBPyConnection, ask: Ask | None = None) -> Ran:
    """Answer a query with zero noise."""
    priced = quote(sql, ask or Ask(), policy)
    answer = finish(noise(exact_rows(priced, connection), priced, ZeroNoise()), priced)
    statements = [p.statement.sql("duckdb") for m in priced.plan.measurements for p in m.parts]
    return Ran(priced, answer, statements)


def plain(value: object) -> object:
    """A value of either side in a form that compares."""
    match value:
        case bool():
            return int(value)
        case Decimal():
            return float(value)
        case dt.datetime():
            return value.isoformat(sep=" ")
        case dt.date() | dt.time():
            return value.isoformat()
        case float() if math.isnan(value):
            return None
        case _:
            return value


def close(a: object, b: object, tolerance: float) -> bool:
    """Whether two cells agree."""
    a, b = plain(a), plain(b)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))
    if isinstance(a, str) and isinstance(b, str) and a != b:
        return a.removesuffix(" 00:00:00") == b.removesuffix(" 00:00:00")
    return a == b


def differences(ran: Ran, rows: Sequence[tuple[object, ...]], tolerance: float = 1e-5) -> list[str]:
    """Released rows that plain SQL does not have. Rows without counted people and absent keys are not compared."""
    found: list[str] = []
    keys = [i for i, o in enumerate(ran.quote.plan.outputs) if o.is_key]
    if not keys:
        if len(rows) == len(ran.answer.rows) == 1 and not all(
            close(a, b, tolerance) or b is None for a, b in zip(ran.answer.rows[0], rows[0], strict=True)
        ):
            found.append(f"{ran.answer.rows[0]} instead of {rows[0]}")
        return found
    by_key: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
    for row in rows:
        by_key.setdefault(tuple(_key(row[i]) for i in keys), []).append(row)
    for row in ran.answer.rows:
        same = by_key.get(tuple(_key(row[i]) for i in keys), [])
        if same and not any(all(close(a, b, tolerance) or b is None for a, b in zip(row, other, strict=True)) for other in same):
            found.append(f"{row} instead of {same[0]}")
    return found


def _key(value: object) -> object:
    value = plain(value)
    if isinstance(value, float):
        return round(value, 9)
    return value.removesuffix(" 00:00:00") if isinstance(value, str) else value
