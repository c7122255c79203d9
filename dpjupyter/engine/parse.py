"""parse: text -> Query. One SELECT statement, in the warehouse's dialect, with :name parameters bound as literals."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError

from dpjupyter.engine.misread import no_select, not_cut, not_understood, parameter, second_statement
from dpjupyter.engine.model import Query, Value
from dpjupyter.engine.place import at, place_of
from dpjupyter.errors import Place, SyntaxRefused

# sqlglot logs statements it only half understands, text and all; literals of a question do not belong in a log.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL + 1)

MAX_DEPTH = 200  # nested expressions; every stage walks the tree recursively
MAX_NODES = 5_000  # names, literals and operators: planning takes time in proportion, and asking is free
MAX_LENGTH = 100_000


def parse(text: str, dialect: str, parameters: Mapping[str, Value] | None = None) -> Query:
    """Read one SELECT (or UNION, ... of SELECTs).

    Raises: SyntaxRefused: not valid SQL, not exactly one statement, not a SELECT, or a parameter without a value.
    """
    if len(text) > MAX_LENGTH:
        raise SyntaxRefused(f"The query has {len(text)} characters; at most {MAX_LENGTH} are read.")
    if "\x00" in text or not _encodable(text):
        raise SyntaxRefused("The query contains a character that is no text (NUL or half a surrogate pair).")
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    except ParseError as error:
        raise not_understood(error, text, dialect) from None
    except TokenError:
        raise not_cut(text) from None
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError, IndexError, KeyError):
        raise SyntaxRefused("The text cannot be read as SQL.", hint="Write one SELECT statement.") from None
    if not trees:
        raise SyntaxRefused("There is no statement.", hint="Write one SELECT statement.")
    if len(trees) > 1:
        raise SyntaxRefused(
            f"There are {len(trees)} statements; one is answered at a time.",
            hint="Keep one SELECT and run the others in cells of their own.",
            place=second_statement(text, dialect),
        )
    tree = trees[0]
    while isinstance(tree, exp.Subquery) and not any(value for key, value in tree.args.items() if key != "this"):
        tree = tree.this
    if not isinstance(tree, (exp.Select, exp.SetOperation, exp.Subquery)):
        raise no_select(text, dialect)
    _check_depth(tree)
    return Query(text, dialect, _bind_parameters(tree, dict(parameters or {}), lambda name: parameter(name, text, dialect)))


def _check_depth(tree: exp.Expression) -> None:
    """Refuse what later stages could not walk. Iterative: recursion is what it protects."""
    todo = [(tree, 0)]
    nodes = 0
    while todo:
        node, depth = todo.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise SyntaxRefused(
                f"The query has more than {MAX_NODES} names, literals and operators.",
                hint="Split it, or join a table instead of a long list.",
            )
        if depth > MAX_DEPTH:
            raise SyntaxRefused("The query is nested too deeply.", hint="Split it into parts, or use IN (...) for long OR chains.")
        if isinstance(node, exp.Literal) and not node.is_string and not _plain_number(node.name):
            raise SyntaxRefused("A number has at most 40 digits and an exponent of at most 300.", place=place_of(node))
        node.comments = None  # comments would be carried into the statement that the warehouse runs
        todo.extend((child, depth + 1) for child in node.iter_expressions())


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain_number(text: str) -> bool:
    mantissa, _, exponent = text.lower().partition("e")
    return len(mantissa) <= 41 and len(exponent) <= 4 and abs(int(exponent or 0)) <= 300


def _bind_parameters(tree: exp.Query, values: dict[str, Value], place: Callable[[str], Place | None]) -> exp.Query:
    used: set[str] = set()
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = node.name if isinstance(node, exp.Placeholder) else node.this.name
        if not name or not name.isidentifier():
            raise SyntaxRefused("Only named parameters such as :limit are known.", place=place_of(node))
        if name not in values:
            raise SyntaxRefused(
                f"Parameter :{name} has no value.", hint=f"Pass --param {name}=... or define a variable of that name.", place=place(name)
            )
        used.add(name)
        with at(place(name)):
            node.replace(_literal(name, values[name]))
    unused = sorted(set(values) - used)
    if unused:
        raise SyntaxRefused(f"Parameter :{unused[0]} does not occur in the query.")
    return tree


def _literal(name: str, value: Value) -> exp.Expression:
    if value is None:
        return exp.null()
    if isinstance(value, bool):
        return exp.true() if value else exp.false()
    if isinstance(value, str):
        if "\x00" in value or not _encodable(value):
            raise SyntaxRefused(f"Parameter :{name} contains a character that is no text.")
        return exp.Literal.string(value)
    if isinstance(value, int) and abs(value) >= 10**38:
        raise SyntaxRefused(f"Parameter :{name} has more than 38 digits.")
    if isinstance(value, float) and not math.isfinite(value):
        raise SyntaxRefused(f"Parameter :{name} is {value}; only finite numbers are bound.")
    number = exp.Literal.number(repr(abs(value)))
    return exp.Paren(this=exp.Neg(this=number)) if value < 0 else number
