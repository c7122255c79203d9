"""``make demo``: a gateway with sample data and a JupyterLab connected to it, until Ctrl-C.

Databases, ledger and your copies of the notebooks are kept in ``./.demo``; remove that folder to start afresh.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from dpjupyter.demo import leash
from dpjupyter.demo.gateway import Demo, free_port, launch

FIRST = "01_first_question.ipynb"
QUESTION = """%load_ext dpjupyter
%dpsql connect
===
%%dpsql passengers << --epsilon 1.0
SELECT pclass, COUNT(*) AS n, AVG(fare) AS fare FROM passengers GROUP BY pclass ORDER BY pclass
===
assert list(passengers.df["pclass"]) == [1, 2, 3]
assert abs(passengers.df["n"].sum() - 891) < 100, passengers.df
print(passengers)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo. Returns: exit status."""
    parser = argparse.ArgumentParser(prog="dpjupyter demo", description="A gateway with sample data and JupyterLab connected to it.")
    parser.add_argument("--check", action="store_true", help="ask one question through gateway and kernel, print the answer, exit")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="for databases, ledger and notebooks (default: ./.demo)")
    parser.add_argument("--port", type=int, default=0, help="JupyterLab's port (default: any free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    args = parser.parse_args(argv)
    missing = [name for name in (("nbclient",) if args.check else ("jupyterlab",)) if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"The demo needs {missing[0]}: pip install 'dpjupyter[demo]'\n")
        return 1
    try:
        with launch(args.folder) as demo:
            return check(demo) if args.check else serve(demo, args.port or free_port(), browser=not args.no_browser)
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0


def check(demo: Demo) -> int:
    """Ask one question as a notebook would: a real kernel, the magics, HTTP, the engine."""
    import nbformat  # noqa: PLC0415 - JupyterLab brings it; the gateway alone does not
    from nbclient import NotebookClient  # noqa: PLC0415
    from nbclient.exceptions import CellExecutionError  # noqa: PLC0415

    os.environ |= demo.environment
    cells = [nbformat.v4.new_code_cell(text.strip()) for text in QUESTION.split("===")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    try:
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    except CellExecutionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for output in notebook.cells[-1].outputs:
        sys.stdout.write(output.get("text", ""))
    sys.stdout.write("The demo works: one question was asked, paid for and answered.\n")
    return 0


def serve(demo: Demo, port: int, *, browser: bool) -> int:
    """Run JupyterLab on the first notebook until it is stopped."""
    notebooks = demo.folder / "notebooks"
    copy_notebooks(notebooks)
    token = secrets.token_urlsafe(24)
    command = [
        sys.executable, "-m", "jupyterlab",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--ServerApp.root_dir={notebooks}",
        f"--LabApp.default_url=/lab/tree/{FIRST}", f"--ServerApp.open_browser={browser}", "--log-level=WARN",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--ServerApp.allow_root=True")
    # In the environment, not on the command line: other users can read that.
    environment = os.environ | demo.environment | {"JUPYTER_TOKEN": token} | first_settings(demo.folder)
    sys.stdout.write(
        f"\n  JupyterLab: http://127.0.0.1:{port}/lab/tree/{FIRST}?token={token}\n"
        f"  Gateway:    {demo.url} (its log: {demo.folder / 'gateway.log'})\n"
        f"  Budgets and your notebooks are kept in {demo.folder}; remove it to start afresh. Ctrl-C stops everything.\n\n"
    )
    sys.stdout.flush()
    lab = leash.start(command, environ=environment)
    try:
        return lab.wait()
    finally:
        leash.stop(lab)


def first_settings(folder: Path) -> dict[str, str]:
    """JupyterLab asks whoever uses it for the first time about its news, over the first question: here it does not.

    Settings of one's own, where there are any, stay in force.
    """
    from jupyter_core.paths import jupyter_config_dir  # noqa: PLC0415 - JupyterLab brings it

    variable = "JUPYTERLAB_SETTINGS_DIR"
    if os.environ.get(variable) or Path(jupyter_config_dir(), "lab", "user-settings").exists():
        return {}
    settings = folder / "lab-settings"
    news = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    if not news.exists():
        news.parent.mkdir(parents=True, exist_ok=True)
        news.write_text('{"fetchNews": "false", "checkForUpdates": false}\n', encoding="utf-8")
    return {variable: str(settings)}


def copy_notebooks(target: Path) -> None:
    """Copy the tutorial into ``target``; what is there already may have been worked on, and stays."""
    source = Path(__file__).parents[2] / "notebooks"  # a source checkout
    if not source.joinpath(FIRST).is_file():
        source = Path(str(files("dpjupyter.demo") / "notebooks"))  # a wheel
    target.mkdir(parents=True, exist_ok=True)
    for notebook in sorted(source.glob("*.ipynb")):
        if not (target / notebook.name).exists():
            # Without outputs: numbers of somebody else's run would look as if the cells had been run here.
            (target / notebook.name).write_text(_fresh(notebook.read_text(encoding="utf-8")), encoding="utf-8")


def _fresh(notebook: str) -> str:
    """A notebook's text with its cells not yet run."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    content["metadata"].pop("widgets", None)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
