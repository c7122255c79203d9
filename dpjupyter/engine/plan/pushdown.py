"""The statement of a measurement: integers per key, each unit's contribution limited (privacy.md section 2).

Three shapes, all of the same pieces:
    sums      per row -> per (unit, keys) -> limited -> at most k groups per unit -> per keys
    distinct  the same over each unit's first m distinct values
    bins      rows counted per bin of a grid, for quantiles
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from dpjupyter.engine.algebra import signature
from dpjupyter.engine.model import Aggregate, Call, Filter, Project, Rel, Selection, Window
from dpjupyter.engine.plan.fixed_point import bigint, clamp, double, is_missing, number, row_integer
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


# ---------------------------------------------------------------- sums
def row_value(statistic: Sum) -> exp.Expression:
    """The integer one row adds, before the centre is taken off; NULL where it adds nothing."""
    value = statistic.value
    assert value is not None
    if statistic.form == "value":
        if statistic.exact and statistic.scale:
            return bigint(exp.Mul(this=value.copy(), expression=number(10**statistic.scale)))
        if statistic.exact:
            return value.copy()
        return row_integer(value, statistic.bounds, float(statistic.grid), floating=statistic.floating)
    other = statistic.other
    assert other is not None
    first, second = (_centred(v, b, m) for v, b, m in zip((value, other), (statistic.bounds, statistic.other_bounds), statistic.middles, strict=True))
    missing = is_missing(value, floating=statistic.floating)
    if statistic.form == "product":
        missing = exp.Or(this=missing, expression=is_missing(other, floating=statistic.floating))
    scaled = exp.Mul(this=exp.Mul(this=first, expression=second), expression=number(1.0 / float(statistic.grid)))
    return exp.Case(ifs=[exp.If(this=missing, true=exp.null())], default=bigint(exp.Round(this=scaled)))


def _centred(value: exp.Expression, bounds: object, middle: float) -> exp.Expression:
    """value limited to its bounds, less the middle: limited before it is squared, so that no square is infinite."""
    low, high = bounds.lower, bounds.upper  # type: ignore[attr-defined]
    ifs = [
        exp.If(this=exp.LTE(this=value.copy(), expression=number(low)), true=number(low - middle)),
        exp.If(this=exp.GTE(this=value.copy(), expression=number(high)), true=number(high - middle)),
    ]
    return exp.Case(ifs=ifs, default=exp.Sub(this=double(value.copy()), expression=number(middle)))


def sums(grouping: Grouping, statistics: Mapping[str, Sum]) -> Rel:
    """Keys and one integer per statistic."""
    if grouping.single_row:
        calls = {name: _single(s) for name, s in statistics.items()}
        return _total(Aggregate(grouping.known(), grouping.keys, calls), grouping)
    return _per_unit_sums(grouping, statistics)


def _single(statistic: Sum) -> Call:
    """One row per unit: its integer is limited on the spot."""
    if statistic.kind == "units" or statistic.value is None:
        return Call("COUNT_STAR")
    if statistic.kind == "rows":
        return Call("COUNT", (statistic.value.copy(),))
    integer = row_value(statistic)
    if statistic.exact or statistic.form != "value":
        return Call("SUM", (_less(clamp(integer, statistic.low + statistic.center, statistic.high + statistic.center), integer, statistic.center),))
    return Call("SUM", (_minus(integer, statistic.center),))


def _minus(integer: exp.Expression, center: int) -> exp.Expression:
    return exp.Sub(this=integer, expression=number(center)) if center else integer


def _less(limited: exp.Expression, integer: exp.Expression, center: int) -> exp.Expression:
    """A limited value less the centre; a missing one stays missing rather than becoming minus the centre."""
    if not center:
        return limited
    present = exp.Is(this=integer.copy(), expression=exp.null())
    return exp.Case(ifs=[exp.If(this=present, true=exp.null())], default=exp.Sub(this=limited, expression=number(center)))


def _per_unit_sums(grouping: Grouping, statistics: Mapping[str, Sum]) -> Rel:
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
            limited[id_] = _limited_sum(statistic, m, partial, grouping.dialect)
        totals[name] = Call("SUM", (column(id_),))
    per_unit: Rel = Aggregate(grouping.known(), {unit: column(grouping.unit), **grouping.keys}, partials)
    shown = {unit: column(unit)} if not grouping.all_groups else {}
    rel: Rel = Project(per_unit, {**shown, **_key_columns(grouping.keys), **limited}) if shown or grouping.keys or limited else per_unit
    if not grouping.all_groups:
        rel = _ranked(rel, exp.RowNumber(), [unit], _hash([unit, *grouping.keys], grouping.salt), grouping.max_groups, fresh)
    return _total(Aggregate(rel, _key_columns(grouping.keys), totals), grouping)


def _at_most(count: exp.Expression, most: int) -> exp.Expression:
    return exp.Case(ifs=[exp.If(this=exp.GT(this=count.copy(), expression=number(most)), true=number(most))], default=count)


def _limited_sum(statistic: Sum, m: int, partial: Callable[[Call], exp.Column], dialect: str) -> exp.Expression:
    """A unit's sum in one group, limited to what m rows of it may make."""
    assert statistic.value is not None
    low, high = m * min(statistic.low, 0), m * max(statistic.high, 0)
    if statistic.exact and statistic.scale and not statistic.center and not statistic.weighted:
        # DECIMAL sums are exact and fast; the few per-unit results are made integers after they are limited.
        total = partial(Call("SUM", (statistic.value.copy(),)))
        factor = 10**statistic.scale
        bound = [exp.Cast(this=exp.Literal.string(_decimal(v, statistic.scale)), to=exp.DataType.build(f"DECIMAL(38,{statistic.scale})")) for v in (low, high)]
        ifs = [
            exp.If(this=exp.Is(this=total.copy(), expression=exp.null()), true=number(0)),
            exp.If(this=exp.LT(this=total.copy(), expression=bound[0]), true=number(low)),
            exp.If(this=exp.GT(this=total.copy(), expression=bound[1]), true=number(high)),
        ]
        narrow = exp.Cast(this=total.copy(), to=exp.DataType.build(f"DECIMAL(18,{statistic.scale})"))
        return exp.Case(ifs=ifs, default=bigint(exp.Mul(this=narrow, expression=number(factor))))
    integer = row_value(statistic)
    total: exp.Expression = partial(Call("SUM", (integer,)))
    count = partial(Call("COUNT", (integer.copy(),)))
    if statistic.center:
        total = exp.Paren(this=exp.Sub(this=total, expression=exp.Mul(this=_wide(number(statistic.center), dialect), expression=_wide(count.copy(), dialect))))
    if statistic.weighted:
        # A unit with more rows than its limit counts as m average rows of its own, as in its row count.
        share = exp.Div(this=exp.Mul(this=double(total.copy()), expression=number(float(m))), expression=double(count.copy()))
        over = exp.GT(this=count.copy(), expression=number(m))
        low_, high_ = number(float(low)), number(float(high))
        inside = exp.Case(
            ifs=[exp.If(this=exp.LTE(this=exp.Paren(this=share), expression=low_), true=number(low)), exp.If(this=exp.GTE(this=exp.Paren(this=share.copy()), expression=high_), true=number(high))],
            default=bigint(exp.Round(this=share.copy())),
        )
        return exp.Case(ifs=[exp.If(this=over, true=inside)], default=bigint(clamp(total, low, high)))
    return bigint(clamp(total, low, high))


def _wide(value: exp.Expression, dialect: str) -> exp.Expression:
    return exp.Cast(this=value, to=exp.DataType.build("DECIMAL(38,0)" if dialect == "snowflake" else "INT128"))


def _decimal(value: int, scale: int) -> str:
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def _total(rel: Aggregate, grouping: Grouping) -> Rel:
    """The last aggregation; over no rows at all a global one is zero, not NULL."""
    if rel.keys:
        return rel
    return Project(rel, {id_: exp.Coalesce(this=column(id_), expressions=[number(0)]) for id_ in rel.calls})


# ---------------------------------------------------------------- distinct values
def distinct(grouping: Grouping, values: list[exp.Expression], statistics: Mapping[str, Callable[[list[exp.Expression]], Call]]) -> Rel:
    """Statistics over the distinct values of each group: a unit brings at most m values to at most k groups."""
    fresh = grouping.fresh
    ids = [fresh() for _ in values]
    present = [_present(v.copy()) for v in values]
    keyed = {**grouping.keys, **dict(zip(ids, values, strict=True))}
    rel: Rel = Filter(grouping.known(), exp.and_(*present, copy=False))
    if not grouping.single_row:
        assert grouping.unit is not None
        unit = fresh()
        rel = Aggregate(rel, {unit: column(grouping.unit), **keyed}, {})
        rel = _ranked(rel, exp.RowNumber(), [unit, *grouping.keys], _hash([unit, *ids], grouping.salt), grouping.max_rows, fresh)
        if not grouping.all_groups:
            rel = _ranked(rel, exp.DenseRank(), [unit], _hash([unit, *grouping.keys], grouping.salt), grouping.max_groups, fresh)
        keyed = {**_key_columns(grouping.keys), **{i: column(i) for i in ids}}
    each = Aggregate(rel, keyed, {})
    calls = {name: make([column(i) for i in ids]) for name, make in statistics.items()}
    return _total(Aggregate(each, _key_columns(grouping.keys), calls), grouping)


def distinct_sum(statistic: Sum) -> Callable[[list[exp.Expression]], Call]:
    """An additive statistic over distinct values: each is a row of its own."""

    def make(values: list[exp.Expression]) -> Call:
        moved = Sum(
            statistic.kind,
            values[0] if statistic.value is not None else None,
            statistic.low,
            statistic.high,
            statistic.grid,
            statistic.center,
            statistic.exact,
            statistic.scale,
            statistic.form,
            values[0] if statistic.other is not None else None,
            statistic.middles,
            statistic.weighted,
            statistic.floating,
            statistic.bounds,
            statistic.other_bounds,
        )
        return _single(moved)

    return make


# ---------------------------------------------------------------- bins
def bins(grouping: Grouping, value: exp.Expression, selection: Selection, ordinal: Callable[[exp.Expression], exp.Expression], ends: tuple[exp.Expression, exp.Expression]) -> Rel:
    """Keys, bin number, weighted rows. A unit with n > m rows in a group weighs m/n for each."""
    fresh = grouping.fresh
    bin_, rows, weight = fresh(), fresh(), fresh()
    width = (selection.upper - selection.lower) / selection.bins
    last = number(selection.bins - 1)
    offset = exp.Sub(this=ordinal(value.copy()), expression=number(selection.lower))
    index = bigint(exp.Floor(this=exp.Div(this=exp.Paren(this=offset), expression=number(width)) if width != 1.0 else offset))
    ifs = [
        exp.If(this=exp.LTE(this=value.copy(), expression=ends[0]), true=number(0)),
        exp.If(this=exp.GTE(this=value.copy(), expression=ends[1]), true=last),
    ]
    inner = exp.Case(ifs=[exp.If(this=exp.LT(this=index.copy(), expression=number(0)), true=number(0)), exp.If(this=exp.GT(this=index.copy(), expression=last.copy()), true=last.copy())], default=index)
    binned = exp.Case(ifs=ifs, default=inner)
    present = exp.Not(this=exp.Paren(this=is_missing(value, floating=True)) if selection.type.kind.value == "float" else is_missing(value, floating=False))
    rel: Rel = Filter(grouping.known(), present)
    if grouping.single_row:
        return Aggregate(rel, {**grouping.keys, bin_: binned}, {rows: Call("COUNT_STAR")})
    assert grouping.unit is not None
    unit, total, weighted = fresh(), fresh(), fresh()
    rel = Aggregate(rel, {unit: column(grouping.unit), **grouping.keys, bin_: binned}, {rows: Call("COUNT_STAR")})
    window = exp.Window(this=exp.Sum(this=column(rows)), partition_by=[column(i) for i in (unit, *grouping.keys)], over="OVER")
    rel = Window(rel, {total: window})
    m = grouping.max_rows
    part = bigint(exp.Floor(this=exp.Div(this=number(float(WEIGHT_ONE * m)), expression=double(column(total)))))
    heavy = exp.Case(ifs=[exp.If(this=exp.GT(this=column(total), expression=number(m)), true=part)], default=number(WEIGHT_ONE))
    shown = {unit: column(unit), **_key_columns(grouping.keys), bin_: column(bin_), weighted: exp.Mul(this=column(rows), expression=exp.Paren(this=heavy))}
    rel = Project(rel, shown)
    if not grouping.all_groups:
        rel = _ranked(rel, exp.DenseRank(), [unit], _hash([unit, *grouping.keys], grouping.salt), grouping.max_groups, fresh)
    return Aggregate(rel, {**_key_columns(grouping.keys), bin_: column(bin_)}, {weight: Call("SUM", (column(weighted),))})
