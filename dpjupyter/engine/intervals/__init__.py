"""How far an answer may be from the truth.

spread   exact half-widths and quantiles of the discrete noises
replay   the finishing algebra rewritten to run on many replays of the known noise at once
"""

from dpjupyter.engine.intervals.replay import REPLAY, REPLAYS, ROW, Carried, Carrier, noisy_tables, replayed_name
from dpjupyter.engine.intervals.spread import half_width, quantiles

__all__ = ["REPLAY", "REPLAYS", "ROW", "Carried", "Carrier", "half_width", "noisy_tables", "quantiles", "replayed_name"]
