"""Drawing an answer: every noisy value with its error bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

from dpjupyter.answer import formats
from dpjupyter.answer.formats import Interval
from dpjupyter.answer.frames import NUMBERS, TIMES
from dpjupyter.errors import BadRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dpjupyter.answer.answer import Answer

Shape = Literal["bar", "line", "hist"]

MOST_BARS = 60  # more categories than this are drawn as a line
FEWEST_BINS = 8  # evenly spaced numbers from this many on are read as a histogram
MOST_TOLD = 12  # values named in a chart's description
MOST_UPRIGHT = 8  # longer labels or more of them are turned


@dataclass(frozen=True, slots=True)
class Mark:
    """One value at its place."""

    x: Any
    y: float
    below: float  # length of the error bar downwards, in y's unit
    above: float


def draw(answer: Answer, *, y: list[str] | None, x: str | None, kind: str | None, confidence: float, ax: Axes | None) -> Axes | list[Axes]:
    """See :meth:`dpjupyter.Answer.plot`."""
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415 - an optional part of the analyst's install
    except ImportError:
        raise BadRequest("matplotlib is not installed", hint="pip install 'dpjupyter[plot]'") from None
    if kind not in (None, "bar", "line", "hist"):
        raise BadRequest(f"kind {kind!r} is not known", hint="Use bar, line or hist.")
    columns = y if y is not None else answer.drawable_columns
    if not columns or len(answer) == 0:
        raise BadRequest("the answer holds nothing to draw", hint="A plot needs at least one row and one column of numbers.")
    for column in columns:
        if answer.kind_of(column) not in NUMBERS:
            hint = f"Columns of numbers: {', '.join(answer.drawable_columns)}."
            raise BadRequest(f"{column} is {answer.kind_of(column)}, not a number", hint=hint)
    if ax is not None and len(columns) > 1:
        raise BadRequest("ax= takes a single column", hint=f"Give y=, one of: {', '.join(columns)}.")
    along = _along(answer, x)
    shape = kind or _shape(answer, along)
    if ax is None:
        from dpjupyter.answer.figures import Described  # noqa: PLC0415 - matplotlib, as above

        figure, made = plt.subplots(
            len(columns), 1, figsize=(7, 3.2 * len(columns)), squeeze=False, layout="constrained", FigureClass=Described
        )
        cast("Described", figure).description = "\n".join(described(answer, column, confidence, x=x, kind=kind) for column in columns)
        all_axes = [cast("Axes", row[0]) for row in made]
    else:
        all_axes = [ax]
    for axes, column in zip(all_axes, columns, strict=True):
        _one(axes, answer, column, along, shape=shape, confidence=confidence)
    if answer.reply.dp_info.kind == "synthetic":
        all_axes[0].set_title("synthetic", loc="right", fontstyle="italic")
    return all_axes[0] if len(all_axes) == 1 else all_axes


def described(answer: Answer, column: str, confidence: float, *, x: str | None = None, kind: str | None = None) -> str:
    """A chart in words, for those who cannot see it: what it shows, and its values while they are few."""
    along = _along(answer, x)
    shape = kind or _shape(answer, along)
    name = {"bar": "Bar chart", "line": "Line chart", "hist": "Histogram"}[shape]
    noisy = column in answer.noisy_columns
    by = f" by {', '.join(answer.key_columns)}" if along is not None else ""
    said = f"{name} of {column}{by}" + (f", with intervals at {confidence:.0%}" if noisy else "")
    if answer.reply.dp_info.kind == "synthetic":
        said += ", synthetic"
    values, ends = answer.reply.Data[column], answer.ends(column, confidence)
    if len(answer) > MOST_TOLD:
        numbers = [value for value in values if isinstance(value, int | float)]
        span = f"from {formats.plain(min(numbers))} to {formats.plain(max(numbers))}" if numbers else "all NULL"
        return f"{said}: {len(answer)} values {span}."
    told: list[str] = []
    for index, value in enumerate(values):
        keys = ", ".join(formats.plain(answer.reply.Data[key][index]) for key in answer.key_columns)
        shown = formats.cell(value, ends[index], answer.kind_of(column))
        told.append(f"{keys}: {shown}" if keys else str(shown))
    return f"{said}: {'; '.join(told)}."


def _along(answer: Answer, x: str | None) -> str | None:
    if x is not None:
        answer.kind_of(x)  # raises on an unknown column
        return x
    keys = answer.key_columns
    for wanted in (TIMES, NUMBERS):
        for key in keys:
            if answer.kind_of(key) in wanted:
                return key
    return keys[0] if keys else None


def _shape(answer: Answer, along: str | None) -> Shape:
    if along is None:
        return "bar"
    values = list(dict.fromkeys(value for value in answer.reply.Data[along] if value is not None))
    if answer.kind_of(along) in TIMES:
        return "line"
    if answer.kind_of(along) in NUMBERS:
        if len(values) >= FEWEST_BINS and len(answer.key_columns) == 1 and _step(values) is not None:
            return "hist"
        return "bar" if len(values) < FEWEST_BINS else "line"
    return "bar" if len(values) <= MOST_BARS else "line"


def _step(values: Sequence[Any]) -> float | None:
    """Width of evenly spaced bins; gaps are allowed, other spacings are not."""
    ordered = sorted(values)
    gaps = [b - a for a, b in pairwise(ordered) if b > a]
    if not gaps:
        return None
    step = min(gaps)
    return step if all(abs(gap / step - round(gap / step)) < 1e-6 for gap in gaps) else None


def _one(axes: Axes, answer: Answer, column: str, along: str | None, *, shape: Shape, confidence: float) -> None:
    groups = _groups(answer, column, along, confidence, keep_null=shape == "bar")
    noisy = column in answer.noisy_columns
    axes.set_ylabel(_label(column) + (f"\n± at {confidence:.0%}" if noisy else ""))
    if along is not None:
        axes.set_xlabel(_label(along))
    match shape:
        case "line":
            for name, marks in groups.items():
                ordered = sorted(marks, key=lambda mark: mark.x)
                ys, errors = [m.y for m in ordered], ([m.below for m in ordered], [m.above for m in ordered])
                axes.errorbar([m.x for m in ordered], ys, yerr=errors if noisy else None, label=name, capsize=2, marker="o", markersize=3)
            if along is not None and answer.kind_of(along) in TIMES:
                axes.figure.autofmt_xdate()  # pyright: ignore[reportAttributeAccessIssue] - a SubFigure has none, and is never made here
        case "hist" | "bar":
            _bars(axes, groups, noisy=noisy, touching=shape == "hist")
    if len(groups) > 1:
        names = [key for key in answer.key_columns if key != along]
        axes.legend(title=_label(", ".join(names)), fontsize="small")
    axes.margins(x=0.02)


def _bars(axes: Axes, groups: dict[str, list[Mark]], *, noisy: bool, touching: bool) -> None:
    places = list(dict.fromkeys(mark.x for marks in groups.values() for mark in marks))
    numeric = all(place is None or (isinstance(place, int | float) and not isinstance(place, bool)) for place in places)
    step = _step(places) if touching and numeric else None
    if numeric:
        places.sort(key=lambda place: (place is None, place))
    width = (step if step is not None else 0.8) / len(groups)
    for number, (name, marks) in enumerate(groups.items()):
        shift = (number - (len(groups) - 1) / 2) * width
        # A bin is named by its lower edge, and drawn from there.
        xs = [mark.x + step / 2 if step is not None else places.index(mark.x) + shift for mark in marks]
        errors = ([m.below for m in marks], [m.above for m in marks]) if noisy else None
        axes.bar(xs, [m.y for m in marks], width, yerr=errors, label=name, capsize=2, ecolor="0.35", linewidth=0.5, edgecolor="white")
    if step is None:
        labels = [_label(formats.plain(place)) for place in places]
        long = len(labels) > MOST_UPRIGHT or any(len(label) > MOST_UPRIGHT for label in labels)
        axes.set_xticks(range(len(places)), labels, rotation=30 if long else 0, ha="right" if long else "center")


def _groups(answer: Answer, column: str, along: str | None, confidence: float, *, keep_null: bool) -> dict[str, list[Mark]]:
    others = [key for key in answer.key_columns if key != along]
    ends = answer.ends(column, confidence)
    places: list[Any] = list(answer.reply.Data[along]) if along is not None else [column] * len(answer)
    if along is not None and answer.kind_of(along) in TIMES:
        places = list(answer.df[along])
    groups: dict[str, list[Mark]] = {}
    for index, value in enumerate(answer.reply.Data[column]):
        place = places[index]
        missing = place is None or place != place  # noqa: PLR0124 - NaT differs from itself
        if value is None or isinstance(value, str) or (missing and not keep_null):
            continue
        name = _label(", ".join(formats.plain(answer.reply.Data[key][index]) for key in others))
        low, high = ends[index] or (float(value), float(value))
        groups.setdefault(name, []).append(_mark(None if missing else place, float(value), (low, high)))
    if not groups:
        raise BadRequest(f"every value of {column} is NULL: there is nothing to draw")
    return groups


def _label(text: str) -> str:
    return text.replace("$", r"\$")  # or matplotlib reads it as mathematics


def _mark(place: Any, value: float, ends: Interval) -> Mark:
    finite = [end if abs(end) < float("inf") else value for end in ends]
    return Mark(place, value, max(0.0, value - finite[0]), max(0.0, finite[1] - value))
