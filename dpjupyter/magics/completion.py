"""What Tab offers in ``%dpsql`` lines and ``%%dpsql`` cells: commands, options, tables, columns, functions, keywords.

Only what is in memory is offered: no key press waits for the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from dpjupyter.magics.options import BY_FLAG, OPTIONS

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

    from dpjupyter import wire
    from dpjupyter.magics.session import Session

KEYWORDS: tuple[str, ...] = tuple(
    """
    SELECT DISTINCT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET AS AND OR NOT IN BETWEEN LIKE ILIKE IS NULL TRUE FALSE CASE WHEN
    THEN ELSE END CAST JOIN LEFT RIGHT FULL INNER CROSS ON USING UNION ALL INTERSECT EXCEPT WITH EXISTS OVER PARTITION ROWS RANGE
    ASC DESC NULLS FIRST LAST FILTER INTERVAL DATE TIMESTAMP EXTRACT GROUPING SETS ROLLUP CUBE QUALIFY
    """.split()  # noqa: SIM905 - sixty quoted words would be a wall
)
AGGREGATES = ("COUNT", "SUM", "AVG", "MEDIAN", "MIN", "MAX", "STDDEV", "VARIANCE", "COUNT_IF", "WIDTH_BUCKET", "DATE_TRUNC", "FLOOR")
VALUES = {"--mechanism": ("laplace", "gauss"), "--confidence": ("0.5", "0.8", "0.9", "0.95", "0.99")}

Match = tuple[str, str]  # text, kind


class Completion:
    """Completions from one session's catalogue."""

    def __init__(self, session: Session) -> None:
        """Remember the session; its catalogue is read at each key press."""
        self._session = session

        def matcher(context: CompletionContext) -> Any:
            return self._match(context)

        # IPython marks the function it is given, which a bound method does not allow.
        self.matcher: Callable[[CompletionContext], Any] = context_matcher(identifier="dpjupyter")(matcher)

    def offered(self, text: str, cursor_line: int, line_until_cursor: str) -> tuple[str, list[Match]]:
        """The token being typed and what could stand in its place.

        Args:
            text: the whole cell.
            cursor_line: line of the cursor, from 0.
            line_until_cursor: that line up to the cursor.
        """
        token = re.search(r"[^\s,()=<>!+*/%|;'\"]*$", line_until_cursor).group()  # type: ignore[union-attr] - matches always
        cell = re.match(r"\s*%%dpsql\b", text)
        line = re.match(r"\s*(?:\w[\w.\[\]]*\s*=\s*)?%dpsql\s+", line_until_cursor)
        if cell is not None and cursor_line > text[: cell.end()].count("\n"):
            offered = [] if _in_string(line_until_cursor) else self._sql(token)
        elif cell is not None:
            offered = self._options(line_until_cursor[: len(line_until_cursor) - len(token)])
        elif line is not None:
            offered = self._line(line_until_cursor[line.end() :], token)
        else:
            return token, []
        return token, _starting(token, offered)

    def _match(self, context: CompletionContext) -> Any:
        token, offered = self.offered(context.full_text, context.cursor_line, context.text_until_cursor)
        ours = re.match(r"\s*%%dpsql\b", context.full_text) or re.match(r"\s*(?:\w[\w.\[\]]*\s*=\s*)?%dpsql\s", context.text_until_cursor)
        completions = [SimpleCompletion(text=text, type=kind) for text, kind in offered]
        return {"completions": completions, "matched_fragment": token, "suppress": bool(ours), "ordered": True}

    def _line(self, written: str, token: str) -> Iterable[Match]:
        from dpjupyter.magics.commands import BY_NAME, COMMANDS, is_sql  # noqa: PLC0415 - commands import the session

        words = written[: len(written) - len(token)].split()
        if not words:
            return [*((command.name, "command") for command in COMMANDS), *self._options(""), ("SELECT", "keyword"), ("WITH", "keyword")]
        match words[0]:
            case "describe":
                return self._tables()
            case "use":
                return self._databases()
            case "connect":
                return [*self._connections(), ("--database", "option")] if words[-1] != "--database" else self._databases()
            case "help":
                return [*((name, "command") for name in BY_NAME), *((flag, "option") for flag in BY_FLAG)]
            case "saved":
                return self._saved(written[: len(written) - len(token)])
            case "config":
                from dpjupyter.magics.settings import ABOUT  # noqa: PLC0415 - as above

                return [(f"{name}=", "setting") for name in ABOUT]
            case "explain":
                return self._sql(token)
            case _:
                return self._sql(token) if is_sql(written) and not token.startswith("--") else self._options(" ".join(words))

    def _options(self, before: str) -> Iterable[Match]:
        words = before.split()
        last = words[-1] if words else ""
        if before.rstrip().endswith("=") and "=" in last:
            last = last.rstrip("=")
        if last in VALUES:
            return [(value, "value") for value in VALUES[last]]
        if last == "--database":
            return self._databases()
        if last in BY_FLAG and BY_FLAG[last].value and not BY_FLAG[last].value.startswith("["):
            return []
        given = set(words) - {"--param"}
        return [(option.flag, "option") for option in OPTIONS if option.flag not in given]

    def _sql(self, token: str) -> Iterable[Match]:
        database = self._session.database
        tables = [*database.tables, *saved_tables(database)] if database is not None else []
        owner, dot, _ = token.rpartition(".")
        if dot and owner.casefold() == "saved":
            return [(table.name, "table") for table in tables if table.name.startswith("saved.")]
        if dot:
            # `table.column`, or `alias.column`: an alias is not resolved, so every column fits it.
            known = [table for table in tables if table.name.casefold() == owner.casefold()] or tables
            return dict.fromkeys((f"{owner}.{column.name}", "column") for table in known for column in table.columns)
        columns = dict.fromkeys((column.name, "column") for table in tables for column in table.columns)
        functions: list[str] = [*AGGREGATES, *(database.functions if database is not None else [])]
        keywords = [(word.lower() if token.islower() else word, "keyword") for word in KEYWORDS]
        calls = [(name.lower() if token.islower() else name, "function") for name in dict.fromkeys(functions)]
        return [*((table.name, "table") for table in tables), *columns, *keywords, *calls]

    def _tables(self) -> Iterable[Match]:
        database = self._session.database
        return [(table.name, "table") for table in (*database.tables, *saved_tables(database))] if database is not None else []

    def _saved(self, written: str) -> Iterable[Match]:
        if written.split()[1:]:
            return [(table.name, "table") for table in self._session.database.saved] if self._session.database is not None else []
        return [("forget", "command")]

    def _databases(self) -> Iterable[Match]:
        return [(database.name, "database") for database in self._session.catalog.databases] if self._session.catalog is not None else []

    def _connections(self) -> Iterable[Match]:
        from dpjupyter import connections  # noqa: PLC0415 - read only when asked for
        from dpjupyter.errors import NotConnected  # noqa: PLC0415

        try:
            return [(name, "connection") for name in connections.names()]
        except NotConnected:
            return []


def saved_tables(database: wire.CatalogDatabase) -> list[wire.CatalogTable]:
    """What the analyst kept, as tables named ``saved.NAME``."""
    from dpjupyter import wire  # noqa: PLC0415 - pydantic; the session that has a database has it already

    return [wire.CatalogTable(name=f"saved.{table.name}", private=False, columns=table.columns) for table in database.saved]


def _starting(token: str, offered: Iterable[Match]) -> list[Match]:
    return [match for match in offered if match[0].casefold().startswith(token.casefold()) and match[0] != token]


def _in_string(line: str) -> bool:
    # Within one line; a string over several lines is rare, and the worst is a needless offer.
    return line.count("'") % 2 == 1 or "--" in re.sub(r"'[^']*'", "", line)
