"""GROUP BY that contains the unit: one row per person and key, still private. Results must not depend on row order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.model import BIGINT, DOUBLE, Aggregate, Call, Facts, Interval, Kind, Project, SqlType
from dpjupyter.engine.place import at
from dpjupyter.engine.plan.fixed_point import partial_summand, row_integer, summand
from dpjupyter.engine.plan.relation import Relation, Unit
from dpjupyter.engine.plan.statistics import LARGEST
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.render import column
from dpjupyter.errors import BoundsMissing, PrivacyUnitLost, UnsupportedSQL

_STEPS = 2.0**30  # fixed-point steps in a value's range


def aggregate_per_unit(rel: Aggregate, inner: Relation, policy: Policy, max_rows: int, fresh: Callable[[], str]) -> Relation:
    """Plan a grouping whose keys contain the unit.

    Raises: PrivacyUnitLost: a grouping set leaves the unit out. UnsupportedSQL: the aggregate depends on row order.
    """
    unit = inner.unit
    assert unit is not None
    holders = {id_ for id_, e in rel.keys.items() if isinstance(e, exp.Column) and e.name in unit.ids}
    if rel.sets is not None:
        if not all(s & holders for s in rel.sets):
            raise PrivacyUnitLost(
                "A grouping set leaves out the privacy unit that the others have.", hint="Keep the unit in every set, or in none."
            )
        if len(rel.sets) > 1:
            raise UnsupportedSQL("Several grouping sets per person are not answered.", hint="Write one GROUP BY for each set.")
    keys = {id_: scalar.total(e, inner.facts, policy.dialect) for id_, e in rel.keys.items()}
    facts = {id_: scalar.facts(e, inner.facts) for id_, e in rel.keys.items()}
    calls: dict[str, Call] = {}
    shown: dict[str, exp.Expression] = {id_: column(id_) for id_ in keys}
    rows = 1 if unit.rows == 1 else max_rows
    for id_, call in rel.calls.items():
        arguments = tuple(scalar.total(a, inner.facts, policy.dialect) for a in call.arguments)
        argument = scalar.facts(call.arguments[0], inner.facts) if call.arguments else None
        if (
            argument is not None
            and call.function in ("SUM", "AVG")
            and not (isinstance(arguments[0], exp.Column) and _narrow(argument.type))
        ):
            with at(call.place):
                shown[id_], facts[id_] = _float_sum(call, arguments[0], argument, rows, calls, fresh, policy.dialect)
            continue
        if argument is not None and call.function == "SUM":
            arguments = (summand(arguments[0], policy.dialect, argument.type.scale),)
        calls[id_] = replace(call, arguments=arguments, function="MIN" if call.function == "ANY_VALUE" else call.function)
        with at(call.place):
            facts[id_] = _facts(call, argument, rows)
        shown[id_] = column(id_)
    for id_ in rel.grouping:
        shown[id_] = exp.Literal.number(0)
        facts[id_] = Facts(BIGINT, Interval(0, 0), nullable=False, domain=(0,), integral=True)
    for id_ in holders:
        facts[id_] = replace(facts[id_], from_unit=True)
    grouped = Aggregate(inner.rel, keys, calls)
    links = {id_: unit.links[e.name] for id_, e in rel.keys.items() if isinstance(e, exp.Column) and e.name in unit.links}
    new_unit = Unit(frozenset(holders), unit.type, rows=1 if holders == set(keys) or unit.rows == 1 else None, links=links)
    key_set = frozenset({frozenset(keys)})
    return Relation(Project(grouped, shown), facts, new_unit, inner.tables, unique=key_set, enforced=key_set)


def _narrow(type_: SqlType) -> bool:
    """Exact, and narrow enough that no sum of it overflows 128 bits or 38 digits."""
    return (type_.kind is Kind.INT and type_.bits <= 64) or (type_.kind is Kind.DECIMAL and type_.precision <= 18)


def _facts(call: Call, argument: Facts | None, rows: int) -> Facts:
    match call.function:
        case "COUNT_STAR" | "COUNT":
            return Facts(BIGINT, Interval(0, rows), nullable=False, integral=True)
        case "BOOL_AND" | "BOOL_OR":
            return Facts(SqlType.parse("BOOLEAN"), Interval(0, 1), domain=(False, True))
        case "SUM" if argument is not None and argument.type.kind in (Kind.INT, Kind.DECIMAL):
            type_ = SqlType.parse("HUGEINT") if argument.type.kind is Kind.INT else SqlType.parse(f"DECIMAL(38,{argument.type.scale})")
            return Facts(type_, _summed(argument, rows), from_unit=argument.from_unit, integral=argument.integral)
        case "AVG" if argument is not None and argument.type.kind in (Kind.INT, Kind.DECIMAL):
            return Facts(DOUBLE, argument.interval, from_unit=argument.from_unit)
        case "MIN" | "MAX" | "ANY_VALUE" if argument is not None and argument.type.kind is not Kind.OTHER:
            return replace(argument, nullable=True)
        case "MEDIAN" | "QUANTILE_CONT" | "QUANTILE_DISC" if argument is not None and argument.type.kind in (
            Kind.INT,
            Kind.DECIMAL,
            Kind.FLOAT,
        ):
            return replace(
                argument, type=DOUBLE if call.function != "QUANTILE_DISC" else argument.type, nullable=True, domain=None, integral=False
            )
        case _:
            raise UnsupportedSQL(
                f"{call.text}: per person, this aggregate is not answered.",
                hint="Per person: COUNT, SUM, AVG, MIN, MAX, MEDIAN, BOOL_AND, BOOL_OR.",
            )


def _summed(argument: Facts, rows: int) -> Interval | None:
    if argument.interval is None:
        return None
    return Interval(rows * min(argument.interval.lower, 0.0), rows * max(argument.interval.upper, 0.0))


def _float_sum(
    call: Call, argument: exp.Expression, facts: Facts, rows: int, calls: dict[str, Call], fresh: Callable[[], str], dialect: str
) -> tuple[exp.Expression, Facts]:
    """SUM or AVG of DOUBLE as integers: a float sum's last bits depend on the order the warehouse happened to add in."""
    if facts.interval is None or max(abs(facts.interval.lower), abs(facts.interval.upper)) > LARGEST:
        raise BoundsMissing(
            f"{call.text} per person needs bounds.",
            hint=f"Clamp the value: {call.function}(LEAST(GREATEST(x, 0), 100)), or ask the owner to declare bounds.",
        )
    largest = max(abs(facts.interval.lower), abs(facts.interval.upper), 2.0**-300)
    grid = 2.0 ** math.floor(math.log2(largest / _STEPS))
    total, count = fresh(), fresh()
    value = row_integer(argument, facts.interval, grid)
    calls[total] = Call("SUM", (partial_summand(value, dialect),), call.distinct, text=call.text)
    summed = exp.Mul(
        this=exp.Cast(this=column(total), to=exp.DataType.build("DOUBLE")),
        expression=exp.Literal.number(f"{grid!r}e0" if "e" not in repr(grid) else repr(grid)),
    )
    if call.function == "SUM":
        return summed, Facts(DOUBLE, _summed(facts, rows))
    calls[count] = Call("COUNT", (value.copy(),), call.distinct, text=call.text)
    divided = exp.Div(this=summed, expression=exp.Nullif(this=column(count), expression=exp.Literal.number(0)))
    return divided, Facts(DOUBLE, facts.interval)
