"""``dpjupyter twin publish | list | show | retire``: rows without people."""

from __future__ import annotations

import argparse
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpjupyter.cli.ledger import actor, ledger_options, ledger_url, open_ledger_of
from dpjupyter.cli.output import Failed, json_option, say, say_json, table

if TYPE_CHECKING:
    from dpjupyter.engine.policy import Policy
    from dpjupyter.engine.synthetic import Publication

EXAMPLES = """\
examples:
  dpjupyter twin publish passengers --policies policies/ --epsilon 1 --delta 1e-7 --quote
      what it would cost, and how noisy its counts would be: free, touches no data
  dpjupyter twin publish passengers --policies policies/ --epsilon 1 --delta 1e-7
  dpjupyter twin publish orders --policies policies/ --database shop --epsilon 2 --delta 1e-7
      rows of orders hang on those of customers: publish the twin of customers first
  dpjupyter twin list
  dpjupyter twin show orders --json
  dpjupyter twin retire orders

Publishing is debited like a question: to the table, the tables on the way to its units, '*', and the publisher's own
quotas. It is one draw for one price: publishing again pays again, retiring refunds nothing.
"""
COLUMNS = ("db_name", "table", "version", "published", "rows", "epsilon", "delta", "error_1", "error_2", "current", "retired")


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the command."""
    del name
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    publish = actions.add_parser("publish", help="pay for a twin, make it, offer it")
    publish.add_argument("table", help="table of the policy")
    publish.add_argument("--policies", type=Path, required=True, metavar="DIR", help="folder of policy files, or one file")
    publish.add_argument("--epsilon", type=float, required=True, help="privacy budget of the whole twin")
    publish.add_argument("--delta", type=float, required=True, help="its delta, e.g. 1e-7")
    publish.add_argument("--quote", action="store_true", help="only show what it would cost")
    publish.add_argument("--twins", type=Path, metavar="DIR", help="the gateway's folder of twins (default: beside the ledger)")
    publish.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="for the warehouse (default: %(default)s)")
    publish.set_defaults(run=run_publish)

    show_all = actions.add_parser("list", help="show published twins")
    show_all.add_argument("--all", action="store_true", help="retired ones, too")
    show_all.set_defaults(run=run_list)

    show = actions.add_parser("show", help="show a twin's card")
    show.add_argument("table")
    show.add_argument("--version", help="default: the current one")
    show.set_defaults(run=run_show)

    retire = actions.add_parser("retire", help="offer a twin no longer; nothing is refunded")
    retire.add_argument("table")
    retire.add_argument("--version", help="default: the current one")
    retire.set_defaults(run=run_retire)

    for action in (publish, show_all, show, retire):
        action.add_argument("--database", metavar="NAME", help="where a table's name leaves doubt")
        ledger_options(action)
        json_option(action)


def run_publish(args: argparse.Namespace) -> int:
    """Quote, or publish."""
    from dpjupyter.engine.synthetic import Publication, quote_twin  # noqa: PLC0415 - loads the engine

    policy = _policy(args)
    publication = Publication(
        args.table, args.epsilon, args.delta, actor(), uuid.uuid4().hex, body_sha256="0" * 64, timeout_s=float(args.timeout)
    )
    priced = quote_twin(args.table, policy, epsilon=args.epsilon, delta=args.delta)
    if not args.quote:
        return _published(args, policy, publication)
    from dpjupyter.engine.synthetic.publish import charge_of  # noqa: PLC0415

    with open_ledger_of(args) as ledger:
        ledger.ensure_rows(policy)
        rows = [{**asdict(row.name), "before": row.before, "after": row.after, "affordable": row.affordable}
                for row in ledger.outlook(charge_of(publication, priced, policy))]  # fmt: skip
    layout = priced.layout
    said: dict[str, Any] = {
        "table": args.table,
        "epsilon": priced.epsilon,
        "delta": priced.delta,
        "columns": [axis.name for axis in layout.own],
        "always NULL": dict(layout.left_out),
        "rows hang on": layout.link.parent if layout.link is not None else None,
        "one_way_sigma": priced.one_way_sigma / layout.weight,
        "two_way_sigma": priced.two_way_sigma(priced.rounds) / layout.weight if priced.rounds else None,
        "budgets": rows,
    }
    if args.json:
        say_json(said)
        return 0
    say(table([{"what": name, "value": _text(value)} for name, value in said.items() if name != "budgets"], ("what", "value")))
    say("")
    say(table(rows, ("table_name", "analyst", "before", "after", "affordable")))
    say("\none_way_sigma, two_way_sigma: standard deviation of the noise on one count, in rows. Nothing was debited.")
    return 0


def _published(args: argparse.Namespace, policy: Policy, publication: Publication) -> int:
    from dpjupyter.engine.backends import open_backend  # noqa: PLC0415
    from dpjupyter.engine.noise import OpenDPNoise  # noqa: PLC0415
    from dpjupyter.engine.synthetic import TwinStore, publish_twin  # noqa: PLC0415
    from dpjupyter.gateway.twins import default_twins  # noqa: PLC0415

    folder = args.twins or default_twins(ledger_url(args))
    backend = open_backend(policy.database.backend)
    try:
        with open_ledger_of(args) as ledger:
            ledger.ensure_rows(policy)
            card = publish_twin(
                publication, policy, ledger=ledger, backend=backend, noise_source=OpenDPNoise(), store=TwinStore(folder),
                cancelled=threading.Event(),
            )  # fmt: skip
    finally:
        backend.close()
    if args.json:
        say_json(card.model_dump(mode="json"))
    else:
        say(_described(card.model_dump(mode="json")))
    return 0


def run_list(args: argparse.Namespace) -> int:
    """All twins, newest first."""
    found = [_row(twin) for twin in _cards(args, retired=args.all)]
    if args.json:
        say_json(found)
    else:
        say(table(found, COLUMNS) if found else "no twin is published")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """One twin's card."""
    card = _one(args, retired=True).card
    if args.json:
        say_json(card)
    else:
        say(_described(card))
    return 0


def run_retire(args: argparse.Namespace) -> int:
    """Offer a twin no longer."""
    twin = _one(args, retired=False)
    with open_ledger_of(args) as ledger:
        ledger.retire_twin(twin.prefix, twin.db_name, twin.table_name, version=twin.version)
    if args.json:
        say_json({"retired": twin.version})
    else:
        say(f"the twin {twin.version} of {twin.table_name} is retired; what it cost stays spent")
    return 0


# ---------------------------------------------------------------- which
def _policy(args: argparse.Namespace) -> Policy:
    from dpjupyter.engine.policy import load  # noqa: PLC0415
    from dpjupyter.gateway.shelf import Shelf  # noqa: PLC0415

    policies = list(Shelf.read(args.policies).policies.values()) if args.policies.is_dir() else [load(args.policies)]
    found = [p for p in policies if args.database in (None, p.database.name) and args.table in p.tables]
    match found:
        case [policy]:
            return policy
        case []:
            raise Failed(f"no policy declares a table {args.table!r}" + (f" in {args.database!r}" if args.database else ""))
        case _:
            raise Failed(f"several databases have a table {args.table!r}; name one with --database")


def _cards(args: argparse.Namespace, *, retired: bool) -> list[Any]:
    from dpjupyter.gateway.twins import shown  # noqa: PLC0415 - loads the engine

    with open_ledger_of(args) as ledger:
        return shown(row for row in ledger.twins(None, args.database, retired=retired))


def _one(args: argparse.Namespace, *, retired: bool) -> Any:
    named = [twin for twin in _cards(args, retired=retired) if twin.table_name == args.table]
    found = [twin for twin in named if (twin.version == args.version if args.version else twin.current)]
    if len({(twin.prefix, twin.db_name) for twin in found}) > 1:
        raise Failed(f"several databases have a twin of {args.table!r}; name one with --database")
    if not found:
        raise Failed(f"{args.table} has no {'such' if args.version else 'current'} twin")
    return found[0]


# ---------------------------------------------------------------- shown
def _row(twin: Any) -> dict[str, Any]:
    card = twin.card
    return {
        "db_name": twin.db_name, "table": twin.table_name, "version": twin.version, "published": twin.time, "rows": card.get("rows"),
        "epsilon": card.get("epsilon"), "delta": card.get("delta"), "error_1": card.get("mean_error_1"),
        "error_2": card.get("mean_error_2"), "current": twin.current, "retired": twin.retired,
    }  # fmt: skip


def _described(card: Mapping[str, Any]) -> str:
    head = ("table", "version", "published", "rows", "epsilon", "delta", "tables", "method", "one_way_sigma", "two_way_sigma",
            "mean_error_1", "mean_error_2", "checksum", "seed", "notes")  # fmt: skip
    parts = [table([{"what": name, "value": _text(card.get(name))} for name in head], ("what", "value"))]
    parts.append(table(card.get("columns", []), ("name", "type", "kind", "bins", "error", "note")))
    pairs = [{"pair": " x ".join(pair["columns"]), "error": pair["error"]} for pair in card.get("pairs", [])]
    if pairs:
        parts.append(table(pairs, ("pair", "error")))
    parts.append("Errors: share of rows that would have to move to fit the noisy counts. The data themselves are not compared.")
    return "\n\n".join(parts)


def _text(value: Any) -> str | None:
    match value:
        case None | "":
            return None
        case list():
            return ", ".join(map(str, value)) or None
        case Mapping():
            return ", ".join(f"{name} ({why})" for name, why in value.items()) or None
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)
