"""One noisy value, and whether two of them differ by more than their noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dpjupyter.answer import formats
from dpjupyter.answer.formats import Interval
from dpjupyter.errors import BadRequest
from dpjupyter.wire import Value

DEFAULT_CONFIDENCE = 0.95
# Where half-widths of independent noises may be added in quadrature, see Cell.compare.
QUADRATURE_FROM = 0.95


@dataclass(frozen=True, slots=True)
class Cell:
    """A released value with its intervals."""

    label: str
    value: Value
    intervals: Mapping[float, Interval]  # confidence -> lower, upper; empty: exact
    kind: str  # base name of the SQL type
    independent: bool = False  # its noise is its own: the value is shown as it was drawn

    def interval(self, confidence: float = DEFAULT_CONFIDENCE) -> Interval | None:
        """Lower and upper end, or None where the value is exact.

        Raises: BadRequest: no interval of this confidence came with the answer.
        """
        if not self.intervals:
            return None
        return self.intervals[known_confidence(confidence, self.intervals)]

    def compare(self, other: Cell | float, confidence: float = DEFAULT_CONFIDENCE) -> Comparison:
        """Whether this value differs from another, or from a number, by more than noise explains.

        The interval of the difference: for two independent noises at 95% or more, half-widths are added in
        quadrature (exact for Gaussian noise; for Laplace noise of any two scales the true confidence is
        higher, up to 95.5%). Otherwise nothing is assumed of how the noises hang together, and both intervals are
        taken at a confidence c with 2(1-c) <= 1-confidence.

        Raises: BadRequest: a value is not a number, or the confidence is not offered.
        """
        there = other if isinstance(other, Cell) else Cell(formats.plain(other), other, {}, "DOUBLE")
        a, b = _number(self), _number(there)
        noisy = [cell for cell in (self, there) if cell.intervals]
        apart = len(noisy) < 2 or (self.independent and there.independent and confidence >= QUADRATURE_FROM)
        if noisy:
            known_confidence(confidence, noisy[0].intervals)
        level = confidence if apart else _union_level(confidence, noisy[0].intervals)
        a_low, a_high = self.interval(level) or (a, a)
        b_low, b_high = there.interval(level) or (b, b)
        if apart:
            low, high = a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)
        else:
            low, high = a_low - b_high, a_high - b_low
        return Comparison(self.label, there.label, a - b, low, high, confidence)

    def __str__(self) -> str:
        at = {c: i for c, i in self.intervals.items() if math.isclose(c, DEFAULT_CONFIDENCE)} or self.intervals
        return str(formats.cell(self.value, next(iter(at.values()), None), self.kind))

    def __repr__(self) -> str:
        return f"{self.label} = {self}" if self.label else str(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two values, ``a - b``, with its interval."""

    a: str
    b: str
    difference: float
    lower: float
    upper: float
    confidence: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval excludes zero."""
        return self.lower > 0 or self.upper < 0

    @property
    def verdict(self) -> str:
        """``indistinguishable``, ``larger`` or ``smaller`` (the first than the second)."""
        if not self.distinguishable:
            return "indistinguishable"
        return "larger" if self.difference > 0 else "smaller"

    def __str__(self) -> str:
        shown = formats.cell(self.difference, (self.lower, self.upper), "DOUBLE")
        if not self.distinguishable:
            return f"{self.a} and {self.b} are indistinguishable at {self.confidence:.0%}: they differ by {shown}"
        return f"{self.a} is {self.verdict} than {self.b} at {self.confidence:.0%}: they differ by {shown}"

    def __repr__(self) -> str:
        return str(self)


def known_confidence(confidence: float, offered: Mapping[float, object]) -> float:
    """The offered confidence that is meant.

    Raises: BadRequest: none is.
    """
    for known in offered:
        if math.isclose(known, confidence, abs_tol=1e-9):
            return known
    levels = ", ".join(f"{level:g}" for level in sorted(offered))
    raise BadRequest(f"no interval at confidence {confidence:g} came with this answer", hint=f"Offered: {levels or 'none'}.")


def _union_level(confidence: float, offered: Mapping[float, object]) -> float:
    enough = [level for level in offered if 2 * (1 - level) <= 1 - confidence + 1e-9]
    if not enough:
        best = max(offered)
        hint = f"Use a confidence of at most {2 * best - 1:g}."
        raise BadRequest(f"values with a common source of noise cannot be compared at {confidence:g}", hint=hint)
    return min(enough)


def _number(cell: Cell) -> float:
    if cell.value is None or isinstance(cell.value, str | bool):
        raise BadRequest(f"{cell.label} is {formats.plain(cell.value)}, not a number: it cannot be compared")
    return cell.value
