"""``dpjupyter policy init | check | schema | reload``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from dpjupyter.cli import advice
from dpjupyter.cli.output import Failed, json_option, say, say_json
from dpjupyter.engine.policy import Policy, load, schema

EXAMPLES = """\
examples:
  dpjupyter policy init duckdb:///shop.duckdb --name shop --output policies/shop.toml
  dpjupyter policy check policies/                 every file of the folder, and whether they fit together
  dpjupyter policy check policies/shop.toml --warehouse
  dpjupyter policy schema > policy.schema.json     for editors
  dpjupyter policy reload https://gateway:8899 --token-file owner.token
"""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the command."""
    del name
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    init = actions.add_parser("init", help="write a skeleton from the warehouse's declared schema (names and types only)")
    init.add_argument("url", help="warehouse: duckdb:///path/to/file or snowflake://connection_name")
    init.add_argument("--name", help="database name that analysts will use; default: from the URL")
    init.add_argument(
        "--prefix", default="localhost", help="host of the database, first part of every budget row's name (default: %(default)s)"
    )
    init.add_argument("--output", type=Path, help="file to write; it must not exist (default: standard output)")
    init.set_defaults(run=run_init)

    check = actions.add_parser("check", help="explain everything that is wrong or missing")
    check.add_argument("path", type=Path, help="a policy file, or a folder of them")
    check.add_argument(
        "--warehouse", action="store_true", help="also compare names, types, NULLs and keys with the warehouse's catalogue (no row is read)"
    )
    check.add_argument("--strict", action="store_true", help="exit with 1 when something is missing, not only when something is wrong")
    json_option(check)
    check.set_defaults(run=run_check)

    show = actions.add_parser("schema", help="print the JSON Schema of policy files")
    show.set_defaults(run=run_schema)

    reload = actions.add_parser("reload", help="make a running gateway read its policy folder again")
    reload.add_argument("gateway", help="the gateway's address, e.g. https://gateway.example.org:8899")
    reload.add_argument("--token-file", type=Path, required=True, help="file that holds an owner's token")
    reload.add_argument("--cafile", type=Path, help="certificate authority of the gateway, if it is a private one")
    json_option(reload)
    reload.set_defaults(run=run_reload)


def run_init(args: argparse.Namespace) -> int:
    """Write a skeleton. The data is not read: names, types and declared keys only."""
    from dpjupyter.engine.backends.describe import describe  # noqa: PLC0415 - opens the warehouse
    from dpjupyter.engine.backends.skeleton import skeleton  # noqa: PLC0415

    text = skeleton(describe(args.url), prefix=args.prefix, name=args.name or _name(args.url), url=args.url)
    if args.output is None:
        say(text.rstrip("\n"))
        return 0
    try:
        with args.output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failed(f"{args.output} cannot be written: {error.strerror}") from None
    sys.stderr.write(f"{args.output} written. Fill in `unit` and the bounds, then: dpjupyter policy check {args.output}\n")
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Read policies as the gateway would, then say what analysts will be refused for want of it."""
    policies = _read(args.path)
    found = [
        {"database": f"{p.database.prefix}/{p.database.name}", **note.as_dict()}
        for p in policies
        for note in _notes(p, warehouse=args.warehouse)
    ]
    wrong = [note for note in found if note["level"] == "wrong"]
    if args.json:
        say_json(
            {
                "policies": [{"prefix": p.database.prefix, "name": p.database.name, "sha256sum": p.checksum} for p in policies],
                "notes": found,
            }
        )
    else:
        for policy in policies:
            say(f"{policy.database.prefix}/{policy.database.name}: {len(policy.tables)} tables, sha256sum {policy.checksum}")
            for note in found:
                if note["database"] == f"{policy.database.prefix}/{policy.database.name}":
                    say(f"  {note['level']}: {note['where']}: {note['what']}\n      {note['then']}")
        say(
            "nothing is wrong" + (f", {len(found)} things are missing" if found else ", nothing is missing")
            if not wrong
            else f"{len(wrong)} things are wrong"
        )
    return 1 if wrong or (args.strict and found) else 0


def run_schema(args: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    del args
    say(json.dumps(schema(), indent=2))
    return 0


def run_reload(args: argparse.Namespace) -> int:
    """Ask a running gateway to reload; it keeps its policies if a file is broken."""
    import httpx  # noqa: PLC0415 - only here

    from dpjupyter.wire import RELOAD  # noqa: PLC0415

    try:
        token = args.token_file.read_text(encoding="utf-8").strip()
        verify = str(args.cafile) if args.cafile else True
        reply = httpx.post(args.gateway.rstrip("/") + RELOAD, headers={"Authorization": f"token {token}"}, verify=verify, timeout=60)
        status = reply.json()["status"]
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise Failed(f"the gateway at {args.gateway} could not be asked ({type(error).__name__})") from None
    if status["code"] != 200:
        raise Failed(status["Message"])
    if args.json:
        say_json(status["data"])
        return 0
    for policy in status["data"]["policies"]:
        say(f"{policy['prefix']}/{policy['name']}  {policy['sha256sum']}  {'changed' if policy['changed'] else 'as before'}")
    return 0


def _name(url: str) -> str:
    parts = urlsplit(url)
    return PurePosixPath(parts.path).stem or parts.netloc or "database"


def _read(path: Path) -> list[Policy]:
    if not path.is_dir():
        return [load(path)]
    from dpjupyter.gateway.shelf import Shelf  # noqa: PLC0415 - a folder is read as the gateway reads it

    return list(Shelf.read(path).policies.values())


def _notes(policy: Policy, *, warehouse: bool) -> list[advice.Note]:
    notes = advice.missing(policy)
    if warehouse:
        from dpjupyter.cli.comparison import differences  # noqa: PLC0415
        from dpjupyter.engine.backends.describe import describe  # noqa: PLC0415 - opens the warehouse

        notes += differences(policy, describe(policy.database.backend))
    return notes
