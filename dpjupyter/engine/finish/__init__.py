"""Noisy tables in, answer out: the rest of the query on released numbers, with intervals.

answer   the verb: load, run, sort out what is shown
desk     the in-memory DuckDB it happens in, cut off from everything else
replays  intervals of columns that are computed from noisy ones
filed    an answer as JSON and back
"""

from dpjupyter.engine.finish.answer import finish
from dpjupyter.engine.finish.filed import from_json, to_json

__all__ = ["finish", "from_json", "to_json"]
