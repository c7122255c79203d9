-- count: SELECT COUNT(*) AS n FROM passengers
SELECT
  COALESCE(t2.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    COUNT(*) AS m0_s0
  FROM "passengers" AS t1
) AS t2;

-- groups: SELECT pclass, COUNT(*) AS n, AVG(fare) AS fare FROM passengers GROUP BY pclass ORDER BY pclass
SELECT
  t1."pclass" AS c12,
  COUNT(*) AS m0_s0,
  SUM(
    CAST(CASE
      WHEN t1."fare" = CAST('NaN' AS DOUBLE)
      THEN NULL
      WHEN t1."fare" <= 0.0e0
      THEN 0.0e0
      WHEN t1."fare" >= 600.0e0
      THEN 600.0e0
      ELSE CAST(t1."fare" AS DOUBLE)
    END * 1024.0e0 AS BIGINT) - 307200
  ) AS m0_s1
FROM "passengers" AS t1
GROUP BY
  t1."pclass";

-- sums: SELECT sex, SUM(survived) AS alive, SUM(fare) AS paid, COUNT(age) AS known FROM passengers GROUP BY sex ORDER BY sex
SELECT
  CAST(t1."sex" AS TEXT) COLLATE "C" AS c12,
  SUM(
    CASE
      WHEN t1."survived" IS NULL
      THEN 0
      WHEN t1."survived" < 0
      THEN 0
      WHEN t1."survived" > 1
      THEN 1
      ELSE t1."survived"
    END
  ) AS m0_s0,
  SUM(
    CAST(CASE
      WHEN t1."fare" = CAST('NaN' AS DOUBLE)
      THEN NULL
      WHEN t1."fare" <= 0.0e0
      THEN 0.0e0
      WHEN t1."fare" >= 600.0e0
      THEN 600.0e0
      ELSE CAST(t1."fare" AS DOUBLE)
    END * 1024.0e0 AS BIGINT)
  ) AS m0_s1,
  COUNT(t1."age") AS m0_s2
FROM "passengers" AS t1
GROUP BY
  CAST(t1."sex" AS TEXT) COLLATE "C";

-- filter: SELECT COUNT(*) AS n FROM passengers WHERE age BETWEEN 20 AND 30 AND sex = 'female'
SELECT
  COALESCE(t2.m0_s0, 0) AS m0_s0
FROM (
  SELECT
    COUNT(*) AS m0_s0
  FROM "passengers" AS t1
  WHERE
    (
      t1."age" BETWEEN 20 AND 30
    )
    AND CAST(t1."sex" AS TEXT) COLLATE "C" = 'female'
) AS t2;

-- two keys: SELECT pclass, sex, AVG(survived) AS rate FROM passengers GROUP BY pclass, sex ORDER BY 1, 2
SELECT
  t1."pclass" AS c12,
  CAST(t1."sex" AS TEXT) COLLATE "C" AS c13,
  COUNT(*) AS m0_s0,
  SUM(
    CASE
      WHEN t1."survived" IS NULL
      THEN 0
      WHEN t1."survived" < 0
      THEN 0
      WHEN t1."survived" > 1
      THEN 1
      ELSE t1."survived"
    END
  ) AS m0_s1
FROM "passengers" AS t1
GROUP BY
  t1."pclass",
  CAST(t1."sex" AS TEXT) COLLATE "C";

-- case: SELECT CASE WHEN age < 18 THEN 'child' WHEN age >= 18 THEN 'adult' ELSE 'unknown' END AS who, COUNT(*) AS n FROM passengers GROUP BY 1 ORDER BY 1
SELECT
  CASE
    WHEN t1."age" < 18
    THEN 'child'
    WHEN t1."age" >= 18
    THEN 'adult'
    ELSE 'unknown'
  END AS c12,
  COUNT(*) AS m0_s0
FROM "passengers" AS t1
GROUP BY
  CASE
    WHEN t1."age" < 18
    THEN 'child'
    WHEN t1."age" >= 18
    THEN 'adult'
    ELSE 'unknown'
  END;

-- histogram: SELECT FLOOR(age / 10) * 10 AS decade, COUNT(*) AS n FROM passengers GROUP BY FLOOR(age / 10) * 10 ORDER BY 1
SELECT
  FLOOR(t1."age" / 10) * 10 AS c12,
  COUNT(*) AS m0_s0
FROM "passengers" AS t1
GROUP BY
  FLOOR(t1."age" / 10) * 10;

-- spread: SELECT STDDEV(fare) AS s, VARIANCE(age) AS v FROM passengers
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0,
  COALESCE(t3.m0_s1, 0) AS m0_s1,
  COALESCE(t3.m0_s2, 0) AS m0_s2,
  COALESCE(t3.m0_s3, 0) AS m0_s3,
  COALESCE(t3.m0_s4, 0) AS m0_s4,
  COALESCE(t3.m0_s5, 0) AS m0_s5
FROM (
  SELECT
    COUNT(*) AS m0_s0,
    SUM(
      CAST(CASE
        WHEN t2.c9 = CAST('NaN' AS DOUBLE)
        THEN NULL
        WHEN t2.c9 <= 0.0e0
        THEN 0.0e0
        WHEN t2.c9 >= 600.0e0
        THEN 600.0e0
        ELSE CAST(t2.c9 AS DOUBLE)
      END * 1024.0e0 AS BIGINT) - 307200
    ) AS m0_s1,
    SUM(
      CASE
        WHEN CAST(t2.c100026 * t2.c100026 * 64.0e0 AS BIGINT) IS NULL
        THEN 0
        WHEN CAST(t2.c100026 * t2.c100026 * 64.0e0 AS BIGINT) < 0
        THEN 0
        WHEN CAST(t2.c100026 * t2.c100026 * 64.0e0 AS BIGINT) > 5760001
        THEN 5760001
        ELSE CAST(t2.c100026 * t2.c100026 * 64.0e0 AS BIGINT)
      END
    ) AS m0_s2,
    COUNT(t2.c6) AS m0_s3,
    SUM(
      CAST(CASE
        WHEN t2.c6 = CAST('NaN' AS DOUBLE)
        THEN NULL
        WHEN t2.c6 <= 0.0e0
        THEN 0.0e0
        WHEN t2.c6 >= 100.0e0
        THEN 100.0e0
        ELSE CAST(t2.c6 AS DOUBLE)
      END * 8192.0e0 AS BIGINT) - 409600
    ) AS m0_s4,
    SUM(
      CASE
        WHEN CAST(t2.c100027 * t2.c100027 * 2048.0e0 AS BIGINT) IS NULL
        THEN 0
        WHEN CAST(t2.c100027 * t2.c100027 * 2048.0e0 AS BIGINT) < 0
        THEN 0
        WHEN CAST(t2.c100027 * t2.c100027 * 2048.0e0 AS BIGINT) > 5120001
        THEN 5120001
        ELSE CAST(t2.c100027 * t2.c100027 * 2048.0e0 AS BIGINT)
      END
    ) AS m0_s5
  FROM (
    SELECT
      t1."age" AS c6,
      t1."fare" AS c9,
      CASE
        WHEN t1."fare" IS NULL OR t1."fare" = CAST('NaN' AS DOUBLE)
        THEN NULL
        WHEN t1."fare" <= 0.0e0
        THEN (
          -300.0e0
        )
        WHEN t1."fare" >= 600.0e0
        THEN 300.0e0
        ELSE CAST(t1."fare" AS DOUBLE) - 300.0e0
      END AS c100026,
      CASE
        WHEN t1."age" IS NULL OR t1."age" = CAST('NaN' AS DOUBLE)
        THEN NULL
        WHEN t1."age" <= 0.0e0
        THEN (
          -50.0e0
        )
        WHEN t1."age" >= 100.0e0
        THEN 50.0e0
        ELSE CAST(t1."age" AS DOUBLE) - 50.0e0
      END AS c100027
    FROM "passengers" AS t1
  ) AS t2
) AS t3;

-- median: SELECT pclass, MEDIAN(age) AS m FROM passengers GROUP BY pclass ORDER BY pclass
SELECT
  t1."pclass" AS c12,
  LEAST(
    CAST(FLOOR(
      CAST(CASE
        WHEN t1."age" <= 0.0e0
        THEN 0.0e0
        WHEN t1."age" >= 100.0e0
        THEN 100.0e0
        ELSE t1."age"
      END AS DOUBLE) * 10.24e0
    ) AS BIGINT),
    1023
  ) AS c100017,
  COUNT(*) AS c100018
FROM "passengers" AS t1
WHERE
  NOT (
    t1."age" IS NULL OR t1."age" = CAST('NaN' AS DOUBLE)
  )
GROUP BY
  t1."pclass",
  LEAST(
    CAST(FLOOR(
      CAST(CASE
        WHEN t1."age" <= 0.0e0
        THEN 0.0e0
        WHEN t1."age" >= 100.0e0
        THEN 100.0e0
        ELSE t1."age"
      END AS DOUBLE) * 10.24e0
    ) AS BIGINT),
    1023
  );

-- least: SELECT AVG(LEAST(GREATEST(fare, 0), 100)) AS f FROM passengers WHERE fare > 0
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0,
  COALESCE(t3.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    COUNT(*) AS m0_s0,
    SUM(
      CAST(CASE
        WHEN t2.c100016 = CAST('NaN' AS DOUBLE)
        THEN NULL
        WHEN t2.c100016 <= 0.0e0
        THEN 0.0e0
        WHEN t2.c100016 >= 100.0e0
        THEN 100.0e0
        ELSE CAST(t2.c100016 AS DOUBLE)
      END * 8192.0e0 AS BIGINT) - 409600
    ) AS m0_s1
  FROM (
    SELECT
      t1."fare" AS c9,
      LEAST(GREATEST(t1."fare", 0), 100) AS c100016
    FROM "passengers" AS t1
    WHERE
      t1."fare" > 0
  ) AS t2
) AS t3;

-- division: SELECT AVG(LEAST(GREATEST(fare / NULLIF(sibsp + parch, 0), 0), 200)) AS f FROM passengers WHERE sibsp + parch > 0
SELECT
  COALESCE(t3.m0_s0, 0) AS m0_s0,
  COALESCE(t3.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    COUNT(*) AS m0_s0,
    SUM(
      CAST(CASE
        WHEN t2.c100016 = CAST('NaN' AS DOUBLE)
        THEN NULL
        WHEN t2.c100016 <= 0.0e0
        THEN 0.0e0
        WHEN t2.c100016 >= 200.0e0
        THEN 200.0e0
        ELSE CAST(t2.c100016 AS DOUBLE)
      END * 4096.0e0 AS BIGINT) - 409600
    ) AS m0_s1
  FROM (
    SELECT
      t1."sibsp" AS c7,
      t1."parch" AS c8,
      t1."fare" AS c9,
      LEAST(GREATEST(t1."fare" / NULLIF(CAST(t1."sibsp" AS BIGINT) + t1."parch", 0), 0), 200) AS c100016
    FROM "passengers" AS t1
    WHERE
      (
        CAST(t1."sibsp" AS BIGINT) + t1."parch"
      ) > 0
  ) AS t2
) AS t3;

-- having: SELECT embarked, COUNT(*) AS n FROM passengers GROUP BY embarked HAVING COUNT(*) > 100 ORDER BY n DESC
SELECT
  CAST(t1."embarked" AS TEXT) COLLATE "C" AS c12,
  COUNT(*) AS m0_s0
FROM "passengers" AS t1
GROUP BY
  CAST(t1."embarked" AS TEXT) COLLATE "C";

-- with: WITH a AS (SELECT pclass, COUNT(*) AS n FROM passengers GROUP BY pclass) SELECT MAX(n) AS top, SUM(n) AS total FROM a
SELECT
  t1."pclass" AS c27,
  COUNT(*) AS m0_s0
FROM "passengers" AS t1
GROUP BY
  t1."pclass";

-- distinct: SELECT COUNT(DISTINCT deck) AS decks FROM passengers
SELECT
  COALESCE(t3.m0_d0s0, 0) AS m0_d0s0
FROM (
  SELECT
    COUNT(*) AS m0_d0s0
  FROM (
    SELECT
      CAST(t1."deck" AS TEXT) COLLATE "C" AS c100015
    FROM "passengers" AS t1
    WHERE
      NOT CAST(t1."deck" AS TEXT) COLLATE "C" IS NULL
    GROUP BY
      CAST(t1."deck" AS TEXT) COLLATE "C"
  ) AS t2
) AS t3;

-- count if: SELECT COUNT_IF(survived = 1) AS alive, COUNT(*) - COUNT_IF(survived = 1) AS dead FROM passengers
SELECT
  COALESCE(t2.m0_s0, 0) AS m0_s0,
  COALESCE(t2.m0_s1, 0) AS m0_s1
FROM (
  SELECT
    COUNT(CASE WHEN t1."survived" = 1 THEN 1 END) AS m0_s0,
    COUNT(*) AS m0_s1
  FROM "passengers" AS t1
) AS t2;

-- open key: SELECT UPPER(SUBSTR(name, 1, 1)) AS initial, COUNT(*) AS n FROM passengers GROUP BY 1 ORDER BY 1
SELECT
  UPPER(SUBSTRING(CAST(t1."name" AS TEXT) COLLATE "C", 1, 1)) AS c12,
  COUNT(*) AS m0_s0,
  COUNT(*) AS m0_s1
FROM "passengers" AS t1
GROUP BY
  UPPER(SUBSTRING(CAST(t1."name" AS TEXT) COLLATE "C", 1, 1));

-- coalesce: SELECT COALESCE(deck, '?') AS deck, COUNT(*) AS n FROM passengers GROUP BY 1 ORDER BY 1
SELECT
  COALESCE(CAST(t1."deck" AS TEXT) COLLATE "C", '?') AS c12,
  COUNT(*) AS m0_s0
FROM "passengers" AS t1
GROUP BY
  COALESCE(CAST(t1."deck" AS TEXT) COLLATE "C", '?');
