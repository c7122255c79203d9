"""The IPython magic: reads the line, runs the session, shows the answer or one clear error."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from dpjupyter.errors import DpError
from dpjupyter.magics import commands
from dpjupyter.magics.channel import Channel
from dpjupyter.magics.completion import Completion
from dpjupyter.magics.options import parse, split_query
from dpjupyter.magics.progress import ProgressLine
from dpjupyter.magics.session import Session, address

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_INSTALLED: weakref.WeakKeyDictionary[InteractiveShell, DpsqlMagics] = weakref.WeakKeyDictionary()


@magics_class
class DpsqlMagics(Magics):
    """``%dpsql`` and ``%%dpsql`` of one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)  # pyright: ignore[reportUnknownMemberType]
        self.session = Session()
        self.channel = Channel(shell)
        self.completion = Completion(self.session)
        self.session.on_connected.append(self._announce)
        self.session.on_answered.append(self.channel.answered)

    @classmethod
    def install(cls, shell: InteractiveShell) -> None:
        """Register with a shell, once."""
        if shell in _INSTALLED:
            return
        magics = cls(shell)
        _INSTALLED[shell] = magics
        shell.register_magics(magics)
        shell.Completer.custom_matchers.append(magics.completion.matcher)
        shell.events.register("post_run_cell", magics.after_cell)

    @classmethod
    def remove(cls, shell: InteractiveShell) -> None:
        """Take magic and completion away and close the connection."""
        magics = _INSTALLED.pop(shell, None)
        if magics is None:
            return
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop("dpsql", None)
        shell.Completer.custom_matchers.remove(magics.completion.matcher)
        shell.events.unregister("post_run_cell", magics.after_cell)
        magics.channel.close()
        magics.session.close()

    @no_var_expand  # in SQL, `$` and `{}` are not Python's: values come in as :x
    @line_cell_magic
    def dpsql(self, line: str, cell: str | None = None) -> Any:
        """Ask SQL with differential privacy: ``%%dpsql [name <<] [options]`` above the SQL, or ``%dpsql help``."""
        sql = cell
        try:
            if cell is None and not commands.is_sql(line):
                return commands.run(self.session, line, self._variables)
            if cell is None:
                line, sql = split_query(line)
            elif self.shell is not None:
                line = self.shell.var_expand(line, depth=0)
            options = parse(line)
            with ProgressLine(in_kernel=self._in_kernel, enabled=self.session.settings.progress) as progress:
                result = commands.cell(self.session, options, sql or "", self._variables, progress.show)
        except DpError as error:
            self._raise_briefly(error, sql)
        if options.target is None:
            return result
        self._variables[options.target] = result
        print(f"{options.target}: {getattr(result, 'summary', None) or result.headline}")  # noqa: T201 - the cell's output
        return None

    def after_cell(self, _result: Any) -> None:
        """Bring shown panels up to date after somebody worked."""
        if self.session.follower is not None:
            self.session.follower.refresh()

    @property
    def _variables(self) -> dict[str, Any]:
        return self.shell.user_ns if self.shell is not None else {}

    @property
    def _in_kernel(self) -> bool:
        return getattr(self.shell, "kernel", None) is not None

    def _raise_briefly(self, error: DpError, sql: str | None) -> NoReturn:
        if not self.session.settings.traceback:
            shown = error.shown(sql).splitlines()
            # IPython asks an exception for its own traceback before it makes one.
            error._render_traceback_ = lambda: shown  # type: ignore[attr-defined]
        raise error from None

    def _announce(self, session: Session) -> None:
        connection = session.connection
        if connection is not None:
            name = connection.name if connection.configured else None
            chosen = session.settings
            defaults = {setting: getattr(chosen, setting) for setting in ("epsilon", "delta", "mechanism", "confidence")}
            self.channel.announce(connection.url, address(session.database) if session.database else None, name, defaults)
