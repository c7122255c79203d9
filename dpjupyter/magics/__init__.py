"""``%%dpsql`` and ``%dpsql``.

options      the first line of a cell: one table for parsing, completion and help
parameters   ``:name`` placeholders and the notebook variables that fill them
settings     defaults of a notebook: from the connections file, changed by ``%dpsql config``
session      one notebook's connection, catalogue and history; asking and paying
within       solving for epsilon from a wanted half-width
commands     ``%dpsql tables``, ``budget``, ``history`` ...
listing      tables of text and HTML that commands return
progress     the line that shows while a query runs
channel      tells the JupyterLab extension which gateway and database this kernel uses
completion   what Tab offers
magic        the IPython magic itself

Loading this package imports none of pydantic, httpx, pandas, ipywidgets: they come when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def register(shell: InteractiveShell) -> None:
    """Make the magics known to a shell; loading twice does no harm."""
    from dpjupyter.magics.magic import DpsqlMagics  # noqa: PLC0415 - IPython's entry point stays light

    DpsqlMagics.install(shell)


def unregister(shell: InteractiveShell) -> None:
    """Take them away again."""
    from dpjupyter.magics.magic import DpsqlMagics  # noqa: PLC0415 - as above

    DpsqlMagics.remove(shell)
