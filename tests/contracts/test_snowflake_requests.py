"""What our sessions really send to Snowflake, recorded on the way, for everything that the emulator does not enforce."""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dpjupyter.engine.backends import BackendFailed, open_backend
from dpjupyter.engine.backends.snowflake import SnowflakeBackend
from dpjupyter.engine.backends.snowflake_settings import read
from dpjupyter.engine.backends.waits import RUNNING, WAITING
from dpjupyter.errors import PolicyError
from tests.contracts.emulator import PASSWORD, Emulator, Recorder, Reply, Request, refusal, rowset, status


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator")) as running:
        running.run()
        yield running


@pytest.fixture
def recorder(emulator: Emulator) -> Iterator[Recorder]:
    with Recorder(emulator.port) as standing:
        yield standing


def ask(url: str, sql: str = "SELECT 42 AS a", **how: object) -> list[tuple[object, ...]]:
    backend = open_backend(url)
    try:
        return backend.fetch(sql, **({"tag": "req-7", "timeout_s": 30.0, "cancelled": threading.Event()} | how))  # type: ignore[arg-type]
    finally:
        backend.close()


def login(recorder: Recorder) -> Request:
    (request, *_) = recorder.to("login-request")
    return request


def submissions(recorder: Recorder) -> list[Request]:
    return [request for request in recorder.to("query-request") if request.body.get("asyncExec")]


# ---------------------------------------------------------------- logging in
def test_password_login_sets_role_warehouse_and_session(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    assert ask(emulator.url(tmp_path, port=recorder.port, role="READER", warehouse="SMALL")) == [(42,)]
    request = login(recorder)
    data = request.body["data"]
    assert request.query["roleName"] == "READER"
    assert request.query["warehouse"] == "SMALL"
    assert request.query["databaseName"] == "DB1"
    assert (data["LOGIN_NAME"], data["PASSWORD"]) == ("gateway", PASSWORD)
    assert data["SECONDARY_ROLES"] == "NONE"
    session = data["SESSION_PARAMETERS"]
    assert session["QUERY_TAG"] == "dpjupyter"
    assert session["ABORT_DETACHED_QUERY"] is True
    assert session["MULTI_STATEMENT_COUNT"] == 1
    assert session["CLIENT_TELEMETRY_ENABLED"] is False
    assert session["ROWS_PER_RESULTSET"] == 0
    assert (session["TIMEZONE"], session["TIMESTAMP_TYPE_MAPPING"], session["WEEK_START"]) == ("UTC", "TIMESTAMP_NTZ", 0)


def test_the_password_travels_in_the_login_alone(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    ask(emulator.url(tmp_path, port=recorder.port))
    holding = [request.path for request in recorder.requests if PASSWORD in str(request)]
    assert holding == ["/session/v1/login-request"]
    assert not recorder.to("telemetry")


def test_key_pair_login_signs_a_token_that_the_public_key_verifies(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    locked = serialization.BestAvailableEncryption(b"pass phrase")
    (tmp_path / "key.p8").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    (tmp_path / "phrase").write_text("pass phrase\n")
    for name in ("key.p8", "phrase"):
        (tmp_path / name).chmod(0o600)
    url = emulator.url(port=recorder.port, login=f"private_key_file={tmp_path / 'key.p8'}&private_key_file_pwd_file={tmp_path / 'phrase'}")
    assert ask(url) == [(42,)]
    data = login(recorder).body["data"]
    assert data["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(data["TOKEN"], key.public_key(), algorithms=["RS256"])
    assert claims["sub"] == "FAKESNOW.GATEWAY"
    assert claims["iss"] == "FAKESNOW.GATEWAY.SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode()
    assert "PASSWORD" not in data or not data["PASSWORD"]


def test_a_wrong_passphrase_is_told_without_it(emulator: Emulator, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(65537, 2048)
    locked = serialization.BestAvailableEncryption(b"right")
    (tmp_path / "key.p8").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    (tmp_path / "key.p8").chmod(0o600)
    monkeypatch.setenv("KEY_PHRASE", "wrong-phrase-99")
    with pytest.raises(PolicyError) as caught:
        open_backend(emulator.url(port=recorder.port, login=f"private_key_file={tmp_path / 'key.p8'}&private_key_file_pwd_env=KEY_PHRASE"))
    assert "wrong-phrase-99" not in str(caught.value)
    assert caught.value.__context__ is None
    assert not recorder.to("login-request")


@pytest.mark.parametrize(("given", "sent"), [("", "PROGRAMMATIC_ACCESS_TOKEN"), ("&authenticator=oauth", "OAUTH")])
def test_token_login(emulator: Emulator, recorder: Recorder, tmp_path: Path, given: str, sent: str) -> None:
    (tmp_path / "token").write_text("secret-token-1\n")
    (tmp_path / "token").chmod(0o600)
    url = emulator.url(port=recorder.port, login=f"token_file={tmp_path / 'token'}{given}")
    assert ask(url) == [(42,)]
    data = login(recorder).body["data"]
    assert (data["AUTHENTICATOR"], data["TOKEN"]) == (sent, "secret-token-1")


def test_a_rotated_token_is_used_at_the_next_login(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    token.chmod(0o600)
    recorder.script = lambda r: refusal(390114, "token expired") if r.body.get("asyncExec") and len(recorder.to("login-request")) == 1 else None
    backend = open_backend(emulator.url(port=recorder.port, login=f"token_file={token}&authenticator=oauth"))
    backend.check()
    token.write_text("second")
    assert backend.fetch("SELECT 42 AS a", tag="t", timeout_s=30, cancelled=threading.Event()) == [(42,)]
    assert [request.body["data"]["TOKEN"] for request in recorder.to("login-request")] == ["first", "second"]
    backend.close()


def test_connection_from_snowflakes_own_file(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    """connections.toml is read by the driver when it is imported, so this runs in a process of its own."""
    import os
    import subprocess
    import sys

    (tmp_path / "connections.toml").write_text(
        f'[shop]\naccount = "fakesnow"\nuser = "gateway"\npassword = "{PASSWORD}"\nhost = "127.0.0.1"\nport = {recorder.port}\n'
        'protocol = "http"\ndatabase = "DB1"\nschema = "S1"\nrole = "READER"\n'
    )
    (tmp_path / "connections.toml").chmod(0o600)
    code = (
        "import threading; from dpjupyter.engine.backends import open_backend\n"
        "b = open_backend('snowflake://shop?warehouse=SMALL')\n"
        "print(b.fetch('SELECT 42 AS a', tag='t', timeout_s=30, cancelled=threading.Event())); b.close()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], env={**os.environ, "SNOWFLAKE_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "[(42,)]\n", done.stderr
    assert login(recorder).query["roleName"] == "READER"
    assert login(recorder).query["warehouse"] == "SMALL"


def test_a_refused_login_says_nothing_of_the_credentials(emulator: Emulator, recorder: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder.script = lambda r: refusal(390100, f"Incorrect username or password {PASSWORD} was specified.") if "login" in r.path else None
    with caplog.at_level(logging.DEBUG), pytest.raises(PolicyError) as caught:
        open_backend(emulator.url(tmp_path, port=recorder.port))
    backend = SnowflakeBackend(read(emulator.url(tmp_path, port=recorder.port)))
    with caplog.at_level(logging.DEBUG), pytest.raises(BackendFailed) as failed:
        backend.fetch("SELECT 'literal-5' AS a", tag="t", timeout_s=30, cancelled=threading.Event())
    assert failed.value.reason == "connection"
    told = f"{caught.value!r} {caught.value.hint} {failed.value!r} {caplog.text}"
    assert PASSWORD not in told
    assert "literal-5" not in told
    assert caught.value.__context__ is None
    assert failed.value.__context__ is None
    backend.close()


# ---------------------------------------------------------------- running
def test_each_statement_is_tagged_timed_and_asynchronous(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    ask(emulator.url(tmp_path, port=recorder.port), tag="a-request", timeout_s=12.3)
    (request,) = submissions(recorder)
    assert request.sql == "SELECT 42 AS a"
    assert request.body["parameters"]["QUERY_TAG"] == "a-request"
    assert int(request.body["parameters"]["STATEMENT_TIMEOUT_IN_SECONDS"]) == 13
    assert not any(sql.upper().startswith("ALTER") for sql in recorder.statements())


def _never_ready(stored: list[Request]) -> object:
    def script(request: Request) -> Reply | None:
        if "/monitoring/queries/" in request.path:
            return status("RUNNING")
        if "CANCEL_QUERY" in request.sql.upper():
            stored.append(request)
            return rowset(["SYSTEM$CANCEL_QUERY"], [["query [id] terminated."]])
        return None

    return script


@pytest.mark.parametrize("why", ["cancelled", "timeout"])
def test_the_statement_is_stopped_in_the_warehouse(emulator: Emulator, recorder: Recorder, tmp_path: Path, why: str) -> None:
    stopped: list[Request] = []
    recorder.script = _never_ready(stopped)  # type: ignore[assignment]
    cancelled = threading.Event()
    if why == "cancelled":
        threading.Timer(0.4, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(BackendFailed) as caught:
        ask(emulator.url(tmp_path, port=recorder.port), cancelled=cancelled, timeout_s=30 if why == "cancelled" else 0.4)
    assert caught.value.reason == why
    assert time.monotonic() - started < 8
    (request,) = stopped
    asked_for = {r.path.rpartition("/")[2] for r in recorder.to("/monitoring/queries/")}
    assert len(asked_for) == 1
    assert f"'{asked_for.pop()}'" in request.sql


def test_the_wait_for_a_warehouse_is_told(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    states = ["QUEUED", "RESUMING_WAREHOUSE", "RESUMING_WAREHOUSE", "RUNNING"]
    recorder.script = lambda r: status(states.pop(0)) if "/monitoring/queries/" in r.path and states else None
    told: list[str] = []

    def progress(text: str) -> None:
        if not told or told[-1] != text:
            told.append(text)

    # The first polls are quick; slow enough steps are needed for the caller to see each state.
    import dpjupyter.engine.backends.snowflake_session as session

    before, session.FIRST_POLL_S = session.FIRST_POLL_S, 0.1
    try:
        assert ask(emulator.url(tmp_path, port=recorder.port), progress=progress) == [(42,)]
    finally:
        session.FIRST_POLL_S = before
    assert told in ([RUNNING, WAITING, RUNNING], [WAITING, RUNNING])


@pytest.mark.parametrize(
    ("code", "reason"),
    [("100038", "statement"), ("000630", "timeout"), ("000604", "cancelled"), ("000606", "connection")],
)
def test_a_failed_statement_gives_a_reason_and_no_text(
    emulator: Emulator, recorder: Recorder, tmp_path: Path, code: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    message = "Numeric value 'patient-4711' is not recognized"
    recorder.script = (
        lambda r: status("FAILED_WITH_ERROR", errorCode=code, errorMessage=message) if "/monitoring/queries/" in r.path else None
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(BackendFailed) as caught:
        ask(emulator.url(tmp_path, port=recorder.port))
    assert caught.value.reason == reason
    assert caught.value.__context__ is None
    assert "4711" not in caplog.text


def test_a_session_token_is_renewed_in_place(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    refused: list[Request] = []

    def script(request: Request) -> Reply | None:
        if "token-request" in request.path:
            return 200, {"data": {"sessionToken": request.body["oldSessionToken"], "masterToken": "m"}, "success": True}
        if request.body.get("asyncExec") and not refused:
            refused.append(request)
            return refusal(390112, "session token expired")
        return None

    recorder.script = script
    assert ask(emulator.url(tmp_path, port=recorder.port)) == [(42,)]
    assert len(recorder.to("login-request")) == 1
    # With a master token the driver logs out; nothing is left behind on the server.
    assert [r.path for r in recorder.requests if r.query.get("delete")] == ["/session"]


@pytest.mark.parametrize("code", [390104, 390114])
def test_an_expired_session_is_replaced_once(emulator: Emulator, recorder: Recorder, tmp_path: Path, code: int) -> None:
    recorder.script = lambda r: refusal(code, "session gone") if r.body.get("asyncExec") and len(recorder.to("login-request")) == 1 else None
    assert ask(emulator.url(tmp_path, port=recorder.port)) == [(42,)]
    assert len(recorder.to("login-request")) == 2


def test_a_session_that_expires_again_is_a_failure(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    recorder.script = lambda r: refusal(390104, "session gone") if r.body.get("asyncExec") else None
    with pytest.raises(BackendFailed) as caught:
        ask(emulator.url(tmp_path, port=recorder.port))
    assert caught.value.reason == "connection"
    assert len(recorder.to("login-request")) == 2


def test_sessions_are_reused_and_never_more_than_the_pool(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    backend = open_backend(emulator.url(tmp_path, port=recorder.port, pool=2))
    threads = [
        threading.Thread(target=lambda n=n: backend.fetch(f"SELECT {n} AS a", tag="t", timeout_s=60, cancelled=threading.Event()))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder.to("login-request")) <= 2
    backend.close()


# ---------------------------------------------------------------- rights
def _grants(rows: dict[str, list[tuple[str, str, str]]]) -> object:
    def script(request: Request) -> Reply | None:
        if "CURRENT_ROLE" in request.sql.upper():
            return rowset(["ROLE"], [["READER"]])
        if request.sql.upper().startswith("SHOW GRANTS TO ROLE"):
            role = request.sql.rpartition("ROLE ")[2].strip('"')
            return rowset(["created_on", "privilege", "granted_on", "name"], [["", *row] for row in rows.get(role, [])])
        return None

    return script


READS = [("USAGE", "DATABASE", "DB1"), ("USAGE", "SCHEMA", "DB1.S1"), ("SELECT", "TABLE", "DB1.S1.T"), ("USAGE", "WAREHOUSE", "SMALL")]


@pytest.mark.parametrize(
    ("rows", "warned"),
    [
        ({"READER": READS}, []),
        ({"READER": [*READS, ("INSERT", "TABLE", "DB1.S1.T")]}, ["INSERT on table DB1.S1.T"]),
        ({"READER": [*READS, ("OWNERSHIP", "TABLE", "DB1.S1.T")]}, ["OWNERSHIP"]),
        ({"READER": [*READS, ("USAGE", "ROLE", "WRITER")], "WRITER": [("DELETE", "TABLE", "X")]}, ["role WRITER has DELETE"]),
        ({"READER": [("USAGE", "ROLE", "SYSADMIN")]}, ["SYSADMIN"]),
        ({"READER": [*READS, ("IMPORTED PRIVILEGES", "DATABASE", "SNOWFLAKE")]}, ["IMPORTED PRIVILEGES"]),
    ],
)
def test_a_role_wider_than_reading_is_warned_about(
    emulator: Emulator, recorder: Recorder, tmp_path: Path, rows: dict[str, list[tuple[str, str, str]]], warned: list[str]
) -> None:
    recorder.script = _grants(rows)  # type: ignore[assignment]
    backend = open_backend(emulator.url(tmp_path, port=recorder.port))
    warnings = backend.check()
    assert len(warnings) == len(warned), warnings
    for text, warning in zip(warned, warnings, strict=True):
        assert text in warning
    backend.close()


def test_grants_that_cannot_be_read_are_a_warning(emulator: Emulator, tmp_path: Path) -> None:
    backend = open_backend(emulator.url(tmp_path))
    (warning,) = backend.check()
    assert "could not be read" in warning
    backend.close()


# ---------------------------------------------------------------- when the server dies
@pytest.mark.slow
def test_server_killed_in_mid_query(tmp_path: Path) -> None:
    with Emulator(tmp_path) as emulator:
        emulator.run()
        backend = open_backend(emulator.url(network_timeout=2))
        assert backend.fetch("SELECT 1 AS a", tag="t", timeout_s=30, cancelled=threading.Event()) == [(1,)]
        threading.Timer(0.5, emulator.kill).start()
        slow = "SELECT COUNT(*) AS n FROM range(50000) AS a(i), range(50000) AS b(j) WHERE HASH(i, j) = 3"
        started = time.monotonic()
        with pytest.raises(BackendFailed) as caught:
            backend.fetch(slow, tag="t", timeout_s=20, cancelled=threading.Event())
        assert caught.value.reason in ("connection", "timeout")
        assert str(emulator.port) not in repr(caught.value)
        assert time.monotonic() - started < 25
        emulator.start()
        # The new server knows no sessions: the pool logs in again by itself.
        emulator.run()
        assert backend.fetch("SELECT 2 AS a", tag="t", timeout_s=30, cancelled=threading.Event()) == [(2,)]
        backend.close()


# ---------------------------------------------------------------- the catalogue
def test_describe_reads_the_catalogue_alone(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    from dpjupyter.engine.backends.describe import describe

    emulator.run(
        "CREATE OR REPLACE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, paid NUMBER(10,2))",
        'CREATE OR REPLACE TABLE "Odd Name" ("a b" DATE)',
        "INSERT INTO people VALUES (4711, 'patient', 1.5)",
    )
    tables = {table.name: table for table in describe(emulator.url(tmp_path, port=recorder.port))}
    assert tables["people"].columns == (("id", "NUMBER(38,0)", False), ("name", "VARCHAR", False), ("paid", "NUMBER(10,2)", True))
    assert tables["people"].primary_key == ("id",)
    assert tables["Odd Name"].columns == (("a b", "DATE", True),)
    statements = [sql.upper() for sql in recorder.statements()]
    assert all("INFORMATION_SCHEMA" in sql or sql.startswith("SHOW ") or "CURRENT_SCHEMA" in sql or "CANCEL" in sql for sql in statements), statements


def test_describe_says_nothing_of_a_refused_login(emulator: Emulator, recorder: Recorder, tmp_path: Path) -> None:
    from dpjupyter.engine.backends.describe import describe

    recorder.script = lambda r: refusal(390100, f"Incorrect password {PASSWORD}") if "login" in r.path else None
    with pytest.raises(PolicyError) as caught:
        describe(emulator.url(tmp_path, port=recorder.port))
    assert PASSWORD not in f"{caught.value!r}{caught.value.hint}"
    assert caught.value.__context__ is None
