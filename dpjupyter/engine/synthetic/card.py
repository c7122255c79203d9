"""A twin's card: what it is, what it cost, how it was made, how well it fits what was released. Public: analysts read it.

Quality is measured against the noisy counts, never against the data: for the owner there is nothing more either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from dpjupyter.engine.model import Value
from dpjupyter.engine.synthetic.bins import Axis
from dpjupyter.engine.synthetic.layout import Layout
from dpjupyter.engine.synthetic.measure import Released
from dpjupyter.engine.synthetic.projection import on_simplex
from dpjupyter.engine.synthetic.sample import Bins

METHOD = "tree of noisy two-way counts (zCDP, discrete Gaussian), projected and sampled"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnCard(_Record):
    """One column of a twin."""

    name: str
    type: str
    kind: str  # values, ranges, key, reference, empty
    bins: int = 0
    values: list[Value] | None = None
    cuts: list[float] | None = None  # ends of the ranges: numbers, days or microseconds since 1970
    nullable: bool = False
    note: str = ""
    error: float | None = None  # total variation distance between the twin and the noisy counts


class PairCard(_Record):
    """Two columns that were measured together."""

    columns: tuple[str, str]
    error: float  # total variation distance between the twin and the noisy counts


class ParentCard(_Record):
    """The twin whose rows this one's hang on."""

    table: str
    version: str
    key: str
    column: str


class Card(_Record):
    """Everything said about a twin."""

    format: int = 1
    prefix: str
    db_name: str
    table: str
    version: str
    checksum: str  # of the policy it was published under
    data_version: str
    published: str  # the ledger's clock, UTC
    epsilon: float
    delta: float
    rho: float
    tables: list[str]  # budget rows that paid, '*' and quotas aside
    request_id: str
    method: str = METHOD
    rows: int
    parent: ParentCard | None = None
    columns: list[ColumnCard]
    pairs: list[PairCard]
    one_way_sigma: float  # standard deviation of the noise on one bin's count, in rows
    two_way_sigma: float
    mean_error_1: float
    mean_error_2: float
    seed: int  # of the sampler: post-processing, nothing secret
    file_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    unmetered: list[str] = []  # budget rows that could not pay and allow it: their promise is void for this twin
    notes: list[str] = []


def columns(layout: Layout, order: Sequence[str], types: Mapping[str, str], errors: Mapping[str, float]) -> list[ColumnCard]:
    """Columns in the policy's order."""
    found = {axis.name: _described(axis, types, errors) for axis in layout.own}
    for name in layout.keys:
        found[name] = ColumnCard(name=name, type=types[name], kind="key", note="numbered: nobody's")
    if layout.link is not None and layout.link.column not in found:
        name = layout.link.column
        found[name] = ColumnCard(name=name, type=types[name], kind="reference", note="refers to made-up rows")
    for name, why in layout.left_out.items():
        found[name] = ColumnCard(name=name, type=types[name], kind="empty", nullable=True, note=f"always NULL: {why}")
    return [found[name] for name in order]


def _described(axis: Axis, types: Mapping[str, str], errors: Mapping[str, float]) -> ColumnCard:
    return ColumnCard(
        name=axis.name,
        type=types[axis.name],
        kind="values" if axis.values else "ranges",
        bins=axis.size,
        values=list(axis.values) if axis.values else None,
        cuts=list(axis.cuts) if axis.cuts else None,
        nullable=axis.nullable,
        error=errors.get(axis.name),
    )


def errors(released: Released, layout: Layout, drawn: Mapping[int, Bins]) -> tuple[dict[str, float], list[PairCard]]:
    """How far the twin's rows are from the noisy counts: by column, and by measured pair."""
    single: dict[str, float] = {}
    for n, noisy in released.one_way.items():
        held = np.bincount(drawn[n], minlength=noisy.size).astype(np.float64)
        single[layout.axes[n].name] = round(_distance(held, on_simplex(noisy, 1.0 * released.rows)), 4)
    pairs: list[PairCard] = []
    for (one, other), noisy in released.two_way.items():
        held = np.zeros(noisy.shape)
        np.add.at(held, (released.groups[one][drawn[one]], released.groups[other][drawn[other]]), 1)
        names = _shown(one, layout), _shown(other, layout)
        pairs.append(PairCard(columns=names, error=round(_distance(held, on_simplex(noisy, 1.0 * released.rows)), 4)))
    return single, pairs


def _shown(n: int, layout: Layout) -> str:
    name = layout.axes[n].name
    return f"{layout.link.parent}.{name}" if n < len(layout.given) and layout.link is not None else name


def _distance(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Total variation: the share of rows that would have to move."""
    if one.sum() <= 0 or other.sum() <= 0:
        return 0.0 if one.sum() == other.sum() else 1.0
    return float(np.abs(one / one.sum() - other / other.sum()).sum()) / 2
