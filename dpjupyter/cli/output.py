"""How commands show what they found: aligned text for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Failed(Exception):
    """A command could not do what it was asked; the text says why and what to do."""


def json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def say(text: str) -> None:
    """One line to standard output."""
    sys.stdout.write(text + "\n")


def say_json(data: Any) -> None:
    """``data`` as indented JSON to standard output."""
    say(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as aligned text, numbers to the right. Control characters are shown, not sent to the terminal."""
    shown = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max([len(name), *(len(line[at]) for line in shown)]) for at, name in enumerate(columns)]
    numeric = [all(_is_number(line[at]) for line in shown) and bool(shown) for at in range(len(columns))]
    lines = [[name.upper() for name in columns], *shown]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width) for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    # Analysts choose these texts: an escape sequence must not reach the owner's terminal.
    return "".join(char if char.isprintable() else " " for char in str(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True
