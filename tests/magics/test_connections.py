"""Where a notebook finds its gateway and its token, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dpjupyter import connections
from dpjupyter.errors import NotConnected


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"DPJUPYTER_CONNECTIONS": str(tmp_path / "connections.toml")}


def put(environ: dict[str, str], text: str, mode: int = 0o600) -> Path:
    path = Path(environ["DPJUPYTER_CONNECTIONS"])
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_written_file_is_private_and_reads_back(environ: dict[str, str]) -> None:
    path = Path(environ["DPJUPYTER_CONNECTIONS"])
    connections.write(path, {'od"d\n': {"url": "http://127.0.0.1:1", "token": "abc", "database": "shop"}}, default='od"d\n')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = connections.resolve(environ=environ)
    assert (found.name, found.url, found.token, found.database) == ('od"d\n', "http://127.0.0.1:1", "abc", "shop")
    assert "abc" not in repr(found)


def test_default_single_named_and_unknown(environ: dict[str, str]) -> None:
    put(environ, '[connections.a]\nurl = "https://a.example/"\ntoken = "t"\n')
    assert connections.resolve(environ=environ).url == "https://a.example"
    assert connections.names(environ) == ("a",)
    with pytest.raises(NotConnected, match="no connection is named 'b'") as caught:
        connections.resolve("b", environ=environ)
    assert caught.value.hint == "Known connections: a."


def test_the_environment_wins_over_the_default_but_not_over_a_name(environ: dict[str, str]) -> None:
    put(environ, '[connections.a]\nurl = "https://a.example"\ntoken = "t"\n')
    environ |= {"DPJUPYTER_URL": "http://localhost:9/", "DPJUPYTER_TOKEN": "e", "DPJUPYTER_DATABASE": "shop"}
    found = connections.resolve(environ=environ)
    assert (found.url, found.token, found.database) == ("http://localhost:9", "e", "shop")
    assert connections.resolve("a", environ=environ).token == "t"


def test_a_configured_token_never_goes_to_another_address(environ: dict[str, str]) -> None:
    environ |= {"DPJUPYTER_URL": "https://good.example", "DPJUPYTER_TOKEN": "secret"}
    with pytest.raises(NotConnected, match="no token is configured"):
        connections.resolve("https://evil.example", environ=environ)
    asked: list[str] = []
    found = connections.resolve("https://evil.example", environ=environ, ask=lambda prompt: asked.append(prompt) or "typed")
    assert (found.token, asked) == ("typed", ["Token for https://evil.example: "])
    assert connections.resolve("https://good.example/", environ=environ).token == "secret"


def test_token_files_open_to_others_are_refused(environ: dict[str, str], tmp_path: Path) -> None:
    put(environ, '[connections.a]\nurl = "https://a.example"\ntoken_file = "a.token"\n', 0o644)
    token = tmp_path / "a.token"
    token.write_text("abc\n")
    token.chmod(0o640)
    with pytest.raises(NotConnected, match="open to others") as caught:
        connections.resolve(environ=environ)
    assert caught.value.hint == f"chmod 600 {token}"
    token.chmod(0o600)
    assert connections.resolve(environ=environ).token == "abc"
    put(environ, '[connections.a]\nurl = "https://a.example"\ntoken = "abc"\n', 0o604)
    with pytest.raises(NotConnected, match="mode 0604"):
        connections.resolve(environ=environ)


def test_http_to_another_machine_is_refused_unless_allowed(environ: dict[str, str]) -> None:
    put(environ, '[connections.a]\nurl = "http://gateway:8765"\ntoken = "t"\n')
    with pytest.raises(NotConnected, match="in clear"):
        connections.resolve(environ=environ)
    put(environ, '[connections.a]\nurl = "http://gateway:8765"\ntoken = "t"\nallow_http = true\n')
    assert connections.resolve(environ=environ).url == "http://gateway:8765"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("default = ", "not valid TOML"),
        ("[conections.a]\n", "unknown key 'conections'"),
        ("[connections.a]\n", "needs url"),
        ('[connections.a]\nurl = "https://a"\ntokn = "x"\n', "unknown key 'tokn'"),
        ('[connections.a]\nurl = "https://a"\ntoken = 5\n', "wrong type"),
        ('default = "b"\n[connections.a]\nurl = "https://a"\n', "names no connection"),
        ('[connections.a]\nurl = "ftp://a"\ntoken = "x"\n', "must look like"),
        ('[connections.a]\nurl = "https://u:p@a"\ntoken = "x"\n', "more than scheme"),
        ('[connections.a]\nurl = "https://a:port"\ntoken = "x"\n', "not an address"),
        ('[connections.a]\nurl = "https://a"\ntoken = ""\n', "empty"),
        ('[connections.a]\nurl = "https://a"\ntoken = "a b"\n', "not a token"),
        ('[connections.a]\nurl = "https://a"\ntoken_env = "NOPE"\n', "the variable NOPE"),
        ('[connections.a]\nurl = "https://a"\ntoken_file = "missing"\n', "cannot be read"),
        ('[connections.a]\nurl = "https://a"\n', "no token is configured"),
        ("", "no default gateway"),
    ],
)
def test_broken_files_say_what_is_wrong(environ: dict[str, str], text: str, said: str) -> None:
    put(environ, text)
    with pytest.raises(NotConnected) as caught:
        connections.resolve(environ=environ)
    assert said in caught.value.message + caught.value.hint
