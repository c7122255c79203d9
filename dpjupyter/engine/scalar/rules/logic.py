"""Conditions and choices: comparisons, AND OR NOT, IN, LIKE, IS, CASE, COALESCE, NULLIF."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.model import BOOL, DATE, Interval, Kind, SqlType
from dpjupyter.engine.scalar import branching, values
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import as_double, literal_term, text, truth, unify
from dpjupyter.engine.scalar.sqltypes import DAY_US, FLOAT32, NUMERIC
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, refused, strict, tainted
from dpjupyter.engine.scalar.trees import any_of, wrap


def _condition(tree: exp.Expression, args: list[Term], *, nullable: bool | None = None) -> Term:
    known = strict(args) if nullable is None else nullable
    return Term(tree, BOOL, iv.BOOLEAN, iv.BOOLEAN, known, integral=True, from_unit=tainted(args))


def _sides(nodes: list[exp.Expression], scope: Scope, node: exp.Expression) -> list[Term]:
    """Arguments that are compared: of one type, so that no hidden cast can raise."""
    terms = _dated(scope.terms(nodes))
    type_, done = unify(terms, scope, node)
    if type_.kind is Kind.OTHER and any(t.type.text == "SUBQUERY" for t in terms):
        return done
    if type_.kind is Kind.OTHER and not isinstance(node, (exp.EQ, exp.NEQ)):
        raise refused(node, f"Values of type {type_.text} have no order here.")
    if (
        type_.kind is Kind.FLOAT
        and not scope.snowflake
        and any(t.type.text in FLOAT32 for t in done)
        and not all(t.type.text in FLOAT32 for t in done)
    ):
        done = [t if t.literal else as_double(t, scope) for t in done]
    return done


def _dated(terms: list[Term]) -> list[Term]:
    """Midnights as dates where they are compared with dates: the column stays bare."""
    if not any(t.type.kind is Kind.DATE for t in terms):
        return terms
    return [_midnight(t) or t for t in terms] if all(t.type.kind is Kind.DATE or _midnight(t) for t in terms) else terms


def _midnight(term: Term) -> Term | None:
    at = term.sure
    if term.type.kind is not Kind.TIMESTAMP or term.nullable or at.lower != at.upper or at.lower % DAY_US or abs(at.lower) > 2.0**53:
        return None
    return literal_term(values.at(at.lower / DAY_US, DATE), DATE)


def compare(node: exp.Expression, scope: Scope) -> Term:
    """``= <> < <= > >=`` and IS [NOT] DISTINCT FROM."""
    args = _sides([node.this, node.expression], scope, node)
    kind = exp.NullSafeEQ if isinstance(node, exp.EqualNull) else type(node)
    tree = kind(this=wrap(args[0].tree), expression=wrap(args[1].tree))
    return _condition(tree, args, nullable=False if isinstance(node, (exp.NullSafeEQ, exp.NullSafeNEQ, exp.EqualNull)) else None)


def between(node: exp.Expression, scope: Scope) -> Term:
    """``x BETWEEN low AND high``."""
    if node.args.get("symmetric"):
        raise refused(node, "BETWEEN SYMMETRIC is not answered.")
    args = _sides([node.this, node.args["low"], node.args["high"]], scope, node)
    trees = [wrap(a.tree) for a in args]
    return _condition(exp.Between(this=trees[0], low=trees[1], high=trees[2]), args)


def is_in(node: exp.Expression, scope: Scope) -> Term:
    """``x IN (list)``."""
    if node.args.get("query") is not None or node.args.get("unnest") is not None or node.args.get("field") is not None:
        raise refused(node, "IN needs a list of values here.")
    if not node.expressions:
        raise refused(node, "IN needs at least one value.")
    args = _sides([node.this, *node.expressions], scope, node)
    tree = exp.In(this=wrap(args[0].tree), expressions=[wrap(a.tree) for a in args[1:]])
    return _condition(tree, args)


def connect(node: exp.Expression, scope: Scope) -> Term:
    """``AND``, ``OR``, ``XOR``."""
    args = [truth(node.this, scope), truth(node.expression, scope)]
    left, right = (wrap(a.tree) if not isinstance(a.tree, (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)) else a.tree for a in args)
    if isinstance(node, exp.Xor):
        return _condition(exp.NEQ(this=wrap(left), expression=wrap(right)), args)
    return _condition(type(node)(this=left, expression=right), args)


def invert(node: exp.Expression, scope: Scope) -> Term:
    """``NOT x``."""
    arg = truth(node.this, scope)
    return _condition(exp.Not(this=wrap(arg.tree)), [arg])


def is_(node: exp.Expression, scope: Scope) -> Term:
    """``x IS NULL``, ``x IS TRUE``, ``x IS FALSE``; IS NOT is NOT around it."""
    right = node.expression
    if node.args.get("negate"):
        return invert(exp.Not(this=exp.Is(this=node.this.copy(), expression=right.copy())), scope)
    if isinstance(right, exp.Null):
        arg = scope.term(node.this)
        return _condition(exp.Is(this=wrap(arg.tree), expression=exp.null()), [arg], nullable=False)
    if isinstance(right, exp.Boolean):
        arg = truth(node.this, scope)
        tree = exp.Coalesce(this=arg.tree, expressions=[exp.Boolean(this=not right.this)])
        done = tree if right.this else exp.Not(this=tree)
        return _condition(done, [arg], nullable=False)
    raise refused(node, "IS is answered with NULL, TRUE and FALSE.")


def like(node: exp.Expression, scope: Scope) -> Term:
    """``x LIKE 'pattern'``, ILIKE; the pattern is a literal."""
    return _like(node, None, scope)


def escaped(node: exp.Expression, scope: Scope) -> Term:
    """``x LIKE 'pattern' ESCAPE 'c'``."""
    mark = node.expression
    if not isinstance(node.this, (exp.Like, exp.ILike)) or not (isinstance(mark, exp.Literal) and mark.is_string and len(mark.name) == 1):
        raise refused(node, "ESCAPE needs one character.")
    return _like(node.this, mark, scope)


def _like(node: exp.Expression, mark: exp.Literal | None, scope: Scope) -> Term:
    pattern = node.expression
    if isinstance(pattern, exp.Any) and isinstance(pattern.this, (exp.Tuple, exp.Paren)):
        options = pattern.this.expressions or [pattern.this.this]
        each = [_like(type(node)(this=node.this.copy(), expression=option.copy()), mark, scope) for option in options]
        return _condition(any_of([t.tree for t in each]), each)
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise refused(node, "The pattern of LIKE must be a literal string.")
    if len(pattern.name) > 200 or pattern.name.count("%") > 10:
        raise refused(node, "The pattern of LIKE is too long.")
    if mark is not None:
        rest = pattern.name.replace(mark.name * 2, "")
        if any(rest[i + 1 : i + 2] not in ("%", "_") for i, c in enumerate(rest) if c == mark.name):
            raise refused(node, "The escape character must be followed by %, _ or itself.")
    arg = text(node.this, scope)
    tree: exp.Expression = type(node)(this=wrap(arg.tree), expression=pattern.copy())
    if mark is not None:
        tree = exp.Escape(this=tree, expression=mark.copy())
    if node.args.get("negate"):
        tree = exp.Not(this=tree)
    return _condition(tree, [arg])


# ---------------------------------------------------------------- choices
def _merge(found: list[Term], type_: SqlType, tree: exp.Expression, *, nullable: bool, unit: bool) -> Term:
    """A choice among terms."""
    some = [v for v in found if v.type.kind is not Kind.NULL]

    def span(parts: list[Interval | None]) -> Interval | None:
        return None if any(p is None for p in parts) else iv.hull([p for p in parts if p is not None])

    ordered = type_.kind in (*NUMERIC, Kind.BOOL, Kind.DATE, Kind.TIMESTAMP)
    interval = span([v.interval for v in some if not _always_null(v)]) if ordered else None
    proven = span([v.proven for v in some if not _always_null(v)]) if ordered else None
    return Term(tree, type_, interval, proven, nullable, all(v.integral for v in some), unit, nan=any(v.nan for v in some))


def _always_null(term: Term) -> bool:
    return term.domain == () or (term.interval is None and isinstance(term.tree, exp.Cast) and isinstance(term.tree.this, exp.Null))


def case(node: exp.Expression, scope: Scope) -> Term:
    """``CASE WHEN ... THEN ... ELSE ... END``, ``CASE x WHEN ...``."""
    branches = node.args["ifs"]
    conditions: list[Term] = []
    for branch in branches:
        test = exp.EQ(this=node.this.copy(), expression=branch.this.copy()) if node.this is not None else branch.this
        conditions.append(truth(test, scope))
    default = node.args.get("default")
    nodes = [branch.args["true"] for branch in branches] + ([default] if default is not None else [])
    type_, results = unify(scope.terms(nodes), scope, node)
    ifs = [exp.If(this=c.tree, true=v.tree) for c, v in zip(conditions, results, strict=False)]
    tree = exp.Case(ifs=ifs, default=results[-1].tree if default is not None else None)
    nullable = default is None or any(v.nullable for v in results)
    clamped = _clamp(node, type_, scope)
    done = _merge(results, type_, tree, nullable=nullable, unit=tainted([*conditions, *results]))
    return replace(done, interval=clamped[0], proven=clamped[1]) if clamped else done


def _clamp(node: exp.Expression, type_: SqlType, scope: Scope) -> tuple[Interval | None, Interval | None] | None:
    """``CASE WHEN x < 2 THEN 2 WHEN x > 3 THEN 3 ELSE x END``: each branch knows what its condition says of x."""
    return branching.branches(node, type_, scope)


def if_(node: exp.Expression, scope: Scope) -> Term:
    """``IF(c, a, b)``, ``IFF(c, a, b)``."""
    false = node.args.get("false")
    branch = exp.If(this=node.this.copy(), true=node.args["true"].copy())
    return case(exp.Case(ifs=[branch], default=false.copy() if false is not None else None), scope)


def decode(node: exp.Expression, scope: Scope) -> Term:
    """Snowflake's ``DECODE(x, a, result, ..., default)``: NULL equals NULL."""
    subject, *rest = node.expressions
    if len(rest) < 2:
        raise refused(node, "DECODE needs at least one pair.")
    pairs = [(rest[n], rest[n + 1]) for n in range(0, len(rest) - 1, 2)]
    ifs = [exp.If(this=exp.NullSafeEQ(this=subject.copy(), expression=a.copy()), true=b.copy()) for a, b in pairs]
    return case(exp.Case(ifs=ifs, default=rest[-1].copy() if len(rest) % 2 else None), scope)


def nvl2(node: exp.Expression, scope: Scope) -> Term:
    """``NVL2(x, a, b)``."""
    test = exp.Not(this=exp.Is(this=node.this.copy(), expression=exp.null()))
    return if_(exp.If(this=test, true=node.args["true"].copy(), false=(node.args.get("false") or exp.null()).copy()), scope)


def coalesce(node: exp.Expression, scope: Scope) -> Term:
    """``COALESCE(a, b, ...)``, IFNULL, NVL."""
    type_, options = unify(scope.terms([node.this, *node.expressions]), scope, node)
    tree = exp.Coalesce(this=options[0].tree, expressions=[v.tree for v in options[1:]])
    nullable = all(v.nullable for v in options)
    first = next((n for n, v in enumerate(options) if not v.nullable), len(options) - 1)
    merged = _merge(options, type_, tree, nullable=nullable, unit=tainted(options))
    # Behind an argument that is never NULL nothing is reached, by promise.
    return replace(merged, interval=_merge(options[: first + 1], type_, tree, nullable=nullable, unit=False).interval)


def nullif(node: exp.Expression, scope: Scope) -> Term:
    """``NULLIF(a, b)``: a, or NULL where they are equal."""
    a = scope.term(node.this)
    args = _sides([node.this, node.expression], scope, exp.EQ(this=node.this.copy(), expression=node.expression.copy()))
    if args[0].tree == a.tree and args[0].type.kind is args[1].type.kind:
        tree: exp.Expression = exp.Nullif(this=a.tree, expression=args[1].tree)
    else:
        same = exp.EQ(this=wrap(args[0].tree), expression=wrap(args[1].tree))
        tree = exp.Case(ifs=[exp.If(this=same, true=exp.null())], default=a.tree)
    return replace(a, tree=tree, nullable=True, from_unit=tainted(args), domain=None)


def anonymous_zero(node: exp.Expression, scope: Scope) -> Term:
    """``ZEROIFNULL(x)``."""
    return coalesce(exp.Coalesce(this=node.expressions[0].copy(), expressions=[exp.Literal.number("0")]), scope)


_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.EqualNull)

RULES: dict[type[exp.Expression], Rule] = {
    **dict.fromkeys(_COMPARISONS, compare),
    exp.Between: between,
    exp.In: is_in,
    exp.And: connect,
    exp.Or: connect,
    exp.Xor: connect,
    exp.Not: invert,
    exp.Is: is_,
    exp.Like: like,
    exp.ILike: like,
    exp.Escape: escaped,
    exp.Case: case,
    exp.If: if_,
    exp.Nvl2: nvl2,
    exp.DecodeCase: decode,
    exp.Coalesce: coalesce,
    exp.Nullif: nullif,
}
