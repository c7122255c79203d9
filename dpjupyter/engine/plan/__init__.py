"""plan: BoundQuery -> Plan. Cuts the query at its measurements; what stands above them is finished on released tables.

normalise.py    WHERE equalities into joins; unused columns dropped
relation.py     what is known of a relation: its unit, facts, keys
relations.py    the recursive function, operator by operator
units.py        scans and foreign-key paths
joins.py        join rules
per_unit.py     GROUP BY that contains the unit
windows.py      window functions
set_ops.py      UNION, INTERSECT, EXCEPT
public.py       public relations: how many rows, which keys, and nothing private in them
measure.py      GROUP BY that does not: measurements, keys
statistics.py   which integers an aggregate needs, and how it is finished
quantiles.py    the bins a quantile is chosen from
parts.py        a measurement's statements
pushdown.py     one statement: per row, per person, at most k groups, per key
eager.py        aggregation before joins
fixed_point.py  values as integers on a grid
named.py        what the finishing SQL uses several times
saved.py        tables the analyst kept: released, and read again
outputs.py      columns of the answer; public tables it reads
canonical.py    equal questions, equal texts
growth.py       how long texts can become
"""

from __future__ import annotations

import hashlib
import json

from dpjupyter.engine.algebra import place_in, walk
from dpjupyter.engine.model import Ask, BoundQuery, Plan, Scan
from dpjupyter.engine.plan.canonical import canonical
from dpjupyter.engine.plan.growth import check_texts
from dpjupyter.engine.plan.normalise import prune, push_filters
from dpjupyter.engine.plan.outputs import assemble
from dpjupyter.engine.plan.relations import Planner
from dpjupyter.engine.plan.saved import SavedScans
from dpjupyter.engine.policy import Policy
from dpjupyter.errors import PrivacyUnitLost, SyntaxRefused


def plan(bound: BoundQuery, policy: Policy, ask: Ask | None = None) -> Plan:
    """Decide what is measured, how contributions are bounded, and how the answer is finished.

    Raises: Refused: PrivacyUnitLost, BoundsMissing, UnsupportedSQL, AskRefused.
    """
    ask = ask or Ask()
    try:
        check_texts(bound.root)
        text, _ = canonical(bound.root)
        names = [f.name for f in bound.outputs]
        kept = sorted((name, table.sha256) for name, table in bound.saved.items())
        asked = json.dumps([text, names, ask.max_rows, ask.max_groups, kept])  # no name can end one part and begin the next
        fingerprint = hashlib.sha256(asked.encode()).hexdigest()
        needed = frozenset(f.id for f in bound.outputs)
        root = prune(push_filters(bound.root), needed, _unit_columns(policy))
        planner = Planner(policy, ask, _last_id(bound), SavedScans(bound.saved))
        relation = planner.visit(root)
        if relation.private:
            raise PrivacyUnitLost(
                "This would show rows of people, not aggregates of them."
                if not relation.unit or not relation.unit.ids
                else "This would show one row per person.",
                hint="Aggregate the rows: COUNT, SUM, AVG, ... with GROUP BY something that many people share.",
                place=next((f.place for f in bound.outputs if f.place is not None), None) or place_in(bound.root),
            )
        return assemble(planner, relation, bound, policy, fingerprint)
    except RecursionError:
        raise SyntaxRefused("The query is nested too deeply.", hint="Split it into parts.") from None


def _unit_columns(policy: Policy) -> frozenset[str]:
    """Columns that scans keep even where the query does not name them: units and the keys of their paths."""
    names = {key[0] for table in policy.tables.values() for key in table.keys if len(key) == 1}
    for table in policy.tables.values():
        if table.unit is not None:
            names |= {table.unit.column, *(s.column for s in table.unit.path), *(s.ref_column for s in table.unit.path)}
    return frozenset(names - {""})


def _last_id(bound: BoundQuery) -> int:
    ids = [int(i[1:]) for rel in walk(bound.root) if isinstance(rel, Scan) for i in rel.columns]
    return max([*ids, *(int(f.id[1:]) for f in bound.outputs), 0]) + 100_000
