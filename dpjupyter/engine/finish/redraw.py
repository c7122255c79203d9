"""Fresh draws of known noise: permutations by a fixed hash, and the numbers of saved tables laid out in every replay."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.intervals import REPLAY, ROW, quantiles
from dpjupyter.engine.model import CONFIDENCES, Kind, SavedColumn, SavedTable

_NUMBERS = frozenset({Kind.INT, Kind.DECIMAL, Kind.FLOAT})


def mixed(rows: int, replays: int, seed: int) -> npt.NDArray[np.intp]:
    """One permutation of the replays per row, by a fixed hash (splitmix64 of row and replay)."""
    row = np.arange(rows, dtype=np.uint64)[:, None] + np.uint64(seed)
    numbers = row * np.uint64(1 << 20) + np.arange(replays, dtype=np.uint64)[None, :] + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(numbers ^ (numbers >> np.uint64(31)), axis=1)


def drawable(name: str, table: SavedTable, used: AbstractSet[str]) -> list[tuple[str, SavedColumn]]:
    """Columns that replays move, by the names of the table's scan; ``used`` are those that are read at all."""
    named = ((f"{name}_{n}", column) for n, column in enumerate(table.columns))
    return [(shown, column) for shown, column in named if shown in used and column.replayable and column.type.kind in _NUMBERS]


def redrawn(
    name: str, table: SavedTable, used: AbstractSet[str], replays: int, seed: int
) -> tuple[dict[str, npt.NDArray[np.generic]], int]:
    """Noisy numbers of a saved table in every replay, by the names of its scan, and the next free seed.

    A number shown unchanged gets its own noise again; a computed one is drawn along the intervals it was shown with.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {
        ROW: np.repeat(np.arange(table.rows), replays + 1),
        REPLAY: np.tile(np.arange(replays + 1), table.rows),
    }
    for shown, column in drawable(name, table, used):
        base = np.array([float(value) if value is not None else 0.0 for value in column.values], dtype=np.float64)
        order = mixed(table.rows, replays, seed)
        values = np.repeat(base[:, None], replays + 1, axis=1)
        if column.noise is not None:
            steps = np.array(quantiles(column.noise, replays), dtype=np.float64) * column.grid
            values[:, 1:] += steps[order]
        else:
            for row, value in enumerate(base):
                values[row, 1:] = _along(column, row, value, (order[row] + 0.5) / replays)
        arrays[shown] = values.reshape(-1)
        seed += table.rows
    return arrays, seed


def _along(column: SavedColumn, row: int, value: float, levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quantiles of one cell between those its intervals tell; beyond the widest interval its end stands for the rest."""
    known = [(c, cell) for c, cell in zip(CONFIDENCES, column.cells[row], strict=True) if cell is not None]
    points = [((1 - c) / 2, cell[0]) for c, cell in reversed(known)]
    points += [(0.5, min(max(value, known[0][1][0]), known[0][1][1]))] if known else [(0.5, value)]
    points += [((1 + c) / 2, cell[1]) for c, cell in known]
    return np.interp(levels, [p for p, _ in points], [v for _, v in points])
