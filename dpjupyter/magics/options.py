"""Options of ``%%dpsql``: one table from which parsing, completion and help are made."""

from __future__ import annotations

import ast
import keyword
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from dpjupyter.errors import AskRefused, BadRequest

Scalar = bool | int | float | str | None
DEFAULT_REHEARSALS = 20


@dataclass(frozen=True, slots=True)
class Within:
    """The half-width wanted: of named columns, or of every column known beforehand."""

    every: float | None = None  # in each column's unit
    columns: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class CellOptions:
    """What the first line of a cell asks for."""

    target: str | None = None  # name <<
    epsilon: float | None = None
    delta: float | None = None
    mechanism: Literal["Laplace", "Gauss"] | None = None
    answers: Mapping[str, float] = field(default_factory=dict[str, float])
    within: Within | None = None
    confidence: float | None = None
    max_rows: int | None = None
    max_groups: int | None = None
    dry_run: bool = False
    no_cache: bool = False
    param: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    save: str | None = None
    synthetic: bool = False
    rehearse: int | None = None
    timeout: float | None = None
    database: str | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One option: how it is written, read and explained."""

    flag: str
    value: str  # name of the value in help; "" for none, "[N]" where it may be left out
    help: str
    read: Callable[[str], Any]

    @property
    def field(self) -> str:
        """Its name in CellOptions."""
        return self.flag[2:].replace("-", "_")


def number(text: str) -> float:
    """A finite number; the gateway decides whether it is allowed."""
    try:
        value = float(text)
    except ValueError:
        raise AskRefused(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise AskRefused(f"{text} is not a finite number")
    return value


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < 1:
        raise AskRefused(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise AskRefused(f"{text} is not above 0")
    return value


def _confidence(text: str) -> float:
    value = number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < value < 1:
        raise AskRefused(f"{text!r} is not a confidence between 0 and 1", hint="Write 0.95 or 95%.")
    return value


def _mechanism(text: str) -> str:
    match text.casefold():
        case "laplace":
            return "Laplace"
        case "gauss" | "gaussian":
            return "Gauss"
        case _:
            raise AskRefused(f"mechanism {text!r} is not known", hint="Use laplace or gauss.")


def _by_column(text: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not pairs or not all(name.strip() and value for name, _, value in pairs):
        raise AskRefused(f"{text!r} does not name columns", hint="Write column=number, separated by commas: n=0.2,fare=1.0")
    return {name.strip(): number(value.strip()) for name, _, value in pairs}


def _within(text: str) -> Within:
    within = Within(columns=_by_column(text)) if "=" in text else Within(every=number(text))
    if any(width <= 0 for width in (within.every, *within.columns.values()) if width is not None):
        raise AskRefused(f"{text} is not above 0", hint="It is the half-width you want: --within 50 is ±50.")
    return within


def _param(text: str) -> tuple[str, Scalar]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadRequest(f"{text!r} sets no parameter", hint="Write --param name=value; text may be quoted: --param city='New York'")
    return name, literal(value)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", text):
        raise BadRequest(f"{text!r} is not a name for a saved table", hint="Use letters, digits and _.")
    return text


OPTIONS: tuple[Option, ...] = (
    Option("--epsilon", "E", "privacy budget of each answer (each aggregate); else the policy's default", number),
    Option("--delta", "D", "failure probability of each answer, Gauss only", number),
    Option("--mechanism", "M", "laplace or gauss", _mechanism),
    Option("--answers", "C=E,...", "own epsilon for single columns: n=0.2,fare=1.0", _by_column),
    Option("--within", "W", "solve for epsilon: every half-width at most W, or column=W,...", _within),
    Option("--confidence", "P", "of --within and of the intervals shown: 0.5, 0.8, 0.9, 0.95 or 0.99", _confidence),
    Option("--max-rows", "N", "rows of one unit counted in one group (less noise, more bias when small)", _whole),
    Option("--max-groups", "N", "groups one unit is counted in", _whole),
    Option("--dry-run", "", "show the price and the expected noise; ask nothing", str),
    Option("--no-cache", "", "ask and pay again although the same question was answered", str),
    Option("--param", "X=V", "value of :X; without it the notebook variable X is taken; may be repeated", _param),
    Option("--save", "NAME", "keep the released table as saved.NAME for later questions, free", _name),
    Option("--synthetic", "", "run on the published synthetic twin: free", str),
    Option("--rehearse", "[N]", "run the whole road N times on the twin to see the error to expect: free", _whole),
    Option("--timeout", "S", "give up after S seconds; what was charged stays", _positive),
    Option("--database", "DB", "ask this database instead of the connection's", str),
)
BY_FLAG: Mapping[str, Option] = {option.flag: option for option in OPTIONS}


def parse(line: str) -> CellOptions:
    """Read the first line of a cell.

    Raises: AskRefused, BadRequest: an option is unknown, malformed, or given twice.
    """
    target, rest = _target(line)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise BadRequest(f"the option line cannot be read: {str(error).lower()}", hint="Check its quotes.") from None
    found: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        option = BY_FLAG.get(flag)
        if option is None:
            raise _unknown(flag)
        if option.value == "" and equals:
            raise BadRequest(f"{flag} takes no value")
        if option.value == "":
            _set(found, option, value=True)
            continue
        if not equals:
            optional = option.value.startswith("[")
            if optional and not (words and words[0].isdigit()):
                _set(found, option, value=DEFAULT_REHEARSALS)
                continue
            if not words or words[0].startswith("--"):
                raise BadRequest(f"{flag} needs a value", hint=f"{flag} {option.value}: {option.help}")
            value = words.pop(0)
        _set(found, option, value=_read(option, value))
    if found.get("dry_run") and (found.get("save") or found.get("rehearse")):
        raise BadRequest("--dry-run only shows a price: it cannot be combined with --save or --rehearse")
    return CellOptions(target=target, **found)


def split_query(line: str) -> tuple[str, str]:
    """Divide ``--epsilon 0.5 SELECT ...`` into options and SQL: the SQL begins at the first word that is no option."""
    position = 0
    spaces = re.compile(r"\s*")
    word = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")
    while True:
        start = spaces.match(line, position).end()  # type: ignore[union-attr] - matches always
        found = word.match(line, start)
        if found is None or not found.group().startswith("--"):
            return line[:start], line[start:]
        option = BY_FLAG.get(found.group().partition("=")[0])
        position = found.end()
        if option is not None and option.value and "=" not in found.group():
            value = word.match(line, spaces.match(line, position).end())  # type: ignore[union-attr] - matches always
            if value is not None and (not option.value.startswith("[") or value.group().isdigit()):
                position = value.end()


def literal(text: str) -> Scalar:
    """The value of ``--param x=...``: a number, true, false, null, or text (quotes may be left out)."""
    match text.casefold():
        case "true":
            return True
        case "false":
            return False
        case "null" | "none":
            return None
        case _:
            pass
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return number(text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text
        return value if isinstance(value, str) else text
    return text


def _target(line: str) -> tuple[str | None, str]:
    match = re.match(r"\s*(\S*?)\s*<<", line)
    if match is None:
        return None, line
    name = match.group(1)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise BadRequest(f"{name!r} cannot be assigned to", hint="Write: %%dpsql name << --epsilon 0.5")
    return name, line[match.end() :]


def _read(option: Option, text: str) -> Any:
    try:
        return option.read(text)
    except (AskRefused, BadRequest) as error:
        raise type(error)(f"{option.flag}: {error.message}", hint=error.hint or f"{option.flag} {option.value}: {option.help}") from None


def _set(found: dict[str, Any], option: Option, *, value: Any) -> None:
    if option.flag == "--param":
        found.setdefault("param", {})[value[0]] = value[1]
    elif option.field in found:
        raise BadRequest(f"{option.flag} is given twice")
    else:
        found[option.field] = value


def _unknown(word: str) -> BadRequest:
    near = get_close_matches(word, BY_FLAG, n=1)
    if near:
        return BadRequest(f"option {word} is not known", hint=f"Did you mean {near[0]}? %dpsql help lists all.")
    if word.startswith("-"):
        return BadRequest(f"option {word} is not known", hint="%dpsql help lists all.")
    return BadRequest(f"{word!r} is not an option", hint="SQL goes below the first line; options begin with --. %dpsql help lists them.")
