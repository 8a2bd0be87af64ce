"""Cost against quality of the cascade: what it is worth to let the heavy tier see more texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scripts.cli.evaluate.curves import Curve
from scripts.cli.evaluate.metrics import LEAST_OF_EACH
from udfs.contracts import FloatMatrix
from udfs.text_tiers import HIGH, Blend, joined_names, merged, needs_deep

FloatArray = npt.NDArray[np.float64]

LOWS: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,
)  # fmt: skip


def frontier(
    labels: FloatArray,
    fast: FloatMatrix,
    fast_names: Sequence[str],
    deep: FloatMatrix,
    deep_names: Sequence[str],
    *,
    fast_us: float,
    deep_us: float,
    blend: Blend | None = None,
) -> list[dict[str, Any]]:
    """Quality of the merged scores for bands of every width, by the share that they send on.

    Two families: `symmetric` bands [p, 1 - p], held to one confidence, and `low` bands
    [p, the default high]. `fast` and `deep` are the ends: none sent, and all.

    Args:
        labels: 0, 1 or NaN, shape (n, columns of the merged scores).
        fast: probabilities of the fast tier, shape (n, fast_names).
        fast_names: its categories.
        deep: of the heavy tier for every text, shape (n, deep_names).
        deep_names: its categories.
        fast_us: CPU time of the fast tier a text, microseconds.
        blend: how the heavy tier wants to be joined with the fast one.
        deep_us: of the heavy tier. The longer texts among those sent cost more than this mean.

    Returns:
        By band: `share` sent to the heavy tier, `us` a text, `pr_auc` and `roc_auc` by category
        and their `macro` mean. Sorted by share.
    """
    every = np.arange(len(fast))
    bands: list[tuple[str, float, float]] = [("symmetric", low, 1 - low) for low in LOWS]
    bands += [("low", low, HIGH) for low in LOWS]
    points = [("fast", 1.0, 1.0, every[:0]), ("deep", 0.0, 1.0, every)]
    points += [
        (kind, low, high, np.flatnonzero(needs_deep(fast, low, high))) for kind, low, high in bands
    ]
    names = joined_names(fast_names, deep_names)
    out = []
    for kind, low, high, rows in points:
        scores = merged(fast, fast_names, deep[rows], deep_names, rows, blend)
        share = len(rows) / max(len(fast), 1)
        quality = _quality(labels, scores.astype(np.float64), names)
        out.append(
            {"kind": kind, "low": low, "high": high, "share": share,
             "us": fast_us * (kind != "deep") + share * deep_us, **quality}
        )  # fmt: skip
    return sorted(out, key=lambda point: (point["share"], point["kind"], point["low"]))


def _quality(labels: FloatArray, scores: FloatArray, names: Sequence[str]) -> dict[str, Any]:
    out: dict[str, dict[str, float]] = {"pr_auc": {}, "roc_auc": {}}
    for column, name in enumerate(names):
        known = ~np.isnan(labels[:, column]) & ~np.isnan(scores[:, column])
        truth = labels[known, column]
        if min(truth.sum(), len(truth) - truth.sum()) >= LEAST_OF_EACH:
            figures = Curve(truth, scores[known, column]).figures(0.5, 1.0)
            for figure, values in out.items():
                values[name] = figures[figure]
    for values in out.values():
        if values:
            values["macro"] = float(np.mean(list(values.values())))
    return out
