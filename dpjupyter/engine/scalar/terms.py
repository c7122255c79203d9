"""One pass over an expression gives both what is known of it and its total lowering.

A :class:`Term` is an analysed expression. Rules (``rules/``) make a term from a node and the terms of its
arguments; :class:`Scope` finds the rule by the node's class and refuses where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from dpjupyter.engine.model import (
    BoundSubquery,
    Facts,
    Interval,
    Kind,
    SqlType,
    Value,
)
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.sqltypes import (
    NUMERIC,
    TIMED,
    limits,
)
from dpjupyter.engine.scalar.trees import between, number, when
from dpjupyter.errors import FunctionRefused, Place


@dataclass(frozen=True, slots=True)
class Term:
    """An analysed expression: its total tree, and facts about that tree's values."""

    tree: exp.Expression
    type: SqlType
    interval: Interval | None = None  # as far as the data keeps the policy
    proven: Interval | None = None  # whatever the data: from types and literals alone
    nullable: bool = True
    integral: bool = False
    from_unit: bool = False
    domain: tuple[Value, ...] | None = None
    nan: bool = False  # may be NaN while the data keeps the policy; bounds on a column promise that it is not

    @property
    def facts(self) -> Facts:
        """What the planner is told."""
        return Facts(self.type, self.interval, self.nullable, self.domain, self.from_unit, self.integral)

    @property
    def span(self) -> Interval:
        """Promised interval, everything if unknown."""
        return self.interval or iv.ALL

    @property
    def sure(self) -> Interval:
        """Proven interval, everything if unknown."""
        return self.proven or iv.ALL

    @property
    def literal(self) -> bool:
        """Whether it is a plain number or string, perhaps with a minus sign."""
        return isinstance(self.tree, exp.Literal) or (isinstance(self.tree, exp.Neg) and isinstance(self.tree.this, exp.Literal))


Rule = Callable[[exp.Expression, "Scope"], Term]


class TooWideError(Exception):
    """Arithmetic under a guard does not fit the fast type."""


class Scope:
    """Facts of the columns in sight, the dialect of the lowering, and the rules."""

    def __init__(
        self,
        columns: Mapping[str, Facts],
        dialect: str,
        rules: Mapping[type[exp.Expression], Rule],
        assumed: Mapping[str, Interval] | None = None,
    ) -> None:
        self.assumed = assumed  # intervals that a guard around the whole expression makes true
        self.columns = columns
        self.dialect = dialect
        self.rules = rules
        self._columns: dict[str, Term] = {}
        self._seen: dict[int, tuple[exp.Expression, Term]] = {}  # the node is kept so that its id is not reused

    @property
    def snowflake(self) -> bool:
        """Whether the lowering is for Snowflake."""
        return self.dialect == "snowflake"

    def term(self, node: exp.Expression | None) -> Term:
        """Analyse ``node``.

        Raises: FunctionRefused: no rule for its class, or its arguments do not fit.
        """
        if not isinstance(node, exp.Expression):  # the parser leaves out what a malformed call lacks
            raise FunctionRefused("An argument is missing.")
        match node:
            case exp.Paren():
                return self.term(node.this)
            case exp.Column():
                if node.name not in self._columns:
                    self._columns[node.name] = self._column(node)
                return self._columns[node.name]
            case BoundSubquery() | exp.Window():
                # Replaced by the planner before values are asked for; until then nothing is known.
                return Term(node.copy(), SqlType(Kind.OTHER, text="SUBQUERY"))
            case _:
                if (seen := self._seen.get(id(node))) is not None:
                    return seen[1]
                rule = self.rules.get(type(node))
                if rule is None:
                    raise refused(node)
                whole(node)
                term = rule(node, self)
                self._seen[id(node)] = (node, term)
                return term

    def on(self, columns: Mapping[str, Facts]) -> Scope:
        """The same rules and dialect over other facts."""
        return Scope(columns, self.dialect, self.rules, self.assumed)

    def assuming(self, assumed: Mapping[str, Interval]) -> Scope:
        """The same under a guard; widening raises :class:`TooWideError` instead."""
        return Scope(self.columns, self.dialect, self.rules, assumed)

    def terms(self, nodes: Iterable[exp.Expression]) -> list[Term]:
        """Analyse several nodes."""
        return [self.term(node) for node in nodes]

    def _column(self, node: exp.Column) -> Term:
        known = self.columns.get(node.name)
        if known is None:
            raise FunctionRefused(f"Nothing is known of column {node.name}.", place=place_of(node))
        interval, proven = known.interval, limits(known.type, self.dialect)
        if interval is not None:
            interval = Interval(float(interval.lower), float(interval.upper))
        if known.type.kind in (*NUMERIC, *TIMED):
            interval = interval or iv.ALL
        elif known.type.kind is Kind.BOOL:
            interval = interval or iv.BOOLEAN
        if self.assumed is not None and node.name in self.assumed and proven is not None:
            proven = iv.meet(proven, self.assumed[node.name]) or proven
        integral = known.integral or known.type.kind in (Kind.INT, Kind.BOOL, Kind.DATE, Kind.TIMESTAMP)
        nan = known.type.kind is Kind.FLOAT and not (interval is not None and interval.finite)
        return Term(exp.column(node.name), known.type, interval, proven, known.nullable, integral, known.from_unit, known.domain, nan)


def place_of(node: exp.Expression | None) -> Place | None:
    """Where the node stands in the text, as far as the parser kept it."""
    if node is None:
        return None
    found: Place | None = None
    for part in node.walk():
        meta = part.meta
        if "line" in meta and "col" in meta:
            length = max(1, meta.get("end", 0) - meta.get("start", 0) + 1)
            place = Place(meta["line"], max(1, meta["col"] - length + 1), length)
            if part is node:
                return place
            if found is None or (place.line, place.column) < (found.line, found.column):
                found = place
    return found


# Arguments that rules read; another one would be dropped without a word.
_READ = (
    "this", "expression", "expressions", "decimals", "min_value", "max_value", "num_buckets", "low", "high", "query", "unnest",
    "field", "ifs", "true", "false", "replacement", "fill_pattern", "substr", "position", "occurrence", "start", "length",
    "part_index", "delimiter", "unit", "format", "precision", "scale",
)  # fmt: skip
_READ_BY = {"to": ("Cast", "TryCast"), "default": ("Case",), "zone": ("TimestampTrunc", "DateTrunc")}


def whole(node: exp.Expression) -> None:
    """Refuse a node with an argument that no rule reads.

    Raises: FunctionRefused: for example ROUND(x, 1, 'HALF_TO_EVEN').
    """
    for key, value in node.args.items():
        given = isinstance(value, exp.Expression) or (isinstance(value, list) and bool(value))
        if given and key not in _READ and type(node).__name__ not in _READ_BY.get(key, ()):
            raise refused(node, f"The argument {str(value).strip()} is not answered here.")


def refused(node: exp.Expression, message: str = "", hint: str = "") -> FunctionRefused:
    """A refusal that points at ``node``."""
    name = node.name.upper() if isinstance(node, exp.Anonymous) else node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
    message = message or f"{name} is not on the list of functions that can be answered."
    return FunctionRefused(message, hint=hint or "See docs/functions.md for the functions that are answered.", place=place_of(node))


def within(term: Term, top: int) -> Term:
    """The term where its absolute value is at most ``top``, NULL elsewhere."""
    bound = Interval(-float(top), float(top))
    if iv.inside(term.sure, bound):
        return term
    tree = when(between(term.tree, number(-top), number(top)), term.tree)
    proven = iv.meet(term.sure, bound) or bound
    # Where nothing is promised the guard is no bound to sum by: it stays unbounded.
    interval = (iv.meet(term.span, bound) or bound) if term.span.finite else term.interval
    return replace(
        term, tree=tree, proven=proven, interval=interval, nullable=term.nullable or not iv.inside(term.span, bound), domain=None
    )


def maybe_nan(terms: Iterable[Term]) -> bool:
    """Whether arithmetic on the arguments may give NaN: one of them is, or infinities meet."""
    return any(t.nan or not t.span.finite for t in terms)


def strict(terms: Iterable[Term]) -> bool:
    """Nullability of a function that is NULL exactly where an argument is."""
    return any(t.nullable for t in terms)


def tainted(terms: Iterable[Term]) -> bool:
    """Whether any argument comes from a unit column."""
    return any(t.from_unit for t in terms)
