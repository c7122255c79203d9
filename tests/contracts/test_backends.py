"""What every warehouse promises the engine, tried on DuckDB, on the Snowflake emulator and, if told where, on a real account.

Real account: DPJUPYTER_TEST_SNOWFLAKE='snowflake://connection_name' python -m pytest tests/contracts/test_backends.py -k RealAccount
It runs literal SELECTs only, needs no table, and costs a few seconds of an extra-small warehouse.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from dpjupyter.engine.backends import Backend, BackendFailed, open_backend
from tests.contracts.emulator import PASSWORD, Emulator

REAL = "DPJUPYTER_TEST_SNOWFLAKE"


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator")) as running:
        running.run()
        yield running


@pytest.fixture(scope="session")
def emulated(emulator: Emulator) -> Iterator[Backend]:
    backend = open_backend(emulator.url())
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def real() -> Iterator[Backend]:
    backend = open_backend(os.environ[REAL])
    yield backend
    backend.close()


def fetch(backend: Backend, sql: str, *, timeout_s: float = 60.0, cancelled: threading.Event | None = None, tag: str = "request-1") -> list[tuple[object, ...]]:
    return backend.fetch(sql, tag=tag, timeout_s=timeout_s, cancelled=cancelled or threading.Event())


def failure(backend: Backend, sql: str, **how: object) -> BackendFailed:
    with pytest.raises(BackendFailed) as caught:
        fetch(backend, sql, **how)  # type: ignore[arg-type]
    return caught.value


class Contract:
    """Inherited by one class per warehouse, which gives the fixture ``backend`` and a statement that runs for long."""

    slow = ""  # SELECT of one integer that takes some seconds at least
    widest = 10**37 + 1
    stops_within_s = 3.0  # after a cancel or timeout, at the latest

    def test_rows_are_plain_python_values(self, backend: Backend) -> None:
        sql = """SELECT 7 AS a, CAST(1.50 AS DECIMAL(10,2)) AS b, CAST(0.1 AS DOUBLE) AS c, 'ü''x' AS d, TRUE AS e, CAST(NULL AS INTEGER) AS f,
                        CAST('2020-01-31' AS DATE) AS g, CAST('2020-01-31 10:00:00' AS TIMESTAMP) AS h, CAST('10:20:30' AS TIME) AS i"""
        (row,) = fetch(backend, sql)
        assert row == (7, 1.5, 0.1, "ü'x", True, None, "2020-01-31", "2020-01-31 10:00:00", "10:20:30")
        assert [type(value) for value in row] == [int, float, float, str, bool, type(None), str, str, str]

    def test_integers_are_exact_at_any_width(self, backend: Backend) -> None:
        for value in (0, -1, 2**31, -(2**62), 2**63 - 1, self.widest, -self.widest):
            assert fetch(backend, f"SELECT CAST('{value}' AS DECIMAL(38,0)) AS a") == [(value,)]

    def test_sums_of_wide_integers_are_exact(self, backend: Backend) -> None:
        sql = f"SELECT SUM(CAST(x AS DECIMAL(38,0))) AS s FROM (SELECT {2**62} AS x UNION ALL SELECT {2**62} UNION ALL SELECT 1) AS t"
        assert fetch(backend, sql) == [(2**63 + 1,)]

    def test_negative_zero_is_zero(self, backend: Backend) -> None:
        ((value,),) = fetch(backend, "SELECT CAST('-0.0' AS DOUBLE) AS z")
        assert str(value) == "0.0"

    def test_no_rows_is_an_empty_list(self, backend: Backend) -> None:
        assert fetch(backend, "SELECT 1 AS a WHERE 1 = 0") == []

    def test_many_rows_arrive_complete(self, backend: Backend) -> None:
        digits = " UNION ALL ".join(f"SELECT {n} AS d" for n in range(10))
        joins = " CROSS JOIN ".join(f"({digits}) AS t{n}" for n in range(4))
        rows = fetch(backend, f"SELECT t0.d + 10 * t1.d + 100 * t2.d + 1000 * t3.d AS n FROM {joins}")
        assert sorted(rows) == [(n,) for n in range(10_000)]

    def test_null_and_column_order_survive(self, backend: Backend) -> None:
        rows = fetch(backend, "SELECT k AS a, v AS b FROM (SELECT 'x' AS k, 1 AS v UNION ALL SELECT NULL, 2) AS t ORDER BY v")
        assert rows == [("x", 1), (None, 2)]

    @pytest.mark.parametrize("bad", ["SELECT nothing_like_it FROM no_such_table", "SELECT CAST('patient-4711' AS INTEGER) AS a", "SELEKT 1"])
    def test_a_failure_says_why_in_one_word_and_nothing_else(self, backend: Backend, bad: str, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG, logger="dpjupyter"):
            error = failure(backend, bad)
        assert error.reason == str(error) == "statement"
        assert error.__cause__ is None
        assert error.__context__ is None
        told = "".join(traceback.format_exception(error)) + caplog.text + repr(error) + repr(backend)
        for secret in ("4711", "no_such_table", PASSWORD):
            assert secret not in told

    @pytest.mark.parametrize("bad", ["CREATE TABLE t9 (a INTEGER)", "SELECT 1 AS a; SELECT 2 AS a", "EXPLAIN SELECT 1", "DROP TABLE t9", "SET x = 1", ""])
    def test_only_one_select_is_run(self, backend: Backend, bad: str) -> None:
        assert failure(backend, bad).reason == "statement"

    def test_a_failed_statement_does_not_spoil_the_next(self, backend: Backend) -> None:
        for n in range(5):
            failure(backend, "SELECT CAST('x' AS INTEGER) AS a")
            assert fetch(backend, f"SELECT {n} AS a") == [(n,)]

    def test_timeout(self, backend: Backend) -> None:
        started = time.monotonic()
        assert failure(backend, self.slow, timeout_s=0.3).reason == "timeout"
        assert time.monotonic() - started < 0.3 + self.stops_within_s
        assert fetch(backend, "SELECT 1 AS a") == [(1,)]

    def test_cancel_while_it_runs(self, backend: Backend) -> None:
        cancelled = threading.Event()
        timer = threading.Timer(0.3, cancelled.set)
        timer.start()
        started = time.monotonic()
        assert failure(backend, self.slow, cancelled=cancelled).reason == "cancelled"
        assert time.monotonic() - started < 0.3 + self.stops_within_s
        timer.join()
        assert fetch(backend, "SELECT 1 AS a") == [(1,)]

    def test_cancelled_before_it_starts(self, backend: Backend) -> None:
        cancelled = threading.Event()
        cancelled.set()
        assert failure(backend, "SELECT 1 AS a", cancelled=cancelled).reason == "cancelled"

    def test_eight_threads_get_their_own_rows(self, backend: Backend) -> None:
        def ask(thread: int) -> None:
            for n in range(6):
                sql = f"SELECT {thread} AS who, SUM(x) AS s FROM (SELECT {n} AS x UNION ALL SELECT {thread}) AS t"
                assert fetch(backend, sql, tag=f"thread-{thread}.{n}") == [(thread, thread + n)]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(8)))

    def test_progress_is_told_in_the_callers_thread(self, backend: Backend) -> None:
        told: list[tuple[str, int]] = []
        with pytest.raises(BackendFailed):
            backend.fetch(self.slow, tag="r", timeout_s=0.2, cancelled=threading.Event(), progress=lambda text: told.append((text, threading.get_ident())))
        assert {thread for _, thread in told} <= {threading.get_ident()}
        assert {text for text, _ in told} <= {"running", "waiting for the warehouse", "the warehouse is resuming"}

    def test_check_speaks_in_sentences(self, backend: Backend) -> None:
        assert all(isinstance(text, str) and PASSWORD not in text for text in backend.check())

    def test_after_close_nothing_runs(self, fresh: Backend) -> None:
        assert fetch(fresh, "SELECT 1 AS a") == [(1,)]
        fresh.close()
        fresh.close()
        assert failure(fresh, "SELECT 1 AS a").reason == "connection"

    def test_close_ends_a_running_statement(self, fresh: Backend) -> None:
        timer = threading.Timer(0.3, fresh.close)
        timer.start()
        started = time.monotonic()
        assert failure(fresh, self.slow, timeout_s=60).reason == "connection"
        assert time.monotonic() - started < 0.3 + self.stops_within_s
        timer.join()


class TestDuckDB(Contract):
    slow = "SELECT COUNT(*) FROM range(100000000) AS a(i), range(1000) AS b(j) WHERE hash(i, j) = 3"

    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Iterator[Backend]:
        path = tmp_path / "facts.duckdb"
        duckdb.connect(str(path)).close()
        backend = open_backend(f"duckdb:///{path}?threads=2&memory=500MB")
        yield backend
        backend.close()

    @pytest.fixture
    def backend(self, fresh: Backend) -> Backend:
        return fresh


class TestDuckDBInMemory(TestDuckDB):
    @pytest.fixture
    def fresh(self) -> Iterator[Backend]:
        from dpjupyter.engine.backends.duckdb import DuckDBBackend

        backend = DuckDBBackend(duckdb.connect())
        yield backend
        backend.close()


class TestSnowflakeEmulator(Contract):
    widest = 2**63 - 1  # the emulator keeps NUMBER(38,0) in 64 bits; its sums are wider
    # It cannot cancel: what it was asked runs to its end, so it is made to end soon.
    slow = "SELECT COUNT(*) AS n FROM range(20000) AS a(i), range(10000) AS b(j) WHERE HASH(i, j) = 3"

    @pytest.fixture
    def backend(self, emulated: Backend) -> Backend:
        return emulated

    @pytest.fixture
    def fresh(self, emulator: Emulator) -> Iterator[Backend]:
        backend = open_backend(emulator.url())
        yield backend
        backend.close()


@pytest.mark.skipif(REAL not in os.environ, reason=f"NOT VERIFIED ON A REAL SNOWFLAKE ACCOUNT: set {REAL} to a backend URL")
class TestRealAccount(Contract):
    slow = "SELECT SYSTEM$WAIT(20) AS n"
    stops_within_s = 10.0

    @pytest.fixture
    def backend(self, real: Backend) -> Backend:
        return real

    @pytest.fixture
    def fresh(self) -> Iterator[Backend]:
        backend = open_backend(os.environ[REAL])
        yield backend
        backend.close()
