"""One pass over an expression gives both what is known of it and its total lowering.

A :class:`Term` is an analysed expression. Rules (``rules/``) make a term from a node and the terms of its
arguments; :class:`Scope` finds the rule by the node's class and refuses where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from dpjupyter.engine.model import BOOL, DOUBLE, TEXT, TIMESTAMP, BoundSubquery, Facts, Interval, Kind, SqlType, Value
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.errors import FunctionRefused, Place

NUMERIC = (Kind.INT, Kind.DECIMAL, Kind.FLOAT)
TIMED = (Kind.DATE, Kind.TIMESTAMP)
# Lowered expressions keep to the calendar that both warehouses and every driver can represent.
FIRST_DAY, LAST_DAY = -719162, 2932896  # 0001-01-01 and 9999-12-31 in days since 1970-01-01
DAY_US = 86_400_000_000
FLOAT32 = ("FLOAT", "REAL", "FLOAT4")


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
        self, columns: Mapping[str, Facts], dialect: str, rules: Mapping[type[exp.Expression], Rule], assumed: Mapping[str, Interval] | None = None
    ) -> None:
        self.assumed = assumed  # intervals that a guard around the whole expression makes true
        self.columns = columns
        self.dialect = dialect
        self.rules = rules
        self._seen: dict[int, tuple[exp.Expression, Term]] = {}  # the node is kept so that its id is not reused

    @property
    def snowflake(self) -> bool:
        """Whether the lowering is for Snowflake."""
        return self.dialect == "snowflake"

    def term(self, node: exp.Expression | None) -> Term:
        """Analyse ``node``.

        Raises: FunctionRefused: no rule for its class, or its arguments do not fit.
        """
        if node is None:
            raise FunctionRefused("An argument is missing.")
        match node:
            case exp.Paren():
                return self.term(node.this)
            case exp.Column():
                return self._column(node)
            case BoundSubquery() | exp.Window():
                # Replaced by the planner before values are asked for; until then nothing is known.
                return Term(node.copy(), SqlType(Kind.OTHER, text="SUBQUERY"))
            case _:
                if (seen := self._seen.get(id(node))) is not None:
                    return seen[1]
                rule = self.rules.get(type(node))
                if rule is None:
                    raise refused(node)
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


# ---------------------------------------------------------------- refusing
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


def refused(node: exp.Expression, message: str = "", hint: str = "") -> FunctionRefused:
    """A refusal that points at ``node``."""
    name = node.name.upper() if isinstance(node, exp.Anonymous) else node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
    message = message or f"{name} is not on the list of functions that can be answered."
    return FunctionRefused(message, hint=hint or "See docs/functions.md for the functions that are answered.", place=place_of(node))


# ---------------------------------------------------------------- types
def limits(type_: SqlType, dialect: str = "duckdb") -> Interval | None:
    """Interval that a value of this type cannot leave; None for types without order or arithmetic."""
    match type_.kind:
        case Kind.INT:
            if type_.precision:
                top = float(10**type_.precision - 1)
                top = top if type_.precision < 16 else iv.above(top)
                return Interval(-top, top)
            # Snowflake's INTEGER is NUMBER(38, 0).
            top = 1e38 if dialect == "snowflake" else 2.0 ** (type_.bits - 1)
            return Interval(-top, top - 1 if top < 2.0**53 else top)
        case Kind.DECIMAL:
            top = iv.above(10.0 ** (type_.precision - type_.scale))
            return Interval(-top, top)
        case Kind.BOOL:
            return iv.BOOLEAN
        case Kind.FLOAT | Kind.DATE | Kind.TIMESTAMP:
            return iv.ALL
        case _:
            return None


def integer(bits: int) -> SqlType:
    """Integer type of that width."""
    return SqlType(Kind.INT, bits=bits, text={8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}.get(bits, "HUGEINT"))


def decimal(precision: int, scale: int) -> SqlType:
    """DECIMAL of that size."""
    return SqlType(Kind.DECIMAL, precision=precision, scale=scale, text=f"DECIMAL({precision},{scale})")


def data_type(type_: SqlType, dialect: str) -> exp.DataType:
    """Type to cast to."""
    if type_.kind is Kind.INT:
        if dialect == "snowflake":
            return exp.DataType.build(f"DECIMAL({type_.precision or 38}, 0)")
        if type_.precision:
            return exp.DataType.build(f"DECIMAL({type_.precision}, 0)")
        names = {8: "TINYINT", 16: "SMALLINT", 32: "INT", 64: "BIGINT", 128: "INT128"}
        return exp.DataType.build(names[type_.bits])
    if type_.kind is Kind.DECIMAL:
        return exp.DataType.build(f"DECIMAL({type_.precision}, {type_.scale})")
    names = {Kind.BOOL: "BOOLEAN", Kind.FLOAT: "DOUBLE", Kind.TEXT: "TEXT", Kind.DATE: "DATE", Kind.TIMESTAMP: "TIMESTAMP", Kind.TIME: "TIME"}
    return exp.DataType.build(names[type_.kind])


def int_digits(interval: Interval) -> int:
    """Digits before the point that the interval needs."""
    top = max(abs(interval.lower), abs(interval.upper))
    return 400 if top == iv.INF else len(str(int(top))) if top >= 1 else 0


def bits_for(interval: Interval) -> int:
    """Width of the narrowest integer type that holds the interval; 0 if none does."""
    for bits in (8, 16, 32, 64):
        top = 2.0 ** (bits - 1)
        if -top <= interval.lower and interval.upper < top:
            return bits
    return 128 if int_digits(interval) <= 38 else 0


# ---------------------------------------------------------------- trees
_SAFE = (exp.Column, exp.Literal, exp.Func, exp.Paren, exp.Null, exp.Boolean, exp.Case, exp.Cast, exp.TryCast, exp.Identifier, exp.Var)
_OPERATOR = (exp.Binary, exp.Unary, exp.Between, exp.In, exp.Interval)


def wrap(tree: exp.Expression) -> exp.Expression:
    """In parentheses where the tree is an operator: trees are printed without regard to precedence."""
    if isinstance(tree, exp.Paren):
        return tree
    if isinstance(tree, _OPERATOR) and not isinstance(tree, exp.Func):
        return exp.Paren(this=tree)
    if isinstance(tree, (exp.And, exp.Or, exp.Xor, exp.Pow, exp.Mod, exp.Like, exp.ILike)):
        return exp.Paren(this=tree)
    return tree


def number(value: float) -> exp.Expression:
    """Literal of a whole number."""
    whole = int(value)
    return exp.Literal.number(str(whole)) if whole >= 0 else exp.Neg(this=exp.Literal.number(str(-whole)))


def cast(tree: exp.Expression, type_: SqlType, dialect: str) -> exp.Expression:
    """CAST that is known not to raise."""
    return exp.Cast(this=tree, to=data_type(type_, dialect))


def try_cast(tree: exp.Expression, type_: SqlType, dialect: str) -> exp.Expression:
    """TRY_CAST. On Snowflake only from text."""
    return exp.TryCast(this=tree, to=data_type(type_, dialect), safe=True, requires_string=dialect == "snowflake")


def when(condition: exp.Expression, tree: exp.Expression) -> exp.Expression:
    """``CASE WHEN condition THEN tree END``: NULL otherwise."""
    return exp.Case(ifs=[exp.If(this=condition, true=tree)])


def between(tree: exp.Expression, low: exp.Expression, high: exp.Expression) -> exp.Expression:
    """``tree BETWEEN low AND high``."""
    return exp.Between(this=wrap(tree.copy()), low=low, high=high)


def within(term: Term, top: int) -> Term:
    """The term where its absolute value is at most ``top``, NULL elsewhere."""
    bound = Interval(-float(top), float(top))
    if iv.inside(term.sure, bound):
        return term
    tree = when(between(term.tree, number(-top), number(top)), term.tree)
    proven = iv.meet(term.sure, bound) or bound
    # Where nothing is promised the guard is no bound to sum by: it stays unbounded.
    interval = (iv.meet(term.span, bound) or bound) if term.span.finite else term.interval
    return replace(term, tree=tree, proven=proven, interval=interval, nullable=term.nullable or not iv.inside(term.span, bound), domain=None)


def maybe_nan(terms: Iterable[Term]) -> bool:
    """Whether arithmetic on the arguments may give NaN: one of them is, or infinities meet."""
    return any(t.nan or not t.span.finite for t in terms)


def strict(terms: Iterable[Term]) -> bool:
    """Nullability of a function that is NULL exactly where an argument is."""
    return any(t.nullable for t in terms)


def tainted(terms: Iterable[Term]) -> bool:
    """Whether any argument comes from a unit column."""
    return any(t.from_unit for t in terms)


# ---------------------------------------------------------------- bringing arguments together
def as_double(term: Term, scope: Scope) -> Term:
    """The term as DOUBLE."""
    if term.type.kind is Kind.FLOAT and (scope.snowflake or term.type.text not in FLOAT32):
        return term
    return replace(term, tree=cast(term.tree, DOUBLE, scope.dialect), type=DOUBLE, domain=None)


def plain_integer(term: Term, scope: Scope) -> Term:
    """Signed binary integers for arithmetic: unsigned, DECIMAL(p,0) and 38-digit integers behave differently."""
    if term.type.kind is not Kind.INT or not isinstance(term.tree, exp.Column):
        return term
    if scope.snowflake:
        return term
    if term.type.precision or term.type.text.startswith("U"):
        wide = integer(max(term.type.bits, 64))
        return replace(term, tree=cast(term.tree, wide, scope.dialect), type=wide)
    return term


def operand(node: exp.Expression, scope: Scope) -> Term:
    """Argument of an arithmetic operator or function: a number.

    Raises: FunctionRefused: it is of another type.
    """
    term = scope.term(node)
    if term.type.kind is Kind.NULL:
        return replace(term, tree=cast(exp.null(), DOUBLE, scope.dialect), type=DOUBLE, interval=None, proven=None)
    if term.type.kind not in NUMERIC:
        raise refused(node, f"A number is needed here, not {shown(term.type)}.", "Cast it to a numeric type.")
    if term.type.kind is Kind.FLOAT and not scope.snowflake and term.type.text in FLOAT32:
        return as_double(term, scope)
    return plain_integer(term, scope)


def shown(type_: SqlType) -> str:
    """Name of a type for messages."""
    return type_.text or type_.kind.value.upper()


def to_type(term: Term, type_: SqlType, scope: Scope, node: exp.Expression) -> Term:
    """Explicitly of ``type_``, NULL where a value does not fit.

    Raises: FunctionRefused: there is no conversion between the two.
    """
    have, want = term.type.kind, type_.kind
    if have is want and (want not in (Kind.INT, Kind.DECIMAL) or term.type == type_):
        return term
    if have is Kind.NULL:
        return replace(term, tree=cast(term.tree, type_, scope.dialect), type=type_)
    if have in NUMERIC and want in NUMERIC:
        return replace(term, tree=cast(term.tree, type_, scope.dialect), type=type_, domain=None)
    if have is Kind.DATE and want is Kind.TIMESTAMP:
        tree = cast(term.tree, type_, scope.dialect) if scope.snowflake else try_cast(term.tree, type_, scope.dialect)
        scaled = [iv.mul(i, Interval(DAY_US, DAY_US)) if i else None for i in (term.interval, term.proven)]
        return replace(term, tree=tree, type=type_, interval=scaled[0], proven=scaled[1], domain=None)
    if have is Kind.TEXT and want not in (Kind.OTHER, Kind.NULL):
        return _from_text(term, type_, scope, node)
    raise refused(node, f"{shown(term.type)} and {shown(type_)} do not go together here.", "Cast one of them.")


def _from_text(term: Term, type_: SqlType, scope: Scope, node: exp.Expression) -> Term:
    from dpjupyter.engine.scalar import values  # values builds on terms

    if isinstance(term.tree, exp.Literal):
        value = values.parse(term.tree.name, type_)
        if value is None:
            raise refused(node, f"{term.tree.sql()} is not a value of type {shown(type_)}.", "Write it as YYYY-MM-DD or as a number.")
        return literal_term(value, type_, scope)
    interval = limits(type_)
    whole = type_.kind in (Kind.INT, Kind.DATE, Kind.TIMESTAMP)
    tree = try_cast(term.tree, type_, scope.dialect)
    nan = type_.kind is Kind.FLOAT
    return Term(tree, type_, iv.ALL if interval else None, interval, nullable=True, integral=whole, from_unit=term.from_unit, nan=nan)


def literal_term(value: Value, type_: SqlType, scope: Scope) -> Term:
    """Term of one value."""
    from dpjupyter.engine.scalar import values

    tree = values.literal(value, type_)
    if value is None:
        return Term(tree, type_, None, None, nullable=True)
    interval: Interval | None = None
    if type_.kind in (*NUMERIC, *TIMED, Kind.BOOL):
        at = values.ordinal(value, type_)
        interval = Interval(at, at) if at == at else iv.ALL
    whole = type_.kind in (Kind.INT, Kind.DATE, Kind.TIMESTAMP) or (interval is not None and interval.lower.is_integer())
    return Term(tree, type_, interval, interval, nullable=False, integral=whole, domain=(value,))


def common_type(terms: list[Term], node: exp.Expression) -> SqlType:
    """Type that CASE, COALESCE, comparisons and lists give to their arguments."""
    kinds = {t.type.kind for t in terms} - {Kind.NULL}
    if not kinds:
        return SqlType(Kind.NULL, text="NULL")
    typed = [t for t in terms if t.type.kind is not Kind.NULL]
    # A string literal takes the type of its company.
    others = [t for t in typed if not (t.type.kind is Kind.TEXT and isinstance(t.tree, exp.Literal))]
    if others:
        kinds = {t.type.kind for t in others}
        typed = others
    if len(kinds) > 1 and Kind.TEXT in kinds:
        kinds.discard(Kind.TEXT)
        typed = [t for t in typed if t.type.kind is not Kind.TEXT]
    if kinds == {Kind.BOOL, Kind.INT}:
        return typed[0].type if all(t.type.kind is Kind.BOOL for t in typed) else next(t.type for t in typed if t.type.kind is Kind.INT)
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind is Kind.INT:
            return typed[0].type if len({(t.type.bits, t.type.precision) for t in typed}) == 1 else integer(max(t.type.bits for t in typed))
        if kind is not Kind.DECIMAL:
            return typed[0].type
    if kinds <= {Kind.INT, Kind.DECIMAL, Kind.FLOAT}:
        if Kind.FLOAT in kinds:
            return DOUBLE
        scale = max(t.type.scale for t in typed)
        digits = max(t.type.precision - t.type.scale if t.type.kind is Kind.DECIMAL else int_digits(t.sure) for t in typed)
        return decimal(max(digits + scale, 1), scale) if digits + scale <= 38 else DOUBLE
    if kinds == {Kind.DATE, Kind.TIMESTAMP}:
        return TIMESTAMP
    names = " and ".join(sorted(shown(t.type) for t in typed))
    raise refused(node, f"{names} do not go together here.", "Cast one of them.")


def unify(terms: list[Term], scope: Scope, node: exp.Expression) -> tuple[SqlType, list[Term]]:
    """Arguments brought to their common type, untouched where they already share it.

    Raises: FunctionRefused: they have none.
    """
    type_ = common_type(terms, node)
    if type_.kind is Kind.NULL:
        return type_, terms
    done: list[Term] = []
    for term in terms:
        same = term.type.kind is type_.kind and (
            type_.kind not in (Kind.INT, Kind.DECIMAL)
            or (type_.kind is Kind.DECIMAL and (term.type.precision, term.type.scale) == (type_.precision, type_.scale))
            or (type_.kind is Kind.INT and (scope.snowflake or bool(term.type.precision) == bool(type_.precision)))
        )
        if same or term.type.kind is Kind.NULL:
            done.append(term)
        elif term.type.kind is Kind.BOOL and type_.kind is Kind.INT:
            done.append(replace(term, tree=cast(term.tree, type_, scope.dialect), type=type_))
        elif term.literal and term.type.kind in NUMERIC and type_.kind in NUMERIC:
            done.append(replace(term, type=type_))
        else:
            done.append(to_type(term, type_, scope, node))
    return type_, done


def truth(node: exp.Expression, scope: Scope) -> Term:
    """Argument that must be a condition.

    Raises: FunctionRefused: it is of another type.
    """
    term = scope.term(node)
    if term.type.kind is Kind.NULL:
        return replace(term, tree=cast(exp.null(), BOOL, scope.dialect), type=BOOL)
    if term.type.kind is Kind.OTHER and term.type.text == "SUBQUERY":
        return replace(term, type=BOOL)
    if term.type.kind is not Kind.BOOL:
        raise refused(node, f"A condition is needed here, not {shown(term.type)}.", "Write a comparison, for example x <> 0.")
    return term


def text(node: exp.Expression | None, scope: Scope) -> Term:
    """Argument that must be text.

    Raises: FunctionRefused: it is of another type.
    """
    term = scope.term(node)
    if term.type.kind is Kind.NULL:
        return replace(term, tree=cast(exp.null(), TEXT, scope.dialect), type=TEXT)
    if term.type.kind is not Kind.TEXT:
        assert node is not None
        raise refused(node, f"Text is needed here, not {shown(term.type)}.", "Write CAST(... AS VARCHAR).")
    return term


def whole_literal(node: exp.Expression | None) -> int | None:
    """The whole number that a literal states, else None."""
    sign = 1
    while isinstance(node, (exp.Neg, exp.Paren)):
        sign = -sign if isinstance(node, exp.Neg) else sign
        node = node.this
    if isinstance(node, exp.Literal) and not node.is_string and node.name.isdecimal():
        return sign * int(node.name)
    return None
