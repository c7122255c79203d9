-- people: SELECT segment, COUNT(*) AS n FROM customers GROUP BY segment ORDER BY segment
WITH s1 AS (
  SELECT
    t2.c100012 AS c100012,
    t2.c7 AS c7,
    CASE WHEN t2.c100014 > 1 THEN 1 ELSE t2.c100014 END AS c100013
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100012,
      COLLATE(t1."SEGMENT", '') AS c7,
      COUNT(*) AS c100014
    FROM "CUSTOMERS" AS t1
    WHERE
      NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID",
      COLLATE(t1."SEGMENT", '')
  ) AS t2
), s2 AS (
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
    t5.c100015 > 1
)
SELECT
  t10.c100019 AS c7,
  SUM(CAST(t10.c100020 AS DECIMAL(38, 0))) AS m0_s0
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
        ORDER BY HASH(t7.c100012, t7.c7, 146625588), t7.c100012, t7.c7
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
    t9.c100017 <= 1
) AS t10
GROUP BY
  t10.c100019;

-- orders: SELECT status, COUNT(*) AS n, SUM(shipping) AS s FROM orders GROUP BY status ORDER BY status
SELECT
  t2.c7 AS c7,
  SUM(CAST(CASE WHEN t2.c100017 > 20 THEN 20 ELSE t2.c100017 END AS DECIMAL(38, 0))) AS m0_s0,
  SUM(
    CAST(CAST(CAST(CASE
      WHEN COALESCE(t2.c100019, 0) < CAST('0.00' AS DECIMAL(38, 2))
      THEN CAST('0.00' AS DECIMAL(38, 2))
      WHEN COALESCE(t2.c100019, 0) > CAST('500.00' AS DECIMAL(38, 2))
      THEN CAST('500.00' AS DECIMAL(38, 2))
      ELSE COALESCE(t2.c100019, 0)
    END AS DECIMAL(18, 2)) * 100 AS BIGINT) AS DECIMAL(38, 0))
  ) AS m0_s1
FROM (
  SELECT
    t1."CUSTOMER_ID" AS c100015,
    COLLATE(t1."STATUS", '') AS c7,
    COUNT(*) AS c100017,
    SUM(CAST(t1."SHIPPING" AS DECIMAL(38, 2))) AS c100019
  FROM "ORDERS" AS t1
  WHERE
    NOT t1."CUSTOMER_ID" IS NULL
  GROUP BY
    t1."CUSTOMER_ID",
    COLLATE(t1."STATUS", '')
) AS t2
GROUP BY
  t2.c7;

-- months: SELECT DATE_TRUNC('month', ordered_at) AS m, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1
WITH s1 AS (
  SELECT
    t2.c100012 AS c100012,
    t2.c7 AS c7,
    CASE WHEN t2.c100014 > 20 THEN 20 ELSE t2.c100014 END AS c100013
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100012,
      DATE_TRUNC('MONTH', t1."ORDERED_AT") AS c7,
      COUNT(*) AS c100014
    FROM "ORDERS" AS t1
    WHERE
      NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID",
      DATE_TRUNC('MONTH', t1."ORDERED_AT")
  ) AS t2
), s2 AS (
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
  SUM(CAST(t10.c100020 AS DECIMAL(38, 0))) AS m0_s0
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
        ORDER BY HASH(t7.c100012, t7.c7, 146625588), t7.c100012, t7.c7
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
  SUM(CAST(CASE WHEN t2.c100014 > 20 THEN 20 ELSE t2.c100014 END AS DECIMAL(38, 0))) AS m0_s0
FROM (
  SELECT
    t1."CUSTOMER_ID" AS c100012,
    DATE_PART(YEAR, t1."ORDERED_AT") AS c7,
    COUNT(*) AS c100014
  FROM "ORDERS" AS t1
  WHERE
    NOT t1."CUSTOMER_ID" IS NULL
  GROUP BY
    t1."CUSTOMER_ID",
    DATE_PART(YEAR, t1."ORDERED_AT")
) AS t2
GROUP BY
  t2.c7;

-- join: SELECT c.segment, COUNT(*) AS n, AVG(o.shipping) AS s FROM orders o JOIN customers c ON o.customer_id = c.customer_id GROUP BY c.segment ORDER BY 1
SELECT
  t4.c13 AS c13,
  SUM(CAST(CASE WHEN t4.c100024 > 20 THEN 20 ELSE t4.c100024 END AS DECIMAL(38, 0))) AS m0_s0,
  SUM(
    CAST(CAST(CASE
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
    END AS BIGINT) AS DECIMAL(38, 0))
  ) AS m0_s1
FROM (
  SELECT
    t3.c100022 AS c100022,
    t3.c13 AS c13,
    t3.c100024 AS c100024,
    t3.c100026 AS c100026,
    CASE
      WHEN t3.c100024 > 20
      THEN (
        CAST(t3.c100026 AS DOUBLE) * 100.0e0 - 1250.0e0 * CAST(t3.c100024 AS DOUBLE)
      ) * 20.0e0 / NULLIF(CAST(t3.c100024 AS DOUBLE), 0)
      ELSE (
        CAST(t3.c100026 AS DOUBLE) * 100.0e0 - 1250.0e0 * CAST(t3.c100024 AS DOUBLE)
      )
    END AS c100027
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100022,
      COLLATE(t2."SEGMENT", '') AS c13,
      COUNT(*) AS c100024,
      SUM(CAST(t1."SHIPPING" AS DECIMAL(38, 2))) AS c100026
    FROM "ORDERS" AS t1
    JOIN "CUSTOMERS" AS t2
      ON t1."CUSTOMER_ID" = t2."CUSTOMER_ID"
    WHERE
      NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID",
      COLLATE(t2."SEGMENT", '')
  ) AS t3
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
      t1."CUSTOMER_ID" AS c100010
    FROM "ORDERS" AS t1
    WHERE
      COLLATE(t1."CHANNEL", '') = 'web' AND NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID"
  ) AS t2
) AS t3;

-- lines: SELECT SUM(quantity * unit_price) AS revenue FROM order_lines
SELECT
  COALESCE(t6.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(
      CAST(CAST(CASE
        WHEN t5.c100017 IS NULL
        THEN 0
        WHEN t5.c100017 < 0
        THEN 0
        WHEN t5.c100017 > 1000000
        THEN 1000000
        ELSE t5.c100017
      END AS BIGINT) AS DECIMAL(38, 0))
    ) AS m0_s0
  FROM (
    SELECT
      t4.c100012 AS c100015,
      SUM(
        CAST(CASE
          WHEN t4.c100014 <= 0
          THEN 0.0e0
          WHEN t4.c100014 >= 10000
          THEN 10000.0e0
          ELSE CAST(t4.c100014 AS DOUBLE)
        END * 2.0e0 AS BIGINT)
      ) AS c100017
    FROM (
      SELECT
        t1."QUANTITY" AS c4,
        t1."UNIT_PRICE" AS c5,
        t3.c100012 AS c100012,
        CASE WHEN t1."QUANTITY" BETWEEN -20000000 AND 20000000 THEN t1."QUANTITY" END * t1."UNIT_PRICE" AS c100014
      FROM "ORDER_LINES" AS t1
      JOIN (
        SELECT
          t2."ORDER_ID" AS c100011,
          MIN(t2."CUSTOMER_ID") AS c100012
        FROM "ORDERS" AS t2
        WHERE
          NOT t2."CUSTOMER_ID" IS NULL
        GROUP BY
          t2."ORDER_ID"
      ) AS t3
        ON t1."ORDER_ID" = t3.c100011
      WHERE
        NOT t3.c100012 IS NULL
    ) AS t4
    GROUP BY
      t4.c100012
  ) AS t5
) AS t6;

-- path: SELECT p.category, SUM(l.quantity) AS sold FROM order_lines l JOIN products p ON l.product_id = p.product_id GROUP BY p.category ORDER BY 1
SELECT
  t5.c11 AS c11,
  SUM(
    CAST(CAST(CASE
      WHEN t5.c100022 IS NULL
      THEN 0
      WHEN t5.c100022 < 0
      THEN 0
      WHEN t5.c100022 > 1000
      THEN 1000
      ELSE t5.c100022
    END AS BIGINT) AS DECIMAL(38, 0))
  ) AS m0_s0
FROM (
  SELECT
    t4.c100018 AS c100020,
    COLLATE(t2."CATEGORY", '') AS c11,
    SUM(CAST(t1."QUANTITY" AS BIGINT)) AS c100022
  FROM "ORDER_LINES" AS t1
  JOIN "PRODUCTS" AS t2
    ON t1."PRODUCT_ID" = t2."PRODUCT_ID"
  JOIN (
    SELECT
      t3."ORDER_ID" AS c100017,
      MIN(t3."CUSTOMER_ID") AS c100018
    FROM "ORDERS" AS t3
    WHERE
      NOT t3."CUSTOMER_ID" IS NULL
    GROUP BY
      t3."ORDER_ID"
  ) AS t4
    ON t1."ORDER_ID" = t4.c100017
  WHERE
    NOT t4.c100018 IS NULL
  GROUP BY
    t4.c100018,
    COLLATE(t2."CATEGORY", '')
) AS t5
GROUP BY
  t5.c11;

-- per unit: SELECT AVG(n) AS mean FROM (SELECT customer_id, LEAST(COUNT(*), 20) AS n FROM orders GROUP BY customer_id) AS t
SELECT
  COALESCE(t4.m0_s0, 0) AS m0_s0,
  COALESCE(t4.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    COUNT(*) AS m0_s0,
    SUM(
      CAST(CASE
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
      END AS DECIMAL(38, 0))
    ) AS m0_s1
  FROM (
    SELECT
      LEAST(t2.c8, 20) AS c10,
      t2.c7 AS c7
    FROM (
      SELECT
        t1."CUSTOMER_ID" AS c7,
        COUNT(*) AS c8
      FROM "ORDERS" AS t1
      GROUP BY
        t1."CUSTOMER_ID"
    ) AS t2
    WHERE
      NOT t2.c7 IS NULL
  ) AS t3
) AS t4;

-- born: SELECT AVG(birth_year) AS y, COUNT(birth_year) AS n FROM customers
SELECT
  COALESCE(t4.m0_s0, 0) AS m0_s0,
  COALESCE(t4.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    SUM(CAST(CASE WHEN t3.c100016 > 1 THEN 1 ELSE t3.c100016 END AS DECIMAL(38, 0))) AS m0_s0,
    SUM(
      CAST(CAST(CASE
        WHEN t3.c100019 IS NULL
        THEN 0
        WHEN t3.c100019 < (
          -45
        )
        THEN (
          -45
        )
        WHEN t3.c100019 > 45
        THEN 45
        ELSE t3.c100019
      END AS BIGINT) AS DECIMAL(38, 0))
    ) AS m0_s1
  FROM (
    SELECT
      t2.c100014 AS c100014,
      t2.c100016 AS c100016,
      t2.c100018 AS c100018,
      CASE
        WHEN t2.c100016 > 1
        THEN CAST(t2.c100018 AS DOUBLE) * 1.0e0 / NULLIF(CAST(t2.c100016 AS DOUBLE), 0)
        ELSE CAST(t2.c100018 AS DOUBLE)
      END AS c100019
    FROM (
      SELECT
        t1."CUSTOMER_ID" AS c100014,
        COUNT(t1."BIRTH_YEAR") AS c100016,
        SUM(CAST(CAST(t1."BIRTH_YEAR" AS BIGINT) - 1965 AS BIGINT)) AS c100018
      FROM "CUSTOMERS" AS t1
      WHERE
        NOT t1."CUSTOMER_ID" IS NULL
      GROUP BY
        t1."CUSTOMER_ID"
    ) AS t2
  ) AS t3
) AS t4;

-- before: SELECT COUNT(*) AS n FROM customers WHERE signed_up < DATE '2022-06-01'
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(CAST(CASE WHEN t2.c100012 > 1 THEN 1 ELSE t2.c100012 END AS DECIMAL(38, 0))) AS m0_s0
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100010,
      COUNT(*) AS c100012
    FROM "CUSTOMERS" AS t1
    WHERE
      t1."SIGNED_UP" < CAST('2022-06-01' AS DATE) AND NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID"
  ) AS t2
) AS t3;

-- weekday: SELECT COUNT(*) AS n FROM orders WHERE DATEDIFF('day', DATE '2023-01-01', CAST(ordered_at AS DATE)) < 100
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(CAST(CASE WHEN t2.c100012 > 20 THEN 20 ELSE t2.c100012 END AS DECIMAL(38, 0))) AS m0_s0
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100010,
      COUNT(*) AS c100012
    FROM "ORDERS" AS t1
    WHERE
      DATEDIFF(
        DAY,
        CAST('2023-01-01' AS DATE),
        CASE
          WHEN CAST(t1."ORDERED_AT" AS DATE) BETWEEN CAST('0001-01-01' AS DATE) AND CAST('9999-12-31' AS DATE)
          THEN CAST(t1."ORDERED_AT" AS DATE)
        END
      ) < 100
      AND NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID"
  ) AS t2
) AS t3;

-- quantile: SELECT PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY shipping) AS p FROM orders
SELECT
  t2.c100010 AS c100010,
  SUM(CAST(CAST(COALESCE(t5.c100015, 1048576) AS BIGINT) AS DECIMAL(38, 0))) AS c100011
FROM (
  SELECT
    t1."CUSTOMER_ID" AS c100013,
    LEAST(
      CAST(FLOOR(
        CAST(CASE
          WHEN t1."SHIPPING" <= 0
          THEN 0
          WHEN t1."SHIPPING" >= 25
          THEN 25
          ELSE t1."SHIPPING"
        END AS DOUBLE) * 81.92e0
      ) AS BIGINT),
      2047
    ) AS c100010
  FROM "ORDERS" AS t1
  WHERE
    NOT t1."CUSTOMER_ID" IS NULL AND NOT (
      t1."SHIPPING" IS NULL
    )
) AS t2
LEFT JOIN (
  SELECT
    t4.c100016 AS c100016,
    CAST(FLOOR(20971520.0e0 / CAST(t4.c100014 AS DOUBLE)) AS BIGINT) AS c100015
  FROM (
    SELECT
      t3."CUSTOMER_ID" AS c100016,
      COUNT(*) AS c100014
    FROM "ORDERS" AS t3
    WHERE
      NOT t3."CUSTOMER_ID" IS NULL AND NOT (
        t3."SHIPPING" IS NULL
      )
    GROUP BY
      t3."CUSTOMER_ID"
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
    COLLATE(t1."CATEGORY", '') AS c8,
    COUNT(*) AS c9,
    AVG(t1."LIST_PRICE") AS c10
  FROM "PRODUCTS" AS t1
  GROUP BY
    COLLATE(t1."CATEGORY", '')
) AS t2
ORDER BY
  t2.c8;

-- cities: SELECT city, COUNT(*) AS n FROM customers GROUP BY city ORDER BY n DESC, city
WITH s1 AS (
  SELECT
    t2.c100012 AS c100012,
    t2.c7 AS c7,
    CASE WHEN t2.c100014 > 1 THEN 1 ELSE t2.c100014 END AS c100013
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100012,
      COLLATE(t1."CITY", '') AS c7,
      COUNT(*) AS c100014
    FROM "CUSTOMERS" AS t1
    WHERE
      NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID",
      COLLATE(t1."CITY", '')
  ) AS t2
), s2 AS (
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
    t5.c100015 > 1
)
SELECT
  t10.c100019 AS c7,
  COUNT(*) AS m0_s0,
  SUM(CAST(t10.c100020 AS DECIMAL(38, 0))) AS m0_s1
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
        ORDER BY HASH(t7.c100012, t7.c7, 146625588), t7.c100012, t7.c7
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
    t9.c100017 <= 1
) AS t10
GROUP BY
  t10.c100019;

-- rollup: SELECT channel, status, COUNT(*) AS n FROM orders GROUP BY ROLLUP (channel, status) ORDER BY 1, 2
SELECT
  t2.c100013 AS c100013,
  t2.c100014 AS c100014,
  SUM(CAST(CASE WHEN t2.c100033 > 20 THEN 20 ELSE t2.c100033 END AS DECIMAL(38, 0))) AS m0_s0
FROM (
  SELECT
    t1."CUSTOMER_ID" AS c100031,
    COLLATE(t1."CHANNEL", '') AS c100013,
    COLLATE(t1."STATUS", '') AS c100014,
    COUNT(*) AS c100033
  FROM "ORDERS" AS t1
  WHERE
    NOT t1."CUSTOMER_ID" IS NULL
  GROUP BY
    t1."CUSTOMER_ID",
    COLLATE(t1."CHANNEL", ''),
    COLLATE(t1."STATUS", '')
) AS t2
GROUP BY
  t2.c100013,
  t2.c100014;
SELECT
  t2.c100017 AS c100017,
  SUM(CAST(CASE WHEN t2.c100036 > 20 THEN 20 ELSE t2.c100036 END AS DECIMAL(38, 0))) AS m1_s0
FROM (
  SELECT
    t1."CUSTOMER_ID" AS c100034,
    COLLATE(t1."CHANNEL", '') AS c100017,
    COUNT(*) AS c100036
  FROM "ORDERS" AS t1
  WHERE
    NOT t1."CUSTOMER_ID" IS NULL
  GROUP BY
    t1."CUSTOMER_ID",
    COLLATE(t1."CHANNEL", '')
) AS t2
GROUP BY
  t2.c100017;
SELECT
  COALESCE(t3.m2_s0, 0) AS m2_s0
FROM (
  SELECT
    SUM(CAST(CASE WHEN t2.c100039 > 20 THEN 20 ELSE t2.c100039 END AS DECIMAL(38, 0))) AS m2_s0
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100037,
      COUNT(*) AS c100039
    FROM "ORDERS" AS t1
    WHERE
      NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID"
  ) AS t2
) AS t3;

-- discount: SELECT AVG(discount) AS d, COUNT(discount) AS n FROM order_lines
SELECT
  COALESCE(t6.m0_s0, 0) AS m0_s0,
  COALESCE(t6.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    SUM(CAST(CASE WHEN t5.c100020 > 50 THEN 50 ELSE t5.c100020 END AS DECIMAL(38, 0))) AS m0_s0,
    SUM(
      CAST(CAST(CASE
        WHEN t5.c100024 IS NULL
        THEN 0
        WHEN t5.c100024 < (
          -409600
        )
        THEN (
          -409600
        )
        WHEN t5.c100024 > 409600
        THEN 409600
        ELSE t5.c100024
      END AS BIGINT) AS DECIMAL(38, 0))
    ) AS m0_s1
  FROM (
    SELECT
      t4.c100018 AS c100018,
      t4.c100020 AS c100020,
      t4.c100022 AS c100022,
      t4.c100023 AS c100023,
      CASE
        WHEN t4.c100023 > 50
        THEN CAST((
          t4.c100022 - CAST(8192 AS DECIMAL(18, 0)) * CAST(t4.c100023 AS DECIMAL(18, 0))
        ) AS DOUBLE) * 50.0e0 / NULLIF(CAST(t4.c100023 AS DOUBLE), 0)
        ELSE CAST((
          t4.c100022 - CAST(8192 AS DECIMAL(18, 0)) * CAST(t4.c100023 AS DECIMAL(18, 0))
        ) AS DOUBLE)
      END AS c100024
    FROM (
      SELECT
        t3.c100014 AS c100018,
        COUNT(t1."DISCOUNT") AS c100020,
        SUM(
          CAST(CASE
            WHEN t1."DISCOUNT" = CAST('NaN' AS DOUBLE)
            THEN NULL
            WHEN t1."DISCOUNT" <= 0.0e0
            THEN 0.0e0
            WHEN t1."DISCOUNT" >= 0.5e0
            THEN 0.5e0
            ELSE CAST(t1."DISCOUNT" AS DOUBLE)
          END * 32768.0e0 AS BIGINT)
        ) AS c100022,
        COUNT(
          CAST(CASE
            WHEN t1."DISCOUNT" = CAST('NaN' AS DOUBLE)
            THEN NULL
            WHEN t1."DISCOUNT" <= 0.0e0
            THEN 0.0e0
            WHEN t1."DISCOUNT" >= 0.5e0
            THEN 0.5e0
            ELSE CAST(t1."DISCOUNT" AS DOUBLE)
          END * 32768.0e0 AS BIGINT)
        ) AS c100023
      FROM "ORDER_LINES" AS t1
      JOIN (
        SELECT
          t2."ORDER_ID" AS c100013,
          MIN(t2."CUSTOMER_ID") AS c100014
        FROM "ORDERS" AS t2
        WHERE
          NOT t2."CUSTOMER_ID" IS NULL
        GROUP BY
          t2."ORDER_ID"
      ) AS t3
        ON t1."ORDER_ID" = t3.c100013
      WHERE
        NOT t3.c100014 IS NULL
      GROUP BY
        t3.c100014
    ) AS t4
  ) AS t5
) AS t6;

-- in list: SELECT COUNT(*) AS n FROM orders WHERE status IN ('returned', 'cancelled') AND channel LIKE 'w%'
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(CAST(CASE WHEN t2.c100012 > 20 THEN 20 ELSE t2.c100012 END AS DECIMAL(38, 0))) AS m0_s0
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100010,
      COUNT(*) AS c100012
    FROM "ORDERS" AS t1
    WHERE
      (
        (
          COLLATE(t1."STATUS", '') IN ('returned', 'cancelled')
        )
        AND (
          COLLATE(t1."CHANNEL", '') LIKE 'w%'
        )
      )
      AND NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID"
  ) AS t2
) AS t3;

-- exists: SELECT COUNT(*) AS n FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.customer_id AND o.status = 'returned')
SELECT
  COALESCE(t4.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    SUM(CAST(CASE WHEN t3.c100019 > 20 THEN 20 ELSE t3.c100019 END AS DECIMAL(38, 0))) AS m0_s0
  FROM (
    SELECT
      t1."CUSTOMER_ID" AS c100017,
      COUNT(*) AS c100019
    FROM "CUSTOMERS" AS t1
    WHERE
      EXISTS(
        SELECT
          1 AS one
        FROM "ORDERS" AS t2
        WHERE
          COLLATE(t2."STATUS", '') = 'returned' AND t2."CUSTOMER_ID" = t1."CUSTOMER_ID"
      )
      AND NOT t1."CUSTOMER_ID" IS NULL
    GROUP BY
      t1."CUSTOMER_ID"
  ) AS t3
) AS t4;
