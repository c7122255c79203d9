"""Budget rows as text and as HTML gauges. Pure functions; every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from dpjupyter import wire
from dpjupyter.answer import formats

BAR_CELLS = 10
WARN_SHARE = 0.75  # of a budget spent
DAY_S = 86_400
COLORS = {
    "good": "var(--jp-success-color1,#2e7d32)",
    "low": "var(--jp-warn-color1,#ef6c00)",
    "spent": "var(--jp-error-color1,#c62828)",
}


def share_spent(row: wire.BudgetInfo) -> float:
    """Part of the total that is spent, within [0, 1]."""
    return min(1.0, max(0.0, row.consumed_budget / row.total_budget)) if row.total_budget > 0 else 1.0


def name(row: wire.BudgetRow) -> str:
    """A row's name in words."""
    return formats.row_name(row.table_name) + (f", quota of {row.analyst}" if row.analyst else "")


def recovery(row: wire.BudgetRow, now: datetime) -> str:
    """When the row recovers, counted from ``now`` (UTC)."""
    try:
        moment = datetime.strptime(row.next_recover_time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return f"recovers every {row.recover_cycle} day{'' if row.recover_cycle == 1 else 's'}"
    left_s = (moment - now).total_seconds()
    if left_s <= 0:
        return "recovers at the next run"
    # Rounded up: a cycle of 30 days that has just begun has 30 days left.
    days = -int(-left_s // DAY_S)
    return f"recovers in {days} days" if left_s > DAY_S else f"recovers in {max(1, round(left_s / 3600))} h"


def state(row: wire.BudgetRow) -> list[str]:
    """What is out of the ordinary about a row."""
    said: list[str] = []
    if row.unmetered_answers:
        count = f"{row.unmetered_answers} unmetered answer{'' if row.unmetered_answers == 1 else 's'}"
        said.append(f"{count}: the promise of this budget is void until it recovers")
    elif row.exhausted_strategy == "allow":
        said.append("answers on when exhausted, unmetered")
    if row.suspended:
        said.append("suspended by the owner")
    return said


def figures(row: wire.BudgetRow, now: datetime) -> str:
    """Spent, total, left, recovery and lifetime on one line."""
    spent = f"ε {formats.epsilon(row.consumed_budget)} of {formats.epsilon(row.total_budget)} spent"
    parts = [spent, f"{formats.epsilon(row.residual_budget)} left", recovery(row, now)]
    if row.lifetime_epsilon > row.consumed_budget * (1 + 1e-9):
        parts.append(f"ε {formats.epsilon(row.lifetime_epsilon)} over all cycles")
    return ", ".join(parts)


def ordered(rows: Sequence[wire.BudgetRow]) -> list[wire.BudgetRow]:
    """By database, shared rows before quotas, the whole database last."""

    def place(row: wire.BudgetRow) -> tuple[str, str, str, bool, str]:
        return row.prefix, row.db_name, row.analyst or "", row.table_name == formats.WHOLE_DATABASE, row.table_name

    return sorted(rows, key=place)


def budgets_text(rows: Sequence[wire.BudgetRow], now: datetime) -> str:
    """All rows as aligned text."""
    if not rows:
        return "No budget is visible to you."
    lines: list[str] = []
    width = max(len(name(row)) for row in rows)
    database = None
    for row in ordered(rows):
        if (row.prefix, row.db_name) != database:
            database = (row.prefix, row.db_name)
            lines.append(f"{row.db_name} ({row.prefix})")
        filled = round(share_spent(row) * BAR_CELLS)
        bar = "█" * filled + "░" * (BAR_CELLS - filled)
        lines.append(f"  {name(row):<{width}}  {bar}  {figures(row, now)}")
        lines += [f"  {'':<{width}}  {'':<{BAR_CELLS}}  {said.upper() if row.unmetered_answers else said}" for said in state(row)]
    return "\n".join(lines)


def budgets_html(rows: Sequence[wire.BudgetRow], now: datetime) -> str:
    """All rows as gauges."""
    if not rows:
        return "<div>No budget is visible to you.</div>"
    parts: list[str] = []
    database = None
    for row in ordered(rows):
        if (row.prefix, row.db_name) != database:
            database = (row.prefix, row.db_name)
            parts.append(f'<div style="font-weight:600;margin:6px 0 2px">{escape(row.db_name)} <small>({escape(row.prefix)})</small></div>')
        parts.append(_gauge(row, now))
    return f'<div class="dpjupyter-budgets">{"".join(parts)}</div>'


def _gauge(row: wire.BudgetRow, now: datetime) -> str:
    share = share_spent(row)
    color = COLORS["spent" if share >= 1 or row.unmetered_answers or row.suspended else "low" if share >= WARN_SHARE else "good"]
    label = escape(name(row), quote=True)
    meter = (
        f'<div role="meter" aria-label="{label}: share of the budget spent" aria-valuenow="{share * 100:.0f}"'
        ' aria-valuemin="0" aria-valuemax="100"'
        ' style="flex:0 0 140px;height:10px;border-radius:5px;overflow:hidden;background:var(--jp-layout-color3,#ddd)">'
        f'<div style="width:{share * 100:.1f}%;height:100%;background:{color}"></div></div>'
    )
    warnings = "".join(
        f'<div style="color:{COLORS["spent"] if row.unmetered_answers or row.suspended else "inherit"};font-size:90%">{escape(said)}</div>'
        for said in state(row)
    )
    return (
        '<div style="display:flex;gap:10px;align-items:center;flex-wrap:wrap;line-height:1.6">'
        f'<div style="flex:0 0 220px;overflow-wrap:anywhere">{escape(name(row))}</div>{meter}'
        f'<div style="flex:1 1 260px"><div>{escape(figures(row, now))}</div>{warnings}</div></div>'
    )
