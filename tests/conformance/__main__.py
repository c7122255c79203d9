"""Run a folder of the corpus's form: ``python -m tests.conformance DIR [--schemas DIR] [--json] [--sql DIR]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.conformance.corpus import home
from tests.conformance.report import Corpus, as_json, by_tag, summary


def main(argv: list[str]) -> int:
    """Print the report; exit 1 if something that must be refused was answered, or an answer is wrong or not private."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="folder with accept.jsonl and reject.jsonl (default: the corpus beside the checkout)"
    )
    parser.add_argument("--schemas", type=Path, help="folder of the schemas, with gen_data.py beside it (default: DIR/schemas)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--sql", type=Path, help="write the statements of every answered query into this folder")
    parser.add_argument("--neighbours", type=int, default=1, help="units removed per query for the sensitivity property (0: skip)")
    options = parser.parse_args(argv)
    folder: Path = options.folder or home()
    schemas: Path = options.schemas or (folder / "schemas" if (folder / "schemas").is_dir() else home() / "schemas")
    corpus = Corpus(folder, schemas)
    verdicts = [corpus.verdict(case, neighbours=options.neighbours, compare=True) for case in corpus.all()]
    if options.sql:
        options.sql.mkdir(parents=True, exist_ok=True)
        for v in verdicts:
            if v.statements:
                (options.sql / f"{v.case.id}.sql").write_text(
                    ";\n\n".join([f"-- {v.case.sql.strip()}".replace("\n", "\n-- "), *v.statements]) + ";\n", encoding="utf-8"
                )
    counted = summary(verdicts)
    if options.json:
        print(as_json(verdicts))
    else:
        for level, entry in counted.items():
            if level != "problems":
                print(f"{level:22} answered {entry['answered']:4} of {entry['of']:4}   not answered: {', '.join(entry['missed'][:40])}")
        print("tags not wholly answered: " + ", ".join(f"{t} {a}/{n}" for t, (a, n) in by_tag(verdicts).items() if a < n))
        for id_, problems in counted["problems"].items():
            print(f"PROBLEM {id_}: {problems[0]}")
    return 1 if counted["problems"] or counted.get("must_reject", {}).get("answered") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
