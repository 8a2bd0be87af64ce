"""A forest of decision trees over (upload, category), compiled.

A row of the forest is put together here, out of what belongs to the upload and what belongs to
the category; `udfs.fusion_lightgbm.FEATURES` names its columns in this order: the category's
score and the highest other score (both log-odds), weight of its strongest rule and of all of its
rules, the upload's columns, and a one for the category among zeros.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from udfs.compiled import compiled

TINY: Final = 1e-6
"""Probabilities of exactly 0 or 1 have no log-odds; they are taken as this far from it."""
_TABLE: Final = numba.types.Array(numba.float64, 2, "C")
_I: Final = numba.int64
# Arrays of a loaded file are not written to.
_COLUMNS: Final = numba.types.Array(numba.uint8, 2, "C", readonly=True)
_CUTS: Final = numba.types.Array(numba.float64, 2, "C", readonly=True)
_SIDES: Final = numba.types.Array(numba.bool_, 2, "C", readonly=True)


@compiled(numba.float64(numba.float64))
def log_odds(probability: Any) -> Any:
    """Log-odds of a probability, kept off 0 and 1; NaN for NaN."""
    kept = min(max(probability, TINY), 1.0 - TINY)
    if math.isnan(probability):
        return math.nan
    return math.log(kept / (1.0 - kept))


@compiled(numba.void(_TABLE, _TABLE, _TABLE, _TABLE, _COLUMNS, _CUTS, _SIDES, _CUTS, _I, _TABLE))
def fuse_rows(
    uploads: Any,
    scores: Any,
    strongest: Any,
    total: Any,
    feature: Any,
    threshold: Any,
    missing_right: Any,
    value: Any,
    depth: Any,
    out: Any,
) -> None:
    """Fuse every upload and category.

    A tree is whole: below inner node k are 2 k + 1 and 2 k + 2, and all leaves lie equally deep.
    So a walk has no branch that a processor could guess wrongly. All rows walk one tree before
    the next is looked at.

    Args:
        uploads: what belongs to the upload, shape (n, columns); NaN where not known.
        scores: calibrated probabilities, shape (n, categories); NaN where no model scored.
        strongest: weight of the category's strongest rule, shape (n, categories).
        total: of all of its rules, shape (n, categories).
        feature: column that an inner node looks at, shape (trees, nodes).
        threshold: above it a row goes right, shape (trees, nodes).
        missing_right: whether a NaN goes right, shape (trees, nodes).
        value: what a leaf adds, in log-odds, shape (trees, nodes + 1).
        depth: of every tree; nodes are 2 ** depth - 1.
        out: filled with probabilities, shape (n, categories); NaN where the score is.
    """
    own = uploads.shape[1]
    categories = scores.shape[1]
    rows = np.zeros((uploads.shape[0] * categories, 4 + own + categories))
    for i in range(uploads.shape[0]):
        for c in range(categories):
            row = rows[i * categories + c]
            row[0] = log_odds(scores[i, c])
            row[2] = strongest[i, c]
            row[3] = total[i, c]
            for k in range(own):
                row[4 + k] = uploads[i, k]
            row[4 + own + c] = 1.0
        for c in range(categories):
            highest = math.nan
            for other in range(categories):
                value_of = rows[i * categories + other, 0]
                if other != c and (math.isnan(highest) or value_of > highest):
                    highest = value_of
            rows[i * categories + c, 1] = highest
    odds = rows[:, 0].copy()
    # Unsigned places are looked up without asking whether they count from the end.
    columns, cuts = feature.ravel(), threshold.ravel()
    sides, values = missing_right.ravel(), value.ravel()
    one, nodes = np.uint64(1), np.uint64(feature.shape[1])
    first = np.uint64(0)
    leaves = np.uint64(0)
    for _ in range(feature.shape[0]):
        for i in range(rows.shape[0]):
            node = np.uint64(0)
            for _ in range(depth):
                at = first + node
                x = rows[i, columns[at]]
                right = (x > cuts[at]) | (math.isnan(x) & sides[at])
                node = node + node + one + np.uint64(right)
            odds[i] += values[leaves + node - nodes]
        first += nodes
        leaves += nodes + one
    for i in range(uploads.shape[0]):
        for c in range(categories):
            out[i, c] = 1.0 / (1.0 + math.exp(-odds[i * categories + c]))
