"""Charges as the road would make them."""

from __future__ import annotations

import hashlib

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger import Asked, Charge
from dpjupyter.engine.model import Cost, DpCall
from dpjupyter.engine.policy import Budget

PREFIX, DB = "warehouse.example", "shop"


def cost(epsilon: float = 0.9, answers: int = 1, *, key_delta: float = 0.0) -> Cost:
    """Laplace answers of ``epsilon`` each."""
    eps, rho = accounting.exact(epsilon, "epsilon"), accounting.pure_rho(epsilon)
    calls = tuple(DpCall(f"COUNT(c{n})", epsilon, 0.0, "laplace") for n in range(answers))
    key = accounting.atto_up(key_delta) if key_delta else 0
    return Cost(accounting.pico_up(eps * answers), accounting.pico_up(rho * answers), key, 0, calls)


def gauss(epsilon: float = 0.9, delta: float = 1e-8, answers: int = 1) -> Cost:
    """Gaussian counts."""
    rho = accounting.gaussian_rho(1, accounting.gaussian_sigma(1, epsilon, delta))
    calls = tuple(DpCall(f"COUNT(c{n})", epsilon, delta, "gauss") for n in range(answers))
    eps = accounting.exact(epsilon, "epsilon")
    return Cost(accounting.pico_up(eps * answers), accounting.pico_up(rho * answers), 0, accounting.atto_up(delta) * answers, calls)


def charge(
    request_id: str,
    of: Cost | None = None,
    *,
    analyst: str = "alice",
    tables: tuple[str, ...] = ("orders",),
    has_total: bool = True,
    sql: str = "SELECT COUNT(*) FROM orders",
    default: Budget | None = None,
    max_failures: int = 3,
    db_name: str = DB,
) -> Charge:
    """A charge for ``sql``."""
    body = hashlib.sha256(sql.encode("utf-8", "replace")).hexdigest()
    asked = Asked(analyst, request_id, body, sql, PREFIX, db_name, "c" * 64)
    return Charge(asked, tables, has_total, of or cost(), body, default or Budget(), max_failures)
