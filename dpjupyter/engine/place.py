"""Where a node of the tree stands in the analyst's text."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlglot import exp

from dpjupyter.errors import Place, Refused


@contextmanager
def at(place: Place | None) -> Generator[None]:
    """A refusal from inside that does not say where is about this place."""
    try:
        yield
    except Refused as refused:
        refused.place = refused.place or place
        raise


def place_of(node: exp.Expression) -> Place | None:
    """Where a node (or the first named part below it) stands in the text."""
    for part in node.walk():
        meta = part.meta
        if "line" in meta and "col" in meta:
            length = meta["end"] - meta["start"] + 1
            return Place(meta["line"], max(1, meta["col"] - length + 1), length)
    return None
