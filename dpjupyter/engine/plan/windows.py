"""Window functions: over private rows only within one person, and with a total order; everywhere with literal offsets."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.model import BIGINT, Facts, Interval, Kind, SqlType
from dpjupyter.engine.place import place_of
from dpjupyter.engine.plan.relation import Relation
from dpjupyter.engine.render import column
from dpjupyter.errors import PrivacyUnitLost, UnsupportedSQL

# Their value does not depend on how ties are ordered.
_PEER_FUNCTIONS = (exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist)
_FLOAT_SUMS = (exp.Sum, exp.Avg, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop)


def order_of(window: exp.Window) -> list[exp.Ordered]:
    """ORDER BY of a window."""
    order = window.args.get("order")
    return list(order.expressions) if order is not None else []


def check_arguments(window: exp.Window) -> None:
    """Offsets and bucket counts are literals: a computed one could be zero or negative and fail at run time.

    Raises: UnsupportedSQL.
    """
    function = window.this.this if isinstance(window.this, (exp.IgnoreNulls, exp.RespectNulls)) else window.this
    counts = (
        [function.this]
        if isinstance(function, exp.Ntile)
        else [function.args.get("offset")]
        if isinstance(function, (exp.Lag, exp.Lead))
        else []
    )
    for count in counts:
        if count is not None and not (
            isinstance(count, exp.Literal) and not count.is_string and count.name.isdigit() and 0 < int(count.name) < 2**31
        ):
            raise UnsupportedSQL("NTILE, LAG and LEAD take a literal number of at least 1.", place=place_of(window))
    default = function.args.get("default") if isinstance(function, (exp.Lag, exp.Lead)) else None
    if default is not None and not isinstance(default, (exp.Literal, exp.Null)):
        raise UnsupportedSQL("The default of LAG and LEAD must be a literal.", hint="Use COALESCE on the result.", place=place_of(window))


def check_private(window: exp.Window, inner: Relation) -> None:
    """Refuse a window that mixes people, or whose result depends on more than the rows themselves.

    Raises: PrivacyUnitLost, UnsupportedSQL.
    """
    assert inner.unit is not None
    if inner.unit.row:
        raise PrivacyUnitLost("Each row is a person here: a window would let people's rows meet.", place=place_of(window))
    partition = {e.name for e in window.args.get("partition_by") or [] if isinstance(e, exp.Column)}
    if not partition & inner.unit.ids:
        raise PrivacyUnitLost(
            "This window function mixes rows of different people.",
            hint="Add the privacy unit to PARTITION BY, or aggregate first and use the window on the result.",
            place=place_of(window),
        )
    function = window.this.this if isinstance(window.this, (exp.IgnoreNulls, exp.RespectNulls)) else window.this
    spec = window.args.get("spec")
    if (
        spec is not None
        and str(spec.args.get("kind")).upper() != "ROWS"
        and any(isinstance(spec.args.get(k), exp.Literal) for k in ("start", "end"))
    ):
        raise UnsupportedSQL(
            "RANGE and GROUPS frames with an offset are not answered over private rows.", hint="Use ROWS.", place=place_of(window)
        )
    if isinstance(function, _FLOAT_SUMS) and function.this is not None:
        type_ = scalar.facts(function.this, inner.facts).type
        exact = (type_.kind is Kind.INT and type_.bits <= 64) or (type_.kind is Kind.DECIMAL and type_.precision <= 18)
        if not exact or not isinstance(function, exp.Sum) or not isinstance(function.this, exp.Column):
            raise UnsupportedSQL(
                "A window over private rows sums columns of whole numbers or DECIMAL(18) only: else order or size matters.",
                hint="Aggregate per person with GROUP BY instead.",
                place=place_of(window),
            )


def order_totally(window: exp.Window, inner: Relation) -> None:
    """Append every other column to ORDER BY, so that equal rows are the only ties left and the result is a function of the rows."""
    function = window.this.this if isinstance(window.this, (exp.IgnoreNulls, exp.RespectNulls)) else window.this
    if isinstance(function, _PEER_FUNCTIONS):
        return
    order = order_of(window)
    if (
        not order
        and not isinstance(function, (exp.RowNumber, exp.Ntile, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue))
        and window.args.get("spec") is None
    ):
        return
    if any(f.type.kind is Kind.OTHER for f in inner.facts.values()):
        raise UnsupportedSQL(
            "Rows with lists, structs or blobs have no total order here, so this window could pick any of several.",
            hint="Leave those columns out.",
            place=place_of(window),
        )
    present = {o.this.name for o in order if isinstance(o.this, exp.Column)}
    more = [exp.Ordered(this=column(id_)) for id_ in sorted(inner.facts) if id_ not in present]
    window.set("order", exp.Order(expressions=[*(o.copy() for o in order), *more]))


def window_facts(window: exp.Window, inner: Relation) -> Facts:
    """What is known of a window function's value."""
    function = window.this.this if isinstance(window.this, (exp.IgnoreNulls, exp.RespectNulls)) else window.this
    argument = (
        scalar.facts(function.this, inner.facts)
        if isinstance(function.this, exp.Expression) and not isinstance(function.this, exp.Star)
        else None
    )
    match function:
        case exp.RowNumber() | exp.Rank() | exp.DenseRank() | exp.Ntile() | exp.Count():
            return Facts(BIGINT, Interval(0, float("inf")), nullable=False, integral=True, from_unit=False)
        case exp.PercentRank() | exp.CumeDist():
            return Facts(SqlType.parse("DOUBLE"), Interval(0, 1), nullable=False)
        case exp.Lag() | exp.Lead() | exp.FirstValue() | exp.LastValue() | exp.Min() | exp.Max() if argument is not None:
            return replace(argument, nullable=True)
        case exp.Sum() if argument is not None:
            return public_call("SUM", argument)
        case _:
            return Facts(SqlType.parse("DOUBLE"), None, from_unit=argument is not None and argument.from_unit)


def public_call(function: str, argument: Facts | None) -> Facts:
    """Facts of an aggregate over public rows: its type matters for the answer's columns, little else."""
    if function in ("COUNT_STAR", "COUNT"):
        return Facts(BIGINT, Interval(0, float("inf")), nullable=False, integral=True)
    if function in ("MIN", "MAX", "ANY_VALUE", "MODE", "QUANTILE_DISC") and argument is not None:
        return replace(argument, nullable=True)
    if function == "SUM" and argument is not None and argument.type.kind in (Kind.INT, Kind.BOOL):
        return Facts(SqlType.parse("HUGEINT"), None, integral=True, from_unit=argument.from_unit)
    if function == "SUM" and argument is not None and argument.type.kind is Kind.DECIMAL:
        return Facts(SqlType.parse(f"DECIMAL(38,{argument.type.scale})"), None, from_unit=argument.from_unit)
    if function in ("BOOL_AND", "BOOL_OR"):
        return Facts(SqlType.parse("BOOLEAN"), Interval(0, 1), domain=(False, True))
    return Facts(SqlType.parse("DOUBLE"), None, from_unit=argument is not None and argument.from_unit)
