"""Tables of text and HTML: what ``%dpsql tables`` and its like return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True, slots=True)
class Listing:
    """A titled table; shows itself as aligned text and as escaped HTML."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    right: Sequence[str] = field(default=())  # columns of numbers

    def __repr__(self) -> str:
        from dpjupyter.answer import formats  # noqa: PLC0415 - pydantic comes with it

        lines = [self.title] if self.title else []
        if self.header:
            lines.append(formats.text_table(self.header, [[formats.Shown(cell) for cell in row] for row in self.rows], self._sides()))
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        from dpjupyter.answer import formats  # noqa: PLC0415 - pydantic comes with it

        parts = [f"<div><strong>{escape(self.title)}</strong></div>"] if self.title else []
        if self.header:
            parts.append(formats.html_table(self.header, [[formats.Shown(cell) for cell in row] for row in self.rows], self._sides()))
        parts += [f'<div style="font-size:90%">{escape(note)}</div>' for note in self.notes]
        return f'<div class="dpjupyter-listing">{"".join(parts)}</div>'

    def _sides(self) -> list[bool]:
        return [name in self.right for name in self.header]
