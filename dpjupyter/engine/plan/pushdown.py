"""The statement of a measurement: integers per key, each unit's contribution limited (privacy.md section 2).

Three shapes, all of the same pieces:
    sums      per row -> per (unit, keys) -> limited -> at most k groups per unit -> per keys
    distinct  the same over each unit's first m distinct values
    bins      rows counted per bin of a grid, for quantiles
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, conjunction, signature, walk
from dpjupyter.engine.model import Aggregate, Call, Filter, Interval, Join, Kind, Project, Rel, Selection, SetOperation, Shared, Window
from dpjupyter.engine.plan.fixed_point import (
    bigint,
    clamp,
    compared,
    decimal_distance,
    decimal_steps,
    double,
    is_missing,
    limited_decimal,
    number,
    partial_summand,
    row_integer,
    summand,
    wide,
)
from dpjupyter.engine.plan.statistics import Sum
from dpjupyter.engine.render import column

WEIGHT_ONE = 1 << 20  # weight of a row of a unit that keeps its limit


@dataclass(frozen=True, slots=True)
class Grouping:
    """What all statements of one measurement share."""

    rel: Rel
    unit: str | None  # unit column; None: every row is a unit
    keys: Mapping[str, exp.Expression]  # lowered
    max_rows: int  # m
    max_groups: int  # k
    single_row: bool  # one row per unit is proven
    all_groups: bool  # k needs no enforcing: proven
    salt: int
    fresh: Callable[[], str]
    dialect: str

    def known(self) -> Rel:
        """Rows that belong to someone."""
        return self.rel if self.unit is None else Filter(self.rel, _present(column(self.unit)))


def _present(value: exp.Expression) -> exp.Expression:
    return exp.Not(this=exp.Is(this=value, expression=exp.null()))


def _key_columns(keys: Mapping[str, exp.Expression]) -> dict[str, exp.Expression]:
    return {id_: column(id_) for id_ in keys}


def _hash(ids: list[str], salt: int) -> list[exp.Ordered]:
    hashed = exp.Anonymous(this="HASH", expressions=[*(column(i) for i in ids), number(salt)])
    return [exp.Ordered(this=e) for e in (hashed, *(column(i) for i in ids))]


def _ranked(rel: Rel, function: exp.Expression, partition: list[str], order: list[exp.Ordered], most: int, fresh: Callable[[], str]) -> Rel:
    rank = fresh()
    window = exp.Window(this=function, partition_by=[column(i) for i in partition], order=exp.Order(expressions=order), over="OVER")
    return Filter(Window(rel, {rank: window}), exp.LTE(this=column(rank), expression=number(most)))


def _at_most_rows(rel: Rel, unit: str, keys: list[str], order: list[exp.Ordered], most: int, fresh: Callable[[], str]) -> Rel:
    """At most ``most`` rows of each (unit, keys), picked by hash. Only those that have more are sorted: most have not."""
    rows, partition = Shared(rel), [unit, *keys]
    many, ids = fresh(), {id_: fresh() for id_ in partition}
    heavy = Shared(
        Filter(
            Aggregate(rows, {ids[i]: column(i) for i in partition}, {many: Call("COUNT_STAR")}),
            exp.GT(this=column(many), expression=number(most)),
        )
    )
    same = conjunction(
        exp.EQ(this=column(unit), expression=column(ids[unit])), *(exp.NullSafeEQ(this=column(k), expression=column(ids[k])) for k in keys)
    )
    light = Join(rows, heavy, "anti", same)
    cut = _ranked(Join(rows, heavy, "semi", same.copy()), exp.RowNumber(), partition, order, most, fresh)
    names = columns_of(rel)
    new = {id_: fresh() for id_ in names}
    both = SetOperation("union", True, light, cut, names, names, tuple(new.values()))
    return Project(both, {id_: column(new[id_]) for id_ in names})


# ---------------------------------------------------------------- sums
def row_value(statistic: Sum) -> exp.Expression:
    """The integer one row adds, before the centre is taken off; NULL where it adds nothing."""
    value = statistic.value
    assert value is not None
    if statistic.form == "value":
        if statistic.exact:
            return value.copy()
        return row_integer(value, statistic.bounds, float(statistic.grid), floating=statistic.floating, exact=statistic.comparable)
    assert statistic.other is not None
    product = exp.Mul(this=value.copy(), expression=statistic.other.copy())  # centred before: see _with_centred
    return bigint(exp.Mul(this=product, expression=number(1.0 / float(statistic.grid))))  # rounds: see row_integer


def _with_centred(rel: Rel, statistics: Mapping[str, Sum], fresh: Callable[[], str]) -> tuple[Rel, dict[str, Sum]]:
    """Expressions, and the centred values that squares and products are made of, are computed once per row, in a projection."""
    columns: dict[str, exp.Expression] = {}
    by_text: dict[str, str] = {}

    def centred(value: exp.Expression, bounds: Interval, middle: float, of: Sum) -> exp.Expression:
        text = f"{signature(value)}|{bounds}|{middle}"
        if text not in by_text:
            by_text[text] = fresh()
            columns[by_text[text]] = _centred(value, bounds, middle, floating=of.floating, exact=of.comparable)
        return column(by_text[text])

    changed: dict[str, Sum] = {}
    for name, s in statistics.items():
        if s.kind == "sum" and s.form == "value" and s.value is not None and not isinstance(s.value, exp.Column):
            # Limiting names a value several times: an expression is computed once, then named.
            text = signature(s.value)
            if text not in by_text:
                by_text[text] = fresh()
                columns[by_text[text]] = s.value.copy()
            changed[name] = replace(s, value=column(by_text[text]))
            continue
        if s.form == "value" or s.value is None or s.other is None:
            changed[name] = s
            continue
        first = centred(s.value, s.bounds, s.middles[0], s)
        second = centred(s.other, s.other_bounds, s.middles[1], s)
        changed[name] = replace(s, value=first, other=second, counted=s.value if s.form == "square" else first)
    if not columns:
        return rel, changed
    return Project(rel, {**{id_: column(id_) for id_ in columns_of(rel)}, **columns}), changed


def _centred(value: exp.Expression, bounds: Interval, middle: float, *, floating: bool, exact: bool) -> exp.Expression:
    """Value limited to its bounds, less the middle; NULL where it is missing. Limited first, so that no square is infinite."""
    low, high = bounds.lower, bounds.upper
    ifs = [exp.If(this=is_missing(value, floating=True), true=exp.null())] if floating else []
    ifs += [
        exp.If(this=exp.LTE(this=value.copy(), expression=compared(low, exact=exact)), true=number(low - middle)),
        exp.If(this=exp.GTE(this=value.copy(), expression=compared(high, exact=exact)), true=number(high - middle)),
    ]
    return exp.Case(ifs=ifs, default=exp.Sub(this=double(value.copy()), expression=number(middle)))


def sums(grouping: Grouping, statistics: Mapping[str, Sum]) -> Rel:
    """Keys and one integer per statistic."""
    rows, statistics = _with_centred(grouping.known(), statistics, grouping.fresh)
    if grouping.single_row:
        calls = {name: _single(s, grouping.dialect) for name, s in statistics.items()}
        return _total(Aggregate(rows, grouping.keys, calls))
    return _per_unit_sums(grouping, rows, statistics)


def _single(statistic: Sum, dialect: str) -> Call:
    """One row per unit: its integer is limited on the spot."""
    if statistic.kind == "units" or statistic.value is None:
        return Call("COUNT_STAR")
    if statistic.kind == "rows":
        return Call("COUNT", (statistic.value.copy(),))
    if statistic.exact and statistic.scale:
        low, high = statistic.low + statistic.center, statistic.high + statistic.center
        steps = decimal_steps(statistic.value, low, high, statistic.scale, width=18)
        return Call("SUM", (summand(_minus(steps, statistic.center), dialect),))
    integer = row_value(statistic)
    if statistic.exact or statistic.form != "value":
        limited = clamp(integer, statistic.low + statistic.center, statistic.high + statistic.center)
        return Call("SUM", (summand(_less(limited, integer, statistic.center), dialect),))
    return Call("SUM", (summand(_minus(integer, statistic.center), dialect),))


def _minus(integer: exp.Expression, center: int) -> exp.Expression:
    return exp.Sub(this=integer, expression=number(center)) if center else integer


def _less(limited: exp.Expression, integer: exp.Expression, center: int) -> exp.Expression:
    """A limited value less the centre; a missing one stays missing rather than becoming minus the centre."""
    if not center:
        return limited
    present = exp.Is(this=integer.copy(), expression=exp.null())
    return exp.Case(ifs=[exp.If(this=present, true=exp.null())], default=exp.Sub(this=limited, expression=number(center)))


def _per_unit_sums(grouping: Grouping, rows: Rel, statistics: Mapping[str, Sum]) -> Rel:
    assert grouping.unit is not None
    m, fresh = grouping.max_rows, grouping.fresh
    unit = fresh()
    partials: dict[str, Call] = {}
    by_text: dict[str, str] = {}

    def partial(call: Call) -> exp.Column:
        text = f"{call.function}:{'|'.join(signature(a) for a in call.arguments)}"
        if text not in by_text:
            by_text[text] = fresh()
            partials[by_text[text]] = call
        return column(by_text[text])

    shares: dict[str, exp.Expression] = {}

    def share(expr: exp.Expression) -> exp.Column:
        id_ = fresh()
        shares[id_] = expr
        return column(id_)

    limited: dict[str, exp.Expression] = {}
    totals: dict[str, Call] = {}
    for name, statistic in statistics.items():
        if statistic.kind == "units":
            totals[name] = Call("COUNT_STAR")
            continue
        id_ = fresh()
        if statistic.kind == "rows":
            counted = partial(Call("COUNT_STAR") if statistic.value is None else Call("COUNT", (statistic.value.copy(),)))
            limited[id_] = _at_most(counted, m)
        else:
            limited[id_] = _limited_sum(statistic, m, partial, share, grouping.dialect)
        totals[name] = Call("SUM", (summand(column(id_), grouping.dialect),))
    per_unit: Rel = Aggregate(rows, {unit: column(grouping.unit), **grouping.keys}, partials)
    if shares:
        per_unit = Project(per_unit, {**{id_: column(id_) for id_ in columns_of(per_unit)}, **shares})
    shown = {unit: column(unit)} if not grouping.all_groups else {}
    rel: Rel = Project(per_unit, {**shown, **_key_columns(grouping.keys), **limited}) if shown or grouping.keys or limited else per_unit
    if not grouping.all_groups:
        rel = _at_most_rows(rel, unit, [], _hash([unit, *grouping.keys], grouping.salt), grouping.max_groups, fresh)
    return _total(Aggregate(rel, _key_columns(grouping.keys), totals))


def _at_most(count: exp.Expression, most: int) -> exp.Expression:
    return exp.Case(ifs=[exp.If(this=exp.GT(this=count.copy(), expression=number(most)), true=number(most))], default=count)


def _limited_sum(
    statistic: Sum, m: int, partial: Callable[[Call], exp.Column], share: Callable[[exp.Expression], exp.Column], dialect: str
) -> exp.Expression:
    """A unit's sum in one group, limited to what m rows of it may make."""
    assert statistic.value is not None
    low, high = m * min(statistic.low, 0), m * max(statistic.high, 0)
    if statistic.exact and statistic.scale and not statistic.center and not statistic.weighted:
        return limited_decimal(
            partial(Call("SUM", (summand(statistic.value.copy(), dialect, statistic.scale),))), low, high, statistic.scale
        )
    total: exp.Expression
    if statistic.exact and statistic.scale:
        total = partial(Call("SUM", (summand(statistic.value.copy(), dialect, statistic.scale),)))
        counted = partial(_count(statistic.value, statistic))
        steps = decimal_distance(total, counted, statistic.center, statistic.scale)
        return bigint(clamp(share(_weighted(steps, counted, m)), low, high))
    integer = row_value(statistic)
    # Where a value is missing its integer is; a NaN has none either, so that of a DOUBLE the integers are counted.
    calls = _count(integer if statistic.floating else statistic.counted or statistic.value, statistic)
    if statistic.center and statistic.narrow:
        total = partial(Call("SUM", (partial_summand(exp.Sub(this=bigint(integer), expression=number(statistic.center)), dialect),)))
    else:
        total = partial(Call("SUM", (partial_summand(integer, dialect),)))
        if statistic.center:
            total = exp.Paren(
                this=exp.Sub(
                    this=total, expression=exp.Mul(this=wide(number(statistic.center), dialect), expression=wide(partial(calls), dialect))
                )
            )
    if not statistic.weighted:
        return bigint(clamp(total, low, high))
    return bigint(clamp(share(_weighted(double(total), partial(calls), m)), low, high))


def _count(value: exp.Expression, statistic: Sum) -> Call:
    """The rows that have the value: all of them where the policy says so, as COUNT(x) itself is answered."""
    return Call("COUNT_STAR") if statistic.present else Call("COUNT", (value.copy(),))


def _weighted(total: exp.Expression, counted: exp.Expression, m: int) -> exp.Expression:
    """A unit's sum; that of a unit with more rows than its limit as of m average rows of its own, as its row count does.

    DOUBLE is exact here: limits stay below 2^53, and what is larger is cut to them anyway.
    """
    divisor = exp.Nullif(this=double(counted.copy()), expression=number(0))
    scaled = exp.Div(this=exp.Mul(this=total.copy(), expression=number(float(m))), expression=divisor)
    over = exp.GT(this=counted.copy(), expression=number(m))
    return exp.Case(ifs=[exp.If(this=over, true=scaled)], default=total)


def _total(rel: Aggregate) -> Rel:
    """The last aggregation; over no rows at all a global one is zero, not NULL."""
    if rel.keys:
        return rel
    return Project(rel, {id_: exp.Coalesce(this=column(id_), expressions=[number(0)]) for id_ in rel.calls})


# ---------------------------------------------------------------- distinct values
def distinct(grouping: Grouping, values: list[exp.Expression], statistics: Mapping[str, Sum]) -> Rel:
    """Statistics over the distinct values of each group: a unit brings at most m values to at most k groups."""
    fresh = grouping.fresh
    ids = [fresh() for _ in values]
    present = [_present(v.copy()) for v in values]
    keyed = {**grouping.keys, **dict(zip(ids, values, strict=True))}
    rel: Rel = Filter(grouping.known(), conjunction(*present))
    if not grouping.single_row:
        assert grouping.unit is not None
        unit = fresh()
        rel = Aggregate(rel, {unit: column(grouping.unit), **keyed}, {})
        rel = _at_most_rows(rel, unit, list(grouping.keys), _hash([unit, *ids], grouping.salt), grouping.max_rows, fresh)
        if not grouping.all_groups:
            rel = _ranked(rel, exp.DenseRank(), [unit], _hash([unit, *grouping.keys], grouping.salt), grouping.max_groups, fresh)
        keyed = {**_key_columns(grouping.keys), **{i: column(i) for i in ids}}
    each = Aggregate(rel, keyed, {})
    # A distinct value is a row of its own from here on, and never NULL.
    moved = {
        name: replace(s, value=column(ids[0]) if s.value is not None else None, other=column(ids[0]) if s.other is not None else None)
        for name, s in statistics.items()
    }
    rows, moved = _with_centred(each, moved, fresh)
    return _total(Aggregate(rows, _key_columns(grouping.keys), {name: _single(s, grouping.dialect) for name, s in moved.items()}))


# ---------------------------------------------------------------- bins
def bins(
    grouping: Grouping,
    value: exp.Expression,
    selection: Selection,
    ordinal: Callable[[exp.Expression], exp.Expression],
    ends: tuple[exp.Expression, exp.Expression],
) -> Rel:
    """Keys, bin number, weighted rows. A unit with n > m rows in a group weighs m/n for each."""
    fresh = grouping.fresh
    bin_, rows, weight = fresh(), fresh(), fresh()
    width = (selection.upper - selection.lower) / selection.bins
    ifs = [
        exp.If(this=exp.LTE(this=value.copy(), expression=ends[0].copy()), true=ends[0]),
        exp.If(this=exp.GTE(this=value.copy(), expression=ends[1].copy()), true=ends[1]),
    ]
    limited = exp.Case(ifs=ifs, default=value.copy())
    offset = ordinal(limited)
    if selection.lower:
        offset = exp.Paren(this=exp.Sub(this=offset, expression=number(selection.lower)))
    index = bigint(exp.Floor(this=exp.Mul(this=offset, expression=number(1.0 / width))))
    # Between the ends nothing is below the first bin; the upper end, and rounding, may reach one past the last.
    binned = exp.Anonymous(this="LEAST", expressions=[index, number(selection.bins - 1)])
    floating = selection.type.kind is Kind.FLOAT
    present = exp.Not(this=exp.Paren(this=is_missing(value, floating=floating)))
    rel: Rel = Filter(grouping.known(), present)
    if grouping.single_row:
        return Aggregate(rel, {**grouping.keys, bin_: binned}, {rows: Call("COUNT_STAR")})
    if grouping.all_groups:
        return _weighted_bins(grouping, rel, binned, bin_, rows)
    assert grouping.unit is not None
    unit, total, weighted = fresh(), fresh(), fresh()
    rel = Aggregate(rel, {unit: column(grouping.unit), **grouping.keys, bin_: binned}, {rows: Call("COUNT_STAR")})
    window = exp.Window(
        this=exp.Sum(this=partial_summand(column(rows), grouping.dialect)),
        partition_by=[column(i) for i in (unit, *grouping.keys)],
        over="OVER",
    )
    rel = Window(rel, {total: window})
    m = grouping.max_rows
    part = bigint(exp.Floor(this=exp.Div(this=number(float(WEIGHT_ONE * m)), expression=double(column(total)))))
    heavy = exp.Case(ifs=[exp.If(this=exp.GT(this=column(total), expression=number(m)), true=part)], default=number(WEIGHT_ONE))
    shown = {
        unit: column(unit),
        **_key_columns(grouping.keys),
        bin_: column(bin_),
        weighted: exp.Mul(this=column(rows), expression=exp.Paren(this=heavy)),
    }
    rel = Project(rel, shown)
    if not grouping.all_groups:
        rel = _ranked(rel, exp.DenseRank(), [unit], _hash([unit, *grouping.keys], grouping.salt), grouping.max_groups, fresh)
    return Aggregate(
        rel, {**_key_columns(grouping.keys), bin_: column(bin_)}, {weight: Call("SUM", (summand(column(weighted), grouping.dialect),))}
    )


def _weighted_bins(grouping: Grouping, rows: Rel, binned: exp.Expression, bin_: str, weight: str) -> Rel:
    """Every row counted with its unit's weight. Only units over their limit have one: few rows meet the join."""
    assert grouping.unit is not None
    fresh, m = grouping.fresh, grouping.max_rows
    unit, many, share = fresh(), fresh(), fresh()
    flat: Rel = Project(rows, {unit: column(grouping.unit), **grouping.keys, bin_: binned})
    if any(isinstance(r, (Join, Aggregate, Window, SetOperation)) for r in walk(rows)):
        flat = Shared(flat)
    ids = {id_: fresh() for id_ in (unit, *grouping.keys)}
    counted = Aggregate(flat, {ids[i]: column(i) for i in ids}, {many: Call("COUNT_STAR")})
    part = bigint(exp.Floor(this=exp.Div(this=number(float(WEIGHT_ONE * m)), expression=double(column(many)))))
    heavy = Project(Filter(counted, exp.GT(this=column(many), expression=number(m))), {**{i: column(i) for i in ids.values()}, share: part})
    same = conjunction(
        exp.EQ(this=column(unit), expression=column(ids[unit])),
        *(exp.NullSafeEQ(this=column(k), expression=column(ids[k])) for k in grouping.keys),
    )
    weighted = exp.Coalesce(this=column(share), expressions=[number(WEIGHT_ONE)])
    return Aggregate(
        Join(flat, heavy, "left", same),
        {**_key_columns(grouping.keys), bin_: column(bin_)},
        {weight: Call("SUM", (summand(bigint(weighted), grouping.dialect),))},
    )
