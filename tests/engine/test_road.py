"""The whole road on real parts: DuckDB file, SQLite ledger, OpenDP noise; faults are put in through its collaborators."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dpjupyter.engine import policy as policies
from dpjupyter.engine import road
from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.ledger import Asked, Charge
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.engine.model import Ask
from dpjupyter.engine.noise import NoiseSource, OpenDPNoise
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import Outcome, Question, answer, quote
from dpjupyter.errors import (
    BudgetExhausted,
    BudgetMissing,
    DpError,
    LedgerUnavailable,
    PrivacyUnitLost,
    QueryFailed,
    Refused,
    RequestReused,
    SyntaxRefused,
    UnknownName,
    UnsupportedSQL,
)
from tests.engine.plans import Fixed, ZeroNoise

POLICY = """
[database]
prefix = "local"
name = "clinic"
backend = "duckdb:///{path}"
[limits]
default_epsilon = 1.0
[total]
total_budget = 100.0
[analysts]
total_budget = 10.0
[tables.visits]
unit = "patient"
max_rows = 3
max_groups = 2
total_budget = 20.0
key_delta = 1e-7
[tables.visits.columns]
patient = {{ type = "BIGINT", nullable = false }}
ward = {{ type = "VARCHAR", nullable = false, domain = ["east", "west"] }}
cost = {{ type = "DOUBLE", bounds = [0, 100] }}
doctor = {{ type = "VARCHAR" }}
[tables.wards]
private = false
keys = [["ward"]]
enforced_keys = true
rows = 2
[tables.wards.columns]
ward = {{ type = "VARCHAR", nullable = false }}
beds = {{ type = "INTEGER", nullable = false }}
"""

COUNT = "SELECT ward, COUNT(*) AS n FROM visits GROUP BY ward ORDER BY ward"
MEAN = "SELECT AVG(cost) AS mean FROM visits"


@dataclass
class Counting:
    """The real backend, with a fault to throw and a count of statements."""

    inner: DuckDBBackend
    fault: Callable[[], None] = lambda: None
    statements: list[str] = field(default_factory=list)
    dialect: str = "duckdb"

    def check(self) -> tuple[str, ...]:
        return self.inner.check()

    def fetch(self, sql: str, **given: Any) -> list[tuple[object, ...]]:
        self.statements.append(sql)
        self.fault()
        return self.inner.fetch(sql, **given)

    def close(self) -> None:
        self.inner.close()


class Faulty:
    """The real ledger, with methods that fail."""

    def __init__(self, inner: LedgerStore, **faults: Exception) -> None:
        self._inner, self._faults = inner, faults

    def __getattr__(self, name: str) -> Any:
        if name not in self._faults:
            return getattr(self._inner, name)

        def fail(*_: object) -> None:
            raise self._faults[name]

        return fail


@dataclass
class House:
    policy: Policy
    ledger: Any
    backend: Counting
    numbers: Iterator[int]

    def ask(self, sql: str, *, ask: Ask | None = None, source: NoiseSource | None = None, cancelled: threading.Event | None = None, **given: Any) -> Outcome:
        given = {"analyst": "alice", "request_id": f"r{next(self.numbers)}", "body_sha256": "0" * 64} | given
        return answer(
            Question(sql, ask or Ask(), **given), self.policy, ledger=self.ledger, backend=self.backend,
            noise_source=source or ZeroNoise(), cancelled=cancelled or threading.Event(), progress=lambda _: None,
        )

    def spent(self, table: str = "visits", analyst: str | None = None) -> float:
        record = self.ledger.get_budget("local", "clinic", table, analyst)
        return record.consumed_budget


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Policy]:
    """The warehouse, its policy and a ledger with its rows; tests copy the ledger."""
    folder = tmp_path_factory.mktemp("clinic")
    path = folder / "clinic.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE visits AS SELECT i % 400 AS patient, CASE WHEN i % 3 = 0 THEN 'east' ELSE 'west' END AS ward, "
                           "(i * 7 % 100)::DOUBLE AS cost, 'dr ' || (i % 4) AS doctor FROM range(800) t(i)")
        connection.execute("CREATE TABLE wards AS SELECT * FROM (VALUES ('east', 10), ('west', 20)) v(ward, beds)")
    policy = policies.parse(POLICY.format(path=path))
    ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
    ledger.ensure_rows(policy)
    ledger.close()
    return folder, policy


@pytest.fixture
def house(built: tuple[Path, Policy], tmp_path: Path) -> Iterator[House]:
    folder, policy = built
    for file in folder.glob("ledger.db*"):
        shutil.copy(file, tmp_path)
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    backend = Counting(DuckDBBackend.open(policy.database.backend))
    yield House(policy, ledger, backend, iter(range(10**6)))
    backend.close()
    getattr(ledger, "_inner", ledger).close()


# ---------------------------------------------------------------- answers
def test_a_question_is_paid_for_and_answered(house: House) -> None:
    outcome = house.ask(COUNT)
    assert outcome.answer.rows == (("east", 267), ("west", 533))
    assert outcome.receipt is not None
    assert outcome.receipt.request_id == "r0"
    assert set(outcome.receipt.debited) >= {"*", "visits"}
    assert house.spent() == house.spent("*") == house.spent(analyst="alice") == 1.0
    assert not outcome.cached
    assert set(outcome.timings_ms) == {"price", "debit", "run", "noise", "finish", "file"}


def test_real_noise_gives_answers_near_the_truth(house: House) -> None:
    rows = house.ask(COUNT, source=OpenDPNoise()).answer.rows
    assert [key for key, _ in rows] == ["east", "west"]
    assert all(abs(n - true) < 200 for (_, n), true in zip(rows, (267, 533), strict=True))


def test_a_quote_says_beforehand_what_is_charged(house: House) -> None:
    for sql in (COUNT, MEAN, "SELECT doctor, COUNT(*) FROM visits GROUP BY doctor"):
        before = house.spent()
        expected = quote(sql, Ask(epsilon=0.5), house.policy).cost.pico_epsilon / 1e12
        house.ask(sql, ask=Ask(epsilon=0.5))
        assert house.spent() - before == pytest.approx(expected)


def test_a_quote_never_touches_the_warehouse_or_the_ledger(house: House) -> None:
    quote(COUNT, Ask(), house.policy)
    assert house.backend.statements == []
    assert house.spent() == 0


def test_the_debit_is_committed_before_the_warehouse_is_asked(house: House) -> None:
    seen: list[float] = []
    house.backend.fault = lambda: seen.append(house.spent())
    house.ask(COUNT)
    assert seen == [1.0]


# ---------------------------------------------------------------- asked before
def test_a_retry_gets_the_filed_answer_and_pays_nothing(house: House) -> None:
    first = house.ask(COUNT, request_id="x", source=OpenDPNoise())
    again = house.ask(COUNT, request_id="x", source=OpenDPNoise())
    assert again.answer == first.answer
    assert again.receipt == first.receipt
    assert len(house.backend.statements) == 1
    assert house.spent() == 1.0


def test_a_request_id_cannot_be_used_for_another_question(house: House) -> None:
    house.ask(COUNT, request_id="x")
    with pytest.raises(RequestReused):
        house.ask(MEAN, request_id="x", body_sha256="1" * 64)


def test_the_same_question_of_another_analyst_is_free_and_does_not_tell_who_paid(house: House) -> None:
    first = house.ask(COUNT, source=OpenDPNoise(), analyst="alice-the-first")
    again = house.ask("select ward , count(*)   as n\nfrom visits group by 1 order by 1 -- mine", analyst="bob", source=OpenDPNoise())
    assert again.cached
    assert again.answer.rows == first.answer.rows
    assert again.receipt is None
    assert house.spent() == 1.0
    assert len(house.backend.statements) == 1
    assert "alice" not in json.dumps(dataclasses.asdict(again.answer), default=str)


def test_skip_cache_pays_again_and_draws_again(house: House) -> None:
    first = house.ask(COUNT, source=OpenDPNoise(), ask=Ask(epsilon=0.1))
    again = house.ask(COUNT, source=OpenDPNoise(), ask=Ask(epsilon=0.1), skip_cache=True)
    assert first.answer.rows != again.answer.rows  # equal by chance once in thousands
    assert house.spent() == pytest.approx(0.2)


def test_names_of_columns_cannot_run_into_each_other(house: House) -> None:
    one, other = (house.policy, '"a|b"'), (house.policy, "a, COUNT(*) AS b")
    found = {quote(f"SELECT COUNT(*) AS {names} FROM visits", Ask(), policy).fingerprint for policy, names in (one, other)}
    assert len(found) == 2


def test_another_epsilon_or_data_version_is_another_question(house: House) -> None:
    house.ask(COUNT)
    assert not house.ask(COUNT, ask=Ask(epsilon=0.5)).cached
    assert house.ask(COUNT).cached
    database = house.policy.database.model_copy(update={"data_version": "2"})
    house.policy = Policy.model_validate({**house.policy.model_dump(), "database": database.model_dump()})
    assert not house.ask(COUNT).cached


# ---------------------------------------------------------------- refused: free
@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM visits", PrivacyUnitLost),
        ("SELECT COUNT(*) FROM nowhere", UnknownName),
        ("SELECT COUNT(*) FROM visits; SELECT 1", SyntaxRefused),
        ("SELECT COUNT(* FROM visits", SyntaxRefused),
        ("SELECT patient, COUNT(*) FROM visits GROUP BY patient", Refused),
    ],
)
def test_refusals_cost_nothing_and_are_written_down(house: House, sql: str, error: type[DpError]) -> None:
    with pytest.raises(error):
        house.ask(sql)
    assert house.spent() == 0
    assert house.backend.statements == []


@pytest.mark.parametrize("ask", [Ask(epsilon=float("nan")), Ask(epsilon=0.0), Ask(epsilon=1e308), Ask(answers={"x": 1.0}), Ask(max_rows=0)])
def test_asks_outside_the_policy_cost_nothing(house: House, ask: Ask) -> None:
    with pytest.raises(Refused):
        house.ask(COUNT, ask=ask)
    assert house.spent() == 0


def test_an_exhausted_budget_refuses_before_the_warehouse_is_asked(house: House) -> None:
    for _ in range(300):  # the filter's rho branch lets through more than the plain sum
        try:
            house.ask(COUNT, skip_cache=True)
        except BudgetExhausted:
            break
    asked = len(house.backend.statements)
    with pytest.raises(BudgetExhausted):
        house.ask(COUNT, skip_cache=True)
    assert len(house.backend.statements) == asked
    assert house.ask(COUNT).cached  # what was released stays readable


def test_a_missing_budget_row_refuses(house: House, tmp_path: Path) -> None:
    house.ledger = open_ledger(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(BudgetMissing):
        house.ask(COUNT)
    assert house.backend.statements == []


def test_public_tables_are_read_exactly_and_free(house: House) -> None:
    outcome = house.ask("SELECT ward, beds FROM wards ORDER BY beds DESC")
    assert outcome.answer.rows == (("west", 20), ("east", 10))
    assert outcome.answer.kind == "public"
    assert outcome.receipt is None
    assert house.spent() == 0


def test_released_and_public_tables_meet_in_finishing(house: House) -> None:
    sql = "WITH n AS (SELECT ward, COUNT(*) AS n FROM visits GROUP BY ward) SELECT w.ward, n.n * 1.0 / w.beds AS load FROM n JOIN wards w USING (ward) ORDER BY 1"
    outcome = house.ask(sql)
    assert outcome.answer.rows == (("east", 26.7), ("west", 26.65))
    low, high = outcome.answer.intervals["0.95"][0][1] or (0, 0)
    assert low < 26.7 < high


# ---------------------------------------------------------------- failures after the debit
class Boom(Exception):
    """Carries what must never be seen."""

    def __init__(self) -> None:
        super().__init__("patient 17 has 4 visits")


class Broken(ZeroNoise):
    def laplace(self, scale: float, n: int) -> list[int]:
        raise Boom

    def select(self, scores: list[int], scale: float) -> int:
        raise Boom


def failing(house: House, stage: str) -> dict[str, Any]:
    def boom() -> None:
        raise Boom

    if stage == "run":
        house.backend.fault = boom
    if stage == "rows":
        house.backend.inner = type("Odd", (), {"fetch": lambda *_, **__: [("east", "seventeen")], "close": house.backend.inner.close})()  # type: ignore[assignment]
    if stage == "finish":
        return {"source": Fixed(2**127)}  # more than the finishing database can hold
    if stage == "file":
        house.ledger = Faulty(house.ledger, file=LedgerUnavailable("gone"))
    return {"source": Broken()} if stage == "noise" else {}


@pytest.mark.parametrize("stage", ["run", "rows", "noise", "finish", "file"])
def test_whatever_fails_after_the_debit_says_one_thing_and_stays_charged(house: House, stage: str, caplog: pytest.LogCaptureFixture) -> None:
    given = {"sql": COUNT} | failing(house, stage)
    with pytest.raises(QueryFailed) as failed:
        house.ask(**given, request_id="x")
    assert str(failed.value) == "the query could not be completed; request x"
    assert failed.value.__context__ is None
    assert failed.value.__cause__ is None
    assert "patient" not in caplog.text
    assert house.spent() == 1.0
    with pytest.raises(QueryFailed):  # it is never run again
        house.ask(**given, request_id="x")
    assert house.spent() == 1.0


def test_a_failure_that_cannot_be_filed_is_still_told_as_a_failure(house: House) -> None:
    failing(house, "run")
    house.ledger = Faulty(house.ledger, failed=LedgerUnavailable("gone"))
    with pytest.raises(QueryFailed):
        house.ask(COUNT)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_filed_as_a_failure_and_goes_on(house: House, interrupt: type[BaseException]) -> None:
    def stop() -> None:
        raise interrupt

    house.backend.fault = stop
    with pytest.raises(interrupt):
        house.ask(COUNT, request_id="x")
    with pytest.raises(QueryFailed):
        house.ask(COUNT, request_id="x")
    assert house.spent() == 1.0


def test_a_cancelled_query_stays_charged(house: House) -> None:
    cancelled = threading.Event()
    house.backend.fault = cancelled.set
    with pytest.raises(QueryFailed):
        house.ask(COUNT, cancelled=cancelled)
    assert house.spent() == 1.0


def test_a_query_out_of_time_stays_charged(house: House) -> None:
    with pytest.raises(QueryFailed):
        house.ask(COUNT, timeout_s=1e-9)
    assert house.spent() == 1.0


def test_a_ledger_that_is_gone_stops_everything_before_the_warehouse(house: House) -> None:
    for method in ("replay", "release", "debit"):
        inner, house.ledger = house.ledger, Faulty(house.ledger, **{method: LedgerUnavailable("gone")})
        with pytest.raises(LedgerUnavailable):
            house.ask(COUNT)
        house.ledger = inner
    assert house.backend.statements == []


def test_a_refusal_is_told_even_when_it_cannot_be_written_down(house: House) -> None:
    house.ledger = Faulty(house.ledger, record=LedgerUnavailable("gone"))
    with pytest.raises(PrivacyUnitLost):
        house.ask("SELECT * FROM visits")


def test_a_failing_public_query_says_no_more_than_a_private_one(house: House) -> None:
    failing(house, "run")
    with pytest.raises(QueryFailed) as failed:
        house.ask("SELECT beds FROM wards")
    assert failed.value.__context__ is None
    assert house.spent() == 0


def test_every_kind_of_request_leaves_its_verdict(house: House) -> None:
    house.ask(COUNT)
    house.ask(COUNT)
    house.ask("SELECT beds FROM wards")
    with pytest.raises(Refused):
        house.ask("SELECT * FROM visits")
    failing(house, "run")
    with pytest.raises(QueryFailed):
        house.ask(MEAN)
    verdicts = {row.request_id: row.verdict for row in house.ledger.audit_rows() if row.request_id}
    assert verdicts == {"r0": "answered", "r1": "cached", "r2": "answered", "r3": "refused", "r4": "failed"}


def test_the_types_a_ledger_gets_are_those_of_the_protocol(house: House) -> None:
    seen: list[object] = []

    class Spy(Faulty):
        def __getattr__(self, name: str) -> Any:
            method = super().__getattr__(name)

            def call(*given: Any) -> Any:
                seen.extend((name, type(g)) for g in given)
                return method(*given)

            return call

    house.ledger = Spy(house.ledger)
    house.ask(COUNT)
    assert seen == [("replay", Asked), ("release", str), ("debit", Charge), ("file", Charge), ("file", str)]


def test_a_failure_of_planning_is_a_refusal(house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise TypeError("secret literal")

    monkeypatch.setattr(road, "plan", broken)
    with pytest.raises(UnsupportedSQL, match="not understood") as refused:
        house.ask("SELECT COUNT(*) FROM visits WHERE 'secret literal' = 'x'")
    assert refused.value.__context__ is None
    assert "TypeError" in caplog.text
    assert "secret" not in caplog.text
    assert house.spent("visits") == 0
