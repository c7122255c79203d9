"""How values, intervals, costs and balances are written. Pure text in, pure text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from html import escape

from dpjupyter.wire import Value

Interval = tuple[float, float]
WHOLE_DATABASE = "*"
QUOTA = "analyst:"  # begins the names of the asking analyst's own rows in balances and receipts

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the warehouse's timestamps have no zone
_FLOAT_DIGITS = 15  # digits a double can be trusted with
_MOST_DECIMALS = 10
UNBROKEN = 20  # characters of a text that stay on one line: times, names
NEARLY_EQUAL = 0.85  # replayed intervals are themselves uncertain: sides this close are written as one, the wider


@dataclass(frozen=True, slots=True)
class Shown:
    """A cell as text: the value and, where it is noisy, what follows it."""

    value: str
    noise: str = ""  # " ± 8" or " (3 … 40)"

    def __str__(self) -> str:
        return self.value + self.noise


def cell(value: Value, interval: Interval | None, kind: str) -> Shown:
    """One cell. Half-widths are rounded up at their second digit, values to the same place.

    Args:
        value: as released.
        interval: closed interval in the value's unit (days and microseconds since 1970 for dates and timestamps); None: exact.
        kind: base name of the SQL type.
    """
    if value is None:
        return Shown("NULL")
    if interval is None or isinstance(value, bool):
        return Shown(plain(value))
    if isinstance(value, str):
        low, high = (moment(end, kind) for end in interval)
        return Shown(value, "" if low == high else f" ({low} … {high})")
    low, high = interval
    up, down = high - value, value - low
    if not (math.isfinite(up) and math.isfinite(down) and math.isfinite(value)):
        return Shown(plain(value), f" ({plain(low)} … {plain(high)})")
    if up == 0 == down:
        return Shown(plain(value), " ± 0")  # noisy, and most likely not moved by its noise: not the same as exact
    even = min(up, down) >= NEARLY_EQUAL * max(up, down)
    decimals = 0 if isinstance(value, int) else _decimals(max(up, down))
    if abs(value) >= 10**_FLOAT_DIGITS or decimals > _MOST_DECIMALS:
        return Shown(f"{value:.6g}", f" ± {max(up, down):.2g}" if even else f" ({low:.6g} … {high:.6g})")
    if even:
        return Shown(_fixed(value, decimals), f" ± {_up(max(up, down), decimals)}")
    return Shown(_fixed(value, decimals), f" ({_fixed(low, decimals)} … {_fixed(high, decimals)})")


def plain(value: Value) -> str:
    """A value without noise."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case float():
            if math.isinf(value):
                return "∞" if value > 0 else "-∞"
            return f"{value:.10g}" if value else "0"
        case _:
            return str(value)


def epsilon(value: float) -> str:
    """A privacy budget: six significant digits are more than anyone reads."""
    return f"{value + 0.0:.6g}"


def plus_minus(half_width: float) -> str:
    """An expected half-width, rounded up."""
    if not math.isfinite(half_width):
        return "±∞"
    return f"±{_up(half_width, _decimals(half_width))}"


def row_name(table: str) -> str:
    """A budget row's name in words."""
    quota = table.startswith(QUOTA)
    table = table.removeprefix(QUOTA)
    name = "whole database" if table == WHOLE_DATABASE else table
    return f"your quota on {name}" if quota else name


def balances(balance: Mapping[str, float]) -> str:
    """What is left: every shared row, and the tightest of the analyst's quotas."""
    shared = sorted((row for row in balance.items() if not row[0].startswith(QUOTA)), key=lambda row: row[0] == WHOLE_DATABASE)
    quotas = [left for table, left in balance.items() if table.startswith(QUOTA)]
    parts = [f"{row_name(table)} ε {epsilon(left)}" for table, left in shared]
    return ", ".join([*parts, *([f"your quota ε {epsilon(min(quotas))}"] if quotas else [])])


def mechanism(name: str) -> str:
    """A mechanism in words."""
    return name.replace("_", " ").replace("laplace", "Laplace").replace("gaussian", "Gaussian")


def moment(value: float, kind: str) -> str:
    """A date or timestamp given as days or microseconds since 1970; ends outside the calendar are shown as infinite."""
    try:
        if kind == "DATE":
            return (date(1970, 1, 1) + timedelta(days=math.floor(value))).isoformat()
        return (_EPOCH + timedelta(microseconds=round(value))).isoformat(" ", "seconds")
    except (OverflowError, ValueError):
        return "-∞" if value < 0 else "∞"


def text_table(header: Sequence[str], rows: Sequence[Sequence[Shown]], right: Sequence[bool]) -> str:
    """Columns aligned: numbers to the right on their value, text to the left."""
    columns: list[list[str]] = []
    for index, name in enumerate(header):
        cells = [row[index] for row in rows]
        if right[index]:
            tail = max((len(_one_line(cell.noise)) for cell in cells), default=0)
            body = [_one_line(cell.value) + _one_line(cell.noise).ljust(tail) for cell in cells]
            width = max([len(name), *map(len, body)])
            columns.append([name.rjust(width), *(line.rjust(width) for line in body)])
        else:
            body = [_one_line(str(cell)) for cell in cells]
            width = max([len(name), *map(len, body)])
            columns.append([name.ljust(width), *(line.ljust(width) for line in body)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def html_table(header: Sequence[str], rows: Sequence[Sequence[Shown]], right: Sequence[bool]) -> str:
    """The same as an HTML table; every text is escaped."""
    aligned = ["right" if numeric else "left" for numeric in right]
    head = "".join(_html_head(name, side) for name, side in zip(header, aligned, strict=True))
    body = "".join(f"<tr>{''.join(_html_cell(cell, side) for cell, side in zip(row, aligned, strict=True))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html_head(name: str, side: str) -> str:
    # Padding is given here and below: inside a widget no style sheet gives it.
    return f'<th scope="col" style="text-align:{side};padding:2px 8px">{escape(name)}</th>'


def _html_cell(shown: Shown, side: str) -> str:
    noise = f'<span style="opacity:.7">{escape(shown.noise)}</span>' if shown.noise else ""
    whole = side == "right" or len(shown.value) <= UNBROKEN
    wrap = "white-space:nowrap" if whole else "white-space:normal;overflow-wrap:anywhere;max-width:40em"
    return f'<td style="text-align:{side};padding:2px 8px;vertical-align:top;{wrap}">{escape(shown.value)}{noise}</td>'


def _one_line(text: str) -> str:
    # Control characters in data would break the table, and could drive a terminal.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _decimals(half_width: float) -> int:
    return max(0, 1 - math.floor(math.log10(half_width))) if half_width > 0 else 0


def _up(half_width: float, decimals: int) -> str:
    scaled = half_width * 10**decimals
    return f"{math.ceil(scaled - 1e-9 * max(1.0, scaled)) / 10**decimals:.{decimals}f}"


def _fixed(value: float, decimals: int) -> str:
    text = str(value) if isinstance(value, int) else f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text
