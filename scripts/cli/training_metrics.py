"""How good scores are: ROC-AUC, average precision, calibration error, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.calibration import expected_calibration_error

FloatArray = npt.NDArray[np.float64]
Metric = Callable[[FloatArray, FloatArray], float]

RESAMPLES: Final = 300


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its 95% percentile-bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def roc_auc(labels: FloatArray, scores: FloatArray) -> float:
    """Chance that a positive scores above a negative, ties counting half (Mann-Whitney)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = labels > 0.5
    ups = int(positive.sum())
    downs = len(labels) - ups
    return float((ranks[positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


def average_precision(labels: FloatArray, scores: FloatArray) -> float:
    """Area under the precision-recall curve as a step sum; ties enter together."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    last = np.append(np.diff(scores[order]) != 0, True)
    precision = hits[last] / (np.flatnonzero(last) + 1)
    recall = hits[last] / hits[-1]
    return float((np.diff(recall, prepend=0) * precision).sum())


def calibration_error(labels: FloatArray, scores: FloatArray) -> float:
    """Expected calibration error, 15 bins of equal mass."""
    return expected_calibration_error(scores, labels)


def precision_at(threshold: float) -> Metric:
    """Share of positives among those at or above `threshold`; NaN where there are none."""

    def metric(labels: FloatArray, scores: FloatArray) -> float:
        chosen = scores >= threshold
        return float(labels[chosen].mean()) if chosen.any() else float("nan")

    return metric


def recall_at(threshold: float) -> Metric:
    """Share of the positives that are at or above `threshold`."""

    def metric(labels: FloatArray, scores: FloatArray) -> float:
        return float((scores[labels > 0.5] >= threshold).mean())

    return metric


def estimate(
    metric: Metric,
    labels: FloatArray,
    scores: FloatArray,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A metric and its interval; resampling keeps the number of positives and negatives.

    Args:
        metric: of labels and scores.
        labels: 0 or 1, both present.
        scores: shape of `labels`.
        seed: of the resampling.
        resamples: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    up, down = np.flatnonzero(labels > 0.5), np.flatnonzero(labels <= 0.5)
    values = []
    for _ in range(resamples):
        rows = np.concatenate((rng.choice(up, len(up)), rng.choice(down, len(down))))
        values.append(metric(labels[rows], scores[rows]))
    low, high = np.nanquantile(values, (0.025, 0.975))
    return Estimate(metric(labels, scores), float(low), float(high))
