"""What an analyst asks, and what was released to them before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp

from dpjupyter.engine.model.values import AnswerKind, Mechanism, SqlType, Value


@dataclass(frozen=True, slots=True)
class Ask:
    """What the analyst is willing to pay for each answer, and how contributions are bounded."""

    epsilon: float | None = None  # per answer; None: the policy's default
    delta: float | None = None  # per answer, Gauss only
    mechanism: Mechanism | None = None
    answers: Mapping[str, float] = field(default_factory=dict[str, float])  # output column name -> its epsilon
    max_rows: int | None = None
    max_groups: int | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])  # :name placeholders


@dataclass(frozen=True, slots=True)
class Query:
    """One parsed SELECT with its parameters bound as literals."""

    text: str
    dialect: str
    tree: exp.Query


@dataclass(frozen=True, slots=True)
class Noise:
    """How one statistic or selection is made private."""

    mechanism: Literal["discrete_laplace", "discrete_gaussian", "exponential"]
    scale: float  # grid units; for "exponential" the Gumbel scale in score units
    epsilon: float  # paid for it
    delta: float = 0.0


@dataclass(frozen=True, slots=True)
class SavedColumn:
    """A column of a saved table and what is known of its noise: the noise itself, or intervals of its cells, or nothing."""

    name: str
    type: SqlType
    values: tuple[Value, ...]  # DECIMALs as text: no digit is lost
    mechanism: str = ""  # "": exact (a key, a public value)
    noise: Noise | None = None  # of every cell, in steps of ``grid``
    grid: float = 1.0
    cells: tuple[tuple[tuple[float, float] | None, ...], ...] = ()  # per row, one interval per confidence

    @property
    def noisy(self) -> bool:
        """Whether noise entered it."""
        return bool(self.mechanism)

    @property
    def replayable(self) -> bool:
        """Whether it is known how far its numbers stray."""
        return self.noise is not None or bool(self.cells)


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A released table that its analyst kept: read as ``saved.NAME`` above measurements, never sent to the warehouse."""

    name: str
    columns: tuple[SavedColumn, ...]  # names are unique
    rows: int
    tables: tuple[str, ...]  # private tables it was computed from
    kind: AnswerKind
    unmetered: bool
    checksum: str  # of the policy it was released under
    data_version: str
    sha256: str  # of its content: part of a question's fingerprint


Saved = Callable[[str], SavedTable | None]  # an analyst's saved table by folded name


def nothing_saved(_: str) -> None:
    """For questions of nobody in particular: no table is saved."""
    return
