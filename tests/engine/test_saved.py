"""Saved tables on the real road: kept, read again for nothing, and never sent to the warehouse."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import text

from dpjupyter.engine import policy as policies
from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.finish import from_json, keep, kept, to_json
from dpjupyter.engine.finish.kept import MAX_CELLS
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.engine.model import Answer, Ask, Saved, SavedTable
from dpjupyter.engine.noise import NoiseSource
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import Outcome, Question, answer, keep_outcome, quote, saved_by
from dpjupyter.errors import AskRefused, PolicyError, PrivacyUnitLost, Refused, UnknownName, UnsupportedSQL
from tests.engine.plans import Fixed, ZeroNoise

POLICY = """
[database]
prefix = "local"
name = "clinic"
backend = "duckdb:///{path}"
[limits]
default_epsilon = 1.0
[tables.visits]
unit = "patient"
key_delta = 1e-7
total_budget = 100.0
[tables.visits.columns]
patient = {{ type = "BIGINT", nullable = false }}
ward = {{ type = "VARCHAR", nullable = false, domain = ["east", "west"] }}
cost = {{ type = "DOUBLE", bounds = [0, 100] }}
day = {{ type = "DATE", bounds = [2024-01-01, 2024-01-03] }}
fee = {{ type = "DECIMAL(18,2)", bounds = [0, 100] }}
paid = {{ type = "BOOLEAN" }}
[tables.wards]
private = false
keys = [["ward"]]
rows = 2
[tables.wards.columns]
ward = {{ type = "VARCHAR", nullable = false }}
beds = {{ type = "INTEGER", nullable = false }}
code = {{ type = "DECIMAL(38,10)" }}
big = {{ type = "HUGEINT" }}
"""
COUNT = "SELECT ward, COUNT(*) AS n, AVG(cost) AS mean FROM visits GROUP BY ward ORDER BY ward"


class House:
    """A clinic's warehouse and ledger; ``ask`` keeps the answer where told to."""

    def __init__(self, policy: Policy, ledger: LedgerStore) -> None:
        self.policy, self.ledger = policy, ledger
        self.backend = DuckDBBackend.open(policy.database.backend)
        self.statements: list[str] = []
        self._numbers = itertools.count()

    @property
    def dialect(self) -> str:
        return self.backend.dialect

    def fetch(self, sql: str, **given: object) -> list[tuple[object, ...]]:
        self.statements.append(sql)
        return self.backend.fetch(sql, **given)  # type: ignore[arg-type]

    def saved(self, analyst: str = "alice") -> Saved:
        return saved_by(lambda name: self.ledger.load_table(analyst, "local", "clinic", name))

    def ask(self, sql: str, *, save: str | None = None, analyst: str = "alice", source: NoiseSource | None = None) -> Outcome:
        question = Question(sql, Ask(), analyst, f"r{next(self._numbers)}", "0" * 64, saved=self.saved(analyst))
        outcome = answer(
            question,
            self.policy,
            ledger=self.ledger,
            backend=self,
            noise_source=source or ZeroNoise(),  # type: ignore[arg-type]
            cancelled=threading.Event(),
            progress=lambda _: None,
        )
        if save is not None:
            content, tables = keep_outcome(outcome, self.policy)
            self.ledger.save_table(analyst, "local", "clinic", save, tables=tables, content=content)
        return outcome

    def spent(self) -> float:
        return self.ledger.get_budget("local", "clinic", "visits", None).consumed_budget


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    path = tmp_path_factory.mktemp("clinic") / "clinic.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE visits AS SELECT i AS patient, CASE WHEN i % 3 = 0 THEN 'east' ELSE 'west' END AS ward, (i % 100)::DOUBLE AS cost, "
            "DATE '2024-01-01' + (i % 3)::INTEGER AS day, (i % 100)::DECIMAL(18,2) AS fee, i % 2 = 0 AS paid FROM range(900) t(i)"
        )
        connection.execute(
            "CREATE TABLE wards AS SELECT 'east' AS ward, 10 AS beds, 1234567890123456.0123456789::DECIMAL(38,10) AS code, "
            "170141183460469231731687303715884105727::HUGEINT AS big UNION ALL SELECT 'west', 20, NULL, NULL"
        )
    return policies.parse(POLICY.format(path=path))


@pytest.fixture
def house(warehouse: Policy, tmp_path: Path) -> Iterator[House]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.ensure_rows(warehouse)
    house = House(warehouse, ledger)
    yield house
    house.backend.close()
    ledger.close()


# ---------------------------------------------------------------- read again
def test_a_saved_table_is_read_for_nothing_and_without_the_warehouse(house: House) -> None:
    house.ask(COUNT, save="w")
    paid, asked = house.spent(), len(house.statements)
    again = house.ask("SELECT ward, n * 2 AS twice FROM saved.w WHERE n > 400 ORDER BY ward")
    assert again.answer.rows == (("west", 1200),)
    assert again.receipt is None
    assert again.answer.kind == "private"
    assert (house.spent(), len(house.statements)) == (paid, asked)
    assert any("saved.w" in note for note in again.answer.notes)


@pytest.mark.parametrize("name", ['saved."w"', "SAVED.W", '"Saved"."W"', "saved.w AS x", "(SELECT * FROM saved.w) AS x"])
def test_quotes_and_case_do_not_matter(house: House, name: str) -> None:
    house.ask(COUNT, save="w")
    assert house.ask(f"SELECT SUM(n) AS s FROM {name}").answer.rows == ((900,),)


def test_saved_tables_join_with_public_tables_in_ctes_and_with_new_measurements(house: House) -> None:
    house.ask(COUNT, save="w")
    joined = "WITH s AS (SELECT * FROM saved.w) SELECT s.ward, n / beds AS per_bed FROM s JOIN wards USING (ward) ORDER BY ward"
    assert house.ask(joined).answer.rows == (("east", 30), ("west", 30))
    with_new = (
        "WITH new AS (SELECT ward, SUM(cost) AS total FROM visits GROUP BY ward) "
        "SELECT ward, total / n AS mean FROM new JOIN saved.w USING (ward) ORDER BY ward"
    )
    before = house.spent()
    outcome = house.ask(with_new, save="ratio")
    assert [row[1] for row in outcome.answer.rows] == pytest.approx([49.0, 49.75], abs=1)
    assert house.spent() == before + 1
    both = (
        "SELECT a.ward FROM saved.w a JOIN saved.ratio b ON a.ward = b.ward AND a.n > b.mean UNION ALL SELECT ward FROM saved.w ORDER BY 1"
    )
    assert len(house.ask(both).answer.rows) == 4


def test_a_cached_answer_can_be_saved_too(house: House) -> None:
    house.ask(COUNT)
    assert house.ask(COUNT, save="w").cached
    assert house.ask("SELECT COUNT(*) AS c FROM saved.w").answer.rows == ((2,),)


def test_the_price_names_saved_tables_and_is_nothing(house: House) -> None:
    house.ask(COUNT, save="w")
    priced = quote("SELECT n FROM saved.w", Ask(), house.policy, house.saved())
    assert priced.cost.pico_epsilon == 0
    assert any("saved.w" in note for note in priced.plan.notes)


# ---------------------------------------------------------------- never below a measurement
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM visits WHERE cost > (SELECT AVG(mean) FROM saved.w)",
        "SELECT COUNT(*) FROM visits WHERE ward IN (SELECT ward FROM saved.w)",
        "SELECT COUNT(*) FROM visits WHERE NOT EXISTS (SELECT 1 FROM saved.w s WHERE s.ward = visits.ward)",
        "SELECT COUNT(*) FROM visits JOIN saved.w s ON s.ward = visits.ward",
        "SELECT COUNT(*) FROM saved.w s RIGHT JOIN visits ON s.ward = visits.ward",
        "SELECT COUNT(*) FROM visits, saved.w",
        "SELECT SUM(CASE WHEN cost > (SELECT MAX(n) FROM saved.w) THEN 1 END) FROM visits",
        "SELECT COUNT(*) FROM (SELECT ward FROM visits UNION ALL SELECT ward FROM saved.w)",
        "SELECT COUNT(*) FROM visits JOIN (SELECT w.ward FROM wards w JOIN saved.w s USING (ward)) k ON k.ward = visits.ward",
        "SELECT COUNT(*) FROM visits JOIN (SELECT ward FROM wards WHERE ward IN (SELECT ward FROM saved.w)) k ON k.ward = visits.ward",
        "SELECT k.ward, COUNT(patient) FROM saved.w k LEFT JOIN visits v ON v.ward = k.ward GROUP BY k.ward",
        "WITH s AS (SELECT ward FROM saved.w) SELECT COUNT(*) FROM visits v SEMI JOIN s ON v.ward = s.ward",
    ],
)
def test_saved_rows_never_meet_private_rows(house: House, sql: str) -> None:
    house.ask(COUNT, save="w")
    asked, paid = len(house.statements), house.spent()
    with pytest.raises((UnsupportedSQL, PrivacyUnitLost)) as refused:
        house.ask(sql)
    assert refused.value.hint
    assert (len(house.statements), house.spent()) == (asked, paid)


def test_no_saved_value_or_name_is_in_any_statement(house: House) -> None:
    house.ask('SELECT ward AS "x\'; DROP TABLE visits --", COUNT(*) AS "a""b" FROM visits GROUP BY ward', save="w")
    house.ask("WITH new AS (SELECT ward, COUNT(*) AS c FROM visits GROUP BY 1) SELECT * FROM new, saved.w ORDER BY c")
    assert all("saved" not in statement and "DROP" not in statement for statement in house.statements)
    found = house.ask('SELECT "x\'; DROP TABLE visits --", "a""b" FROM saved.w ORDER BY 2').answer
    assert found.rows == (("east", 300), ("west", 600))
    assert [name for name, _ in found.columns] == ["x'; DROP TABLE visits --", 'a"b']


# ---------------------------------------------------------------- whose, and for how long
def test_another_analyst_sees_nothing(house: House) -> None:
    house.ask(COUNT, save="w")
    with pytest.raises(UnknownName, match="no saved table 'w'") as refused:
        house.ask("SELECT * FROM saved.w", analyst="bob")
    assert refused.value.place is not None
    assert "%dpsql saved" in refused.value.hint


def test_a_saved_table_ends_with_the_cycle_of_any_table_behind_it(house: House) -> None:
    house.ask(COUNT, save="w")
    house.ask("SELECT n FROM saved.w", save="copy")
    assert house.ledger.saved_tables("alice", "local", "clinic") == ("copy", "w")
    old = text("UPDATE budget_info SET last_recover_time = '2020-01-01 00:00:00.000000' WHERE table_name = 'visits'")
    house.ledger._db.write(lambda c: c.execute(old))
    house.ledger.recover()
    assert house.ledger.saved_tables("alice", "local", "clinic") == ()
    for name in ("w", "copy"):
        with pytest.raises(UnknownName):
            house.ask(f"SELECT * FROM saved.{name}")


def test_saving_again_replaces_and_changes_the_question(house: House) -> None:
    house.ask(COUNT, save="w")
    first = quote("SELECT n FROM saved.w", Ask(), house.policy, house.saved()).fingerprint
    assert first == quote("SELECT n FROM saved.w", Ask(), house.policy, house.saved()).fingerprint
    house.ask("SELECT ward, COUNT(*) + 1 AS n FROM visits GROUP BY ward", save="w")
    assert quote("SELECT n FROM saved.w", Ask(), house.policy, house.saved()).fingerprint != first
    assert house.ask("SELECT SUM(n) AS s FROM saved.w").answer.rows == ((902,),)


def test_two_analysts_with_different_tables_of_one_name_do_not_share_an_answer(house: House) -> None:
    sql = "WITH c AS (SELECT COUNT(*) AS c FROM visits) SELECT c, n FROM c, saved.w WHERE ward = 'east'"
    house.ask(COUNT, save="w")
    house.ask("SELECT ward, COUNT(*) + 5 AS n FROM visits GROUP BY ward", save="w", analyst="bob")
    assert house.ask(sql).answer.rows == ((900, 300),)
    bobs = house.ask(sql, analyst="bob")
    assert bobs.answer.rows == ((900, 305),)
    assert not bobs.cached


def test_other_data_or_another_policy_is_said(house: House) -> None:
    house.ask(COUNT, save="w")
    newer = policies.parse(POLICY.format(path="x").replace('name = "clinic"', 'name = "clinic"\ndata_version = "2"'))
    assert any("data version 1" in n for n in quote("SELECT n FROM saved.w", Ask(), newer, house.saved()).plan.notes)
    other = policies.parse(POLICY.format(path="x").replace("default_epsilon = 1.0", "default_epsilon = 0.5"))
    assert any("earlier policy" in n for n in quote("SELECT n FROM saved.w", Ask(), other, house.saved()).plan.notes)


# ---------------------------------------------------------------- labels, types, intervals
@pytest.mark.parametrize(("kind", "unmetered"), [("synthetic", False), ("private", True)])
def test_labels_stay_with_what_is_drawn_from_a_saved_table(house: House, kind: str, unmetered: bool) -> None:
    answer_ = dataclasses.replace(house.ask(COUNT).answer, kind=kind, unmetered=unmetered)  # type: ignore[arg-type]
    house.ledger.save_table(
        "alice", "local", "clinic", "w", tables=("visits",), content=keep(answer_, ["visits"], house.policy, unmetered=False)
    )
    drawn = house.ask("SELECT n FROM saved.w", save="again").answer
    assert (drawn.kind, drawn.unmetered, drawn.drawn_from) == (kind, unmetered, ("visits",))
    twice = house.ask("SELECT n FROM saved.again").answer
    assert (twice.kind, twice.unmetered) == (kind, unmetered)


def test_types_and_values_come_back_exactly(house: House) -> None:
    house.ask(COUNT, save="w")  # above a measurement everything is computed here, where decimals keep all digits
    code = "CASE WHEN beds = 10 THEN 1234567890123456.0123456789 END AS code"
    house.ask(
        f"SELECT ward, {code}, big, beds, beds = 10 AS ten, TIMESTAMP '2024-05-06 07:08:09' AS at, TIME '01:02:03' AS t, "
        "1e300 AS e, DATE '2024-02-29' AS d, NULL AS nothing FROM wards JOIN saved.w USING (ward) ORDER BY ward",
        save="k",
    )
    again = house.ask("SELECT * FROM saved.k ORDER BY ward").answer
    assert [type_ for _, type_ in again.columns][:5] == ["VARCHAR", "DECIMAL(26,10)", "HUGEINT", "INTEGER", "BOOLEAN"]
    assert again.rows[0][2:9] == (170141183460469231731687303715884105727, 10, True, "2024-05-06 07:08:09", "01:02:03", 1e300, "2024-02-29")
    assert again.rows[1][1:3] == (None, None)
    assert again.rows[0][9] is None
    exact = "SELECT CAST(code AS VARCHAR) AS c, CAST(d + INTERVAL 1 DAY AS DATE) AS next FROM saved.k WHERE beds = 10"
    assert house.ask(exact).answer.rows == (("1234567890123456.0123456789", "2024-03-01"),)


@pytest.mark.parametrize("values", [(1.5, Decimal("2.25")), ("x", 3), (True, 2**70), (None, "2024-13-45"), (float("inf"),)])
def test_a_value_that_does_not_fit_its_type_is_kept_in_a_wider_one(house: House, values: tuple[object, ...]) -> None:
    shown = tuple((float(v) if isinstance(v, Decimal) else None if v == math.inf else v,) for v in values)
    for type_ in ("INTEGER", "DATE", "DECIMAL(4,1)", "BOOLEAN", "TIME", "NULL", "", "STRUCT(a INT)", "WHAT EVER(("):
        odd = Answer(
            (("c", type_),),
            shown,
            {str(c): ((None,),) * len(shown) for c in (0.5, 0.8, 0.9, 0.95, 0.99)},  # type: ignore[arg-type]
            ({"key": True},),
            {"tables": []},
            (),
            "public",
        )
        house.ledger.save_table("alice", "local", "clinic", "odd", tables=(), content=keep(odd, [], house.policy, unmetered=False))
        assert len(house.ask("SELECT c FROM saved.odd").answer.rows) == len(shown)


def test_a_saved_count_keeps_the_interval_it_was_released_with(house: House) -> None:
    first = house.ask(COUNT, save="w", source=Fixed(3)).answer
    again = house.ask("SELECT ward, n, mean, n + 1 AS more, n > 10 AS many FROM saved.w ORDER BY ward").answer
    for level in ("0.5", "0.95"):
        for row in range(2):
            for column in (1, 2):
                was, now = first.intervals[level][row][column], again.intervals[level][row][column]
                assert was is not None
                assert now is not None
                assert now == pytest.approx(was, rel=0.02, abs=1.01 if column == 1 else 0.05)
            assert again.intervals[level][row][3] == pytest.approx([v + 1 for v in again.intervals[level][row][1] or ()], abs=1.01)
            assert again.intervals[level][row][0] is None
    assert again.utility[1]["derived"] is True
    assert again.utility[1]["mechanism"] == "discrete_laplace"


def test_intervals_of_sums_grow_with_what_they_add(house: House) -> None:
    house.ask("SELECT day, COUNT(*) AS n FROM visits GROUP BY day", save="d")
    one = house.ask("SELECT n FROM saved.d LIMIT 1").answer.intervals["0.95"][0][0]
    three = house.ask("SELECT SUM(n) AS s FROM saved.d").answer.intervals["0.95"][0][0]
    assert one is not None
    assert three is not None
    assert 1.3 < (three[1] - three[0]) / (one[1] - one[0]) < 2.2  # about the square root of three


def test_what_is_not_known_of_a_saved_number_is_said(house: House) -> None:
    house.ask("SELECT MEDIAN(cost) AS m FROM visits", save="q")
    drawn = house.ask("SELECT m, m + 1 AS more FROM saved.q").answer
    assert drawn.intervals["0.95"] == ((None, None),)
    assert any("not known" in note and "m of saved.q" in note for note in drawn.notes)


# ---------------------------------------------------------------- bad content, bad names
def test_a_table_that_is_too_large_is_not_kept(house: House) -> None:
    rows = tuple((n, n) for n in range(MAX_CELLS // 2 + 1))
    big = Answer((("a", "BIGINT"), ("b", "BIGINT")), rows, {}, ({"key": True}, {"key": True}), {"tables": []}, (), "public")
    with pytest.raises(AskRefused, match="at most 200,000 values"):
        keep(big, [], house.policy, unmetered=False)
    wide = dataclasses.replace(big, columns=(("a", "VARCHAR"),), rows=(("x" * 5_000_000,),))
    with pytest.raises(AskRefused, match="characters"):
        keep(wide, [], house.policy, unmetered=False)


def test_two_columns_of_one_name_get_different_ones(house: House) -> None:
    house.ask('SELECT COUNT(*) AS n, COUNT(*) + 1 AS n, COUNT(*) + 2 AS "n_1" FROM visits', save="w")
    assert house.ask("SELECT n, n_1, n_2 FROM saved.w").answer.rows == ((900, 902, 901),)


def test_reading_back_what_another_version_kept_is_an_error() -> None:
    with pytest.raises(ValueError, match="another version"):
        kept("x", '{"version": 2}\n[]')


@pytest.mark.parametrize("name", ["saved.orders", "shop.SAVED.orders"])
def test_a_policy_has_no_schema_of_that_name(name: str) -> None:
    with pytest.raises(PolicyError, match="saved tables"):
        policies.parse(
            POLICY.format(path="x")
            .replace("[tables.wards]", f'[tables."{name}"]')
            .replace("tables.wards.columns", f'tables."{name}".columns')
        )


def test_three_parts_are_no_saved_table(house: House) -> None:
    house.ask(COUNT, save="w")
    for name in ("clinic.saved.w", "a.b.saved.w", "saved.visits"):
        with pytest.raises((UnknownName, Refused)):
            house.ask(f"SELECT * FROM {name}")


def test_a_cte_of_the_same_name_hides_nothing(house: House) -> None:
    house.ask(COUNT, save="w")
    assert house.ask("WITH w AS (SELECT 1 AS n), saved AS (SELECT 2 AS n) SELECT w.n + saved.n AS s FROM w, saved").answer.rows == ((3,),)
    assert house.ask("WITH w AS (SELECT 1 AS n) SELECT SUM(n) AS s FROM saved.w").answer.rows == ((900,),)


def test_filed_answers_carry_what_saving_needs(house: House) -> None:
    answer_ = dataclasses.replace(house.ask(COUNT).answer, unmetered=True, drawn_from=("visits",), decimals={"0": ("1.0", None)})
    assert from_json(to_json(answer_, None))[0] == answer_
    assert isinstance(kept("w", keep(answer_, [], house.policy, unmetered=False)), SavedTable)
