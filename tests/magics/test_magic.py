"""``%%dpsql`` in a real IPython shell against a real gateway: what a person types and what a person sees."""

from __future__ import annotations

import traceback

import numpy as np
import pandas as pd
import pytest

from dpjupyter import errors
from dpjupyter.answer import Answer, Quoted
from dpjupyter.errors import BadRequest
from tests.magics.conftest import Gateway, Shell


def test_a_first_question(shell: Shell) -> None:
    assert repr(shell.run("%dpsql connect")) == "Connected to alice as alice (analyst). Database clinic: 3 tables."
    shell.run("%%dpsql cities << --epsilon 1\nSELECT city, COUNT(*) AS n, AVG(age) AS age FROM people GROUP BY city ORDER BY city")
    assert shell.said.startswith("cities: 3 rows · cost ε ")
    cities = shell.ip.user_ns["cities"]
    assert isinstance(cities, Answer)
    assert list(cities.df["city"]) == ["Basel", "Bern", "Genf"]
    assert np.abs(cities.df["n"] - 10000).max() < 100
    assert np.abs(cities.df["age"] - 52.5).max() < 5
    low, high = cities.intervals()["n"]["lower"], cities.intervals()["n"]["upper"]
    assert ((low < cities.df["n"]) & (cities.df["n"] < high)).all()
    assert cities.cost.epsilon == pytest.approx(cities.charged)
    assert cities.balance["people"] == pytest.approx(1000 - cities.charged, abs=200)
    assert cities.receipt["request_id"]


def test_without_a_name_the_answer_is_shown_and_kept(shell: Shell) -> None:
    answer = shell.run("%%dpsql\nSELECT COUNT(*) AS n FROM people")
    assert isinstance(answer, Answer)
    assert shell.ip.user_ns["_"] is answer
    assert "Out[1]" in shell.said
    assert "± at 95%" in shell.said
    assert abs(answer.value - 30000) < 200


def test_one_line_questions(shell: Shell) -> None:
    shell.run("x = %dpsql --epsilon 0.5 SELECT COUNT(*) AS n FROM people WHERE nickname = '$x {y}'")
    assert shell.ip.user_ns["x"].charged == pytest.approx(0.5)
    assert isinstance(shell.run("%dpsql SELECT COUNT(*) AS n FROM people"), Answer)


def test_options_travel(shell: Shell) -> None:
    shell.run("eps = 0.25")
    answer = shell.run("%%dpsql --epsilon {eps} --mechanism gauss --delta 1e-7 --no-cache\nSELECT COUNT(*) AS n FROM people")
    assert answer.cost.epsilon == pytest.approx(0.25)
    assert answer.cost.delta == pytest.approx(1e-7)
    assert answer.cost.answers[0].mechanism == "discrete_gaussian"
    quote = shell.run("%%dpsql --dry-run --answers n=0.2,m=1.5\nSELECT COUNT(*) AS n, COUNT(income) AS m FROM people")
    assert isinstance(quote, Quoted)
    assert [answer.epsilon for answer in quote.cost.answers] == [0.2, 1.5]
    shell.run("%dpsql connect alice --database poor")
    wide, narrow = (
        shell.run(f"%%dpsql --dry-run --epsilon 0.1 --database clinic --max-rows {m}\nSELECT COUNT(*) AS n FROM admissions").half_widths()["n"]
        for m in (5, 1)
    )
    assert narrow < wide


def test_the_same_question_is_free_until_asked_anew(shell: Shell) -> None:
    cell = "%%dpsql{}\nSELECT COUNT(*) AS repeated FROM people"
    first, again, anew = shell.run(cell.format("")), shell.run(cell.format("")), shell.run(cell.format(" --no-cache"))
    assert (first.charged > 0, again.charged, anew.charged > 0) == (True, 0.0, True)
    assert first.value == again.value
    assert "cost nothing" in repr(again)
    assert "cached: the same question was answered before in this cycle; free" in repr(again)


def test_dry_run_costs_nothing_and_says_everything(shell: Shell) -> None:
    shell.run("%dpsql connect carol")
    assert (
        repr(shell.run("%%dpsql --dry-run --epsilon 0.5\nSELECT city, COUNT(*) AS n FROM people GROUP BY city"))
        == """\
price ε 0.5 · affordable

column  made by           expected at 95%
n       discrete Laplace             ±6.0

COUNT(*): ε 0.5, discrete Laplace
whole database: ε 0.5, {:.6g} → {:.6g}
people: ε 0.5, {:.6g} → {:.6g}
whole database (quota of carol): ε 0.5, 500 → 499.5
people (quota of carol): ε 0.5, 500 → 499.5""".format(*left(shell, "*"), *left(shell, "people"))
    )


def left(shell: Shell, table: str) -> tuple[float, float]:
    """What a shared row has left, and would have after half an epsilon."""
    client = shell.ip.magics_manager.registry["DpsqlMagics"].session.client
    now = client.budget("test", "clinic", table).residual_budget
    return now, now - 0.5


def test_within_solves_for_epsilon(shell: Shell) -> None:
    answer = shell.run("%%dpsql --within 50\nSELECT COUNT(*) AS n FROM people WHERE age > 30")
    assert answer.explain().count("ε") > 0
    assert "±50 at 95% needs ε " in repr(answer)
    interval = answer.cell("n").interval()
    assert 48 <= (interval[1] - interval[0]) / 2 <= 51
    quote = shell.run("%%dpsql --within n=20,s=9000 --confidence 0.9 --dry-run\nSELECT COUNT(*) AS n, SUM(age) AS s FROM people WHERE age > 30")
    widths = quote.half_widths()
    assert 18 <= widths["n"] <= 20
    assert 8500 <= widths["s"] <= 9000
    assert "(at 90%)" in repr(quote)
    assert "computed from released values" in shell.fail("%%dpsql --within a=5\nSELECT COUNT(*) AS n, AVG(age) AS a FROM people")
    said = shell.fail("%%dpsql --within 0.0001\nSELECT COUNT(*) AS n FROM people")
    assert "AskRefused: a half-width this small is not to be had: epsilon" in said
    assert "A wider interval needs less." in said


def test_parameters_come_from_options_and_variables_and_are_never_pasted(shell: Shell) -> None:
    shell.run("import numpy, datetime\nold = numpy.int64(80)\ntown = \"Bern' OR 'a' = 'a\"\nday = datetime.date(1960, 1, 1)")
    cell = "%%dpsql --epsilon 5 {}\nSELECT COUNT(*) AS n FROM people WHERE {} -- :nothing\n"
    assert abs(shell.run(cell.format("", "age >= :old")).value - 3424) < 30
    assert abs(shell.run(cell.format("", "city = :town")).value) < 30
    assert abs(shell.run(cell.format("--param old=18", "age >= :old")).value - 30000) < 30
    assert abs(shell.run(cell.format("--param town=Bern", "city = :town AND 'a:b' = 'a:b' AND age::INTEGER > 0")).value - 10000) < 30
    assert abs(shell.run(cell.format("", "born < :day")).value - 13956) < 30
    assert shell.fail("%%dpsql\nSELECT COUNT(*) AS n\nFROM people WHERE age > :unknown_one") == (
        "BadRequest: no value for :unknown_one\n"
        "  FROM people WHERE age > :unknown_one\n"
        "                          ^^^^^^^^^^^^\n"
        "Hint: Define a notebook variable unknown_one, or add --param unknown_one=..."
    )
    assert "old is a list" in shell.fail("old = [1]\nget_ipython().run_cell_magic('dpsql', '', 'SELECT COUNT(*) AS n FROM people WHERE age > :old')")
    assert "--param x is not used" in shell.fail("%%dpsql --param x=1\nSELECT COUNT(*) AS n FROM people")


def test_errors_are_short_and_point_at_the_place(shell: Shell) -> None:
    said = shell.fail("%%dpsql\nSELECT COUNT(*) AS n,\n       SUM(wealth) AS s\nFROM people")
    lines = said.splitlines()
    assert lines[0].startswith("UnknownName: ")
    assert lines[1] == "         SUM(wealth) AS s"
    assert lines[2] == "             ^^^^^^" or lines[2] == "             ^"
    assert lines[3].startswith("Hint: ")
    assert "Traceback" not in said
    shell.run("%dpsql config traceback=on")
    assert "Traceback" in shell.fail("%%dpsql\nSELECT wealth FROM people")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%dpsql\nSELECT FROM WHERE", "SyntaxRefused: "),
        ("%%dpsql\nSELECT COUNT(*) FROM people; SELECT 1", "SyntaxRefused: "),
        ("%%dpsql\n  \n", "BadRequest: there is no SQL to ask"),
        ("%%dpsql\nSELECT COUNT(*) FROM peeple", "UnknownName: "),
        ("%%dpsql\nSELECT RANDOM() FROM people", "FunctionRefused: "),
        ("%%dpsql\nSELECT * FROM people", "PrivacyUnitLost: "),
        ("%%dpsql\nSELECT SUM(person_id) FROM people", ": "),
        ("%%dpsql --epsilon nan\nSELECT COUNT(*) FROM people", "AskRefused: --epsilon: nan is not a finite number"),
        ("%%dpsql --epsilon 0\nSELECT COUNT(*) FROM people", "AskRefused: "),
        ("%%dpsql --epsilon -1\nSELECT COUNT(*) FROM people", "AskRefused: "),
        ("%%dpsql --epsilon 1e308\nSELECT COUNT(*) FROM people", "AskRefused: "),
        ("%%dpsql --epsilon 5.1\nSELECT COUNT(*) FROM people", "AskRefused: "),
        ("%%dpsql --mechanism gauss --delta 1\nSELECT COUNT(*) FROM people", "AskRefused: "),
        ("%%dpsql --mechanism gauss --delta -0.1\nSELECT COUNT(*) FROM people", "AskRefused: "),
        ("%%dpsql --mechanism cauchy\nSELECT COUNT(*) FROM people", "mechanism 'cauchy' is not known"),
        ("%%dpsql --epsylon 1\nSELECT COUNT(*) FROM people", "Did you mean --epsilon?"),
        ("%%dpsql --epsilon\nSELECT COUNT(*) FROM people", "--epsilon needs a value"),
        ("%%dpsql --epsilon 1 --epsilon 2\nSELECT COUNT(*) FROM people", "given twice"),
        ("%%dpsql class << \nSELECT COUNT(*) FROM people", "'class' cannot be assigned to"),
        ("%%dpsql SELECT COUNT(*)\nFROM people", "SQL goes below the first line"),
        ("%%dpsql --answers nothere=1\nSELECT COUNT(*) AS n FROM people", "AskRefused: "),
        ("%%dpsql --synthetic\nSELECT COUNT(*) FROM people", "twin"),
        ("%%dpsql --rehearse\nSELECT COUNT(*) FROM people", "twin"),
        ("%%dpsql --database nowhere\nSELECT COUNT(*) FROM people", "NotFound: this gateway has no database 'nowhere'"),
        ("%dpsql tabels", "Did you mean %dpsql tables?"),
        ("%dpsql describe peeple", "Did you mean people?"),
        ("%dpsql explain nothing", "nothing is not an answer"),
        ("%dpsql config epsilon=-", "epsilon: '-' is not a number"),
        ("%dpsql help --nothing", "no help"),
        ("%dpsql owner", "Forbidden: alice is no owner"),
    ],
)
def test_bad_input_is_refused_clearly_and_costs_nothing(shell: Shell, cell: str, said: str) -> None:
    before = shell.run("%dpsql connect\nleft = get_ipython().magics_manager.registry['DpsqlMagics'].session.client.budgets()\nleft")
    seen = shell.fail(cell)
    assert said in seen
    assert "Traceback" not in seen
    after = shell.run("get_ipython().magics_manager.registry['DpsqlMagics'].session.client.budgets()")
    assert [row.consumed_budget for row in before] == [row.consumed_budget for row in after]


def test_connections_that_fail_say_why(shell: Shell, gateway: Gateway) -> None:
    assert shell.fail("%dpsql connect dead").startswith("GatewayUnreachable: no gateway answers at http://127.0.0.1:")
    assert shell.fail("%dpsql connect wrong").startswith("Unauthorized: ")
    assert shell.fail("%dpsql connect nobody").startswith("NotConnected: no connection is named 'nobody'")
    assert shell.fail("%dpsql connect alice --database nowhere") == (
        "NotFound: this gateway has no database 'nowhere'\nHint: It has: clinic, poor."
    )
    shell.ip.magics_manager.registry["DpsqlMagics"].session.ask_token = lambda prompt: gateway.tokens["bob"]
    shell.run("import os\nos.environ['DPJUPYTER_CONNECTIONS'] = '/nonexistent/connections.toml'")
    assert "no default gateway is known" in shell.fail("%%dpsql\nSELECT 1")
    assert "as bob (analyst)" in repr(shell.run(f"%dpsql connect {gateway.url} --database poor"))


def test_a_failed_connect_keeps_the_old_connection(shell: Shell) -> None:
    shell.run("%dpsql connect bob")
    shell.fail("%dpsql connect dead")
    assert "Database clinic: 3 tables" in repr(shell.run("%dpsql connect bob"))


def test_a_connection_without_database_asks_which(shell: Shell) -> None:
    assert repr(shell.run("%dpsql connect undecided")) == (
        "Connected to undecided as alice (analyst).\nDatabases: clinic, poor. Choose one with %dpsql use NAME."
    )
    assert shell.fail("%%dpsql\nSELECT COUNT(*) FROM alms") == "BadRequest: which database is meant?\nHint: %dpsql use NAME, one of: clinic, poor."
    assert "clinic    people" in repr(shell.run("%dpsql tables"))
    assert repr(shell.run("%dpsql use test/poor")) == "Database poor."
    shell.run("%%dpsql --dry-run\nSELECT COUNT(*) FROM alms")


def test_an_exhausted_budget_says_total_spent_asked_and_recovery(shell: Shell) -> None:
    shell.run("%dpsql connect bob --database poor")
    shell.run("%%dpsql --epsilon 0.7\nSELECT COUNT(*) AS n FROM alms")
    assert "NOT AFFORDABLE" in repr(shell.run("%%dpsql --epsilon 0.5 --dry-run\nSELECT SUM(amount) AS s FROM alms"))
    said = shell.fail("%%dpsql --epsilon 0.5\nSELECT SUM(amount) AS s FROM alms")
    assert said.startswith("BudgetExhausted: ")
    for part in ("1", "0.7", "0.5", "recover"):
        assert part in said
    assert "ε 0.7 of 1 spent, 0.3 left" in repr(shell.run("%dpsql budget"))


def test_a_changed_policy_is_noticed_and_read_again(shell: Shell, gateway: Gateway) -> None:
    shell.run("%dpsql connect olga")
    session = shell.ip.magics_manager.registry["DpsqlMagics"].session
    session.database = session.database.model_copy(update={"sha256sum": "0" * 64})
    said = shell.fail("%%dpsql\nSELECT COUNT(*) AS n FROM people")
    assert said.startswith("PolicyChanged: ")
    assert "then run the cell again" in said
    shell.run("%%dpsql\nSELECT COUNT(*) AS n FROM people")


def test_answers_become_data_frames_with_their_types(shell: Shell) -> None:
    answer = shell.run("%%dpsql\nSELECT DATE_TRUNC('year', born) AS y, COUNT(*) AS n, AVG(income) AS i FROM people GROUP BY 1 ORDER BY 1")
    frame = answer.df
    assert pd.api.types.is_datetime64_any_dtype(frame["y"])
    assert str(frame["n"].dtype) == "int64"
    assert str(frame["i"].dtype) == "float64"
    assert answer.key_columns == ("y",)


def test_what_was_asked_last_is_explained_whatever_was_shown_since(shell: Shell) -> None:
    assert "nothing was answered yet" in shell.fail("%dpsql explain")
    shell.run("%%dpsql kept <<\nSELECT COUNT(*) AS n FROM people")
    shell.run("%dpsql history")
    assert "SELECT COUNT(*) AS n FROM people" in repr(shell.run("%dpsql explain"))


def test_a_noisy_value_without_interval_is_told_from_an_exact_one(shell: Shell) -> None:
    answer = shell.run("%%dpsql\nSELECT MEDIAN(age) AS middle, COUNT(*) AS n FROM people")
    assert "middle: noisy too; without ±, because how far off depends on the data" in answer.notices
    assert not any("noisy too" in line for line in shell.run("%%dpsql\nSELECT COUNT(*) AS n FROM people").notices)


def test_errors_of_answers_keep_their_hint() -> None:
    with pytest.raises(BadRequest) as caught:
        raise BadRequest("no such column", hint="Its columns: a, b.")
    assert "Hint: Its columns: a, b." in "".join(traceback.format_exception(caught.value))


def test_errors_can_be_caught_by_programs(shell: Shell) -> None:
    shell.run("%dpsql connect")
    with pytest.raises(errors.UnknownName):
        shell.ip.run_cell_magic("dpsql", "", "SELECT nothing FROM people")


def test_loading_twice_and_unloading(shell: Shell) -> None:
    shell.run("%load_ext dpjupyter\n%reload_ext dpjupyter")
    shell.run("%dpsql connect")
    shell.run("%unload_ext dpjupyter")
    assert "not found" in shell.fail("%dpsql tables")
    shell.run("%load_ext dpjupyter")
