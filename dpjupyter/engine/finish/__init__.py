"""Noisy tables in, answer out: the rest of the query on released numbers, with intervals.

answer   the verb: load, run, sort out what is shown
desk     the in-memory DuckDB it happens in, cut off from everything else
replays  intervals of columns that are computed from noisy ones
filed    an answer as JSON and back
kept     an answer as a table that later questions read
"""

from dpjupyter.engine.finish.answer import finish, tried
from dpjupyter.engine.finish.filed import from_json, to_json
from dpjupyter.engine.finish.kept import Head, head_of, keep, kept, tables_behind, unique

__all__ = ["Head", "finish", "from_json", "head_of", "keep", "kept", "tables_behind", "to_json", "tried", "unique"]
