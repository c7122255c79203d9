"""Backend URLs: what opens, what is refused, and that no refusal repeats a secret."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest

from dpjupyter.engine.backends import BackendFailed, open_backend
from dpjupyter.engine.backends.snowflake_settings import read
from dpjupyter.errors import PolicyError


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "d.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS i FROM range(10)")
        connection.execute("CREATE VIEW v AS SELECT i * 2 AS j FROM t")
    return path


def rows(url: str, sql: str) -> list[tuple[object, ...]]:
    backend = open_backend(url)
    try:
        return backend.fetch(sql, tag="t", timeout_s=10, cancelled=threading.Event())
    finally:
        backend.close()


def test_a_duckdb_file_opens_by_absolute_and_relative_path(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(f"duckdb:///{database}", "SELECT COUNT(*) FROM t") == [(10,)]
    assert rows(f"duckdb://{database}", "SELECT SUM(j) FROM v") == [(90,)]
    monkeypatch.chdir(database.parent)
    assert rows("duckdb:///d.duckdb?threads=1&memory=200MB", "SELECT MAX(i) FROM t") == [(9,)]


def test_settings_of_the_url_are_in_force(database: Path) -> None:
    found = rows(f"duckdb:///{database}?threads=1&memory=200MB", "SELECT current_setting('threads'), current_setting('memory_limit')")
    assert found == [(1, "190.7 MiB")]


def test_two_backends_may_share_a_file(database: Path) -> None:
    first, second = open_backend(f"duckdb:///{database}"), open_backend(f"duckdb:///{database}")
    first.close()
    assert second.fetch("SELECT 1", tag="t", timeout_s=10, cancelled=threading.Event()) == [(1,)]
    second.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM database",  # a Python variable of this test
        "SELECT getenv('HOME')",
        "COPY t TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 8",
        "INSERT INTO t VALUES (1)",
        "DELETE FROM t",
        "CREATE TEMP TABLE x AS SELECT 1",
        "EXPORT DATABASE '/tmp/x'",
        "CALL pragma_database_size()",
        "CHECKPOINT",
    ],
)
def test_nothing_but_reading_declared_tables_works(database: Path, sql: str) -> None:
    with pytest.raises(BackendFailed) as caught:
        rows(f"duckdb:///{database}", sql)
    assert caught.value.reason == "statement"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("duckdb:///no/such/file.duckdb", "no DuckDB file"),
        ("duckdb://host/file.duckdb", "not the URL"),
        ("duckdb:", "not the URL"),
        ("duckdb:///", "not the URL"),
        ("duckdb:///:memory:?allow=1", "'allow' is not a parameter"),
        ("postgres://x", "is not known"),
    ],
)
def test_wrong_urls_are_refused(url: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        open_backend(url)
    assert said in caught.value.message


def test_a_file_that_is_no_database_is_refused_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    path.write_text("patient-4711 " * 1000)
    with pytest.raises(PolicyError) as caught:
        open_backend(f"duckdb:///{path}")
    assert "4711" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


# ---------------------------------------------------------------- Snowflake
def test_a_connection_name_may_be_refined() -> None:
    settings = read("snowflake://shop?role=READER&warehouse=SMALL&pool=3")
    assert settings.options == {"connection_name": "shop", "role": "READER", "warehouse": "SMALL"}
    assert settings.pool == 3
    assert settings.secrets == ()


def test_secrets_are_read_at_each_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    file.chmod(0o600)
    settings = read(f"snowflake://?account=a&user=u&password_file={file}")
    assert settings.login()["password"] == "one"
    file.write_text("two\n")
    assert settings.login()["password"] == "two"
    assert "two" not in repr(settings)
    monkeypatch.setenv("THE_TOKEN", "three")
    assert read("snowflake://?account=a&user=u&token_env=THE_TOKEN").login()["token"] == "three"


def test_a_secret_that_is_gone_at_login_is_a_policy_error(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("")
    settings = read(f"snowflake://?account=a&user=u&password_file={file}")
    with pytest.raises(PolicyError, match="is empty"):
        settings.login()
    file.unlink()
    with pytest.raises(PolicyError, match="cannot be read"):
        settings.login()


def test_a_secret_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("x")
    file.chmod(0o644)
    (warning,) = read(f"snowflake://?account=a&user=u&password_file={file}").warnings
    assert "chmod 600" in warning


@pytest.mark.parametrize(
    "url",
    [
        "snowflake://?account=a&user=u&password=hunter2",
        "snowflake://?account=a&user=u&token=hunter2",
        "snowflake://?account=a&user=u&PASSWORD=hunter2",
        "snowflake://?account=a&user=u&private_key_file_pwd=hunter2",
        "snowflake://user:hunter2@account/db",
        "snowflake://user:hunter2@account?role=r",
        "snowflake://account/db/hunter2",
        "snowflake://account:hunter2",
        "snowflake://[hunter2",
        "snowflake://?account=a&user=u&role=hunter2&role=x&password_env=P",
        "snowflake://?account=a&user=u&authenticator=hunter2&password_env=P",
        "snowflake://?account=a&user=u&pool=hunter2&password_env=P",
        "snowflake://?account=a&user=u&protocol=hunter2&password_env=P",
        "snowflake://x#hunter2",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(url)
    assert "hunter2" not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("snowflake://", "neither a connection nor an account"),
        ("snowflake://?account=a&password_env=P", "neither a connection nor an account"),
        ("snowflake://?account=a&user=u", "no way to log in"),
        ("snowflake://?account=a&user=u&password_env=P&token_env=T", "more than one way"),
        ("snowflake://?account=a&user=u&password_file=/no/such/file", "cannot be read"),
        ("snowflake://?account=a&user=u&private_key_file=/", "not a regular file"),
        ("snowflake://?account=a&user=u&password_env=P&protocol=http&host=example.org", "this machine only"),
        ("snowflake://?account=a&user=u&password_env=P&autocommit=1", "not a parameter"),
        ("snowflake://?account=a&user=u&password_env=P&pool=0", "from 1 to 64"),
        ("snowflake://?account=a&user=u&password_env=P&authenticator=externalbrowser", "authenticator must be"),
    ],
)
def test_wrong_snowflake_urls_are_refused(url: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(url)
    assert said in caught.value.message
