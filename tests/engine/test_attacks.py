"""Attacks on the compiler, by class. Each is refused, or what runs keeps the declared sensitivity."""

from __future__ import annotations

import duckdb
import pytest

from dpjupyter.engine import policy as policies
from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote
from dpjupyter.errors import DpError, Refused
from tests.conformance import sensitivity

POLICY = """
[database]
prefix = "test"
name = "shop"
backend = "duckdb:///:memory:"
[tables.people]
unit = "uid"
keys = [["uid"]]
max_rows = 3
max_groups = 2
key_delta = 1e-7
columns.uid = {type = "INTEGER"}
columns.city = {type = "VARCHAR", domain = ["A", "B", "C"], nullable = true}
columns.name = {type = "VARCHAR"}
columns.pay = {type = "DOUBLE", bounds = [0, 100], nullable = true}
columns.tags = {type = "INTEGER[]", nullable = true}
[tables.visits]
unit = "uid"
max_rows = 3
max_groups = 2
key_delta = 1e-7
columns.uid = {type = "INTEGER", nullable = true}
columns.other = {type = "INTEGER"}
columns.day = {type = "DATE", bounds = ["2024-01-01", "2024-01-31"]}
columns.cost = {type = "DOUBLE", bounds = [-5, 5], nullable = true}
columns.n = {type = "BIGINT", bounds = [0, 9]}
columns.place = {type = "VARCHAR"}
[tables.survey]
unit = "row"
columns.v = {type = "DOUBLE", bounds = [0, 10], nullable = true}
columns.k = {type = "INTEGER", domain = [1, 2, 3]}
[tables.places]
private = false
keys = [["place"]]
rows = 4
columns.place = {type = "VARCHAR", nullable = false}
columns.region = {type = "VARCHAR", domain = ["x", "y"]}
columns.uid = {type = "INTEGER"}
[tables.big]
private = false
columns.uid = {type = "INTEGER"}
columns.place = {type = "VARCHAR"}
"""

REFUSED = {
    "fan-out and cross joins": [
        "SELECT COUNT(*) FROM people, visits",
        "SELECT COUNT(*) FROM people JOIN visits ON people.city = visits.place",
        "SELECT COUNT(*) FROM people p CROSS JOIN people q",
        "SELECT COUNT(*) FROM people JOIN visits ON people.uid = visits.uid OR visits.n = 1",
        "SELECT COUNT(*) FROM people JOIN visits ON people.uid = visits.other",
        "SELECT COUNT(*) FROM visits JOIN big ON visits.place = big.place",
        "SELECT COUNT(*) FROM people JOIN visits ON people.uid <= visits.uid AND people.uid >= visits.uid",
        "SELECT COUNT(*) FROM survey a JOIN survey b ON a.k = b.k",
        "SELECT COUNT(*) FROM survey JOIN places ON k = 1",
        "SELECT COUNT(*) FROM survey CROSS JOIN UNNEST([1, 2]) AS t(x)",
    ],
    "units spoofed": [
        "SELECT COUNT(*) FROM people a JOIN people b ON a.uid = a.uid",
        "SELECT COUNT(*) FROM people JOIN visits ON people.uid + 0 = visits.uid",
        "SELECT COUNT(*) FROM people JOIN visits ON CAST(people.uid AS VARCHAR) = CAST(visits.uid AS VARCHAR)",
        "SELECT COUNT(*) FROM people JOIN (SELECT other AS uid FROM visits) v ON people.uid = v.uid",
        "SELECT COUNT(*) FROM people JOIN (SELECT 1 AS uid, uid AS u FROM visits) v USING (uid)",
        "SELECT COUNT(*) FROM people JOIN visits ON COALESCE(people.uid, 1) = visits.uid",
        "SELECT COUNT(*) FROM people JOIN visits ON ABS(people.uid) = visits.uid",
    ],
    "laundering": [
        "SELECT * FROM people",
        "SELECT name FROM people LIMIT 1",
        "SELECT uid, COUNT(*) FROM visits GROUP BY uid",
        "SELECT COUNT(*) FROM visits GROUP BY uid % 100",
        "SELECT CASE WHEN uid = 1 THEN 0 ELSE 1 END, COUNT(*) FROM visits GROUP BY 1",
        "SELECT x, COUNT(*) FROM (SELECT uid * 2 AS x FROM visits) GROUP BY x",
        "SELECT n FROM (SELECT COUNT(*) AS n FROM visits GROUP BY uid) t",
        "WITH a AS (SELECT uid AS city FROM people) SELECT city FROM a",
        "SELECT MAX(name) FROM people",
        "SELECT ANY_VALUE(pay) FROM people",
        "SELECT COUNT(*) FROM (SELECT * FROM people LIMIT 5) t",
        "SELECT COUNT(*) FROM (SELECT * FROM people ORDER BY pay LIMIT 1) t",
        "SELECT uid FROM people GROUP BY uid",
        "SELECT MODE(uid) FROM people",
        "SELECT DISTINCT uid FROM people",
        "SELECT * FROM places WHERE place IN (SELECT place FROM visits)",
        "SELECT region FROM places WHERE EXISTS (SELECT 1 FROM visits WHERE visits.place = places.place)",
    ],
    "NULL-extended units": [
        "SELECT COUNT(*) FROM places LEFT JOIN visits ON places.place = visits.place",
        "SELECT COUNT(*) FROM visits RIGHT JOIN places ON places.place = visits.place",
        "SELECT COUNT(*) FROM visits FULL JOIN places ON places.place = visits.place",
        "SELECT region, COUNT(*) FROM places LEFT JOIN visits USING (place) GROUP BY region",
        "SELECT COUNT(*) FROM (SELECT uid FROM visits UNION ALL SELECT uid FROM places) t",
        "SELECT COUNT(n) FROM (SELECT visits.uid, COUNT(*) n FROM visits RIGHT JOIN (SELECT DISTINCT place FROM places) p USING (place) GROUP BY visits.uid) t",
    ],
    "windows across units": [
        "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (ORDER BY pay) AS r FROM people) t WHERE r = 1",
        "SELECT AVG(r) FROM (SELECT LEAST(GREATEST(RANK() OVER (PARTITION BY city ORDER BY pay), 0), 9) AS r FROM people) t",
        "SELECT COUNT(*) FROM (SELECT uid, pay - LAG(pay) OVER (ORDER BY uid) AS d FROM people) t WHERE d > 1",
        "SELECT SUM(s) FROM (SELECT uid, LEAST(SUM(n) OVER (PARTITION BY place), 5) AS s FROM visits) t",
        "SELECT COUNT(*) FROM visits QUALIFY ROW_NUMBER() OVER (PARTITION BY place ORDER BY day) = 1",
        "SELECT COUNT(*) FROM (SELECT SUM(cost) OVER (PARTITION BY uid) AS c FROM visits) t WHERE c > 0",
        "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY uid ORDER BY city) AS r, tags FROM people) t WHERE r = 1 AND tags IS NULL",
        "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS r FROM survey) t WHERE r = 1",
    ],
    "HAVING and released values below a measurement": [
        "SELECT COUNT(*) FROM people WHERE pay > (SELECT AVG(pay) FROM people)",
        "SELECT COUNT(*) FROM people CROSS JOIN (SELECT AVG(pay) AS a FROM people) t WHERE pay > a",
        "SELECT COUNT(*) FROM people WHERE city IN (SELECT city FROM people GROUP BY city HAVING COUNT(*) > 3)",
        "SELECT COUNT(*) FROM people WHERE EXISTS (SELECT 1 FROM visits)",
        "SELECT COUNT(*) FROM people WHERE (SELECT MAX(n) FROM visits) = 1",
        "SELECT SUM(CASE WHEN EXISTS (SELECT 1 FROM visits WHERE visits.uid = 3) THEN 1 ELSE 0 END) FROM people",
    ],
    "strings that become SQL, files, settings": [
        "SELECT * FROM read_csv('people.csv')",
        "SELECT * FROM 'people.parquet'",
        "SELECT COUNT(*) FROM people WHERE getenv('HOME') = 'x'",
        "SELECT current_setting('threads')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('people')",
        "SELECT COUNT(*) FROM duckdb_settings()",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT COUNT(*) FROM sqlite_master",
    ],
    "replacement scans of Python variables": [
        "SELECT * FROM connection",
        "SELECT * FROM self",
        "SELECT COUNT(*) FROM df",
        "SELECT COUNT(*) FROM exact_rows",
        "SELECT COUNT(*) FROM m0",
        "SELECT COUNT(*) FROM p0",
    ],
    "positional, lateral, sampled, recursive, pivoted": [
        "SELECT COUNT(*) FROM people POSITIONAL JOIN visits",
        "SELECT COUNT(*) FROM people ASOF JOIN visits ON people.uid >= visits.uid",
        "SELECT COUNT(*) FROM people, LATERAL (SELECT * FROM visits WHERE visits.uid = people.uid) t",
        "SELECT COUNT(*) FROM people TABLESAMPLE 10%",
        "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r) SELECT COUNT(*) FROM r",
        "PIVOT visits ON place USING COUNT(*)",
        "SELECT UNNEST(tags) FROM people",
        "SELECT COUNT(*) FROM people, UNNEST(tags) AS t(x)",
    ],
    "volatile functions and odd nodes": [
        "SELECT COUNT(*) FROM people WHERE RANDOM() < 0.5",
        "SELECT COUNT(*) FROM people WHERE pay > UUID()",
        "SELECT NOW(), COUNT(*) FROM people",
        "SELECT COUNT(*) FROM people WHERE uid IN (SELECT UNNEST([1, 2]))",
        "SELECT list(name) FROM people",
        "SELECT string_agg(name, ',') FROM people",
        "SELECT first(name) FROM people",
        "SELECT arg_max(name, pay) FROM people",
        "SELECT histogram(city) FROM people",
        "SELECT COUNT(*) FROM people WHERE nextval('s') > 0",
        "SELECT ERROR('x') FROM people",
        "SELECT COUNT(*) FROM people WHERE hash(name) % 2 = 0 AND nosuch(name)",
    ],
    "several statements, other statements": [
        "SELECT COUNT(*) FROM people; SELECT 1",
        "EXPLAIN SELECT COUNT(*) FROM people",
        "EXPLAIN ANALYZE SELECT COUNT(*) FROM people",
        "SUMMARIZE people",
        "DESCRIBE people",
        "PRAGMA database_list",
        "COPY people TO 'x.csv'",
        "CREATE TABLE t AS SELECT * FROM people",
        "ATTACH 'x.db'",
        "SET threads = 1",
        "CALL pragma_version()",
    ],
    "set operations that mix people": [
        "SELECT COUNT(*) FROM (SELECT city FROM people UNION SELECT place FROM visits) t",
        "SELECT COUNT(*) FROM (SELECT uid, name FROM people UNION SELECT other, place FROM visits) t",
        "SELECT COUNT(*) FROM (SELECT city FROM people INTERSECT SELECT place FROM visits) t",
        "SELECT COUNT(*) FROM (SELECT city FROM people EXCEPT SELECT region FROM places) t",
        "SELECT COUNT(*) FROM (SELECT v FROM survey UNION SELECT v FROM survey) t",
        "SELECT 1 UNION SELECT pay FROM people",
    ],
    "unbounded values": [
        "SELECT SUM(other) FROM visits",
        "SELECT SUM(n * n * n) FROM (SELECT uid, other AS n FROM visits) t",
        "SELECT AVG(EXP(other)) FROM visits",
        "SELECT SUM(1 / cost) FROM visits",
        "SELECT VARIANCE(other) FROM visits",
        "SELECT MEDIAN(other) FROM visits",
        "SELECT SUM(uid) FROM people",
    ],
    "subqueries where nothing plans them": [
        "SELECT LAG(uid, 1, (SELECT COUNT(*) FROM people)) OVER (ORDER BY place) FROM places",
        "SELECT MAX((SELECT name FROM people WHERE uid = 2)) OVER () FROM places",
        "SELECT MAX((SELECT SUM(pay) FROM people WHERE uid = 3)) OVER () FROM (VALUES (1)) t(a)",
        "SELECT ROW_NUMBER() OVER (ORDER BY EXISTS (SELECT 1 FROM people)) FROM places",
        "SELECT SUM(uid) OVER (PARTITION BY (SELECT COUNT(*) FROM people)) FROM places",
        "SELECT COUNT(*) FROM (SELECT uid, MAX(CASE WHEN 7 IN (SELECT uid FROM visits) THEN 1 ELSE 0 END) OVER (PARTITION BY uid) r FROM visits) t WHERE r > 0",
        "SELECT COUNT(*) FROM visits, (VALUES (EXISTS (SELECT 1 FROM people))) t(x) WHERE x",
        "SELECT * FROM (VALUES ((SELECT COUNT(*) FROM people))) t(x)",
        "SELECT city, COUNT(*), MAX((SELECT MAX(pay) FROM people)) OVER () FROM people GROUP BY city",
    ],
    "rows of unit = row multiplied": [
        "SELECT COUNT(*) FROM survey JOIN (SELECT DISTINCT x FROM (VALUES ('1'), ('01'), ('001')) t(x)) c ON survey.k = c.x",
        "SELECT COUNT(*) FROM survey JOIN (SELECT '1' AS x UNION SELECT '01') c ON survey.k = c.x",
        "SELECT COUNT(*) FROM survey JOIN (SELECT DISTINCT x FROM (VALUES (1.0e0), (2.0e0)) t(x)) c ON survey.v = c.x",
        "SELECT k, COUNT(*) FROM (SELECT k FROM survey UNION ALL SELECT k FROM survey) t GROUP BY k",
        "SELECT COUNT(*) FROM (SELECT k FROM survey UNION ALL SELECT uid FROM people) t",
    ],
    "values that fail in one row": [
        "SELECT COUNT(*), (SELECT COUNT(*) FROM people GROUP BY city) FROM people",
        "SELECT COUNT(*) FROM people WHERE city = (SELECT region FROM places)",
        "SELECT x, COUNT(*) FROM people CROSS JOIN UNNEST([1, 'x', 3]) AS t(x) GROUP BY x",
        "SELECT city, COUNT(*) FROM people WHERE city IN ('A', 53.1) GROUP BY city",
        "SELECT COUNT(*) FROM (SELECT uid, NTILE(other) OVER (PARTITION BY uid ORDER BY day) AS r FROM visits) t WHERE r = 1",
        "SELECT COUNT(*) FROM (SELECT uid, SUM(n) OVER (PARTITION BY uid ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM visits) t WHERE s > 1",
        "SELECT COUNT(*) FROM (SELECT uid, LAG(n, 1, n * n) OVER (PARTITION BY uid ORDER BY day) AS s FROM visits) t WHERE s > 1",
        "SELECT COUNT(*) FROM (SELECT uid, SUM(n * n) OVER (PARTITION BY uid) AS s FROM visits) t WHERE s > 1",
        "SELECT COUNT(*) FROM (SELECT uid, n FROM visits UNION SELECT uid, pay FROM people) t",
    ],
    "texts that cost too much to read": [
        "SELECT COUNT(*) FROM visits WHERE n = 1e99999999",
        "SELECT COUNT(*) FROM visits WHERE n = " + "9" * 60,
        "SELECT n + 1 AS a0, " + ", ".join(f"a{i} * a{i} AS a{i + 1}" for i in range(12)) + ", COUNT(*) FROM visits GROUP BY a12, n",
        "SELECT COUNT(*) FROM visits WHERE n IN (" + ", ".join(map(str, range(6000))) + ")",
        "SELECT COUNT(*) FROM visits WHERE place = '\ud800'",
        "SELECT " + "(" * 300 + "1" + ")" * 300,
        "SELECT SUM(LEAST(GREATEST(cost, -1e308), 1e308)) FROM visits",
    ],
    "names": [
        'SELECT COUNT(*) FROM "people;DROP TABLE x"',
        'SELECT COUNT("uid"" OR 1=1") FROM people',
        "SELECT COUNT(*) FROM peop1e",
        "SELECT COUNT(*) FROM реople",  # noqa: RUF001 - a Cyrillic letter
        "SELECT COUNT(uid) FROM people p WHERE people.uid = 1",
        "SELECT COUNT(*) FROM people WHERE rowid = 1",
    ],
}

PRIVATE = [
    "SELECT city, COUNT(*), SUM(pay), AVG(pay) FROM people GROUP BY city",
    "SELECT COUNT(*), (SELECT n FROM (SELECT city, COUNT(*) AS n FROM people GROUP BY city) t WHERE city = 'A') AS a FROM people",
    "SELECT COUNT(*), (SELECT region FROM places ORDER BY region LIMIT 1) AS first FROM people",
    "SELECT day, COUNT(*), SUM(cost), COUNT(DISTINCT place), COUNT(DISTINCT uid) FROM visits GROUP BY day",
    "SELECT place, COUNT(*) FROM visits GROUP BY place",
    "SELECT n, SUM(cost), STDDEV(cost), MEDIAN(cost) FROM visits GROUP BY n",
    "SELECT COUNT(*), SUM(cost * n), VAR_POP(n), CORR(cost, n), COVAR_SAMP(cost, n) FROM visits",
    "SELECT city, SUM(cost) FROM people JOIN visits ON people.uid = visits.uid GROUP BY city",
    "SELECT COUNT(*) FROM visits a JOIN visits b ON a.uid = b.uid",
    "SELECT COUNT(*), COUNT(DISTINCT a.uid) FROM visits a LEFT JOIN people b ON a.uid = b.uid WHERE b.uid IS NULL",
    "SELECT COUNT(*) FROM people a FULL JOIN visits b ON a.uid = b.uid",
    "SELECT AVG(c), COUNT(*) FROM (SELECT uid, SUM(cost) AS c FROM visits GROUP BY uid) t",
    "SELECT k, COUNT(*) FROM (SELECT uid, LEAST(COUNT(*), 5) AS k FROM visits GROUP BY uid) t GROUP BY k",
    "SELECT COUNT(*) FROM (SELECT uid, place FROM visits UNION SELECT uid, city FROM people) t",
    "SELECT COUNT(*) FROM (SELECT uid, city AS c FROM people UNION ALL SELECT uid, place FROM visits) t",
    "SELECT COUNT(*) FROM people WHERE uid IN (SELECT uid FROM visits WHERE cost > 0)",
    "SELECT COUNT(*) FROM people WHERE uid NOT IN (SELECT uid FROM visits)",
    "SELECT COUNT(*) FROM people p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.uid = p.uid AND v.n > 4)",
    "SELECT region, COUNT(*), SUM(n) FROM visits JOIN places USING (place) GROUP BY region",
    "SELECT COUNT(*) FROM visits CROSS JOIN places",
    "SELECT place, COUNT(*) FROM visits RIGHT JOIN (SELECT DISTINCT place FROM places) t USING (place) GROUP BY place",
    "SELECT k, COUNT(*), SUM(v), AVG(v), STDDEV(v), MEDIAN(v), COUNT(DISTINCT v) FROM survey GROUP BY k",
    "SELECT COUNT(*) FROM (SELECT uid, ROW_NUMBER() OVER (PARTITION BY uid ORDER BY day) AS r FROM visits) t WHERE r <= 2",
    "SELECT MAX(cost), MIN(cost), MAX(day) FROM visits",
    "SELECT SUM(DISTINCT n), AVG(DISTINCT n), COUNT(DISTINCT n) FROM visits",
    "SELECT city, day, COUNT(*) FROM people JOIN visits USING (uid) GROUP BY ROLLUP (city, day)",
    "SELECT COUNT(*) FILTER (WHERE cost > 0), SUM(n) FILTER (WHERE cost > 0) FROM visits",
    "SELECT SUM(s), AVG(a) FROM (SELECT uid, SUM(n * n) AS s, AVG(n * n * n) AS a FROM visits GROUP BY uid) t",
    "SELECT MEDIAN(n * n), MEDIAN(n) FROM visits",
    "SELECT BOOL_OR(cost > 4), BOOL_AND(cost > -6) FROM visits",
    "SELECT n, MODE(day), COUNT(*) FROM visits GROUP BY n",
    "SELECT EXTRACT(dow FROM day), COUNT(*) FROM visits GROUP BY 1",
    "SELECT FLOOR(cost), COUNT(*) FROM visits GROUP BY 1",
    "SELECT COUNT(*) FROM visits JOIN people ON visits.uid = people.uid AND visits.uid = people.uid WHERE people.uid > 3",
    "SELECT SUM(p.pay) FROM people p, visits v, people q WHERE p.uid = v.uid AND v.uid = q.uid",
]


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Two private tables of one unit without enforced keys, one of unit row, two public ones."""
    return policies.parse(POLICY)


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    """Data that breaks every promise a warehouse does not enforce: NULL units, duplicate keys, values out of bounds, NaN, infinities."""
    con = duckdb.connect()
    con.execute("CREATE TABLE people (uid INTEGER, city VARCHAR, name VARCHAR, pay DOUBLE, tags INTEGER[])")
    con.execute("CREATE TABLE visits (uid INTEGER, other INTEGER, day DATE, cost DOUBLE, n BIGINT, place VARCHAR)")
    con.execute("CREATE TABLE survey (v DOUBLE, k INTEGER)")
    con.execute("CREATE TABLE places (place VARCHAR, region VARCHAR, uid INTEGER)")
    con.execute("CREATE TABLE big (uid INTEGER, place VARCHAR)")
    con.execute(
        "INSERT INTO people SELECT i % 40, ['A','B','C',NULL,'Z'][1 + i % 5], 'n' || i, CASE i % 9 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN 'inf'::DOUBLE WHEN 2 THEN NULL ELSE i * 7 - 30 END, [i] FROM range(60) t(i)"
    )
    con.execute(
        """INSERT INTO visits SELECT CASE WHEN i % 11 = 0 THEN NULL WHEN i % 3 = 0 THEN 7 ELSE i % 35 END, i % 17,
        DATE '2024-01-01' + (i * 7 % 40)::INTEGER, CASE i % 13 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN '-inf'::DOUBLE WHEN 2 THEN NULL WHEN 3 THEN 1e300 ELSE i % 21 - 10 END,
        CASE WHEN i % 19 = 0 THEN 9223372036854775807 ELSE i % 12 END, 'p' || (i % 6) FROM range(400) t(i)"""
    )
    con.execute(
        "INSERT INTO survey SELECT CASE i % 7 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN -1e308 WHEN 2 THEN NULL ELSE i % 15 END, i % 5 FROM range(50) t(i)"
    )
    con.execute("INSERT INTO places VALUES ('p0','x',1), ('p1','y',2), ('p2','x',3), ('p2','y',4)")
    return con


@pytest.mark.parametrize(("attack", "sql"), [(a, q) for a, queries in REFUSED.items() for q in queries])
def test_attack_is_refused(attack: str, sql: str, policy: Policy) -> None:
    """Refused with a reason; never a crash, never an answer."""
    with pytest.raises(Refused) as refused:
        quote(sql, Ask(), policy)
    assert refused.value.message, attack


@pytest.mark.parametrize("sql", PRIVATE)
@pytest.mark.parametrize(
    "ask", [Ask(), Ask(max_rows=1, max_groups=1), Ask(max_rows=4, max_groups=6, mechanism="gauss")], ids=["policy", "tight", "gauss"]
)
def test_one_unit_changes_no_statistic_by_more_than_declared(
    sql: str, ask: Ask, policy: Policy, database: duckdb.DuckDBPyConnection
) -> None:
    """On hostile data, for every kind of statement: and no statement fails, whatever the values."""
    plan = quote(sql, ask, policy).plan
    before = sensitivity.results(plan, database)
    private = [name for name, table in policy.tables.items() if table.private]
    for victim in [
        *sensitivity.units(database, policy, list(plan.tables), 3, seed=1),
        *([(None, 7)] if "survey" not in plan.tables else []),
    ]:
        with sensitivity.without(database, policy, private, victim):
            after = sensitivity.results(plan, database)
        assert sensitivity.violations(plan, before, after) == []


def test_every_attack_class_has_five(policy: Policy) -> None:
    """The list is kept wide."""
    assert all(len(queries) >= 5 for queries in REFUSED.values())
    assert issubclass(Refused, DpError)
    assert policy.tables


def test_a_with_item_used_twice_is_measured_once(policy: Policy) -> None:
    """Whichever of its columns each use reads: one noisy value, one price."""
    sql = "WITH x AS (SELECT city, COUNT(*) n, AVG(pay) a FROM people GROUP BY city) SELECT city, a, n, (SELECT SUM(n) FROM x) FROM x"
    assert [item.label for item in quote(sql, Ask(), policy).plan.items] == ["COUNT(*)", "AVG(pay)"]
