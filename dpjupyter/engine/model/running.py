"""What a paid question goes through: a receipt, exact rows, noisy rows, an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dpjupyter.engine.model.values import AnswerKind, Value


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a committed debit."""

    request_id: str
    analyst: str
    debited: tuple[str, ...]  # names of the budget rows that paid
    unmetered: tuple[str, ...]  # rows with strategy `allow` that could not pay: their promise is void
    time: str  # the ledger database's clock, UTC
    balances: Mapping[str, float]  # residual budget per row after the debit
    before: Mapping[str, float] = field(default_factory=dict[str, float])  # residual budget per row before it


@dataclass(frozen=True, slots=True, repr=False)
class ExactRows:
    """Un-noised integers from the warehouse. One consumer: noise(). Never shown, logged or kept."""

    parts: Mapping[tuple[str, int], list[tuple[object, ...]]]  # (measurement, part index) -> rows
    publics: Mapping[str, list[tuple[object, ...]]]

    def __repr__(self) -> str:
        return "ExactRows(...)"


@dataclass(frozen=True, slots=True)
class NoisyRows:
    """Released tables: per measurement the key values and the noisy integers or selected values."""

    tables: Mapping[str, list[tuple[Value, ...]]]  # columns: keys, then statistics and selections in order of parts
    publics: Mapping[str, list[tuple[object, ...]]]


CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Answer:
    """A released result: post-processing of NoisyRows only; safe to keep, file and send."""

    columns: tuple[tuple[str, str], ...]  # (name, type)
    rows: tuple[tuple[Value, ...], ...]
    intervals: Mapping[str, tuple[tuple[tuple[float, float] | None, ...], ...]]  # "0.95" -> row -> cell
    utility: tuple[Mapping[str, Value], ...]  # per column: mechanism, scale, epsilon, derived
    cost: Mapping[str, object]  # epsilon, rho, delta, per answer and per table
    notes: tuple[str, ...]
    kind: AnswerKind = "private"
    unmetered: bool = False  # it was drawn from a saved table that a budget row did not pay for
    drawn_from: tuple[str, ...] = ()  # private tables behind the saved tables it was drawn from
    decimals: Mapping[str, tuple[str | None, ...]] = field(  # column number -> its DECIMALs as text, where a float would lose digits
        default_factory=dict[str, tuple[str | None, ...]]
    )
