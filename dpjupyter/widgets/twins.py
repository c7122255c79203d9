"""TwinForm: price, publish and retire synthetic twins. Two presses publish: the first says what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets
from pydantic import ValidationError

from dpjupyter import wire
from dpjupyter.answer import formats
from dpjupyter.errors import DpError
from dpjupyter.widgets import gauges
from dpjupyter.widgets.base import LINES, chosen, mistake, on_change, on_press


@dataclass(frozen=True, slots=True)
class TwinActions:
    """What the form's buttons do; each may raise a DpError, which is shown."""

    cards: Callable[[], Sequence[wire.TwinCard]]
    quote: Callable[[wire.TwinRequest], wire.TwinQuoteReply]
    publish: Callable[[wire.TwinRequest], wire.TwinCard]
    retire: Callable[[wire.TwinRetireRequest], Sequence[wire.TwinCard]]


class TwinForm(ipywidgets.VBox):
    """Published twins, and a form for one more."""

    def __init__(self, rows: Sequence[wire.BudgetRow], actions: TwinActions, done: Callable[[], object]) -> None:
        """Offer the tables of these budget rows; ``done`` is called after something was paid."""
        self._actions, self._done = actions, done
        self._pending: wire.TwinRequest | None = None
        self._retiring: object = None  # the table whose twin the next press retires
        wide: Any = {"description_width": "120px"}
        tables = [row for row in gauges.ordered(rows) if row.analyst is None and row.table_name != formats.WHOLE_DATABASE]
        options = [(f"{row.db_name}: {row.table_name}", (row.prefix, row.db_name, row.table_name)) for row in tables]
        self.published = ipywidgets.HTML()
        self.table = ipywidgets.Dropdown(options=options, description="table", style=wide)
        self.epsilon = ipywidgets.Text(value="1", description="ε of the twin", style=wide)
        self.delta = ipywidgets.Text(value="1e-7", description="δ", style=wide)
        self.check = ipywidgets.Button(description="Price a twin")
        self.confirm = ipywidgets.Button(description="Publish", button_style="warning", layout={"display": "none"})
        self.cancel = ipywidgets.Button(description="Cancel", layout={"display": "none"})
        self.retire = ipywidgets.Button(description="Retire the current twin", layout={"width": "auto"})
        self.said = ipywidgets.HTML()
        for field in (self.table, self.epsilon, self.delta):
            on_change(field, self._start_over)
        on_press(self.check, self._priced)
        on_press(self.confirm, self._published)
        on_press(self.cancel, self._start_over)
        on_press(self.retire, self._retired)
        buttons = ipywidgets.HBox([self.check, self.confirm, self.cancel, self.retire])
        super().__init__([self.published, self.table, self.epsilon, self.delta, buttons, self.said])
        self.show()

    def show(self) -> None:
        """Ask for the cards again."""
        try:
            cards = self._actions.cards()
        except DpError as error:
            self.published.value = escape(error.shown())
            return
        lines = "".join(f"<li>{escape(card_line(card))}</li>" for card in cards)
        self.published.value = f'<ul style="{LINES}">{lines}</ul>' if lines else "No synthetic twin is published."

    def _request(self) -> wire.TwinRequest | None:
        table = chosen(self.table)
        if table is None:
            self._start_over("There is no table to publish a twin of.")
            return None
        names = dict(zip(("prefix", "db_name", "table_name"), table, strict=True))
        try:
            return wire.TwinRequest.model_validate(names | {"epsilon": float(self.epsilon.value), "delta": float(self.delta.value)})
        except ValidationError as error:
            self._start_over(mistake(error, {"epsilon": "ε of the twin", "delta": "δ"}))
        except ValueError:
            self._start_over("epsilon and delta are numbers, such as 1 and 1e-7.")
        return None

    def _priced(self) -> None:
        request = self._request()
        if request is None:
            return
        try:
            quote = self._actions.quote(request)
        except DpError as error:
            self._start_over(error.shown())
            return
        self._start_over("\n".join(quote_lines(quote)))
        if quote.affordable:
            self._pending = request
            self.confirm.layout.display = self.cancel.layout.display = None

    def _published(self) -> None:
        if self._pending is None:
            return
        request, self._pending = self._pending, None
        self.confirm.disabled = True
        try:
            card = self._actions.publish(request)
        except DpError as error:
            self._start_over(error.shown())
            return
        finally:
            self.confirm.disabled = False
        self._start_over(f"Published: {card_line(card)}")
        self.show()
        self._done()

    def _retired(self) -> None:
        table = chosen(self.table)
        if table is None:
            return
        if self._retiring != table:
            self._start_over(f"Analysts will no longer see the twin of {table[2]}. What it cost stays spent. Press again to retire it.")
            self._retiring = table
            return
        try:
            self._actions.retire(wire.TwinRetireRequest(prefix=table[0], db_name=table[1], table_name=table[2]))
        except DpError as error:
            self._start_over(error.shown())
            return
        self._start_over("Retired. What it cost stays spent.")
        self.show()

    def _start_over(self, said: str = "") -> None:
        self._pending = self._retiring = None
        self.said.value = f'<div role="status" style="white-space:pre-wrap;{LINES}">{escape(said)}</div>' if said else ""
        self.confirm.layout.display = self.cancel.layout.display = "none"


def card_line(twin: wire.TwinCard) -> str:
    """A twin on one line."""
    card = twin.card
    parts = [f"{twin.db_name}.{twin.table_name}", f"{twin.time} UTC", f"{card.get('rows', '?')} rows"]
    parts.append(f"ε {formats.epsilon(float(card['epsilon']))}" if "epsilon" in card else "ε ?")
    parts.append(
        f"off its noisy counts by {card['mean_error_1']:.1%} (columns), {card['mean_error_2']:.1%} (pairs)" if card else "unreadable"
    )
    return " · ".join([*parts, *(["retired"] if twin.retired else [] if twin.current else ["superseded"])])


def quote_lines(quote: wire.TwinQuoteReply) -> list[str]:
    """What a publication would cost, and how noisy it would be."""
    lines = [f"A twin of {quote.table} costs ε {formats.epsilon(quote.epsilon)}, δ {quote.delta:.3g}, once:"]
    for row in quote.tables:
        whose = f" (quota of {row.analyst})" if row.analyst else ""
        left = f" {formats.epsilon(row.before)} → {formats.epsilon(row.after)}" if row.before is not None and row.after is not None else ""
        lines.append(f"  {formats.row_name(row.table)}{whose}{left}{'' if row.affordable else ' CANNOT PAY'}")
    lines.append(f"Noise on a count of one bin: standard deviation {quote.one_way_sigma:.3g} rows.")
    lines += [f"{name} will be NULL: {why}." for name, why in quote.left_out.items()]
    return [*lines, *quote.notes]
