"""Text functions. None of them can make a text much longer than its arguments: memory is an oracle too."""

from __future__ import annotations

from sqlglot import exp

from dpjupyter.engine.model import BIGINT, BOOL, INTEGER, TEXT, Interval, Kind, SqlType
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import text
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, refused, strict, tainted
from dpjupyter.engine.scalar.trees import cast, whole_literal, wrap

_FAR = 10_000  # literal positions and lengths beyond this are refused


def _text(tree: exp.Expression, args: list[Term], *, nullable: bool | None = None, type_: SqlType = TEXT) -> Term:
    return Term(tree, type_, nullable=strict(args) if nullable is None else nullable, from_unit=tainted(args))


def _count(tree: exp.Expression, args: list[Term], top: float = iv.INF) -> Term:
    return Term(tree, BIGINT, Interval(0.0, top), Interval(0.0, min(top, 2.0**32)), strict(args), integral=True, from_unit=tainted(args))


def _one(node: exp.Expression, scope: Scope) -> Term:
    """LOWER, UPPER, REVERSE."""
    a = text(node.this, scope)
    return _text(type(node)(this=a.tree), [a])


def trim(node: exp.Expression, scope: Scope) -> Term:
    """``TRIM``, ``LTRIM``, ``RTRIM``, with a literal set of characters."""
    a = text(node.this, scope)
    what = node.args.get("expression")
    if what is not None and not (isinstance(what, exp.Literal) and what.is_string):
        raise refused(node, "The characters of TRIM must be a literal string.")
    args = {"this": a.tree, "position": node.args.get("position")}
    if what is not None:
        args["expression"] = what.copy()
    return _text(exp.Trim(**args), [a])


def length(node: exp.Expression, scope: Scope) -> Term:
    """``LENGTH(x)``: characters."""
    a = text(node.this, scope)
    top = float(max((len(str(v)) for v in a.domain), default=0)) if a.domain else iv.INF
    return _count(exp.Length(this=a.tree), [a], top)


def _position(node: exp.Expression | None, owner: exp.Expression) -> int:
    found = whole_literal(node)
    if found is None or abs(found) > _FAR:
        raise refused(owner, f"Positions and lengths must be literals of at most {_FAR}.")
    return found


def _literal(value: int) -> exp.Expression:
    return exp.Literal.number(str(value)) if value >= 0 else exp.Neg(this=exp.Literal.number(str(-value)))


def substring(node: exp.Expression, scope: Scope) -> Term:
    """``SUBSTR(x, start[, length])`` with literal positions."""
    a = text(node.this, scope)
    args: dict[str, object] = {"this": a.tree, "start": _literal(_position(node.args.get("start"), node))}
    if node.args.get("length") is not None:
        args["length"] = _literal(_position(node.args["length"], node))
    if node.args.get("zero_start"):
        args["zero_start"] = True
    return _text(exp.Substring(**args), [a])


def side(node: exp.Expression, scope: Scope) -> Term:
    """``LEFT(x, n)``, ``RIGHT(x, n)``."""
    a = text(node.this, scope)
    args: dict[str, object] = {"this": a.tree, "expression": _literal(_position(node.expression, node))}
    if node.args.get("negative_length_returns_empty"):
        args["negative_length_returns_empty"] = True
    return _text(type(node)(**args), [a])


def _piece(node: exp.Expression, scope: Scope) -> Term:
    """Argument of a concatenation: anything, as text."""
    term = scope.term(node)
    if term.type.kind in (Kind.TEXT, Kind.NULL):
        return text(node, scope)
    if term.type.kind is Kind.OTHER:
        raise refused(node, f"{term.type.text} cannot be joined to text.")
    return Term(cast(term.tree, TEXT, scope.dialect), TEXT, nullable=term.nullable, from_unit=term.from_unit)


def concat(node: exp.Expression, scope: Scope) -> Term:
    """``CONCAT(a, b, ...)``: DuckDB passes over NULL, Snowflake returns NULL."""
    args = [_piece(n, scope) for n in node.expressions]
    skips = bool(node.args.get("coalesce"))
    tree = exp.Concat(expressions=[a.tree for a in args], safe=True, coalesce=skips)
    return _text(tree, args, nullable=False if skips else None)


def joined(node: exp.Expression, scope: Scope) -> Term:
    """``CONCAT_WS(separator, a, b, ...)``: DuckDB passes over NULL, Snowflake returns NULL."""
    args = [_piece(n, scope) for n in node.expressions]
    if len(args) < 2 or not isinstance(node.expressions[0], exp.Literal):
        raise refused(node, "CONCAT_WS needs a literal separator and texts.")
    skips = bool(node.args.get("coalesce"))
    tree = exp.ConcatWs(expressions=[a.tree for a in args], safe=True, coalesce=skips)
    return _text(tree, args, nullable=False if skips else None)


def pad(node: exp.Expression, scope: Scope) -> Term:
    """``LPAD(x, n[, fill])``, ``RPAD`` with a literal length of at most 1000."""
    a = text(node.this, scope)
    size, fill = whole_literal(node.expression), node.args.get("fill_pattern") or exp.Literal.string(" ")
    if size is None or not 0 <= size <= 1000 or not (isinstance(fill, exp.Literal) and fill.is_string and fill.name):
        raise refused(node, "Padding needs a literal length of at most 1000 and a literal text to fill with.")
    tree = exp.Pad(this=a.tree, expression=_literal(size), fill_pattern=fill.copy(), is_left=bool(node.args.get("is_left")))
    return _text(tree, [a])


def ascii_(node: exp.Expression, scope: Scope) -> Term:
    """``ASCII(x)``: code of the first character."""
    a = text(node.this, scope)
    room = Interval(0.0, 1_114_111.0)
    return Term(exp.Ascii(this=a.tree), INTEGER, room, room, a.nullable, True, a.from_unit)


def pipe(node: exp.Expression, scope: Scope) -> Term:
    """``a || b``."""
    args = [_piece(node.this, scope), _piece(node.expression, scope)]
    return _text(exp.DPipe(this=wrap(args[0].tree), expression=wrap(args[1].tree), safe=True), args)


def replace_(node: exp.Expression, scope: Scope) -> Term:
    """``REPLACE(x, from, to)`` with literal texts."""
    a = text(node.this, scope)
    parts = [node.expression, node.args.get("replacement") or exp.Literal.string("")]
    for part in parts:
        if not (isinstance(part, exp.Literal) and part.is_string) or len(part.name) > 200:
            raise refused(node, "The texts of REPLACE must be short literal strings.")
    return _text(exp.Replace(this=a.tree, expression=parts[0].copy(), replacement=parts[1].copy()), [a])


def position(node: exp.Expression, scope: Scope) -> Term:
    """``STRPOS(x, part)``, ``POSITION(part IN x)``, ``CHARINDEX(part, x)``."""
    if node.args.get("position") is not None or node.args.get("occurrence") is not None:
        raise refused(node, "A start position is not answered here.")
    args = [text(node.this, scope), text(node.args.get("substr"), scope)]
    return _count(exp.StrPosition(this=args[0].tree, substr=args[1].tree), args)


def contains(node: exp.Expression, scope: Scope) -> Term:
    """``STARTS_WITH``, ``ENDS_WITH``, ``CONTAINS``."""
    args = [text(node.this, scope), text(node.expression, scope)]
    tree = type(node)(this=args[0].tree, expression=args[1].tree)
    return Term(tree, BOOL, iv.BOOLEAN, iv.BOOLEAN, strict(args), integral=True, from_unit=tainted(args))


def split_part(node: exp.Expression, scope: Scope) -> Term:
    """``SPLIT_PART(x, delimiter, n)`` with literals."""
    a = text(node.this, scope)
    mark = node.args.get("delimiter")
    if not (isinstance(mark, exp.Literal) and mark.is_string and mark.name):
        raise refused(node, "The delimiter of SPLIT_PART must be a literal string that is not empty.")
    index = _position(node.args.get("part_index"), node)
    if index == 0:
        raise refused(node, "SPLIT_PART counts parts from 1.")
    return _text(exp.SplitPart(this=a.tree, delimiter=mark.copy(), part_index=_literal(index)), [a])


RULES: dict[type[exp.Expression], Rule] = {
    exp.Lower: _one,
    exp.Upper: _one,
    exp.Reverse: _one,
    exp.Trim: trim,
    exp.Length: length,
    exp.Substring: substring,
    exp.Left: side,
    exp.Right: side,
    exp.Concat: concat,
    exp.ConcatWs: joined,
    exp.Pad: pad,
    exp.Ascii: ascii_,
    exp.DPipe: pipe,
    exp.Replace: replace_,
    exp.StrPosition: position,
    exp.StartsWith: contains,
    exp.EndsWith: contains,
    exp.Contains: contains,
    exp.SplitPart: split_part,
}
