-- people: SELECT segment, COUNT(*) AS n FROM customers GROUP BY segment ORDER BY segment
SELECT
  CAST(t1."segment" AS TEXT) COLLATE "C" AS c7,
  COUNT(*) AS m0_s0
FROM "customers" AS t1
WHERE
  NOT t1."customer_id" IS NULL
GROUP BY
  CAST(t1."segment" AS TEXT) COLLATE "C";

-- orders: SELECT status, COUNT(*) AS n, SUM(shipping) AS s FROM orders GROUP BY status ORDER BY status
SELECT
  t2.c7 AS c7,
  SUM(CASE WHEN t2.c100017 > 20 THEN 20 ELSE t2.c100017 END) AS m0_s0,
  SUM(
    CAST(CAST(CASE
      WHEN COALESCE(t2.c100019, 0) < CAST('0.00' AS DECIMAL(38, 2))
      THEN CAST('0.00' AS DECIMAL(38, 2))
      WHEN COALESCE(t2.c100019, 0) > CAST('500.00' AS DECIMAL(38, 2))
      THEN CAST('500.00' AS DECIMAL(38, 2))
      ELSE COALESCE(t2.c100019, 0)
    END AS DECIMAL(18, 2)) * 100 AS BIGINT)
  ) AS m0_s1
FROM (
  SELECT
    t1."customer_id" AS c100015,
    CAST(t1."status" AS TEXT) COLLATE "C" AS c7,
    COUNT(*) AS c100017,
    SUM(t1."shipping") AS c100019
  FROM "orders" AS t1
  WHERE
    NOT t1."customer_id" IS NULL
  GROUP BY
    t1."customer_id",
    CAST(t1."status" AS TEXT) COLLATE "C"
) AS t2
GROUP BY
  t2.c7;

-- months: SELECT DATE_TRUNC('month', ordered_at) AS m, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1
WITH s1 AS MATERIALIZED (
  SELECT
    t2.c100012 AS c100012,
    t2.c7 AS c7,
    CASE WHEN t2.c100014 > 20 THEN 20 ELSE t2.c100014 END AS c100013
  FROM (
    SELECT
      t1."customer_id" AS c100012,
      DATE_TRUNC(
        'MONTH',
        CASE
          WHEN t1."ordered_at" BETWEEN CAST('0001-01-01' AS DATE) AND CAST('9999-12-31' AS DATE)
          THEN t1."ordered_at"
        END
      ) AS c7,
      COUNT(*) AS c100014
    FROM "orders" AS t1
    WHERE
      NOT t1."customer_id" IS NULL
    GROUP BY
      t1."customer_id",
      DATE_TRUNC(
        'MONTH',
        CASE
          WHEN t1."ordered_at" BETWEEN CAST('0001-01-01' AS DATE) AND CAST('9999-12-31' AS DATE)
          THEN t1."ordered_at"
        END
      )
  ) AS t2
), s2 AS MATERIALIZED (
  SELECT
    t5.c100016 AS c100016,
    t5.c100015 AS c100015
  FROM (
    SELECT
      t4.c100012 AS c100016,
      COUNT(*) AS c100015
    FROM s1 AS t4
    GROUP BY
      t4.c100012
  ) AS t5
  WHERE
    t5.c100015 > 12
)
SELECT
  t10.c100019 AS c7,
  SUM(t10.c100020) AS m0_s0
FROM (
  SELECT
    t3.c100012 AS c100018,
    t3.c7 AS c100019,
    t3.c100013 AS c100020
  FROM s1 AS t3
  WHERE
    NOT EXISTS(
      SELECT
        1 AS one
      FROM s2 AS t6
      WHERE
        t3.c100012 = t6.c100016
    )
  UNION ALL
  SELECT
    t9.c100012 AS c100018,
    t9.c7 AS c100019,
    t9.c100013 AS c100020
  FROM (
    SELECT
      t7.c100012 AS c100012,
      t7.c7 AS c7,
      t7.c100013 AS c100013,
      ROW_NUMBER() OVER (
        PARTITION BY t7.c100012
        ORDER BY HASH(t7.c100012, t7.c7, 251559996), t7.c100012, t7.c7
      ) AS c100017
    FROM s1 AS t7
    WHERE
      EXISTS(
        SELECT
          1 AS one
        FROM s2 AS t8
        WHERE
          t7.c100012 = t8.c100016
      )
  ) AS t9
  WHERE
    t9.c100017 <= 12
) AS t10
GROUP BY
  t10.c100019;

-- years: SELECT EXTRACT(YEAR FROM ordered_at) AS y, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1
SELECT
  t2.c7 AS c7,
  SUM(CASE WHEN t2.c100014 > 20 THEN 20 ELSE t2.c100014 END) AS m0_s0
FROM (
  SELECT
    t1."customer_id" AS c100012,
    YEAR(t1."ordered_at") AS c7,
    COUNT(*) AS c100014
  FROM "orders" AS t1
  WHERE
    NOT t1."customer_id" IS NULL
  GROUP BY
    t1."customer_id",
    YEAR(t1."ordered_at")
) AS t2
GROUP BY
  t2.c7;

-- join: SELECT c.segment, COUNT(*) AS n, AVG(o.shipping) AS s FROM orders o JOIN customers c ON o.customer_id = c.customer_id GROUP BY c.segment ORDER BY 1
SELECT
  t4.c13 AS c13,
  SUM(CASE WHEN t4.c100024 > 20 THEN 20 ELSE t4.c100024 END) AS m0_s0,
  SUM(
    CAST(CASE
      WHEN t4.c100027 IS NULL
      THEN 0
      WHEN t4.c100027 < (
        -25000
      )
      THEN (
        -25000
      )
      WHEN t4.c100027 > 25000
      THEN 25000
      ELSE t4.c100027
    END AS BIGINT)
  ) AS m0_s1
FROM (
  SELECT
    t2.c100022 AS c100022,
    CAST(t3."segment" AS TEXT) COLLATE "C" AS c13,
    t2.c100024 AS c100024,
    t2.c100026 AS c100026,
    CASE
      WHEN t2.c100024 > 20
      THEN (
        CAST(t2.c100026 AS DOUBLE) * 100.0e0 - 1250.0e0 * CAST(t2.c100024 AS DOUBLE)
      ) * 20.0e0 / NULLIF(CAST(t2.c100024 AS DOUBLE), 0)
      ELSE (
        CAST(t2.c100026 AS DOUBLE) * 100.0e0 - 1250.0e0 * CAST(t2.c100024 AS DOUBLE)
      )
    END AS c100027
  FROM (
    SELECT
      t1."customer_id" AS c100022,
      COUNT(*) AS c100024,
      SUM(t1."shipping") AS c100026
    FROM "orders" AS t1
    WHERE
      NOT t1."customer_id" IS NULL
    GROUP BY
      t1."customer_id"
  ) AS t2
  JOIN "customers" AS t3
    ON t2.c100022 = t3."customer_id"
) AS t4
GROUP BY
  t4.c13;

-- units: SELECT COUNT(DISTINCT customer_id) AS people FROM orders WHERE channel = 'web'
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    COUNT(*) AS m0_s0
  FROM (
    SELECT
      t1."customer_id" AS c100010
    FROM "orders" AS t1
    WHERE
      CAST(t1."channel" AS TEXT) COLLATE "C" = 'web' AND NOT t1."customer_id" IS NULL
    GROUP BY
      t1."customer_id"
  ) AS t2
) AS t3;

-- lines: SELECT SUM(quantity * unit_price) AS revenue FROM order_lines
SELECT
  COALESCE(t5.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(
      CAST(CASE
        WHEN t4.c100015 IS NULL
        THEN 0
        WHEN t4.c100015 < 0
        THEN 0
        WHEN t4.c100015 > 1000000
        THEN 1000000
        ELSE t4.c100015
      END AS BIGINT)
    ) AS m0_s0
  FROM (
    SELECT
      t3.c100010 AS c100013,
      SUM(
        CAST(CASE
          WHEN t3.c100012 <= 0
          THEN 0.0e0
          WHEN t3.c100012 >= 10000
          THEN 10000.0e0
          ELSE CAST(t3.c100012 AS DOUBLE)
        END * 2.0e0 AS BIGINT)
      ) AS c100015
    FROM (
      SELECT
        t1."quantity" AS c4,
        t1."unit_price" AS c5,
        t2."customer_id" AS c100010,
        CASE WHEN t1."quantity" BETWEEN -20000000 AND 20000000 THEN t1."quantity" END * t1."unit_price" AS c100012
      FROM "order_lines" AS t1
      JOIN "orders" AS t2
        ON t1."order_id" = t2."order_id"
      WHERE
        NOT t2."customer_id" IS NULL
    ) AS t3
    GROUP BY
      t3.c100010
  ) AS t4
) AS t5;

-- path: SELECT p.category, SUM(l.quantity) AS sold FROM order_lines l JOIN products p ON l.product_id = p.product_id GROUP BY p.category ORDER BY 1
SELECT
  t4.c11 AS c11,
  SUM(
    CAST(CASE
      WHEN t4.c100020 IS NULL
      THEN 0
      WHEN t4.c100020 < 0
      THEN 0
      WHEN t4.c100020 > 1000
      THEN 1000
      ELSE t4.c100020
    END AS BIGINT)
  ) AS m0_s0
FROM (
  SELECT
    t3."customer_id" AS c100018,
    CAST(t2."category" AS TEXT) COLLATE "C" AS c11,
    SUM(t1."quantity") AS c100020
  FROM "order_lines" AS t1
  JOIN "products" AS t2
    ON t1."product_id" = t2."product_id"
  JOIN "orders" AS t3
    ON t1."order_id" = t3."order_id"
  WHERE
    NOT t3."customer_id" IS NULL
  GROUP BY
    t3."customer_id",
    CAST(t2."category" AS TEXT) COLLATE "C"
) AS t4
GROUP BY
  t4.c11;

-- per unit: SELECT AVG(n) AS mean FROM (SELECT customer_id, LEAST(COUNT(*), 20) AS n FROM orders GROUP BY customer_id) AS t
SELECT
  COALESCE(t4.m0_s0, 0) AS m0_s0,
  COALESCE(t4.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    COUNT(*) AS m0_s0,
    SUM(
      CASE
        WHEN t3.c10 IS NULL
        THEN NULL
        ELSE CASE
          WHEN t3.c10 IS NULL
          THEN 0
          WHEN t3.c10 < 0
          THEN 0
          WHEN t3.c10 > 20
          THEN 20
          ELSE t3.c10
        END - 10
      END
    ) AS m0_s1
  FROM (
    SELECT
      LEAST(t2.c8, 20) AS c10,
      t2.c7 AS c7
    FROM (
      SELECT
        t1."customer_id" AS c7,
        COUNT(*) AS c8
      FROM "orders" AS t1
      GROUP BY
        t1."customer_id"
    ) AS t2
    WHERE
      NOT t2.c7 IS NULL
  ) AS t3
) AS t4;

-- born: SELECT AVG(birth_year) AS y, COUNT(birth_year) AS n FROM customers
SELECT
  COALESCE(t2.m0_s0, 0) AS m0_s0,
  COALESCE(t2.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    COUNT(t1."birth_year") AS m0_s0,
    SUM(
      CASE
        WHEN t1."birth_year" IS NULL
        THEN NULL
        ELSE CASE
          WHEN t1."birth_year" IS NULL
          THEN 0
          WHEN t1."birth_year" < 1920
          THEN 1920
          WHEN t1."birth_year" > 2010
          THEN 2010
          ELSE t1."birth_year"
        END - 1965
      END
    ) AS m0_s1
  FROM "customers" AS t1
  WHERE
    NOT t1."customer_id" IS NULL
) AS t2;

-- before: SELECT COUNT(*) AS n FROM customers WHERE signed_up < DATE '2022-06-01'
SELECT
  COALESCE(t2.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    COUNT(*) AS m0_s0
  FROM "customers" AS t1
  WHERE
    t1."signed_up" < CAST('2022-06-01' AS DATE) AND NOT t1."customer_id" IS NULL
) AS t2;

-- weekday: SELECT COUNT(*) AS n FROM orders WHERE DATEDIFF('day', DATE '2023-01-01', CAST(ordered_at AS DATE)) < 100
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(CASE WHEN t2.c100012 > 20 THEN 20 ELSE t2.c100012 END) AS m0_s0
  FROM (
    SELECT
      t1."customer_id" AS c100010,
      COUNT(*) AS c100012
    FROM "orders" AS t1
    WHERE
      DATE_DIFF(
        'DAY',
        CAST('2023-01-01' AS DATE),
        CASE
          WHEN CAST(t1."ordered_at" AS DATE) BETWEEN CAST('0001-01-01' AS DATE) AND CAST('9999-12-31' AS DATE)
          THEN CAST(t1."ordered_at" AS DATE)
        END
      ) < 100
      AND NOT t1."customer_id" IS NULL
    GROUP BY
      t1."customer_id"
  ) AS t2
) AS t3;

-- quantile: SELECT PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY shipping) AS p FROM orders
SELECT
  t2.c100010 AS c100010,
  SUM(CAST(COALESCE(t5.c100015, 1048576) AS BIGINT)) AS c100011
FROM (
  SELECT
    t1."customer_id" AS c100013,
    LEAST(
      CAST(FLOOR(
        CAST(CASE
          WHEN t1."shipping" <= 0
          THEN 0
          WHEN t1."shipping" >= 25
          THEN 25
          ELSE t1."shipping"
        END AS DOUBLE) * 81.92e0
      ) AS BIGINT),
      2047
    ) AS c100010
  FROM "orders" AS t1
  WHERE
    NOT t1."customer_id" IS NULL AND NOT (
      t1."shipping" IS NULL
    )
) AS t2
LEFT JOIN (
  SELECT
    t4.c100016 AS c100016,
    CAST(FLOOR(20971520.0e0 / CAST(t4.c100014 AS DOUBLE)) AS BIGINT) AS c100015
  FROM (
    SELECT
      t3."customer_id" AS c100016,
      COUNT(*) AS c100014
    FROM "orders" AS t3
    WHERE
      NOT t3."customer_id" IS NULL AND NOT (
        t3."shipping" IS NULL
      )
    GROUP BY
      t3."customer_id"
  ) AS t4
  WHERE
    t4.c100014 > 20
) AS t5
  ON t2.c100013 = t5.c100016
GROUP BY
  t2.c100010;

-- public: SELECT category, COUNT(*) AS n, AVG(list_price) AS p FROM products GROUP BY category ORDER BY category
SELECT
  t2.c8 AS c8,
  t2.c9 AS c9,
  t2.c10 AS c10
FROM (
  SELECT
    CAST(t1."category" AS TEXT) COLLATE "C" AS c8,
    COUNT(*) AS c9,
    AVG(t1."list_price") AS c10
  FROM "products" AS t1
  GROUP BY
    CAST(t1."category" AS TEXT) COLLATE "C"
) AS t2
ORDER BY
  t2.c8;

-- cities: SELECT city, COUNT(*) AS n FROM customers GROUP BY city ORDER BY n DESC, city
SELECT
  CAST(t1."city" AS TEXT) COLLATE "C" AS c7,
  COUNT(*) AS m0_s0,
  COUNT(*) AS m0_s1
FROM "customers" AS t1
WHERE
  NOT t1."customer_id" IS NULL
GROUP BY
  CAST(t1."city" AS TEXT) COLLATE "C";

-- rollup: SELECT channel, status, COUNT(*) AS n FROM orders GROUP BY ROLLUP (channel, status) ORDER BY 1, 2
SELECT
  t2.c100013 AS c100013,
  t2.c100014 AS c100014,
  SUM(CASE WHEN t2.c100033 > 20 THEN 20 ELSE t2.c100033 END) AS m0_s0
FROM (
  SELECT
    t1."customer_id" AS c100031,
    CAST(t1."channel" AS TEXT) COLLATE "C" AS c100013,
    CAST(t1."status" AS TEXT) COLLATE "C" AS c100014,
    COUNT(*) AS c100033
  FROM "orders" AS t1
  WHERE
    NOT t1."customer_id" IS NULL
  GROUP BY
    t1."customer_id",
    CAST(t1."channel" AS TEXT) COLLATE "C",
    CAST(t1."status" AS TEXT) COLLATE "C"
) AS t2
GROUP BY
  t2.c100013,
  t2.c100014;
SELECT
  t2.c100017 AS c100017,
  SUM(CASE WHEN t2.c100036 > 20 THEN 20 ELSE t2.c100036 END) AS m1_s0
FROM (
  SELECT
    t1."customer_id" AS c100034,
    CAST(t1."channel" AS TEXT) COLLATE "C" AS c100017,
    COUNT(*) AS c100036
  FROM "orders" AS t1
  WHERE
    NOT t1."customer_id" IS NULL
  GROUP BY
    t1."customer_id",
    CAST(t1."channel" AS TEXT) COLLATE "C"
) AS t2
GROUP BY
  t2.c100017;
SELECT
  COALESCE(t3.m2_s0, 0) AS m2_s0
FROM (
  SELECT
    SUM(CASE WHEN t2.c100039 > 20 THEN 20 ELSE t2.c100039 END) AS m2_s0
  FROM (
    SELECT
      t1."customer_id" AS c100037,
      COUNT(*) AS c100039
    FROM "orders" AS t1
    WHERE
      NOT t1."customer_id" IS NULL
    GROUP BY
      t1."customer_id"
  ) AS t2
) AS t3;

-- discount: SELECT AVG(discount) AS d, COUNT(discount) AS n FROM order_lines
SELECT
  COALESCE(t5.m0_s0, 0) AS m0_s0,
  COALESCE(t5.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    SUM(CASE WHEN t4.c100018 > 50 THEN 50 ELSE t4.c100018 END) AS m0_s0,
    SUM(
      CAST(CASE
        WHEN t4.c100022 IS NULL
        THEN 0
        WHEN t4.c100022 < (
          -409600
        )
        THEN (
          -409600
        )
        WHEN t4.c100022 > 409600
        THEN 409600
        ELSE t4.c100022
      END AS BIGINT)
    ) AS m0_s1
  FROM (
    SELECT
      t3.c100016 AS c100016,
      t3.c100018 AS c100018,
      t3.c100020 AS c100020,
      t3.c100021 AS c100021,
      CASE
        WHEN t3.c100021 > 50
        THEN CAST((
          t3.c100020 - CAST(8192 AS INT128) * CAST(t3.c100021 AS INT128)
        ) AS DOUBLE) * 50.0e0 / NULLIF(CAST(t3.c100021 AS DOUBLE), 0)
        ELSE CAST((
          t3.c100020 - CAST(8192 AS INT128) * CAST(t3.c100021 AS INT128)
        ) AS DOUBLE)
      END AS c100022
    FROM (
      SELECT
        t2."customer_id" AS c100016,
        COUNT(t1."discount") AS c100018,
        SUM(
          CAST(CASE
            WHEN t1."discount" = CAST('NaN' AS DOUBLE)
            THEN NULL
            WHEN t1."discount" <= 0.0e0
            THEN 0.0e0
            WHEN t1."discount" >= 0.5e0
            THEN 0.5e0
            ELSE CAST(t1."discount" AS DOUBLE)
          END * 32768.0e0 AS BIGINT)
        ) AS c100020,
        COUNT(
          CAST(CASE
            WHEN t1."discount" = CAST('NaN' AS DOUBLE)
            THEN NULL
            WHEN t1."discount" <= 0.0e0
            THEN 0.0e0
            WHEN t1."discount" >= 0.5e0
            THEN 0.5e0
            ELSE CAST(t1."discount" AS DOUBLE)
          END * 32768.0e0 AS BIGINT)
        ) AS c100021
      FROM "order_lines" AS t1
      JOIN "orders" AS t2
        ON t1."order_id" = t2."order_id"
      WHERE
        NOT t2."customer_id" IS NULL
      GROUP BY
        t2."customer_id"
    ) AS t3
  ) AS t4
) AS t5;

-- in list: SELECT COUNT(*) AS n FROM orders WHERE status IN ('returned', 'cancelled') AND channel LIKE 'w%'
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(CASE WHEN t2.c100012 > 20 THEN 20 ELSE t2.c100012 END) AS m0_s0
  FROM (
    SELECT
      t1."customer_id" AS c100010,
      COUNT(*) AS c100012
    FROM "orders" AS t1
    WHERE
      (
        (
          CAST(t1."status" AS TEXT) COLLATE "C" IN ('returned', 'cancelled')
        )
        AND (
          CAST(t1."channel" AS TEXT) COLLATE "C" LIKE 'w%'
        )
      )
      AND NOT t1."customer_id" IS NULL
    GROUP BY
      t1."customer_id"
  ) AS t2
) AS t3;

-- exists: SELECT COUNT(*) AS n FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.customer_id AND o.status = 'returned')
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    COUNT(*) AS m0_s0
  FROM "customers" AS t1
  WHERE
    EXISTS(
      SELECT
        1 AS one
      FROM "orders" AS t2
      WHERE
        CAST(t2."status" AS TEXT) COLLATE "C" = 'returned'
        AND t2."customer_id" = t1."customer_id"
    )
    AND NOT t1."customer_id" IS NULL
) AS t3;
