"""AuditView: who asked what, with filters, export and repeated questions."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from html import escape

import ipywidgets

from dpjupyter import wire
from dpjupyter.answer import formats
from dpjupyter.answer.formats import Shown
from dpjupyter.errors import DpError
from dpjupyter.widgets import suspicion
from dpjupyter.widgets.base import LINES, on_press

VERDICTS = ("", "answered", "cached", "refused", "failed", "unmetered", "debited")
ROWS_SHOWN = 200
LONGEST_SQL = 160
SECONDS = len("2030-01-01 00:00:00")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class AuditView(ipywidgets.VBox):
    """The audit log, newest first."""

    def __init__(self, log: wire.AuditReply, ask: Callable[..., wire.AuditReply]) -> None:
        """Show a part of the log; ``ask`` is called with the filters as keywords."""
        self._ask = ask
        self.rows: list[wire.AuditRow] = []
        self.total = 0
        self.analyst = ipywidgets.Text(description="analyst", placeholder="all")
        self.table = ipywidgets.Text(description="table", placeholder="all")
        self.verdict = ipywidgets.Dropdown(options=[("all", ""), *((name, name) for name in VERDICTS[1:])], description="verdict")
        self.since = ipywidgets.Text(description="since", placeholder="2030-01-31 (UTC)")
        self.until = ipywidgets.Text(description="until", placeholder="2030-02-28 (UTC)")
        self.button = ipywidgets.Button(description="Show")
        on_press(self.button, self.refresh)
        self.table_html = ipywidgets.HTML()
        self.flags = ipywidgets.HTML()
        self.export = ipywidgets.HTML()
        filters = [self.analyst, self.table, self.verdict, self.since, self.until, self.button]
        super().__init__([ipywidgets.HBox(filters, layout={"flex_flow": "row wrap"}), self.flags, self.table_html, self.export])
        self.update(log)

    def refresh(self) -> None:
        """Ask with the filters as they stand."""
        fields = {"analyst": self.analyst, "table": self.table, "verdict": self.verdict, "since": self.since, "until": self.until}
        filters = {name: str(field.value).strip() or None for name, field in fields.items()}
        try:
            self.update(self._ask(**filters, limit=ROWS_SHOWN))
        except DpError as error:
            self.flags.value = f'<div style="opacity:.8">{escape(error.shown())}</div>'

    def update(self, log: wire.AuditReply) -> None:
        """Show these rows."""
        self.rows, self.total = list(log.rows), max(log.total, len(log.rows))
        header = ["time (UTC)", "analyst", "verdict", "ε", "database", "tables", "question", "reason"]
        cells = [[Shown(text) for text in _texts(row)] for row in self.rows]
        self.table_html.value = (
            f'<div style="max-height:420px;overflow:auto;font-size:90%;{LINES}" tabindex="0" role="region" aria-label="audit log">'
            f"{formats.html_table(header, cells, [name == 'ε' for name in header])}</div>"
            if cells
            else "<div>No request matches.</div>"
        )
        repeated = suspicion.repetitions(self.rows)
        # The colour stands beside the text: on white, text of this colour is hard to read.
        marked = f"border-left:3px solid var(--jp-warn-color1,#ef6c00);padding-left:6px;margin:4px 0;{LINES}"
        self.flags.value = "".join(f'<div style="{marked}"><b>Repeated:</b> {escape(str(one))}</div>' for one in repeated)
        data = base64.b64encode(csv_text(self.rows).encode()).decode()
        shown = f"{len(self.rows)} of {self.total} requests"
        link = f'<a download="audit.csv" href="data:text/csv;charset=utf-8;base64,{data}">download as CSV</a>'
        self.export.value = f"<div>{shown} · {link}</div>"


def csv_text(rows: Sequence[wire.AuditRow]) -> str:
    """The rows as CSV; a cell that a spreadsheet would run as a formula gets a quote before it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    names = list(wire.AuditRow.model_fields)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return buffer.getvalue()


def _cell(value: object) -> str:
    text = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownVariableType]
    return f"'{text}" if text.startswith(FORMULA) else text


def _texts(row: wire.AuditRow) -> list[str]:
    tables = ", ".join(formats.row_name(table) for table in row.tables)
    about = [row.time[:SECONDS], row.analyst, row.verdict, formats.epsilon(row.epsilon), row.db_name, tables]
    return [*about, _brief(row.sql), row.reason]


def _brief(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= LONGEST_SQL else text[: LONGEST_SQL - 1] + "…"
