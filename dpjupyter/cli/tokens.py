"""``dpjupyter token create | list | revoke``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from dpjupyter.cli.ledger import actor, ledger_options, open_ledger_of
from dpjupyter.cli.output import Failed, json_option, say, say_json, table

EXAMPLES = """\
examples:
  dpjupyter token create alice --role analyst --days 30      prints the token once; only its hash is kept
  dpjupyter token create olga --role owner --days 365 > owner.token
  dpjupyter token list
  dpjupyter token revoke 3f9c2a                              by the id that list shows
"""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the command."""
    del name
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    create = actions.add_parser("create", help="make a token; it is shown this once")
    create.add_argument("name", help="whose it is: budgets and the audit log use this name")
    create.add_argument("--role", choices=("analyst", "owner", "viewer"), default="analyst", help="what it may do (default: %(default)s)")
    create.add_argument("--days", type=int, default=30, help="days until it expires (default: %(default)s)")
    create.set_defaults(run=run_create)

    show = actions.add_parser("list", help="show all tokens, without their secrets")
    show.set_defaults(run=run_list)

    revoke = actions.add_parser("revoke", help="make a token worthless at once")
    revoke.add_argument("id", help="the token's id, as list shows it")
    revoke.set_defaults(run=run_revoke)

    for action in (create, show, revoke):
        ledger_options(action)
        json_option(action)


def run_create(args: argparse.Namespace) -> int:
    """Print a new token to standard output, alone, so that it can be redirected into a file."""
    if args.name.startswith("hub:"):
        raise Failed("names that begin with 'hub:' belong to JupyterHub's users")
    with open_ledger_of(args) as ledger:
        secret, token = ledger.create_token(args.name, args.role, days=args.days, by=actor())
    if args.json:
        say_json({"token": secret, **asdict(token)})
    else:
        say(secret)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Every token ever made."""
    with open_ledger_of(args) as ledger:
        tokens = [asdict(token) for token in ledger.list_tokens()]
    if args.json:
        say_json(tokens)
    else:
        say(table(tokens, ("id", "name", "role", "create_time", "expire_time", "revoke_time")))
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke one token."""
    with open_ledger_of(args) as ledger:
        ledger.revoke_token(args.id, by=actor())
    if args.json:
        say_json({"revoked": args.id})
    else:
        say(f"{args.id} is revoked")
    return 0
