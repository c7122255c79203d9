"""Run the notebooks and store their outputs anew (``scripts/notebooks.sh refresh``).

Widgets are stored as text: their live state means nothing to a reader. A cell that raises without being tagged so stops the run.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
LIVE = "application/vnd.jupyter.widget-view+json"


def refresh(path: Path) -> None:
    """Run one notebook and write it back."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(LIVE, None)
    nbformat.write(notebook, path)
    print(path.name)


if __name__ == "__main__":
    for chosen in sorted(FOLDER.glob("*.ipynb")):
        refresh(chosen)
