"""dpjupyter: SQL with differential privacy in Jupyter. ``%load_ext dpjupyter`` to begin."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def load_ipython_extension(ipython: Any) -> None:
    """Register ``%dpsql`` and ``%%dpsql``."""
    from dpjupyter.magics import register  # noqa: PLC0415 - imported only when asked for

    register(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take ``%dpsql`` and ``%%dpsql`` away again."""
    from dpjupyter.magics import unregister  # noqa: PLC0415 - imported only when asked for

    unregister(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:  # pyright: ignore[reportUnusedFunction] - `jupyter-builder develop` asks
    """Where the built JupyterLab extension is, and its name."""
    return [{"src": "labextension", "dest": "dpjupyter"}]
