"""Answer: what a query returned, with its noise, its price and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from dpjupyter import wire
from dpjupyter.answer import formats
from dpjupyter.answer.cells import DEFAULT_CONFIDENCE, Cell, Comparison, known_confidence
from dpjupyter.answer.explanation import Explanation, badges, charged_epsilon, cost_line, explained, notices
from dpjupyter.answer.formats import Interval, Shown
from dpjupyter.answer.frames import NUMBERS, base_type, guessed_type, series
from dpjupyter.errors import BadRequest
from dpjupyter.wire import Value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from dpjupyter.widgets import AnswerView

ROWS_SHOWN = 40
MOST_AXES = 6  # columns drawn at once


class Answer:
    """A released result. Everything here is post-processing of what the gateway sent; nothing is asked again."""

    def __init__(
        self, reply: wire.QueryReply, *, sql: str = "", confidence: float = DEFAULT_CONFIDENCE, asides: tuple[str, ...] = ()
    ) -> None:
        """Wrap a reply.

        Args:
            reply: what the gateway sent.
            sql: the question, for ``explain``.
            confidence: of the intervals shown in tables.
            asides: what the notebook itself has to say beside the gateway's notes.
        """
        self.reply = reply
        self.sql = sql
        self.confidence = confidence
        self._asides = asides
        self.columns: tuple[str, ...] = tuple(reply.Data)
        types = {meta["Name"]: meta["Type"] for meta in reply.Meta or []}
        self.types: Mapping[str, str] = {name: types.get(name, "") for name in self.columns}
        self._kinds = {name: base_type(types.get(name, "")) or guessed_type(reply.Data[name]) for name in self.columns}
        self._intervals = {float(level): columns for level, columns in reply.dp_info.intervals.items()}
        self._utility = {column.name: column for column in reply.dp_info.utility}
        self._df: pd.DataFrame | None = None

    # ------------------------------------------------------------ the data
    @property
    def df(self) -> pd.DataFrame:
        """The values as a pandas DataFrame; whole columns keep their type (Int64 where a value is missing)."""
        if self._df is None:
            import pandas as pd  # noqa: PLC0415 - half a second, not needed to show an answer

            columns = [series(self.reply.Data[name], self._kinds[name], name) for name in self.columns]
            self._df = pd.concat(columns, axis=1) if columns else pd.DataFrame()
        return self._df

    def __len__(self) -> int:
        return len(next(iter(self.reply.Data.values()), []))

    def __getitem__(self, column: str) -> pd.Series:
        return self.df[self._known(column)]  # pyright: ignore[reportReturnType] - column names are unique

    @property
    def value(self) -> Value:
        """The value of an answer of one row and one column.

        Raises: BadRequest: it has another shape.
        """
        if len(self) != 1 or len(self.columns) != 1:
            raise BadRequest(f"the answer has {len(self)} rows and {len(self.columns)} columns, not one value", hint="Use .df or .cell().")
        return self.reply.Data[self.columns[0]][0]

    @property
    def noisy_columns(self) -> tuple[str, ...]:
        """Columns with intervals."""
        any_level: Mapping[str, list[list[float] | None]] = next(iter(self._intervals.values()), {})
        return tuple(name for name in self.columns if any(pair is not None for pair in any_level.get(name, [])))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns that name the rows: those without noise, as far as they are not exact numbers of public tables."""
        noisy = self.noisy_columns
        if noisy:
            return tuple(name for name in self.columns if name not in noisy)
        named = tuple(name for name in self.columns if self._kinds[name] not in NUMBERS)
        return named or self.columns[: 1 if len(self.columns) > 1 else 0]

    def kind_of(self, column: str) -> str:
        """Base name of a column's SQL type: INTEGER, DOUBLE, VARCHAR, DATE ..."""
        return self._kinds[self._known(column)]

    # ------------------------------------------------------------ the noise
    def intervals(self, confidence: float = DEFAULT_CONFIDENCE) -> pd.DataFrame:
        """Lower and upper ends, row by row like ``df``; columns are (column, "lower") and (column, "upper").

        Raises: BadRequest: no interval of this confidence came with the answer.
        """
        import pandas as pd  # noqa: PLC0415 - as in df

        ends: dict[tuple[str, str], list[float | None]] = {}
        for name in self.noisy_columns:
            pairs = self.ends(name, confidence)
            ends[name, "lower"] = [pair[0] if pair else None for pair in pairs]
            ends[name, "upper"] = [pair[1] if pair else None for pair in pairs]
        return pd.DataFrame(ends, columns=pd.MultiIndex.from_tuples(list(ends), names=["column", "end"]), dtype="float64")

    def ends(self, column: str, confidence: float) -> list[Interval | None]:
        """Interval of each row of a column; None where a value is exact."""
        if column not in self.noisy_columns:
            return [None] * len(self)
        pairs = self._intervals[known_confidence(confidence, self._intervals)].get(column, [])
        return [(pair[0], pair[1]) if pair is not None else None for pair in pairs]

    @property
    def confidences(self) -> tuple[float, ...]:
        """Confidences of the intervals that came with the answer."""
        return tuple(self._intervals)

    def cell(self, column: str, row: Any = None) -> Cell:
        """One value with its intervals.

        Args:
            column: its name.
            row: the key's value, a tuple of them, or {key column: value}; None: the only row.
        Raises: BadRequest: no such column, or not exactly one such row.
        """
        return self._cell(column, self._row(row), named=row is not None)

    def cell_at(self, column: str, position: int) -> Cell:
        """One value by its row's position, from 0."""
        return self._cell(column, range(len(self))[position], named=True)

    def _cell(self, column: str, index: int, *, named: bool) -> Cell:
        intervals: dict[float, Interval] = {}
        for level, columns in self._intervals.items():
            pair = columns.get(self._known(column), [])[index : index + 1]
            if pair and pair[0] is not None:
                intervals[level] = (pair[0][0], pair[0][1])
        utility = self._utility.get(column)
        label = column if not named else f"{column}[{', '.join(formats.plain(self.reply.Data[key][index]) for key in self.key_columns)}]"
        independent = utility is not None and not utility.derived
        return Cell(label, self.reply.Data[column][index], intervals, self._kinds[column], independent)

    def compare(self, a: Any, b: Any, column: str | None = None, confidence: float = DEFAULT_CONFIDENCE) -> Comparison:
        """Whether two values differ by more than noise explains; "indistinguishable" when they do not.

        Args:
            a: a Cell, a row (see ``cell``) of ``column``, or a column of an answer with a single row.
            b: the same, or a number to compare with where ``a`` is a Cell.
            column: the column of the rows; may be left out where only one has noise.
            confidence: of the interval of the difference.
        Raises: BadRequest: a or b names no value, or they cannot be compared.
        """
        if isinstance(a, Cell):
            there = b if isinstance(b, Cell | int | float) else self._chosen(b, column)
            return a.compare(there, confidence)
        return self._chosen(a, column).compare(b if isinstance(b, Cell) else self._chosen(b, column), confidence)

    @property
    def drawable_columns(self) -> tuple[str, ...]:
        """Columns that ``plot`` draws by itself."""
        candidates = self.noisy_columns or tuple(name for name in self.columns if name not in self.key_columns)
        return tuple(name for name in candidates if self._kinds[name] in NUMBERS)[:MOST_AXES]

    def view(self) -> AnswerView:
        """A widget with the values, a chart, and comparisons."""
        from dpjupyter.widgets import AnswerView  # noqa: PLC0415 - ipywidgets, 0.3 s

        return AnswerView(self)

    def plot(
        self,
        y: str | list[str] | None = None,
        *,
        x: str | None = None,
        kind: str | None = None,
        confidence: float = DEFAULT_CONFIDENCE,
        ax: Axes | None = None,
    ) -> Axes | list[Axes]:
        """Draw the values with error bars: lines over dates, histograms over bins, bars otherwise.

        Args:
            y: columns to draw; left out: those with noise, each in axes of its own.
            x: key column along the axis; left out: the first date, else the first number, else the first key.
            kind: bar, line or hist; left out: chosen by the column's type.
            confidence: of the error bars.
            ax: where to draw a single column.
        Raises: BadRequest: matplotlib is missing, or nothing can be drawn.
        """
        from dpjupyter.answer.plots import draw  # noqa: PLC0415 - matplotlib

        return draw(self, y=[y] if isinstance(y, str) else y, x=x, kind=kind, confidence=confidence, ax=ax)

    # ------------------------------------------------------------ the price
    @property
    def cost(self) -> wire.Privacy:
        """What was asked of the budgets: .epsilon, .rho, .delta, .answers, .tables. A cached answer's was paid before."""
        return self.reply.dp_info.privacy

    @property
    def charged(self) -> float:
        """Epsilon debited for this very answer; 0 where it came from the cache, the twin or public tables."""
        return charged_epsilon(self.reply.dp_info)

    @property
    def balance(self) -> dict[str, float]:
        """Residual epsilon of each budget row after this answer."""
        return dict(self.reply.dp_info.balance)

    @property
    def rehearsal(self) -> wire.Rehearsal | None:
        """What a rehearsal on the twin showed: runs, and per column the error to expect; None for an answer."""
        return self.reply.dp_info.rehearsal

    @property
    def receipt(self) -> dict[str, Any]:
        """Request id, time, and the rows that paid."""
        return dict(self.reply.dp_info.receipt)

    def explain(self) -> Explanation:
        """How each column was made, what it cost and what was done to the question."""
        return explained(self.reply, self.sql, self.notices)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader must know beside the numbers: unmetered, cached, synthetic, exact, and the gateway's notes."""
        return (*notices(self.reply.dp_info), *self._without_intervals(), *self._asides)

    # ------------------------------------------------------------ showing
    @property
    def summary(self) -> str:
        """Size, cost, balance and confidence on one line."""
        rows = f"{len(self)} row{'' if len(self) == 1 else 's'}"
        parts = [*badges(self.reply.dp_info), rows, f"cost {cost_line(self.reply.dp_info)}"]
        if self.balance:
            parts.append(f"balance {formats.balances(self.balance)}")
        if self.noisy_columns:
            parts.append(f"± at {self.confidence:.0%}")
        return " · ".join(parts)

    def __repr__(self) -> str:
        return "\n".join([formats.text_table(*self._table()), *self._more(), "", self.summary, *self.notices])

    def to_html(self) -> str:
        """The table and what stands under it, as escaped HTML."""
        lines = "".join(f'<div style="{_notice_style(line)}">{escape(line)}</div>' for line in [*self._more(), self.summary, *self.notices])
        label = "synthetic answer" if self.reply.dp_info.kind == "synthetic" else "answer"
        small = f'<div style="font-size:90%;margin-top:4px">{lines}</div>'
        return f'<div class="dpjupyter-answer" role="group" aria-label="{label}">{formats.html_table(*self._table())}{small}</div>'

    def _repr_html_(self) -> str:
        return self.to_html()

    def _table(self) -> tuple[list[str], list[list[Shown]], list[bool]]:
        count = min(len(self), ROWS_SHOWN)
        columns: list[list[Shown]] = []
        for name in self.columns:
            pairs = self.ends(name, self.confidence)
            values = self.reply.Data[name]
            columns.append([formats.cell(values[i], pairs[i], self._kinds[name]) for i in range(count)])
        right = [self._kinds[name] in NUMBERS for name in self.columns]
        return list(self.columns), [list(row) for row in zip(*columns, strict=True)], right

    def _without_intervals(self) -> list[str]:
        info = self.reply.dp_info
        measured = {column.name for column in info.utility if column.mechanism} if info.kind == "private" else set[str]()
        bare = [name for name in self.columns if name in measured and name not in self.noisy_columns]
        bare = [name for name in bare if any(value is not None for value in self.reply.Data[name])]
        return [f"{', '.join(bare)}: noisy too; without ±, because how far off depends on the data"] if bare else []

    def _more(self) -> list[str]:
        hidden = len(self) - ROWS_SHOWN
        return [f"… {hidden} more row{'' if hidden == 1 else 's'} in .df"] if hidden > 0 else []

    # ------------------------------------------------------------ looking up
    def _known(self, column: str) -> str:
        if column not in self.columns:
            raise BadRequest(f"the answer has no column {column!r}", hint=f"Its columns: {', '.join(self.columns)}.")
        return column

    def _row(self, row: Any) -> int:
        keys = self.key_columns
        if row is None:
            wanted: dict[str, Any] = {}
        elif isinstance(row, Mapping):
            wanted = {self._known(str(name)): value for name, value in row.items()}  # pyright: ignore[reportUnknownVariableType]
        else:
            values: tuple[Any, ...] = row if isinstance(row, tuple) else (row,)
            if len(values) != len(keys):
                raise BadRequest(f"{row!r} names no row", hint=f"The rows' keys are: {', '.join(keys) or 'none'}.")
            wanted = dict(zip(keys, values, strict=True))
        found = [i for i in range(len(self)) if all(_same(self.reply.Data[name][i], value) for name, value in wanted.items())]
        if len(found) != 1:
            said = "no row" if not found else f"{len(found)} rows"
            given = ", ".join(f"{name} = {value}" for name, value in wanted.items())
            raise BadRequest(f"{said} with {given or 'no key given'}", hint=f"The rows' keys are: {', '.join(keys) or 'none'}.")
        return found[0]

    def _chosen(self, row: Any, column: str | None) -> Cell:
        if column is None and len(self) == 1 and isinstance(row, str) and row in self.columns:
            return self.cell(row)
        if column is None:
            noisy = self.noisy_columns
            if len(noisy) != 1:
                raise BadRequest("which column is to be compared?", hint=f"Give column=, one of: {', '.join(noisy or self.columns)}.")
            column = noisy[0]
        return self.cell(column, row)


def _notice_style(line: str) -> str:
    return "color:var(--jp-error-color1,#c62828);font-weight:600" if line.startswith("UNMETERED") else "opacity:.85"


def _same(value: Value, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted or (isinstance(value, bool) and isinstance(wanted, bool) and value == wanted)
    return value == wanted or (isinstance(value, str) and value == str(wanted))
