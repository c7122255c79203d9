"""Engine and ledger records as wire records. Field by field: nothing crosses HTTP that is not named here."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from dpjupyter import wire
from dpjupyter.engine.accounting import ATTO, PICO
from dpjupyter.engine.finish import unique
from dpjupyter.engine.ledger.records import BudgetRecord, Outlook
from dpjupyter.engine.model import Answer, Expectation, Quote, Receipt
from dpjupyter.engine.policy import Policy, Table
from dpjupyter.engine.road import Outcome
from dpjupyter.engine.scalar import NAMES
from dpjupyter.gateway.shelf import Key, Shelf

_SHARED = tuple(wire.BudgetInfo.model_fields)
_ROW = tuple(wire.BudgetRow.model_fields)
QUOTA = "analyst:"  # how the ledger's receipts name an analyst's quota row
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


# ---------------------------------------------------------------- budgets
def budget_info(record: BudgetRecord) -> wire.BudgetInfo:
    """The requirement's columns."""
    return wire.BudgetInfo(**{name: getattr(record, name) for name in _SHARED})


def budget_row(record: BudgetRecord) -> wire.BudgetRow:
    """The requirement's columns and ours."""
    return wire.BudgetRow(**{name: getattr(record, name) for name in _ROW})


# ---------------------------------------------------------------- catalog
def catalog(shelf: Shelf, twins: frozenset[tuple[str, str, str]], saved: Mapping[Key, list[wire.SavedTable]]) -> wire.CatalogReply:
    """What analysts may know without paying.

    Args:
        shelf: policies in force.
        twins: (prefix, database, table) of the published synthetic twins.
        saved: by (prefix, database), the tables the caller kept.
    """
    return wire.CatalogReply(databases=[_database(policy, twins, saved.get(key, [])) for key, policy in shelf.policies.items()])


def _database(policy: Policy, twins: frozenset[tuple[str, str, str]], saved: list[wire.SavedTable]) -> wire.CatalogDatabase:
    database, limits = policy.database, policy.limits
    return wire.CatalogDatabase(
        prefix=database.prefix,
        name=database.name,
        reader=policy.dialect,
        sha256sum=policy.checksum,
        unit_entity=database.unit_entity,
        data_version=database.data_version,
        default_epsilon=limits.default_epsilon,
        default_mechanism=limits.default_mechanism,
        min_epsilon=limits.min_epsilon,
        max_epsilon=limits.max_epsilon,
        functions=sorted(NAMES),
        tables=[_table(name, table, synthetic=(database.prefix, database.name, name) in twins) for name, table in policy.tables.items()],
        saved=saved,
    )


def _table(name: str, table: Table, *, synthetic: bool) -> wire.CatalogTable:
    return wire.CatalogTable(
        name=name,
        private=table.private,
        unit=str(table.unit) if table.unit is not None else None,
        columns=[
            wire.CatalogColumn(
                name=key,
                type=column.type,
                nullable=column.nullable,
                bounds=column.bounds,
                domain=list(column.domain) if column.domain is not None else None,
                description=column.description,
            )
            for key, column in table.columns.items()
        ],
        keys=[list(key) for key in table.keys],
        max_rows=table.max_rows,
        max_groups=table.max_groups,
        min_units=table.min_units,
        open_keys=table.key_delta is not None,
        description=table.description,
        synthetic=synthetic,
    )


# ---------------------------------------------------------------- values
def plain(value: Any) -> wire.Value:
    """A cell as JSON can hold it: NaN and infinities, which DuckDB may compute above a release, become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# ---------------------------------------------------------------- export
def csv_text(kind: type[BaseModel], rows: Iterable[BaseModel]) -> str:
    """Rows as CSV that neither a spreadsheet nor a browser will execute.

    Analysts write the SQL that stands in the log: text that looks like a formula gets a leading apostrophe
    (OWASP, CSV injection), and <, >, & become entities.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(kind.model_fields)
    for row in rows:
        writer.writerow([csv_cell(value) for value in row.model_dump(mode="json").values()])
    return out.getvalue()


def html_safe_json(data: Any) -> str:
    """JSON that stays text wherever it is pasted: <, > and & are written as escapes of the same meaning."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def csv_cell(value: Any) -> Any:
    """One cell, made harmless. Numbers stay numbers."""
    match value:
        case None:
            return ""
        case bool() | int() | float():
            return value
        case list() | tuple():
            return csv_cell(" ".join(map(str, value)))
        case Mapping():
            return csv_cell(str(dict(value)))
        case _:
            text = html.escape(str(value), quote=False)
            return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text


# ---------------------------------------------------------------- quotes
def quote_reply(priced: Quote, outlook: Sequence[Outlook], *, cached: bool) -> wire.QuoteReply:
    """A price. ``outlook``: what it would do to each budget row."""
    return wire.QuoteReply(
        privacy=wire.Privacy(
            epsilon=priced.cost.pico_epsilon / PICO,
            rho=priced.cost.pico_rho / PICO,
            delta=(priced.cost.atto_key_delta + priced.cost.atto_gauss_delta) / ATTO,
            answers=_answers(priced),
            tables=[_priced(row, priced) for row in outlook],
        ),
        utility=[_expected(priced, expectation) for expectation in priced.expectations],
        affordable=cached or all(row.affordable for row in outlook),
        notes=list(priced.plan.notes),
        columns=[{"Name": output.name, "Type": output.type.text} for output in priced.plan.outputs],
        checksum=priced.checksum,
        cached=cached,
    )


def _answers(priced: Quote) -> list[wire.AnswerPrice]:
    columns = {item.label: list(item.columns) for item in priced.plan.items}
    return [
        wire.AnswerPrice(
            label=call.label, columns=columns.get(call.label, []), epsilon=call.epsilon, delta=call.delta, mechanism=call.mechanism
        )
        for call in priced.cost.calls
    ]


def _priced(row: Outlook, priced: Quote) -> wire.TablePrice:
    return wire.TablePrice(
        table=row.name.table_name,
        analyst=row.name.analyst,
        epsilon=priced.cost.pico_epsilon / PICO,
        delta=(priced.cost.atto_key_delta + priced.cost.atto_gauss_delta) / ATTO,
        before=row.before,
        after=row.after,
        affordable=row.affordable,
        unmetered=row.unmetered,
    )


def _expected(priced: Quote, expectation: Expectation) -> wire.ColumnUtility:
    output = next((output for output in priced.plan.outputs if output.name == expectation.column), None)
    noise = priced.noise.get(output.direct) if output is not None and output.direct is not None else None
    grid = next(
        (
            s.grid
            for m in priced.plan.measurements
            for part in m.parts
            for s in part.statistics
            if output is not None and s.name == output.direct
        ),
        None,
    )
    return wire.ColumnUtility(
        name=expectation.column,
        mechanism=noise.mechanism if noise is not None else "",
        scale=noise.scale * float(grid) if noise is not None and grid is not None else None,
        epsilon=noise.epsilon if noise is not None else None,
        half_width=dict(expectation.half_width),
        derived=expectation.derived,
    )


# ---------------------------------------------------------------- answers
def query_reply(outcome: Outcome, request: wire.QueryRequest, *, owner: bool) -> wire.QueryReply:
    """An answer. Timings are told to owners alone."""
    answer, receipt = outcome.answer, outcome.receipt
    names = unique([name for name, _ in answer.columns])
    debug: dict[str, Any] | None = None
    if request.extra.debug:
        debug = {"stages": list(outcome.timings_ms) if owner else []} | ({"timings_ms": dict(outcome.timings_ms)} if owner else {})
    meta = [{"Name": name, "Type": kind} for name, (_, kind) in zip(names, answer.columns, strict=True)]
    return wire.QueryReply(
        Meta=meta if request.dbconfig.queryOption.with_column_type else None,
        Data={name: [plain(row[at]) for row in answer.rows] for at, name in enumerate(names)},
        dp_info=wire.DpInfo(
            privacy=_paid(answer, receipt, cached=outcome.cached),
            utility=[_utility(name, said) for name, said in zip(names, answer.utility, strict=True) if not said.get("key")],
            intervals={level: _by_column(names, cells) for level, cells in answer.intervals.items()},
            balance=dict(receipt.balances) if receipt is not None else {},
            receipt=_receipt(receipt),
            notes=list(answer.notes),
            cached=outcome.cached,
            unmetered=answer.unmetered or bool(receipt is not None and receipt.unmetered),
            kind=answer.kind,
        ),
        debug=debug,
    )


def _paid(answer: Answer, receipt: Receipt | None, *, cached: bool) -> wire.Privacy:
    cost = answer.cost
    if cached or receipt is None:
        return wire.Privacy(epsilon=0.0, rho=0.0, delta=0.0)
    epsilon, delta = float(cost["epsilon"]), float(cost["delta"])  # type: ignore[arg-type]
    tables: list[wire.TablePrice] = []
    for name in (*receipt.debited, *receipt.unmetered):
        quota = name.startswith(QUOTA)
        tables.append(
            wire.TablePrice(
                table=name.removeprefix(QUOTA),
                analyst=receipt.analyst if quota else None,
                epsilon=epsilon if name in receipt.debited else 0.0,
                delta=delta if name in receipt.debited else 0.0,
                before=receipt.before.get(name),
                after=receipt.balances.get(name),
                unmetered=name in receipt.unmetered,
            )
        )
    answers = [wire.AnswerPrice(**said) for said in cost["answers"]]  # type: ignore[union-attr]
    return wire.Privacy(epsilon=epsilon, rho=float(cost["rho"]), delta=delta, answers=answers, tables=tables)  # type: ignore[arg-type]


def _utility(name: str, said: Mapping[str, Any]) -> wire.ColumnUtility:
    widths = {key.removeprefix("half_width_"): value for key, value in said.items() if key.startswith("half_width_")}
    return wire.ColumnUtility(
        name=name,
        mechanism=said.get("mechanism") or "",
        scale=said.get("scale"),
        epsilon=said.get("epsilon"),
        half_width=widths,
        derived=said["derived"],
    )


def _by_column(names: Sequence[str], rows: Sequence[Sequence[tuple[float, float] | None]]) -> dict[str, list[list[float] | None]]:
    """Intervals by column; a column without any (a key) is left out."""
    found: dict[str, list[list[float] | None]] = {}
    for at, name in enumerate(names):
        cells = [row[at] for row in rows]
        if any(cell is not None for cell in cells):
            found[name] = [None if cell is None or not all(map(math.isfinite, cell)) else list(cell) for cell in cells]
    return found


def _receipt(receipt: Receipt | None) -> dict[str, Any]:
    if receipt is None:
        return {}
    return {"request_id": receipt.request_id, "time": receipt.time, "debited": list(receipt.debited), "unmetered": list(receipt.unmetered)}
