"""What to say of a text that is no SELECT: where it stops making sense, and what was probably meant."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Sequence
from typing import Any

import sqlglot
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokens import Token, TokenType

from dpjupyter.errors import Place, SyntaxRefused

ONLY = "Only SELECT statements are answered."
BEGINNINGS = ("SELECT", "WITH", "FROM", "VALUES")
KEYWORDS = ("SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "JOIN", "DISTINCT", "BETWEEN", "UNION", "QUALIFY", "WINDOW")
_NEAR = 3  # words before the place of an error in which a misspelt keyword is looked for


def not_understood(error: ParseError, text: str, dialect: str) -> SyntaxRefused:
    """The refusal for what the parser could not read."""
    first: dict[str, Any] = error.errors[0] if error.errors else {}
    line, column = first.get("line"), first.get("col")
    marked = first.get("highlight") or ""
    place = Place(int(line), max(1, int(column) - len(marked) + 1), max(1, len(marked))) if line and column else None
    tokens = _tokens(text, dialect)
    begun = _misspelt(tokens[:1], BEGINNINGS)
    if begun is not None:
        return _meant(*begun)
    at = next((n for n, t in enumerate(tokens) if place is not None and (t.line, t.col) >= (place.line, place.column)), len(tokens))
    near = _misspelt(tokens[max(0, at - _NEAR) : at + 1], KEYWORDS)
    if near is not None:
        return _meant(*near)
    return SyntaxRefused(_said(str(first.get("description") or ""), marked), hint="", place=place)


def no_select(text: str, dialect: str) -> SyntaxRefused:
    """The refusal of another kind of statement."""
    tokens = _tokens(text, dialect)
    if not tokens:
        return SyntaxRefused("There is no statement.", hint="Write one SELECT statement.")
    begun = _misspelt(tokens[:1], BEGINNINGS)
    if begun is not None:
        return _meant(*begun)
    return SyntaxRefused(f"{tokens[0].text.upper()[:40]} is not a SELECT.", hint=ONLY, place=_place(tokens[0]))


def not_cut(text: str) -> SyntaxRefused:
    """The refusal of a text that cannot even be cut into words: mostly a quote that is not closed."""
    opened = _left_open(text)
    if opened is None:
        return SyntaxRefused("The text cannot be read as SQL.", hint="Write one SELECT statement.")
    mark, offset = opened
    line = text.count("\n", 0, offset) + 1
    place = Place(line, offset - (text.rfind("\n", 0, offset) + 1) + 1, len(mark))
    what = "comment" if mark == "/*" else "quote"
    return SyntaxRefused(
        f"The {what} that begins here is not closed.", hint=f"Write {'*/' if mark == '/*' else mark} where it ends.", place=place
    )


def second_statement(text: str, dialect: str) -> Place | None:
    """Where the second of several statements begins."""
    tokens = _tokens(text, dialect)
    ended = False
    for n, token in enumerate(tokens):
        if ended and token.token_type != TokenType.SEMICOLON:
            return _place(token)
        ended = token.token_type == TokenType.SEMICOLON and n > 0
    return None


def parameter(name: str, text: str, dialect: str) -> Place | None:
    """Where the placeholder ``:name`` first stands."""
    tokens = _tokens(text, dialect)
    for colon, word in itertools.pairwise(tokens):
        if colon.token_type == TokenType.COLON and word.text == name and word.start == colon.end + 1:
            return Place(colon.line, colon.col, len(name) + 1)
    return None


def _said(description: str, marked: str) -> str:
    """The parser's words without its class names."""
    expected = re.match(r"Expected (?:an? )?(.+?) but got", description)
    if expected is not None:
        return f"Here the text should go on with: {expected[1]}."
    if description.startswith("Required keyword"):
        return "Something is missing: the expression is not complete."
    if description.startswith("Invalid expression") and marked.strip():
        return f"{marked.strip()[:40]!r} does not fit here."
    if "following CTE" in description:
        return "A SELECT must follow the items of WITH."
    if description == "Expecting )":
        return "A parenthesis is not closed: ) is missing."
    plain = description.rstrip(".")
    return f"{plain}." if plain and "<" not in plain else "The text cannot be read as SQL."


def _misspelt(tokens: Sequence[Token], known: Sequence[str]) -> tuple[Token, str] | None:
    """The last word that is no keyword and looks like one."""
    for token in reversed(tokens):
        word = token.text.upper()
        if token.token_type == TokenType.VAR and word not in known and word.isalpha():
            close = difflib.get_close_matches(word, known, n=1, cutoff=0.75)
            if close:
                return token, close[0]
    return None


def _meant(token: Token, keyword: str) -> SyntaxRefused:
    return SyntaxRefused(f"{token.text[:40]!r} is not understood here.", hint=f"Did you mean {keyword}?", place=_place(token))


def _tokens(text: str, dialect: str) -> list[Token]:
    try:
        return list(sqlglot.tokenize(text, read=dialect))
    except SqlglotError:
        return []


def _place(token: Token) -> Place:
    length = token.end - token.start + 1
    return Place(token.line, max(1, token.col - length + 1), length)


def _left_open(text: str) -> tuple[str, int] | None:
    """The quote or comment that is open at the end, and where it began."""
    marks = re.compile(r"'|\"|--[^\n]*|/\*")
    at = 0
    while (found := marks.search(text, at)) is not None:
        mark = found.group()
        if mark.startswith("--"):
            at = found.end()
            continue
        closing = text.find("*/" if mark == "/*" else mark, found.end())
        if closing < 0:
            return mark, found.start()
        at = closing + (2 if mark == "/*" else 1)  # a doubled quote closes and opens again
    return None
