"""``dpjupyter suspend`` and ``dpjupyter lift``: stop an analyst, a table or a database at once."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from dpjupyter.cli.ledger import actor, ledger_options, open_ledger_of
from dpjupyter.cli.output import Failed, json_option, say, say_json, table

EXAMPLES = """\
examples:
  dpjupyter suspend --analyst alice --reason "asked for a walk in the park"
  dpjupyter suspend --table shop.example shop orders
  dpjupyter suspend --table shop.example shop '*'        the whole database
  dpjupyter suspend --list
  dpjupyter lift --analyst alice                         also forgives failed queries
"""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe either command."""
    parser.epilog = EXAMPLES
    parser.add_argument("--analyst", metavar="NAME", help="an analyst, on all databases")
    parser.add_argument("--table", nargs=3, metavar=("PREFIX", "DB", "TABLE"), help="a table; TABLE * is the whole database")
    parser.add_argument("--reason", default="", help="kept in the ledger and shown to those who are refused")
    if name == "suspend":
        parser.add_argument("--list", action="store_true", help="show what is suspended now")
    ledger_options(parser)
    json_option(parser)
    parser.set_defaults(run=run, lifting=name == "lift", list=False)


def run(args: argparse.Namespace) -> int:
    """Suspend or lift, then show what is suspended."""
    if not args.list and (args.analyst is None) == (args.table is None):
        raise Failed("name either --analyst or --table")
    with open_ledger_of(args) as ledger:
        if not args.list:
            prefix, db_name, table_name = args.table or (None, None, None)
            change = ledger.lift if args.lifting else ledger.suspend
            change(analyst=args.analyst, prefix=prefix, db_name=db_name, table_name=table_name, reason=args.reason, by=actor())
        now = [asdict(suspension) for suspension in ledger.suspensions()]
    if args.json:
        say_json(now)
    elif now:
        say(table(now, ("analyst", "prefix", "db_name", "table_name", "time", "reason")))
    else:
        say("nothing is suspended")
    return 0
