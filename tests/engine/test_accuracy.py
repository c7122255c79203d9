"""Error at the bound, beside the optimum computed by hand: counts, distinct values, histograms, sums and averages."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dpjupyter import demo
from dpjupyter.engine import policy as policies
from dpjupyter.engine.model import Ask, Mechanism
from dpjupyter.engine.road import quote

POLICIES = Path(demo.__file__).parent / "policies"
EPSILON, DELTA = 1.0, 1e-8
# Analytic Gaussian mechanism (Balle and Wang 2018, theorem 8) at sensitivity 1, epsilon 1, delta 1e-8: a floor for what is charged by rho.
SIGMA = 5.1003


def scales(sql: str, mechanism: Mechanism, *, table: str = "titanic") -> dict[str, float]:
    """Noise scale of each statistic in its column's own units, by the statistic's kind."""
    priced = quote(sql, Ask(epsilon=EPSILON, delta=DELTA if mechanism == "gauss" else None, mechanism=mechanism), policies.load(POLICIES / f"{table}.toml"))
    statistics = [s for m in priced.plan.measurements for part in m.parts for s in part.statistics]
    return {s.kind: float(priced.noise[s.name].scale * s.grid) for s in statistics}


@pytest.mark.parametrize(
    ("sql", "sensitivity"),
    [
        ("SELECT COUNT(*) FROM passengers", 1),
        ("SELECT COUNT(DISTINCT age) FROM passengers", 1),
        ("SELECT WIDTH_BUCKET(age, 0, 80, 8), COUNT(*) FROM passengers GROUP BY 1", 1),  # one bin per person, whatever the bins
        ("SELECT pclass, sex, SUM(fare) FROM passengers GROUP BY 1, 2", 600),
        ("SELECT SUM(age) FROM passengers", 100),
        ("SELECT SUM(age - 50) FROM passengers", 50),
    ],
)
def test_a_scale_is_the_optimum_of_its_mechanism(sql: str, sensitivity: float) -> None:
    """Laplace: sensitivity/epsilon is optimal at integer sensitivity (Ghosh et al. 2009); Gauss: the least sigma for (epsilon, delta)."""
    (laplace,) = scales(sql, "laplace").values()
    (gauss,) = scales(sql, "gauss").values()
    assert laplace == pytest.approx(sensitivity / EPSILON, rel=1e-5)
    assert SIGMA * sensitivity <= gauss * (1 + 1e-3) <= 1.1 * SIGMA * sensitivity


def test_an_average_is_measured_from_the_middle_of_its_bounds() -> None:
    """Half the width and half the epsilon each: at the bound both statistics add the same error, the least possible."""
    found = scales("SELECT AVG(age) FROM passengers", "laplace")
    assert found["sum"] == pytest.approx(50 / (EPSILON / 2), rel=1e-5)
    assert found["rows"] == pytest.approx(1 / (EPSILON / 2))


def test_groups_of_one_person_cost_the_root_of_their_number_with_gauss() -> None:
    sql = "SELECT status, COUNT(*) FROM orders GROUP BY status"
    policy = policies.load(POLICIES / "shop.toml").tables["orders"]
    rows, groups = policy.max_rows, min(policy.max_groups, len(policy.columns["status"].domain or ()))
    assert scales(sql, "laplace", table="shop")["rows"] == pytest.approx(rows * groups / EPSILON)
    assert scales(sql, "gauss", table="shop")["rows"] <= 1.1 * SIGMA * rows * math.sqrt(groups)
