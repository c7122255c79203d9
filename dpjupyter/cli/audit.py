"""``dpjupyter audit list | export | verify | retain``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dpjupyter.cli.ledger import ledger_options, open_ledger_of
from dpjupyter.cli.output import Failed, json_option, say, say_json, table

if TYPE_CHECKING:
    from dpjupyter.gateway.audit import AuditQuery

EXAMPLES = """\
examples:
  dpjupyter audit list --analyst alice --since 2026-01-01
  dpjupyter audit list --events                          what owners did, and recoveries
  dpjupyter audit export --format csv > audit.csv        safe to open in a spreadsheet
  dpjupyter audit verify                                 walks every hash chain
  dpjupyter audit retain --days 400 --key-file audit.key replaces older rows by a signed checkpoint
"""
VERDICTS = ("answered", "cached", "refused", "failed", "unmetered", "debited")
EVENTS = ("create", "set", "recovery", "suspend", "lift", "token_create", "token_revoke", "checkpoint")
COLUMNS = ("time", "analyst", "verdict", "db_name", "tables", "epsilon", "delta", "request_id", "sql")


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the command."""
    del name
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    show = actions.add_parser("list", help="show requests, newest first")
    _filters(show, limit=50)
    show.add_argument("--events", action="store_true", help="what owners did and what recovered, instead of requests")
    show.set_defaults(run=run_list)

    export = actions.add_parser("export", help="write requests as CSV or JSON, made harmless for spreadsheets and browsers")
    _filters(export, limit=10_000)
    export.add_argument("--format", choices=("csv", "json"), default="csv", help="default: %(default)s")
    export.set_defaults(run=run_export)

    verify = actions.add_parser("verify", help="check every hash chain; exit 1 if anything was changed")
    verify.add_argument("--key-file", type=Path, help="signing key, to check checkpoints as well")
    verify.set_defaults(run=run_verify)

    retain = actions.add_parser("retain", help="replace old rows by signed checkpoints that hold their last hash and sums")
    retain.add_argument("--days", type=int, required=True, help="keep this many days")
    retain.add_argument(
        "--key-file", type=Path, required=True, help="signing key: at least 16 random bytes, kept elsewhere than the ledger"
    )
    retain.set_defaults(run=run_retain)

    for action in (show, export, verify, retain):
        ledger_options(action)
    for action in (show, verify, retain):
        json_option(action)


def run_list(args: argparse.Namespace) -> int:
    """Requests or events as text."""
    if args.events:
        return _events(args)
    from dpjupyter.gateway import audit  # noqa: PLC0415 - loads the ledger

    with open_ledger_of(args) as ledger:
        rows, total = audit.read(ledger, _query(args))
    shown = [row.model_dump(mode="json") for row in rows]
    if args.json:
        say_json(shown)
        return 0
    say(table([{**row, "tables": " ".join(row["tables"]), "sql": _short(row["sql"])} for row in shown], COLUMNS))
    if total > len(shown):
        sys.stderr.write(f"{len(shown)} of {total}; --limit shows more\n")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Requests as a file's text to standard output."""
    from dpjupyter.gateway import audit  # noqa: PLC0415 - loads the ledger
    from dpjupyter.gateway.replies import csv_text, html_safe_json  # noqa: PLC0415
    from dpjupyter.wire import AuditRow  # noqa: PLC0415

    with open_ledger_of(args) as ledger:
        rows, total = audit.read(ledger, _query(args))
    sys.stdout.write(
        csv_text(AuditRow, rows) if args.format == "csv" else html_safe_json([row.model_dump(mode="json") for row in rows]) + "\n"
    )
    if total > len(rows):
        sys.stderr.write(f"dpjupyter: {len(rows)} of {total} written; narrow it with --since and --until\n")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Walk every chain."""
    with open_ledger_of(args) as ledger:
        found = ledger.verify(_key(args.key_file) if args.key_file else None)
    if args.json:
        say_json({**asdict(found), "sound": found.sound})
    else:
        for fault in found.faults:
            say(f"{fault.row or fault.chain}: link {fault.seq}: {fault.what}")
        say(f"{found.chains} chains, {found.links} links, {found.checkpoints} checkpoints: {'sound' if found.sound else 'NOT SOUND'}")
        if found.checkpoints and not found.signatures_checked:
            say("signatures of checkpoints were not checked: give --key-file")
    return 0 if found.sound else 1


def run_retain(args: argparse.Namespace) -> int:
    """Replace old rows."""
    with open_ledger_of(args) as ledger:
        gone = ledger.retain(args.days, _key(args.key_file))
    if args.json:
        say_json({"replaced": gone})
    else:
        say(f"{gone} links replaced by checkpoints")
    return 0


def _events(args: argparse.Namespace) -> int:
    from dpjupyter.engine.ledger.records import AuditFilter  # noqa: PLC0415 - loads SQLAlchemy

    wanted = AuditFilter(kinds=EVENTS, since=_time(args.since), until=_time(args.until), limit=args.limit)
    with open_ledger_of(args) as ledger:
        rows = [asdict(row) for row in ledger.audit_rows(wanted)]
    if args.json:
        say_json(rows)
    else:
        say(table(rows, ("time", "kind", "analyst", "prefix", "db_name", "table_name", "detail")))
    return 0


def _filters(parser: argparse.ArgumentParser, *, limit: int) -> None:
    parser.add_argument("--analyst", help="of this analyst")
    parser.add_argument("--table", help="charged to this table's row")
    parser.add_argument("--verdict", choices=VERDICTS, help="what became of it")
    parser.add_argument("--since", metavar="TIME", help="from this time, UTC: 2026-01-31 or 2026-01-31T12:00")
    parser.add_argument("--until", metavar="TIME", help="before this time, UTC")
    parser.add_argument("--limit", type=int, default=limit, help="most rows (default: %(default)s)")


def _query(args: argparse.Namespace) -> AuditQuery:
    from pydantic import ValidationError  # noqa: PLC0415

    from dpjupyter.gateway.audit import AuditQuery  # noqa: PLC0415 - loads the ledger

    given = {name: getattr(args, name) for name in ("analyst", "table", "verdict", "limit") if getattr(args, name) is not None}
    try:
        return AuditQuery(**given, since=_time(args.since), until=_time(args.until))
    except ValidationError as error:
        raise Failed("; ".join(f"--{item['loc'][0]}: {item['msg']}" for item in error.errors())) from None


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(f"{text!r} is not a time; write 2026-01-31 or 2026-01-31T12:00") from None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}") from None


def _short(sql: str) -> str:
    line = " ".join(sql.split())
    return line if len(line) <= 80 else line[:79] + "…"
