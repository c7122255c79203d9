"""The whole road on Snowflake: every question's answer equals DuckDB's when no noise is added."""

from __future__ import annotations

import pytest

from dpjupyter.engine.model import Ask
from tests.snowflake.conftest import House

TITANIC = {
    "count": "SELECT COUNT(*) AS n FROM passengers",
    "groups": "SELECT pclass, COUNT(*) AS n, AVG(fare) AS fare FROM passengers GROUP BY pclass ORDER BY pclass",
    "sums": "SELECT sex, SUM(survived) AS alive, SUM(fare) AS paid, COUNT(age) AS known FROM passengers GROUP BY sex ORDER BY sex",
    "filter": "SELECT COUNT(*) AS n FROM passengers WHERE age BETWEEN 20 AND 30 AND sex = 'female'",
    "two keys": "SELECT pclass, sex, AVG(survived) AS rate FROM passengers GROUP BY pclass, sex ORDER BY 1, 2",
    "case": "SELECT CASE WHEN age < 18 THEN 'child' WHEN age >= 18 THEN 'adult' ELSE 'unknown' END AS who, COUNT(*) AS n FROM passengers GROUP BY 1 ORDER BY 1",
    "histogram": "SELECT FLOOR(age / 10) * 10 AS decade, COUNT(*) AS n FROM passengers GROUP BY FLOOR(age / 10) * 10 ORDER BY 1",
    "spread": "SELECT STDDEV(fare) AS s, VARIANCE(age) AS v FROM passengers",
    "median": "SELECT pclass, MEDIAN(age) AS m FROM passengers GROUP BY pclass ORDER BY pclass",
    "least": "SELECT AVG(LEAST(GREATEST(fare, 0), 100)) AS f FROM passengers WHERE fare > 0",
    "division": "SELECT AVG(LEAST(GREATEST(fare / NULLIF(sibsp + parch, 0), 0), 200)) AS f FROM passengers WHERE sibsp + parch > 0",
    "having": "SELECT embarked, COUNT(*) AS n FROM passengers GROUP BY embarked HAVING COUNT(*) > 100 ORDER BY n DESC",
    "with": "WITH a AS (SELECT pclass, COUNT(*) AS n FROM passengers GROUP BY pclass) SELECT MAX(n) AS top, SUM(n) AS total FROM a",
    "distinct": "SELECT COUNT(DISTINCT deck) AS decks FROM passengers",
    "count if": "SELECT COUNT_IF(survived = 1) AS alive, COUNT(*) - COUNT_IF(survived = 1) AS dead FROM passengers",
    "open key": "SELECT UPPER(SUBSTR(name, 1, 1)) AS initial, COUNT(*) AS n FROM passengers GROUP BY 1 ORDER BY 1",
    "coalesce": "SELECT COALESCE(deck, '?') AS deck, COUNT(*) AS n FROM passengers GROUP BY 1 ORDER BY 1",
}
SHOP = {
    "people": "SELECT segment, COUNT(*) AS n FROM customers GROUP BY segment ORDER BY segment",
    "orders": "SELECT status, COUNT(*) AS n, SUM(shipping) AS s FROM orders GROUP BY status ORDER BY status",
    "months": "SELECT DATE_TRUNC('month', ordered_at) AS m, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1",
    "years": "SELECT EXTRACT(YEAR FROM ordered_at) AS y, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1",
    "join": "SELECT c.segment, COUNT(*) AS n, AVG(o.shipping) AS s FROM orders o JOIN customers c ON o.customer_id = c.customer_id GROUP BY c.segment ORDER BY 1",
    "units": "SELECT COUNT(DISTINCT customer_id) AS people FROM orders WHERE channel = 'web'",
    "lines": "SELECT SUM(quantity * unit_price) AS revenue FROM order_lines",
    "path": "SELECT p.category, SUM(l.quantity) AS sold FROM order_lines l JOIN products p ON l.product_id = p.product_id GROUP BY p.category ORDER BY 1",
    "per unit": "SELECT AVG(n) AS mean FROM (SELECT customer_id, LEAST(COUNT(*), 20) AS n FROM orders GROUP BY customer_id) AS t",
    "born": "SELECT AVG(birth_year) AS y, COUNT(birth_year) AS n FROM customers",
    "before": "SELECT COUNT(*) AS n FROM customers WHERE signed_up < DATE '2022-06-01'",
    "weekday": "SELECT COUNT(*) AS n FROM orders WHERE DATEDIFF('day', DATE '2023-01-01', CAST(ordered_at AS DATE)) < 100",
    "quantile": "SELECT PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY shipping) AS p FROM orders",
    "public": "SELECT category, COUNT(*) AS n, AVG(list_price) AS p FROM products GROUP BY category ORDER BY category",
    "cities": "SELECT city, COUNT(*) AS n FROM customers GROUP BY city ORDER BY n DESC, city",
    "rollup": "SELECT channel, status, COUNT(*) AS n FROM orders GROUP BY ROLLUP (channel, status) ORDER BY 1, 2",
    "discount": "SELECT AVG(discount) AS d, COUNT(discount) AS n FROM order_lines",
    "in list": "SELECT COUNT(*) AS n FROM orders WHERE status IN ('returned', 'cancelled') AND channel LIKE 'w%'",
    "exists": "SELECT COUNT(*) AS n FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.customer_id AND o.status = 'returned')",
}
QUESTIONS = [("titanic", name, sql) for name, sql in TITANIC.items()] + [("shop", name, sql) for name, sql in SHOP.items()]


def _close(a: object, b: object) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        # Fixed-point sums may differ by one rounding of a float expression per row.
        return abs(a - b) <= 1e-6 * max(1.0, abs(a), abs(b))
    return a == b


@pytest.mark.parametrize(("database", "sql"), [(d, q) for d, _, q in QUESTIONS], ids=[f"{d}: {n}" for d, n, _ in QUESTIONS])
def test_the_answer_is_that_of_duckdb(houses: dict[tuple[str, str], House], database: str, sql: str) -> None:
    # No unit is in more groups than this: which ones are kept depends on each warehouse's own hash.
    ask = Ask(max_groups=40, max_rows=200) if database == "shop" else Ask()
    ours = houses[database, "snowflake"].ask(sql, ask).answer
    theirs = houses[database, "duckdb"].ask(sql, ask).answer
    assert [name.lower() for name, _ in ours.columns] == [name.lower() for name, _ in theirs.columns]
    # Snowflake enforces no keys, so a customer may be in more groups there: the threshold of open keys is higher.
    assert 0 < len(ours.rows) <= len(theirs.rows)
    assert len(ours.rows) == len(theirs.rows) or "city" in sql
    for mine, other in zip(ours.rows, theirs.rows, strict=False):
        assert all(_close(a, b) for a, b in zip(mine, other, strict=True)), (mine, other)
