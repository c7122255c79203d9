"""``dpjupyter budget set | get | list | recover``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from dpjupyter.cli.ledger import actor, ledger_options, open_ledger_of
from dpjupyter.cli.output import json_option, say, say_json, table

EXAMPLES = """\
examples:
  dpjupyter budget set shop.example shop orders --total 3 --cycle 30 --strategy reject
  dpjupyter budget set shop.example shop '*' --total 10          the whole database
  dpjupyter budget set shop.example shop orders --analyst alice --total 0.5
  dpjupyter budget get shop.example shop orders
  dpjupyter budget list --json
  dpjupyter budget recover --dry-run

A change never resets what was spent. Lowering a total below it means: refused until the cycle ends.
"""
COLUMNS = ("prefix", "db_name", "table_name", "analyst", "total_budget", "consumed_budget", "residual_budget", "exhausted_strategy",
           "next_recover_time", "lifetime_epsilon", "unmetered_answers", "suspended")  # fmt: skip


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the command."""
    del name
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    change = actions.add_parser("set", help="create or change a budget row")
    _name(change)
    change.add_argument("--total", type=float, metavar="EPSILON", help="total budget of one cycle (default on creation: 10000)")
    change.add_argument("--cycle", type=int, metavar="DAYS", help="days between two recoveries (default on creation: 30)")
    change.add_argument(
        "--strategy", choices=("reject", "allow"), help="when exhausted: reject, or allow without recording (default: reject)"
    )
    change.set_defaults(run=run_set)

    get = actions.add_parser("get", help="show one budget row")
    _name(get)
    get.set_defaults(run=run_get)

    show = actions.add_parser("list", help="show all budget rows")
    show.add_argument("--prefix", help="of this host only")
    show.add_argument("--db", dest="db_name", help="of this database only")
    show.set_defaults(run=run_list)

    recover = actions.add_parser("recover", help="bring back every budget whose cycle is over, by the database's clock")
    recover.add_argument("--dry-run", action="store_true", help="only show which rows are due")
    recover.set_defaults(run=run_recover)

    for action in (change, get, show, recover):
        ledger_options(action)
        json_option(action)


def run_set(args: argparse.Namespace) -> int:
    """Change what was given."""
    with open_ledger_of(args) as ledger:
        record = ledger.set_budget(
            args.prefix, args.db_name, args.table_name, analyst=args.analyst,
            total_budget=args.total, recover_cycle=args.cycle, exhausted_strategy=args.strategy, by=actor(),
        )  # fmt: skip
    if args.json:
        say_json(asdict(record))
    else:
        say(table([asdict(record)], COLUMNS))
    return 0


def run_get(args: argparse.Namespace) -> int:
    """One row, every column."""
    with open_ledger_of(args) as ledger:
        record = asdict(ledger.get_budget(args.prefix, args.db_name, args.table_name, args.analyst))
    if args.json:
        say_json(record)
    else:
        say(table([{"column": name, "value": value} for name, value in record.items()], ("column", "value")))
    return 0


def run_list(args: argparse.Namespace) -> int:
    """All rows, those of analysts after those of tables."""
    with open_ledger_of(args) as ledger:
        records = [asdict(record) for record in ledger.list_budgets(args.prefix, args.db_name)]
    if args.json:
        say_json(records)
    else:
        say(table(records, COLUMNS))
    return 0


def run_recover(args: argparse.Namespace) -> int:
    """Recover by hand; harmless beside running gateways."""
    with open_ledger_of(args) as ledger:
        done = [
            {
                **asdict(recovery.name),
                "cycles": recovery.cycles,
                "consumed_budget": recovery.consumed_budget,
                "last_recover_time": recovery.last_recover_time,
            }
            for recovery in ledger.recover(dry_run=args.dry_run)
        ]
    if args.json:
        say_json(done)
        return 0
    if done:
        say(table(done, ("prefix", "db_name", "table_name", "analyst", "cycles", "consumed_budget", "last_recover_time")))
    say(f"{len(done)} rows {'are due' if args.dry_run else 'recovered'}")
    return 0


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", help="host of the database, as in the policy")
    parser.add_argument("db_name", help="database")
    parser.add_argument("table_name", help="table, or * for the whole database")
    parser.add_argument("--analyst", help="this analyst's quota row rather than the table's")
