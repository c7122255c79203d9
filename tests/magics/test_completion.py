"""Tab in ``%dpsql`` lines and ``%%dpsql`` cells: from the catalogue in memory, without the network."""

from __future__ import annotations

import pytest
from IPython.core.completer import provisionalcompleter

from dpjupyter import wire
from dpjupyter.magics.completion import Completion
from dpjupyter.magics.session import Session
from tests.magics.conftest import Gateway, Shell


@pytest.fixture
def completion() -> Completion:
    columns = [wire.CatalogColumn(name=name, type="INTEGER", nullable=False) for name in ("age", "Agency", "fare")]
    more = [wire.CatalogColumn(name="customer_id", type="INTEGER", nullable=False)]
    tables = [wire.CatalogTable(name="passengers", private=True, unit="row", columns=columns), wire.CatalogTable(name="orders", private=True, columns=more)]
    database = wire.CatalogDatabase(
        prefix="p", name="titanic", reader="duckdb", sha256sum="", unit_entity="person", data_version="1", default_epsilon=0.9,
        default_mechanism="laplace", min_epsilon=0.1, max_epsilon=2, functions=["ABS", "AGE_OF"], tables=tables,
    )  # fmt: skip
    return Completion(Session(catalog=wire.CatalogReply(databases=[database]), database=database))


def offered(completion: Completion, text: str) -> list[str]:
    line = text.rpartition("\n")[2]
    return [match for match, _ in completion.offered(text, text.count("\n"), line)[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%dpsql ta", ["tables"]),
        ("%dpsql describe p", ["passengers"]),
        ("x = %dpsql des", ["describe"]),
        ("%dpsql use ", ["titanic"]),
        ("%dpsql help --ep", ["--epsilon"]),
        ("%dpsql config conf", ["confidence="]),
        ("%dpsql SELECT fa", ["fare", "false"]),
        ("%dpsql --eps", ["--epsilon"]),
        ("%%dpsql --m", ["--mechanism", "--max-rows", "--max-groups"]),
        ("%%dpsql --mechanism ", ["laplace", "gauss"]),
        ("%%dpsql --epsilon ", []),
        ("%%dpsql res << --epsilon 1 --ep", []),
        ("%%dpsql --param a=1 --pa", ["--param"]),
        ("%%dpsql\nSELECT age, fa", ["fare", "false"]),
        ("%%dpsql\nSELECT ag", ["age", "Agency", "age_of"]),
        ("%%dpsql\nselect passengers.f", ["passengers.fare"]),
        ("%%dpsql\nselect o.cust", ["o.customer_id"]),
        ("%%dpsql\nSELECT COUNT(*) FROM pas", ["passengers"]),
        ("%%dpsql\nSELECT 'pas", []),
        ("%%dpsql\nSELECT 1 -- pas", []),
        ("%%dpsql\nGROUP BY pas", ["passengers"]),
        ("\n%%dpsql --confidence\nSELECT cou", ["count", "count_if"]),
        ("print(pas", []),
        ("pas", []),
    ],
)
def test_offers(completion: Completion, text: str, expected: list[str]) -> None:
    assert offered(completion, text) == expected


def test_nothing_is_offered_twice(completion: Completion) -> None:
    everything = offered(completion, "%%dpsql\n")
    assert len(everything) == len(set(everything))


def test_in_the_shell_ours_alone_are_offered_in_our_cells(shell: Shell, gateway: Gateway) -> None:
    shell.run("%dpsql connect")
    shell.run("nick_cave = 1")
    text = "%%dpsql\nSELECT nick"
    with provisionalcompleter():
        found = [one.text for one in shell.ip.Completer.completions(text, len(text))]
        assert found == ["nickname"]
        found = [one.text for one in shell.ip.Completer.completions("%dpsql con", 10)]
        assert found == ["connect", "config"]
        found = [one.text for one in shell.ip.Completer.completions("%dpsql connect ", 15)]
        assert found == ["alice", "bob", "carol", "olga", "undecided", "wrong", "dead", "--database"]
        assert "nick_cave" in [one.text for one in shell.ip.Completer.completions("nick", 4)]
