"""What stands around an answer's numbers: cost, balance, notices, and how each column was made."""

from __future__ import annotations

from html import escape
from typing import Any

from dpjupyter import wire
from dpjupyter.answer import formats

SHOWN_LEVEL = "0.95"  # of expected half-widths


class Explanation(str):
    """Text that shows itself with its line breaks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f'<pre style="white-space:pre-wrap">{escape(self)}</pre>'


def explained(reply: wire.QueryReply, sql: str, notes: tuple[str, ...]) -> Explanation:
    """Everything the gateway said about an answer, as text."""
    info = reply.dp_info
    parts = [sql.strip(), ""] if sql.strip() else []
    parts += ["Columns", *(f"  {line}" for line in column_lines(tuple(reply.Data), info.utility, info.kind))]
    parts += [f"Cost  {cost_line(info)}", *price_lines(info.privacy)]
    if info.balance:
        parts.append(f"Balance  {formats.balances(info.balance)}")
    if info.receipt:
        parts.append("Receipt  " + "; ".join(f"{key} {_flat(value)}" for key, value in info.receipt.items() if value not in (None, [], "")))
    parts += [f"Note: {note}" for note in notes]
    return Explanation("\n".join(parts))


def notices(info: wire.DpInfo) -> tuple[str, ...]:
    """What a reader must know beside the numbers."""
    said: list[str] = []
    if info.unmetered:
        rows = ", ".join(formats.row_name(table.table) for table in info.privacy.tables if table.unmetered) or "a budget row"
        said.append(f"UNMETERED: {rows} could not pay; its privacy promise is void until it recovers")
    if info.kind == "synthetic":
        said.append("synthetic: computed from the published twin, not from anybody's rows; free")
    if info.rehearsal is not None:
        said += rehearsal_lines(info.rehearsal)
    if info.kind == "public":
        said.append("exact: only public tables were read; free")
    if info.cached:
        said.append("cached: the same question was answered before in this cycle; free")
    return (*said, *info.notes)


def badges(info: wire.DpInfo) -> list[str]:
    """The same in single words, for where there is one line only."""
    said = ["UNMETERED"] if info.unmetered else []
    said += [info.kind.upper()] if info.kind == "synthetic" else []
    said += ["REHEARSAL"] if info.rehearsal is not None else []
    return said + (["cached"] if info.cached else [])


def rehearsal_lines(rehearsal: wire.Rehearsal) -> list[str]:
    """What a rehearsal showed, column by column."""
    lines: list[str] = []
    for column in rehearsal.columns:
        if column.median_error is None or column.p95_error is None:
            lines.append(f"rehearsed: {column.name} was never shown in {rehearsal.runs} runs")
            continue
        usual, far = formats.plus_minus(column.median_error), formats.plus_minus(column.p95_error)
        drift = f", on average {column.bias:+.3g}" if column.bias is not None and abs(column.bias) > column.median_error / 2 > 0 else ""
        lines.append(f"rehearsed {rehearsal.runs} times: {column.name} strays {usual} in half of all cases, {far} in 95%{drift}")
    return lines


def cost_line(info: wire.DpInfo) -> str:
    """What this answer took from the budgets."""
    if info.cached or info.kind != "private" or not info.privacy.epsilon:  # the last: drawn from saved tables
        return "nothing"
    paid = price(info.privacy.epsilon, info.privacy.delta)
    return paid if charged_epsilon(info) else f"{paid} (not charged)"


def charged_epsilon(info: wire.DpInfo) -> float:
    """Epsilon debited for this very answer: none for cached, public, synthetic and wholly unmetered ones."""
    if info.cached or info.kind != "private" or (info.unmetered and not info.receipt.get("debited")):
        return 0.0
    return info.privacy.epsilon


def price_lines(privacy: wire.Privacy) -> list[str]:
    """The price answer by answer, then budget row by budget row."""
    lines = [f"{answer.label}: {price(answer.epsilon, answer.delta)}, {formats.mechanism(answer.mechanism)}" for answer in privacy.answers]
    return [f"  {line}" for line in (*lines, *(table_line(table) for table in privacy.tables))]


def table_line(table: wire.TablePrice) -> str:
    """A budget row's part of the price."""
    name = formats.row_name(table.table) + (f" (quota of {table.analyst})" if table.analyst else "")
    change = ""
    if table.before is not None and table.after is not None:
        change = f", {formats.epsilon(table.before)} → {formats.epsilon(table.after)}"
    verdict = " UNMETERED" if table.unmetered else "" if table.affordable else " CANNOT PAY"
    return f"{name}: {price(table.epsilon, table.delta)}{change}{verdict}"


def column_lines(names: tuple[str, ...], utility: list[wire.ColumnUtility], kind: str = "private") -> list[str]:
    """How each column is made: mechanism, scale, epsilon, expected half-width."""
    known = {column.name: column for column in utility}
    lines: list[str] = []
    for name in names:
        column = known.get(name)
        if column is None or not (column.mechanism or column.derived):
            lines.append(f"{name}: {'exact' if kind == 'public' else 'key'}")
            continue
        parts = [formats.mechanism(column.mechanism), f"scale {column.scale:.6g}" if column.scale is not None else ""]
        parts.append(f"ε {formats.epsilon(column.epsilon)}" if column.epsilon is not None else "")
        parts.append("computed from released values" if column.derived else "")
        if SHOWN_LEVEL in column.half_width:
            parts.append(f"{formats.plus_minus(column.half_width[SHOWN_LEVEL])} at {float(SHOWN_LEVEL):.0%}")
        lines.append(f"{name}: {', '.join(part for part in parts if part)}")
    return lines


def price(epsilon: float, delta: float) -> str:
    """Epsilon, and delta where there is one."""
    return f"ε {formats.epsilon(epsilon)}" + (f", δ {delta:.3g}" if delta else "")


def _flat(value: Any) -> str:
    return ", ".join(formats.row_name(str(one)) for one in value) if isinstance(value, list | tuple) else str(value)  # pyright: ignore[reportUnknownVariableType]
