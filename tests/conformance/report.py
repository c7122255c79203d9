"""What of the corpus is answered, and whether what is answered is private and right."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from dpjupyter.engine.model import Ask, Plan
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote
from dpjupyter.errors import DpError
from tests.conformance import exact, sensitivity
from tests.conformance.corpus import Case, cases, load, policy_of

SLOW_S = 5.0


@dataclass(slots=True)
class Verdict:
    """What happened to one query."""

    case: Case
    answered: bool
    reason: str = ""  # of a refusal
    statements: list[str] = field(default_factory=list[str])
    reads: bool = False  # any table at all: what reads none is a constant of the text
    problems: list[str] = field(default_factory=list[str])  # crashes, sensitivity violations, wrong exact values


class Corpus:
    """A folder of the corpus's form with the databases of its schemas, loaded when first needed."""

    def __init__(self, folder: Path, schemas: Path | None = None) -> None:
        self.folder = folder
        self.schemas = schemas or folder / "schemas"
        self._policies: dict[str, Policy] = {}
        self._databases: dict[str, duckdb.DuckDBPyConnection] = {}

    def policy(self, schema: str) -> Policy:
        """The schema as a policy."""
        if schema not in self._policies:
            self._policies[schema] = policy_of(self.schemas, schema)
        return self._policies[schema]

    def database(self, schema: str) -> duckdb.DuckDBPyConnection:
        """The schema's data."""
        if schema not in self._databases:
            self._databases[schema] = load(self.schemas, schema)
        return self._databases[schema]

    def all(self) -> list[Case]:
        """Every query of the folder."""
        return [c for name in ("accept.jsonl", "reject.jsonl") if (self.folder / name).exists() for c in cases(self.folder, name)]

    # ------------------------------------------------------------ checks
    def verdict(self, case: Case, *, neighbours: int = 0, compare: bool = False) -> Verdict:
        """Quote and answer one query without noise; with ``neighbours`` units removed in turn, compare the statements' results."""
        policy = self.policy(case.schema)
        try:
            quote(case.sql, Ask(), policy)
        except DpError as error:
            return Verdict(case, answered=False, reason=f"{error.kind}: {error.message}")
        verdict = Verdict(case, answered=True)
        try:
            ran = exact.run(case.sql, policy, self.database(case.schema))
            verdict.statements = ran.statements
            verdict.reads = bool(ran.statements or ran.quote.plan.publics)
            if neighbours:
                self._neighbours(case, verdict, neighbours)
            if compare:
                self._compare(case, verdict)
        except Exception as error:  # noqa: BLE001 - a crash after the quote is a finding, not a stop
            verdict.problems.append(f"crash: {type(error).__name__}: {error}")
        return verdict

    def _neighbours(self, case: Case, verdict: Verdict, count: int) -> None:
        policy, database = self.policy(case.schema), self.database(case.schema)
        private = [name for name, table in policy.tables.items() if table.private]
        for ask in (Ask(), Ask(max_rows=2, max_groups=2)):  # the second makes every limit bite
            plan: Plan = quote(case.sql, ask, policy).plan
            if not plan.measurements:
                continue
            before = sensitivity.results(plan, database)
            for victim in sensitivity.units(database, policy, list(plan.tables), count, seed=7):
                with sensitivity.without(database, policy, private, victim):
                    after = sensitivity.results(plan, database)
                verdict.problems += [f"sensitivity: {v}" for v in sensitivity.violations(plan, before, after)]

    def _compare(self, case: Case, verdict: Verdict) -> None:
        """Equality with plain SQL where no bound bites: limits far above the data's, quantiles and outer key lists aside."""
        if case.verdict not in ("core", "extended") or {"limit", "quantile", "min_max", "public_groups"} & set(case.tags):
            return
        policy, database = self.policy(case.schema), self.database(case.schema)
        wide = Ask(epsilon=10.0, max_rows=300, max_groups=300)
        started = time.monotonic()
        rows = database.execute(case.sql).fetchall()
        if time.monotonic() - started > SLOW_S:
            return
        ran = exact.run(case.sql, policy, database, wide)
        verdict.problems += [f"exactness: {d}" for d in exact.differences(ran, rows, 2e-3)[:2]]


def summary(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """{"core": {"answered": n, "of": n, "missed": [ids]}, ...} by level or oracle, and problems by id."""
    counted: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for v in verdicts:
        entry = counted.setdefault(v.case.verdict, {"answered": 0, "of": 0, "missed": [], "answered_ids": []})
        entry["of"] += 1
        if v.answered:
            entry["answered"] += 1
            entry["answered_ids"].append(v.case.id)
        else:
            entry["missed"].append(v.case.id)
        if v.problems:
            problems[v.case.id] = v.problems
    for level in ("core", "extended", "policy"):
        if level in counted:
            del counted[level]["answered_ids"]
    counted["problems"] = problems
    return counted


def by_tag(verdicts: Iterable[Verdict]) -> dict[str, tuple[int, int]]:
    """Tag -> (answered, of) over the queries that must be answered."""
    answered, total = Counter[str](), Counter[str]()
    for v in verdicts:
        if v.case.verdict in ("core", "extended"):
            for tag in v.case.tags:
                total[tag] += 1
                answered[tag] += v.answered
    return {tag: (answered[tag], total[tag]) for tag in sorted(total)}


@cache
def visible() -> Corpus:
    """The corpus beside the checkout."""
    from tests.conformance.corpus import home

    return Corpus(home())


def as_json(verdicts: list[Verdict]) -> str:
    """The machine-readable report."""
    return json.dumps(summary(verdicts), indent=1)
