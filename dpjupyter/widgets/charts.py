"""Small charts as SVG text: they take the theme's colours and need no drawing library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import accumulate

from dpjupyter.answer import formats

WIDTH, HEIGHT, LEFT, BOTTOM = 560, 150, 60, 22
COLOR = "var(--jp-brand-color1,#1976d2)"
INK = "var(--jp-ui-font-color1,#333)"
BAR_HEIGHT = 20
MOST_BARS = 20
NAMES = 190  # width of the names beside the bars
LONGEST_NAME = 28
SECONDS = len("2030-01-01 00:00:00")


def bars(values: Mapping[str, float], label: str) -> str:
    """Horizontal bars, largest first, with their values written out."""
    if not values:
        return f"<div>{escape(label)}: nothing yet.</div>"
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:MOST_BARS]
    largest = max(value for _, value in ordered) or 1.0
    rows = "".join(
        f'<text x="0" y="{i * BAR_HEIGHT + 14}" fill="{INK}" font-size="12">{escape(_short(name))}</text>'
        f'<rect x="{NAMES}" y="{i * BAR_HEIGHT + 4}" width="{max(1.0, 300 * value / largest):.1f}" height="12" fill="{COLOR}"/>'
        f'<text x="{NAMES + 6 + 300 * value / largest:.1f}" y="{i * BAR_HEIGHT + 14}" '
        f'fill="{INK}" font-size="12">{formats.epsilon(value)}</text>'
        for i, (name, value) in enumerate(ordered)
    )
    return _figure(label, rows, BAR_HEIGHT * len(ordered) + 6)


def running_total(points: Sequence[tuple[str, float]], label: str) -> str:
    """A staircase of what was added up, over time. Points are (time as text, amount), in any order."""
    if not points:
        return f"<div>{escape(label)}: nothing yet.</div>"
    ordered = sorted(points)
    totals = list(accumulate(amount for _, amount in ordered))
    top = totals[-1] or 1.0
    path = f"M{LEFT},{HEIGHT - BOTTOM}"
    for place, total in zip(_places([time for time, _ in ordered]), totals, strict=True):
        path += f" H{LEFT + place * (WIDTH - LEFT - 10):.1f} V{(HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 12) * total / top:.1f}"
    path += f" H{WIDTH - 10}"
    body = (
        f'<path d="{path}" fill="none" stroke="{COLOR}" stroke-width="2"/>'
        f'<line x1="{LEFT}" y1="{HEIGHT - BOTTOM}" x2="{WIDTH - 10}" y2="{HEIGHT - BOTTOM}" stroke="{INK}" stroke-opacity=".4"/>'
        f'<text x="{LEFT - 6}" y="16" text-anchor="end" fill="{INK}" font-size="12">{formats.epsilon(top)}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end" fill="{INK}" font-size="12">0</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 6}" fill="{INK}" font-size="12">{escape(ordered[0][0][:SECONDS])}</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 6}" text-anchor="end" fill="{INK}" font-size="12">{escape(ordered[-1][0][:SECONDS])}</text>'
    )
    return _figure(label, body, HEIGHT)


def _places(times: Sequence[str]) -> list[float]:
    """Where times lie between the first and the last, 0 to 1; evenly spread where they cannot be read."""
    try:
        moments = [datetime.fromisoformat(time).timestamp() for time in times]
    except ValueError:
        moments = [float(i) for i in range(len(times))]
    span = moments[-1] - moments[0]
    return [(moment - moments[0]) / span if span > 0 else 0.0 for moment in moments]


def _figure(label: str, body: str, height: int) -> str:
    name = escape(label, quote=True)
    return (
        f'<figure style="margin:4px 0"><figcaption style="font-weight:600">{escape(label)}</figcaption>'
        f'<svg role="img" aria-label="{name}" viewBox="0 0 {WIDTH} {height}" width="100%" style="max-width:{WIDTH}px">{body}</svg></figure>'
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
