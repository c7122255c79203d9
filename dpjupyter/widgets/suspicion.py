"""Near-duplicate questions in an audit log: the same question with other numbers, or paid again and again.

Neither breaks the promise (every answer is paid for); both are how noise is averaged away or a single
person is circled in, so an owner wants to see them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dpjupyter.wire import AuditRow

FEWEST = 3  # questions of one shape by one analyst before it is mentioned
PAID = ("answered", "unmetered", "failed", "debited")
_LITERAL = re.compile(r"'(?:[^']|'')*'|(?<![\w\"])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Repetition:
    """Questions of one analyst that differ in literals at most."""

    analyst: str
    shape: str  # the question with ? for every literal
    times: int  # paid
    distinct: int  # different questions among them
    epsilon: float  # paid for all

    def __str__(self) -> str:
        what = "the same question" if self.distinct == 1 else f"{self.distinct} questions that differ in literals only"
        return f"{self.analyst} paid {self.times} times for {what} (ε {self.epsilon:.6g}): {self.shape}"


def shape(sql: str) -> str:
    """The question with its literals, comments, case and spacing taken out."""
    return " ".join(_LITERAL.sub("?", _COMMENT.sub(" ", sql)).casefold().split())


def repetitions(rows: Sequence[AuditRow]) -> list[Repetition]:
    """Repeated shapes, most expensive first."""
    groups: dict[tuple[str, str], list[AuditRow]] = {}
    for row in rows:
        if row.verdict in PAID and row.sql:
            groups.setdefault((row.analyst, shape(row.sql)), []).append(row)
    found = [
        Repetition(analyst, text, len(asked), len({row.fingerprint or row.sql for row in asked}), sum(row.epsilon for row in asked))
        for (analyst, text), asked in groups.items()
        if len(asked) >= FEWEST
    ]
    return sorted(found, key=lambda one: (-one.epsilon, one.analyst, one.shape))
