"""The synthetic twin: a table's rows without people, published once, paid for once, explored freely.

bins.py        a column's finite bins, from the policy alone
layout.py      a table's columns, keys, and the table it hangs on
price.py       what it costs, and how that is spent
statements.py  integer GROUP BYs for the warehouse, and why no unit counts for more than m rows in them
counts.py      what they return: exact, and never seen outside
choose.py      which pairs of columns are measured: a tree, by the exponential mechanism
measure.py     noise; what leaves it is released
fit.py         a model of it (projection.py: the arithmetic)
sample.py      rows drawn from the model
store.py       files; card.py: what is said of them
publish.py     quote_twin, publish_twin: all of it in order
use.py         questions answered from twins; rehearse.py: private questions rehearsed on them
"""

from dpjupyter.engine.synthetic.card import Card
from dpjupyter.engine.synthetic.publish import Publication, publish_twin, quote_twin
from dpjupyter.engine.synthetic.store import TwinStore

__all__ = ["Card", "Publication", "TwinStore", "publish_twin", "quote_twin"]
