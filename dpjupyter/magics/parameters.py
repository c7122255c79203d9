"""``:name`` placeholders: found in the text, filled from options or notebook variables, sent as typed values.

Nothing is ever pasted into the SQL: the gateway binds the values into its tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from dpjupyter.errors import BadRequest, Place
from dpjupyter.magics.options import Scalar

# Everything in which a colon means nothing, then the placeholder itself. `a::INT`, `v:field` and `x[1:n]` are no placeholders:
# a name must follow the colon, and no name, bracket, quote or colon may stand right before it.
_TOKEN = re.compile(
    r"""
      '(?:[^']|'')*'? | "(?:[^"]|"")*"? | --[^\n]* | /\*.*?(?:\*/|\Z) | (\$\w*\$).*?(?:\1|\Z)
    | (?<![\w:\])"']):(?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A ``:name`` in the text."""

    name: str
    place: Place


def placeholders(sql: str) -> list[Placeholder]:
    """Every placeholder, in order, repeated as often as it occurs."""
    found: list[Placeholder] = []
    for match in _TOKEN.finditer(sql):
        name = match.group("name")
        if name is not None:
            before = sql[: match.start()]
            column = match.start() - (before.rfind("\n") + 1) + 1
            found.append(Placeholder(name, Place(before.count("\n") + 1, column, len(name) + 1)))
    return found


def bound(sql: str, given: Mapping[str, Scalar], variables: Mapping[str, Any]) -> dict[str, Scalar]:
    """A value for every placeholder: from ``--param``, else from the notebook variable of exactly that name.

    Raises: BadRequest: a placeholder has no value, a value has no SQL type, or a parameter is not used.
    """
    values: dict[str, Scalar] = {}
    for placeholder in placeholders(sql):
        name = placeholder.name
        if name in given:
            values[name] = given[name]
        elif name in variables:
            values[name] = typed(name, variables[name], placeholder.place)
        else:
            raise BadRequest(
                f"no value for :{name}", hint=f"Define a notebook variable {name}, or add --param {name}=...", place=placeholder.place
            )
    for name in given:
        if name not in values:
            raise BadRequest(f"--param {name} is not used", hint=f"Write :{name} in the SQL where the value belongs.")
    return values


def typed(name: str, value: Any, place: Place | None = None) -> Scalar:
    """A notebook value as a SQL literal: numbers, text, booleans, None; dates and times as ISO text.

    Raises: BadRequest: it is anything else.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # numpy scalars
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case Decimal() if value.is_finite():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() if value == value:  # noqa: PLR0124 - NaT differs from itself
            return value.isoformat(" ")
        case date() if not isinstance(value, datetime):
            return value.isoformat()
        case _:
            said = f"{name} is {value}" if isinstance(value, float) else f"{name} is a {type(value).__name__}"
            hint = "A parameter is one number, text, boolean, date or None."
            raise BadRequest(f"{said}: it cannot stand for :{name}", hint=hint, place=place)
