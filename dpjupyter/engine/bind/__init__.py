"""bind: Query, Policy -> BoundQuery. Every name is resolved to a column number; nothing is looked up by name afterwards.

scope.py        which names are visible where
relations.py    FROM, joins, CTEs, SELECT, set operations
expressions.py  scalar expressions, subqueries, windows
calls.py        aggregate functions
"""

from __future__ import annotations

from typing import cast

from sqlglot import exp

from dpjupyter.engine.bind.relations import Binder
from dpjupyter.engine.model import BoundQuery, Query, Saved, nothing_saved
from dpjupyter.engine.policy import Policy
from dpjupyter.errors import SyntaxRefused


def bind(query: Query, policy: Policy, saved: Saved = nothing_saved) -> BoundQuery:
    """Resolve tables, columns and functions against the policy; ``saved.NAME`` against what the analyst kept.

    Raises: UnknownName, FunctionRefused, UnsupportedSQL: with the place in the text.
    """
    try:
        binder = Binder(policy, query.dialect, saved)
        root, outputs = binder.query(cast("exp.Expression", query.tree.copy()))
    except RecursionError:
        raise SyntaxRefused("The query is nested too deeply.", hint="Split it into parts.") from None
    return BoundQuery(query, root, outputs, binder.saved)
