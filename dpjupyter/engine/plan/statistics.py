"""Which integers an aggregate needs from the warehouse, and how its value is made of them after noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sqlglot import exp

from dpjupyter.engine.model import BIGINT, BOOL, DOUBLE, Call, Facts, Interval, Kind, SqlType
from dpjupyter.engine.plan.fixed_point import exact_bounds, number, power_of_two_at_most
from dpjupyter.engine.plan.named import Name
from dpjupyter.errors import BoundsMissing, UnsupportedSQL

LARGEST = 1e100  # bounds beyond this are none: their squares would leave DOUBLE
HUGEINT = SqlType.parse("HUGEINT")
_POINT = Interval(0.0, 0.0)
_SQUARE_STEPS = 2.0**-22  # grid of squares and products, in parts of their largest value


@dataclass(frozen=True, slots=True)
class Sum:
    """One additive statistic: per row an integer, summed; None as ``value`` counts rows.

    ``low``..``high`` bound a row's integer. ``exact`` values need no rounding: the type's own step is the grid.
    """

    kind: str  # rows | sum | units
    value: exp.Expression | None = None
    low: int = 0
    high: int = 1
    grid: Fraction = Fraction(1)
    center: int = 0  # subtracted from each row's integer, in grid steps
    exact: bool = False
    scale: int = 0  # exact DECIMAL: digits after the point
    form: str = "value"  # value | square | product: what of the value(s) is summed
    other: exp.Expression | None = None  # product: the second value
    middles: tuple[float, float] = (0.0, 0.0)  # square, product: centres in the column's unit
    weighted: bool = False  # units with more than max_rows rows are weighted, as their count is
    floating: bool = False
    comparable: bool = False  # with whole bounds as integers
    narrow: bool = False  # exact and small enough that the centre can be taken off each row in 64 bits
    present: bool = False  # never NULL, by its facts, and no NaN by its type
    counted: exp.Expression | None = None  # square, product: what is present exactly where the summed value is
    bounds: Interval = _POINT
    other_bounds: Interval = _POINT

    @property
    def row_largest(self) -> int:
        """Largest absolute integer of one row."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True)
class Made:
    """An aggregate after noise: its expression over statistics, and what is known of it."""

    needs: tuple[str, ...]  # slots of the statistics, in the order of the shares
    shares: tuple[Fraction, ...]
    finish: Callable[[Mapping[str, exp.Expression], Name], exp.Expression]  # of the slots; parts used twice are named
    facts: Facts
    note: str = ""


_COUNT_FACTS = Facts(BIGINT, Interval(-math.inf, math.inf), nullable=False, integral=True)
_SUM_FACTS = Facts(DOUBLE, Interval(-math.inf, math.inf), nullable=False)


class Bounds:
    """Finite bounds of an argument, or a refusal that says how to give them."""

    def __init__(self, call: Call, facts: Facts) -> None:
        kinds = (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.BOOL)
        if facts.type.kind is Kind.NULL:
            self.interval = Interval(0.0, 0.0)
            return
        if facts.type.kind not in kinds:
            raise UnsupportedSQL(
                f"{call.text} needs numbers, not {facts.type.text or facts.type.kind.value}.", hint="CAST the value, or count it."
            )
        interval = facts.interval
        if interval is None or max(abs(interval.lower), abs(interval.upper)) > LARGEST:
            raise BoundsMissing(
                f"{call.text}: nothing bounds the value that is summed.",
                hint=f"Clamp it: {call.function}(LEAST(GREATEST(x, 0), 100)), add WHERE x BETWEEN 0 AND 100, or ask the owner for bounds.",
            )
        self.interval = interval


class Statistics:
    """Collects the statistics of one measurement; equal ones are kept once.

    ``add`` returns a slot name. ``epsilon`` is the largest one asked: the grid is finer than its noise.
    """

    def __init__(self, max_rows: int, max_groups: int, epsilon: float, text: Callable[[exp.Expression], str]) -> None:
        self._rows = max_rows
        self._groups = max_groups
        self._epsilon = epsilon
        self._text = text
        self.slots: dict[str, Sum] = {}
        self._by_key: dict[str, str] = {}

    def add(self, statistic: Sum) -> str:
        """Keep a statistic; the slot of an equal one if there is one."""
        value = "" if statistic.value is None else self._text(statistic.value)
        other = "" if statistic.other is None else self._text(statistic.other)
        limits = f"{statistic.low}|{statistic.high}|{statistic.grid}|{statistic.center}|{statistic.weighted}"
        key = f"{statistic.kind}|{value}|{other}|{statistic.form}|{limits}"
        if key not in self._by_key:
            self._by_key[key] = f"s{len(self.slots)}"
            self.slots[self._by_key[key]] = statistic
        return self._by_key[key]

    def rows(self) -> str:
        """COUNT(*)."""
        return self.add(Sum("rows"))

    def count(self, value: exp.Expression, facts: Facts) -> str:
        """COUNT(value); COUNT(*) where the value is never NULL."""
        return self.rows() if not facts.nullable else self.add(Sum("rows", value))

    def units(self) -> str:
        """COUNT(DISTINCT unit)."""
        return self.add(Sum("units"))

    def sum(
        self, value: exp.Expression, facts: Facts, bounds: Interval, *, centred: bool = False, weighted: bool = False
    ) -> tuple[str, Fraction, int]:
        """SUM(value), or of its distance from the middle. Returns slot, grid and centre (in steps)."""
        grid, exact, scale = self._grid(value, facts, bounds)
        low, high = _steps(bounds.lower, grid), _steps(bounds.upper, grid)
        center = (low + high) // 2 if centred else 0
        statistic = Sum(
            "sum",
            value,
            low - center,
            high - center,
            grid,
            center,
            exact,
            scale,
            weighted=weighted,
            floating=facts.type.kind is Kind.FLOAT,
            comparable=exact_bounds(facts.type),
            narrow=_narrow(facts, exact=exact),
            present=not facts.nullable and facts.type.kind is not Kind.FLOAT,
            bounds=bounds,
        )
        return self.add(statistic), grid, center

    def product(
        self,
        value: exp.Expression,
        facts: Facts,
        bounds: Interval,
        other: exp.Expression,
        other_facts: Facts,
        other_bounds: Interval,
        middles: tuple[float, float],
    ) -> tuple[str, Fraction]:
        """Sum of (value - middle) * (other - middle'). Returns slot and grid."""
        half, other_half = _half(bounds, middles[0]), _half(other_bounds, middles[1])
        largest = max(half * other_half, 2.0**-600)
        grid = Fraction(power_of_two_at_most(largest * _SQUARE_STEPS))
        high = _steps(largest, grid) + 1
        same = self._text(value) == self._text(other)
        statistic = Sum(
            "sum",
            value,
            0 if same else -high,
            high,
            grid,
            form="square" if same else "product",
            other=other,
            middles=middles,
            weighted=True,
            floating=Kind.FLOAT in (facts.type.kind, other_facts.type.kind),
            comparable=exact_bounds(facts.type) and exact_bounds(other_facts.type),
            present=not (facts.nullable or other_facts.nullable) and Kind.FLOAT not in (facts.type.kind, other_facts.type.kind),
            bounds=bounds,
            other_bounds=other_bounds,
        )
        return self.add(statistic), grid

    def _grid(self, value: exp.Expression, facts: Facts, bounds: Interval) -> tuple[Fraction, bool, int]:
        largest = max(abs(bounds.lower), abs(bounds.upper), 2.0**-600)
        finest = Fraction(power_of_two_at_most(largest * self._rows / self._epsilon * 2.0**-20))
        step = Fraction(1, 10**facts.type.scale) if facts.type.kind is Kind.DECIMAL else Fraction(1)
        # Exact types bring their own step, as long as the noise in steps stays within the samplers' 64 bits.
        fits = Fraction(largest) / step * self._rows * self._groups / Fraction(self._epsilon) < 2**44
        if facts.type.kind in (Kind.INT, Kind.BOOL, Kind.NULL) and fits:
            return step, isinstance(value, exp.Column) and 0 < facts.type.bits <= 64, 0
        if facts.type.kind is Kind.DECIMAL and isinstance(value, exp.Column) and facts.type.precision <= 18 and fits:
            return step, True, facts.type.scale
        return finest, False, 0


def _steps(bound: float, grid: Fraction) -> int:
    return round(Fraction(bound) / grid)


def _narrow(facts: Facts, *, exact: bool) -> bool:
    """Whether a column's integers, by its type, stay far below 64 bits."""
    return exact and (0 < facts.type.bits <= 32 or 0 < facts.type.precision <= 17)


def _half(bounds: Interval, middle: float) -> float:
    return max(bounds.upper - middle, middle - bounds.lower, 0.0)


# ---------------------------------------------------------------- aggregates made of sums
def real(slot: exp.Expression) -> exp.Expression:
    """A released statistic as DOUBLE."""
    return exp.Cast(this=slot, to=exp.DataType.build("DOUBLE"))


def _div(a: exp.Expression, b: exp.Expression) -> exp.Expression:
    return exp.Div(this=_wrap(a), expression=_wrap(b))


def _wrap(node: exp.Expression) -> exp.Expression:
    return exp.Paren(this=node) if isinstance(node, (exp.Binary, exp.Unary)) else node


def at_least_one(count: exp.Expression) -> exp.Expression:
    """A noisy count as a divisor."""
    return exp.Anonymous(this="GREATEST", expressions=[real(count), number(1.0)])


def within(value: exp.Expression, low: float, high: float) -> exp.Expression:
    """Post-processing: what is impossible is not shown."""
    inner = exp.Anonymous(this="GREATEST", expressions=[value, number(low)])
    return exp.Anonymous(this="LEAST", expressions=[inner, number(high)])


def made_of_sums(call: Call, arguments: list[tuple[exp.Expression, Facts]], statistics: Statistics) -> Made | None:
    """How COUNT, SUM, AVG, VAR, STDDEV, COVAR, CORR, BOOL_AND and BOOL_OR are made; None for other aggregates.

    Raises: BoundsMissing, UnsupportedSQL.
    """
    one = Fraction(1)
    match call.function:
        case "COUNT_STAR":
            slot = statistics.rows()
            return Made((slot,), (one,), lambda s, _: s[slot], _COUNT_FACTS)
        case "COUNT":
            value, facts = arguments[0]
            if facts.type.kind is Kind.NULL:
                return Made((), (), lambda _s, _: number(0), Facts(BIGINT, Interval(0, 0), nullable=False, integral=True))
            slot = statistics.count(value, facts)
            return Made((slot,), (one,), lambda s, _: s[slot], _COUNT_FACTS)
        case "BOOL_AND" | "BOOL_OR":
            return _boolean(call, arguments[0], statistics)
        case "SUM":
            return _sum(call, arguments[0], statistics)
        case "AVG":
            return _avg(call, arguments[0], statistics)
        case "VAR_POP" | "VAR_SAMP" | "STDDEV_POP" | "STDDEV_SAMP":
            return _variance(call, arguments[0], statistics)
        case "COVAR_POP" | "COVAR_SAMP" | "CORR":
            return _covariance(call, arguments, statistics)
        case _:
            return None


def _boolean(call: Call, argument: tuple[exp.Expression, Facts], statistics: Statistics) -> Made:
    value, facts = argument
    if facts.type.kind is not Kind.BOOL:
        raise UnsupportedSQL(f"{call.text} needs a condition.")
    wanted = value.copy() if call.function == "BOOL_OR" else exp.Not(this=_wrap(value.copy()))
    hit = exp.Case(ifs=[exp.If(this=wanted, true=number(1))])
    slot = statistics.add(Sum("rows", hit))
    compare = exp.GT if call.function == "BOOL_OR" else exp.LT
    return Made(
        (slot,),
        (Fraction(1),),
        lambda s, _: compare(this=real(s[slot]), expression=number(0.5)),
        Facts(BOOL, Interval(0, 1), nullable=False, domain=(False, True)),
        f"{call.text} compares a noisy count with one half.",
    )


def as_number(value: exp.Expression, facts: Facts) -> tuple[exp.Expression, Facts]:
    """Booleans as 0 and 1, so that they can be summed."""
    if facts.type.kind is not Kind.BOOL:
        return value, facts
    ifs = [exp.If(this=value.copy(), true=number(1)), exp.If(this=exp.Not(this=_wrap(value.copy())), true=number(0))]
    return exp.Case(ifs=ifs), Facts(SqlType.parse("INTEGER"), Interval(0, 1), facts.nullable, (0, 1), facts.from_unit, integral=True)


def _sum(call: Call, argument: tuple[exp.Expression, Facts], statistics: Statistics) -> Made:
    value, facts = as_number(*argument)
    bounds = Bounds(call, facts).interval
    type_ = HUGEINT if facts.type.kind in (Kind.INT, Kind.NULL) else DOUBLE
    if bounds.lower == bounds.upper == 0:
        return Made((), (), lambda _s, _: number(0), Facts(type_, bounds, nullable=False))
    slot, grid, _ = statistics.sum(value, facts, bounds)
    shown = Facts(type_ if grid == 1 else DOUBLE, _SUM_FACTS.interval, nullable=False, integral=grid == 1)
    return Made((slot,), (Fraction(1),), lambda s, _: s[slot], shown)


def _avg(call: Call, argument: tuple[exp.Expression, Facts], statistics: Statistics) -> Made:
    value, facts = as_number(*argument)
    bounds = Bounds(call, facts).interval
    if bounds.lower == bounds.upper:
        return Made((), (), lambda _s, _: number(bounds.lower), Facts(DOUBLE, bounds, nullable=False))
    count = statistics.count(value, facts)
    slot, grid, center = statistics.sum(value, facts, bounds, centred=True, weighted=True)
    middle = float(center * grid)

    def finish(s: Mapping[str, exp.Expression], _: Name) -> exp.Expression:
        mean = exp.Add(this=number(middle), expression=_div(real(s[slot]), at_least_one(s[count])))
        return within(mean, bounds.lower, bounds.upper)

    return Made((slot, count), (Fraction(1, 2), Fraction(1, 2)), finish, Facts(DOUBLE, bounds, nullable=False))


def _variance(call: Call, argument: tuple[exp.Expression, Facts], statistics: Statistics) -> Made:
    value, facts = as_number(*argument)
    bounds = Bounds(call, facts).interval
    if bounds.lower == bounds.upper:
        return Made((), (), lambda _s, _: number(0.0), Facts(DOUBLE, Interval(0, 0), nullable=False))
    count = statistics.count(value, facts)
    total, grid, center = statistics.sum(value, facts, bounds, centred=True, weighted=True)
    middle = float(center * grid)
    squares, _ = statistics.product(value, facts, bounds, value, facts, bounds, (middle, middle))
    width = bounds.upper - bounds.lower
    sample, root = call.function.endswith("SAMP"), call.function.startswith("STDDEV")
    most = width * width / (2.0 if sample else 4.0)  # a sample of two points at the ends has the largest

    def finish(s: Mapping[str, exp.Expression], name: Name) -> exp.Expression:
        n = name(f"n {count}", at_least_one(s[count]))
        mean = name(f"mean {total} {count}", _div(real(s[total]), n))
        variance: exp.Expression = exp.Sub(this=_div(real(s[squares]), n.copy()), expression=exp.Mul(this=mean, expression=mean.copy()))
        if sample:
            less = exp.Anonymous(this="GREATEST", expressions=[exp.Sub(this=real(s[count]), expression=number(1.0)), number(1.0)])
            variance = exp.Mul(this=_wrap(variance), expression=_wrap(_div(n.copy(), less)))
        possible = within(_wrap(variance), 0.0, most)
        return exp.Sqrt(this=possible) if root else possible

    shown = Facts(DOUBLE, Interval(0.0, math.sqrt(most) if root else most), nullable=False)
    return Made((count, total, squares), (Fraction(1, 3),) * 3, finish, shown)


def _covariance(call: Call, arguments: list[tuple[exp.Expression, Facts]], statistics: Statistics) -> Made:
    """Over rows where both values are present: each is set to NULL where the other is."""
    pairs = [as_number(*a) for a in arguments]
    bounds = [Bounds(call, f).interval for _, f in pairs]
    both = [_where_present(pairs[i], pairs[1 - i]) for i in (0, 1)]
    count = statistics.count(*both[0])
    totals = [statistics.sum(v, f, b, centred=True, weighted=True) for (v, f), b in zip(both, bounds, strict=True)]
    middles = (float(totals[0][1] * totals[0][2]), float(totals[1][1] * totals[1][2]))
    cross, _ = statistics.product(both[0][0], both[0][1], bounds[0], both[1][0], both[1][1], bounds[1], middles)
    needs = [count, totals[0][0], totals[1][0], cross]
    halves = [_half(b, m) for b, m in zip(bounds, middles, strict=True)]
    if call.function == "CORR":
        squares = [statistics.product(*both[i], bounds[i], *both[i], bounds[i], (middles[i], middles[i]))[0] for i in (0, 1)]
        needs += squares
    else:
        squares = []

    def finish(s: Mapping[str, exp.Expression], name: Name) -> exp.Expression:
        n = name(f"n {count}", at_least_one(s[count]))

        def central(product: str, a: str, b: str) -> exp.Expression:
            means = [name(f"mean {slot} {count}", _div(real(s[slot]), n.copy())) for slot in (a, b)]
            return exp.Sub(this=_div(real(s[product]), n.copy()), expression=exp.Mul(this=means[0], expression=means[1]))

        x, y = totals[0][0], totals[1][0]
        covariance = central(cross, x, y)
        if call.function == "CORR":
            spread = exp.Mul(
                this=exp.Anonymous(this="GREATEST", expressions=[_wrap(central(squares[0], x, x)), number(0.0)]),
                expression=exp.Anonymous(this="GREATEST", expressions=[_wrap(central(squares[1], y, y)), number(0.0)]),
            )
            ratio = exp.Div(this=_wrap(covariance), expression=exp.Nullif(this=exp.Sqrt(this=spread), expression=number(0.0)))
            return within(ratio, -1.0, 1.0)
        if call.function == "COVAR_SAMP":
            less = exp.Anonymous(this="GREATEST", expressions=[exp.Sub(this=real(s[count]), expression=number(1.0)), number(1.0)])
            covariance = exp.Mul(this=_wrap(covariance), expression=_wrap(_div(n.copy(), less)))
        most = 2.0 * halves[0] * halves[1] * (2.0 if call.function == "COVAR_SAMP" else 1.0)
        return within(_wrap(covariance), -most, most)

    share = Fraction(1, len(needs))
    return Made(tuple(needs), (share,) * len(needs), finish, Facts(DOUBLE, None, nullable=call.function == "CORR"))


def _where_present(pair: tuple[exp.Expression, Facts], other: tuple[exp.Expression, Facts]) -> tuple[exp.Expression, Facts]:
    value, facts = pair
    if not other[1].nullable:
        return pair
    present = exp.Not(this=exp.Is(this=_wrap(other[0].copy()), expression=exp.null()))
    return exp.Case(ifs=[exp.If(this=present, true=value.copy())]), Facts(
        facts.type, facts.interval, True, None, facts.from_unit, facts.integral
    )
