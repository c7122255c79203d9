"""Noisy counts made possible: not negative, of one total, and agreeing with each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
ROUNDS = 100  # of proportional fitting: tables here converge in a few


def on_simplex(counts: Reals, total: float) -> Reals:
    """The nearest table (least squares) without negative cells whose sum is ``total``.

    Source: Duchi et al. 2008, "Efficient projections onto the l1-ball".
    """
    if total <= 0 or counts.size == 0:
        return np.zeros_like(counts)
    flat = counts.reshape(-1)
    falling = np.sort(flat)[::-1]
    over = (np.cumsum(falling) - total) / np.arange(1, flat.size + 1)
    last = int(np.nonzero(falling > over)[0][-1])
    return np.maximum(flat - over[last], 0.0).reshape(counts.shape)


def fitted(table: Reals, rows: Reals, columns: Reals) -> Reals:
    """The table scaled to these sums of its rows and columns (which have one total): proportional fitting.

    A cell that is zero but must not be, because its row or column has no other, gets a trace of independence first.
    """
    total = float(rows.sum())
    if total <= 0:
        return np.zeros_like(table)
    result = table + 1e-6 * np.outer(rows, columns) / total
    for _ in range(ROUNDS):
        result *= (rows / np.maximum(result.sum(axis=1), 1e-300))[:, None]
        result *= (columns / np.maximum(result.sum(axis=0), 1e-300))[None, :]
        if np.abs(result.sum(axis=1) - rows).sum() <= 1e-6 * total:
            break
    return result
