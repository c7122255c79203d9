"""Exact integers in, noisy integers out: the one place where data meets randomness.

Group keys come first (every value of a public domain, or those whose noisy unit count reaches T),
then each statistic gets its noise, drawn at zero and added to Python integers of any size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol, cast

import numpy as np

from dpjupyter.engine.model import ExactRows, Kind, Measurement, NoisyRows, Part, PublicTable, Quote, Selection, SqlType, Value
from dpjupyter.engine.scalar.values import sort_key, value_of

Group = tuple[Value, ...]
_MOST = 2**62  # scores are clamped to this, which changes no score's sensitivity: clamping never widens a difference


class NoiseSource(Protocol):
    """Where randomness comes from. One implementation is shipped; tests pass their own."""

    def laplace(self, scale: float, n: int) -> list[int]:
        """``n`` independent draws, P(x) proportional to exp(-|x|/scale)."""
        ...

    def gaussian(self, scale: float, n: int) -> list[int]:
        """``n`` independent draws, P(x) proportional to exp(-x^2/(2 scale^2)), x an integer."""
        ...

    def select(self, scores: list[int], scale: float) -> int:
        """Index of the largest score after adding Gumbel noise of ``scale`` to each."""
        ...


class OpenDPNoise:
    """Samplers of the OpenDP library, exact to the last bit and fed by the operating system's randomness."""

    def laplace(self, scale: float, n: int) -> list[int]:
        """See :class:`NoiseSource`."""
        return cast("list[int]", _laplace(scale)([0] * n)) if n else []

    def gaussian(self, scale: float, n: int) -> list[int]:
        """See :class:`NoiseSource`."""
        return cast("list[int]", _gaussian(scale)([0] * n)) if n else []

    def select(self, scores: list[int], scale: float) -> int:
        """See :class:`NoiseSource`."""
        return int(_gumbel(scale)(scores))


def _opendp() -> Any:
    import opendp.prelude as dp  # noqa: PLC0415 - loads a native library

    dp.enable_features("contrib")
    return dp


@lru_cache(maxsize=256)
def _laplace(scale: float) -> Any:
    dp = _opendp()
    return dp.m.make_laplace(dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64"), scale)


@lru_cache(maxsize=256)
def _gaussian(scale: float) -> Any:
    dp = _opendp()
    return dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64"), scale)


@lru_cache(maxsize=256)
def _gumbel(scale: float) -> Any:
    # The zCDP output measure makes noisy max add Gumbel noise (exponential mechanism); max divergence would be permute-and-flip,
    # which is priced differently.
    dp = _opendp()
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.linf_distance(T="i64")
    return dp.m.make_noisy_max(*space, dp.zero_concentrated_divergence(), scale)


def noise(rows: ExactRows, quote: Quote, source: NoiseSource) -> NoisyRows:
    """Release every measurement of the quote's plan.

    Tables have the columns: keys, then statistics and selections in the order of the parts. Rows are those of the
    keys' public domain in its order, or the released open keys, sorted (NULL last).

    Raises: ValueError: the warehouse returned something the plan does not allow (never shown to an analyst).
    """
    plan = quote.plan
    publics: dict[str, list[Group]] = {}
    for public in plan.publics:
        types = [type_ for _, type_ in public.columns]
        publics[public.name] = [_values(row, types) for row in rows.publics[public.name]]
    tables = {m.name: _Release(m, quote, source).table(rows, publics) for m in plan.measurements}
    return NoisyRows(tables, {name: list(table) for name, table in publics.items()})


@dataclass(slots=True)
class _Exact:
    """One part's rows by group: sums of each statistic, or counts per bin."""

    part: Part
    sums: dict[Group, list[int]] = field(default_factory=dict[Group, list[int]])
    bins: dict[Group, dict[int, int]] = field(default_factory=dict[Group, dict[int, int]])

    def column(self, groups: Sequence[Group], n: int) -> list[int]:
        """The n-th statistic of each group; a group nobody is in counts 0."""
        nobody = [0] * len(self.part.statistics)
        return [self.sums.get(group, nobody)[n] for group in groups]


@dataclass(slots=True)
class _Release:
    """One measurement on its way to a released table."""

    measurement: Measurement
    quote: Quote
    source: NoiseSource

    def table(self, rows: ExactRows, publics: Mapping[str, list[Group]]) -> list[Group]:
        m = self.measurement
        types = [key.facts.type for key in m.keys]
        exact = [_read(part, rows.parts[m.name, n], types) for n, part in enumerate(m.parts)]
        noisy: dict[str, list[int]] = {}
        if m.threshold is None:
            groups = _domain(m, self.quote.plan.publics, publics)
        else:
            groups, noisy[m.threshold] = self._opened(exact, m.threshold, _listing(m, self.quote.plan.publics, publics))
        columns: list[Sequence[Value]] = [[group[n] for group in groups] for n in range(len(m.keys))]
        for part in exact:
            for n, statistic in enumerate(part.part.statistics):
                if statistic.name not in noisy:
                    noisy[statistic.name] = self._noised(statistic.name, part.column(groups, n))
                columns.append(noisy[statistic.name])
            columns.extend(self._selected(selection, part, groups) for selection in part.part.selections)
        return list(zip(*columns, strict=True))

    def _opened(self, exact: Sequence[_Exact], threshold: str, listed: Callable[[Group], bool]) -> tuple[list[Group], list[int]]:
        """Groups whose noisy unit count reaches T, sorted, with these counts."""
        part, n = next((e, n) for e in exact for n, s in enumerate(e.part.statistics) if s.name == threshold)
        # T hides a group of one unit; a group without any must not come by another way.
        candidates = sorted((g for g, sums in part.sums.items() if sums[n] >= 1 and listed(g)), key=_in_order)
        counts = self._noised(threshold, part.column(candidates, n))
        least = self.quote.thresholds[self.measurement.name]
        kept = [(group, count) for group, count in zip(candidates, counts, strict=True) if count >= least]
        return [group for group, _ in kept], [count for _, count in kept]

    def _noised(self, name: str, values: list[int]) -> list[int]:
        how = self.quote.noise[name]
        match how.mechanism:
            case "discrete_laplace":
                drawn = self.source.laplace(how.scale, len(values))
            case "discrete_gaussian":
                drawn = self.source.gaussian(how.scale, len(values))
            case _:
                raise ValueError("no additive noise is declared for a statistic")
        return [value + z for value, z in zip(values, drawn, strict=True)]

    def _selected(self, selection: Selection, exact: _Exact, groups: Sequence[Group]) -> list[Value]:
        how = self.quote.noise[selection.name]
        if how.mechanism != "exponential":
            raise ValueError("a selection needs the exponential mechanism")
        chosen = (self.source.select(scores(selection, exact.bins.get(group, {})), how.scale) for group in groups)
        return [_bin_value(selection, index) for index in chosen]


# ---------------------------------------------------------------- reading
def _values(row: tuple[object, ...], types: Sequence[SqlType]) -> Group:
    values = (value_of(v, type_) for v, type_ in zip(row, types, strict=True))
    return tuple(_one_spelling(v) if isinstance(v, float) else v for v in values)


def _one_spelling(value: float) -> float:
    """Equal keys look equal: whose -0.0 it was that a group of zeros is shown by would be one person's secret.

    And one NaN object for all: then NaN equals itself where groups of several parts are brought together.
    """
    return math.nan if math.isnan(value) else 0.0 if value == 0 else value


def _read(part: Part, rows: Iterable[tuple[object, ...]], types: Sequence[SqlType]) -> _Exact:
    exact, keys = _Exact(part), len(types)
    for row in rows:
        try:
            group = _values(row[:keys], types)
        except ValueError:
            continue  # a key that no domain can hold, such as a date before year 1: like every key outside the domain it is dropped
        if part.selections:
            if row[keys] is None:
                continue
            index, count = _integer(row[keys]), _integer(row[keys + 1])
            bins = exact.bins.setdefault(group, {})
            if index in bins or not 0 <= index < part.selections[0].bins:
                raise ValueError("a bin came twice or lies outside the grid")
            bins[index] = count
        else:
            if group in exact.sums:
                # Two keys of the warehouse that are one value here: adding them up would break the L2 and Linf bounds.
                raise ValueError("a group came twice")
            exact.sums[group] = [_integer(v) for v in row[keys : keys + len(part.statistics)]]
    return exact


def _integer(value: object) -> int:
    match value:
        case None:
            return 0  # SUM over no rows
        case bool():
            raise ValueError("a statistic is a boolean")
        case int():
            return value
        case float() if value.is_integer() and abs(value) <= 2**53:
            return int(value)  # some warehouses sum integers in doubles; beyond 2^53 that would not be exact
        case Decimal() if value == value.to_integral_value():
            return int(value)
        case _:
            raise ValueError("a statistic is not an integer")


# ---------------------------------------------------------------- keys
def _domain(m: Measurement, tables: Sequence[PublicTable], publics: Mapping[str, list[Group]]) -> list[Group]:
    """Every group of a complete key, in the order of the domains; without keys the one group there is."""
    names = [key.name for key in m.keys]
    axes: list[tuple[tuple[str, ...], list[Group]]] = []
    fetched: dict[str, tuple[str, tuple[str, ...]]] = {name: listed for listed in m.fetched for name in listed[1]}
    for key in m.keys:
        if key.name in fetched:
            table, listed = fetched[key.name]
            if key.name == next(name for name in names if name in listed):
                types = [m.keys[names.index(name)].facts.type for name in listed]
                axes.append((listed, _listed(table, listed, types, tables, publics)))
        elif key.values is None:
            raise ValueError("an open key without a threshold")
        else:
            axes.append(((key.name,), [(value,) for value in key.values]))
    order = [name for axis, _ in axes for name in axis]
    positions = [order.index(name) for name in names]
    groups: list[Group] = []
    for chosen in itertools.product(*(values for _, values in axes)):
        flat = tuple(itertools.chain.from_iterable(chosen))
        groups.append(tuple(flat[p] for p in positions))
    if fetched:
        places = [None if key.values is None else {value: n for n, value in enumerate(key.values)} for key in m.keys]
        groups.sort(key=lambda group: tuple(sort_key(v if place is None else place[v]) for v, place in zip(group, places, strict=True)))
    return groups


def _listed(
    table: str, keys: tuple[str, ...], types: Sequence[SqlType], tables: Sequence[PublicTable], publics: Mapping[str, list[Group]]
) -> list[Group]:
    """The distinct rows of a public key list, sorted; its columns are found by name, else by position."""
    columns = [name for name, _ in next(t for t in tables if t.name == table).columns]
    positions = [columns.index(key) for key in keys] if set(keys) <= set(columns) else list(range(len(keys)))
    return sorted({_values(tuple(row[p] for p in positions), types) for row in publics[table]}, key=_in_order)


def _listing(m: Measurement, tables: Sequence[PublicTable], publics: Mapping[str, list[Group]]) -> Callable[[Group], bool]:
    """Whether a group lies within those domains and lists that its open keys leave in force."""
    names = [key.name for key in m.keys]
    known: list[tuple[list[int], Collection[Group]]] = []
    known.extend(([n], {(v,) for v in key.values}) for n, key in enumerate(m.keys) if key.values is not None)
    for table, listed in m.fetched:
        types = [m.keys[names.index(name)].facts.type for name in listed]
        known.append(([names.index(name) for name in listed], set(_listed(table, listed, types, tables, publics))))
    return lambda group: all(tuple(group[n] for n in places) in values for places, values in known)


def _in_order(group: Group) -> tuple[tuple[int, Any], ...]:
    return tuple(sort_key(value) for value in group)


# ---------------------------------------------------------------- quantiles
def scores(selection: Selection, bins: Mapping[int, int]) -> list[int]:
    """How well each bin fits the quantile num/den: minus den times the (weighted) rows by which it misses.

    Bin j holds the ranks F(j)..F(j+1), F(j) = rows below it; its score is -max(0, den*F(j) - t, t - den*F(j+1)) with t = num*N:
    that of its better edge, or 0 where the quantile lies inside it. MIN and MAX ask for a whole row on the near side as well
    (F(j+1) >= 1, F(j) <= N-1), or every empty bin beyond the data would fit as well as the last one that is not.

    One unit of m rows moves den*F(j) - num*N by at most m*max(num, den-num), a constant nothing, and a maximum moves no more
    than its largest part.
    """
    num, den = selection.numerator, selection.denominator
    rows = sum(bins.values())
    at_most = num * rows - (den * selection.weight if num == den else 0)
    at_least = num * rows + (den * selection.weight if num == 0 else 0)
    # Python integers where 64 bits could overflow: scores are sums over all rows, times the row weight.
    kind = np.int64 if den * rows < _MOST else np.object_
    counts: Any = np.zeros(selection.bins, dtype=kind)
    for index, count in bins.items():
        counts[index] = count
    above = den * np.cumsum(counts)
    below = above - den * counts
    miss = np.minimum(np.maximum(np.maximum(below - at_most, at_least - above), 0), _MOST)
    return [-int(v) for v in miss.tolist()]


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - timestamps without time zone


def _bin_value(selection: Selection, index: int) -> Value:
    """Midpoint of a bin as a value of the selection's type."""
    middle = selection.lower + (index + 0.5) * (selection.upper - selection.lower) / selection.bins
    if selection.integral:
        middle = min(max(round(middle), math.ceil(selection.lower)), math.floor(selection.upper))
    match selection.type.kind:
        case Kind.INT:
            return round(middle)
        case Kind.DATE:
            return (_EPOCH + timedelta(days=round(middle))).date().isoformat()
        case Kind.TIMESTAMP:
            return (_EPOCH + timedelta(microseconds=round(middle))).isoformat(sep=" ")
        case Kind.FLOAT | Kind.DECIMAL:
            return float(middle)
        case _:
            raise ValueError("a quantile of a type that has no order here")
