"""Figures of a ranking from one sort, cheap enough to be taken hundreds of times over.

The point values of a report are scikit-learn's. Their intervals need the same figures on some
hundred resamples, and there scikit-learn would sort the same scores again each time; here a
resample is a weight a row, and costs one pass. Tests hold both to the same numbers.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.calibration import expected_calibration_error

FloatArray = npt.NDArray[np.float64]

RESAMPLES: Final = 300
RECALL: Final = 0.9
"""The recall at which precision is reported."""


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its 95% percentile-bootstrap interval (Efron and Tibshirani 1993)."""

    value: float
    low: float
    high: float


class Curve:
    """Labels in the order of falling scores.

    Args:
        labels: 0 or 1, shape (n,).
        scores: probabilities, shape (n,).
    """

    def __init__(self, labels: FloatArray, scores: FloatArray) -> None:
        order = np.argsort(-scores, kind="stable")
        self.scores = scores[order]
        self.labels = labels[order]
        self.ends = np.flatnonzero(np.append(np.diff(self.scores) != 0, True))
        """Last place of each run of equal scores: equal scores are taken together."""
        self.cuts = self.scores[self.ends]
        """Distinct scores, falling: the thresholds that make a difference."""

    def hits(self, weights: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Weight of the positives and of the negatives at or above each of `cuts`."""
        weight = np.ones_like(self.labels) if weights is None else weights
        up = np.cumsum(weight * self.labels)[self.ends]
        return up, np.cumsum(weight)[self.ends] - up

    def figures(
        self, threshold: float, beta: float, weights: FloatArray | None = None
    ) -> dict[str, float]:
        """All figures; NaN where one is not defined.

        Args:
            threshold: at or above it a text is flagged.
            beta: recall counts so many times as much as precision in `f_beta`.
            weights: in the order of `labels` here; 1 each if not given.

        Returns:
            `roc_auc`: area under the ROC curve by trapezoids (Fawcett 2006). `pr_auc`: average
            precision, the step-wise area (Davis and Goadrich 2006 on why not trapezoids).
            `precision`, `recall`, `f1`, `f_beta` (van Rijsbergen 1979), `fpr`, `fnr`, `fdr`: at the
            threshold. `precision_at_recall_0.9`: highest precision at a recall of 0.9 or more.
            `ece`: expected calibration error over 15 bins of equal mass (Guo et al. 2017; the bins
            as in `udfs.calibration`). `brier`: mean squared error (Brier 1950).
        """
        up, down = self.hits(weights)
        positives, negatives = up[-1], down[-1]
        flagged = up + down
        precision = up / np.maximum(flagged, 1e-300)
        recall = up / positives if positives else np.full_like(up, np.nan)
        fall_out = down / negatives if negatives else np.full_like(down, np.nan)
        out = {
            "roc_auc": float(_area(fall_out, recall)),
            "pr_auc": float((np.diff(recall, prepend=0.0) * precision).sum()),
        }
        reached = np.flatnonzero(recall >= RECALL)
        out["precision_at_recall_0.9"] = (
            float(precision[reached].max()) if len(reached) else float("nan")
        )
        above = int(np.searchsorted(-self.cuts, -threshold, side="right"))
        tp, fp = (float(up[above - 1]), float(down[above - 1])) if above else (0.0, 0.0)
        out |= at_threshold(tp, fp, float(positives), float(negatives), beta)
        weight = np.ones_like(self.labels) if weights is None else weights
        out["ece"] = expected_calibration_error(self.scores, self.labels, weight)
        out["brier"] = float((weight * (self.scores - self.labels) ** 2).sum() / weight.sum())
        return out


def at_threshold(
    tp: float, fp: float, positives: float, negatives: float, beta: float
) -> dict[str, float]:
    """Figures of a confusion matrix (Fawcett 2006), NaN where nothing is divided by."""
    precision = _ratio(tp, tp + fp)
    recall = _ratio(tp, positives)
    return {
        "precision": precision,
        "recall": recall,
        "f1": f_score(tp, fp, positives, 1.0),
        "f_beta": f_score(tp, fp, positives, beta),
        "fpr": _ratio(fp, negatives),
        "fnr": _ratio(positives - tp, positives),
        "fdr": _ratio(fp, tp + fp),
    }


def f_score(tp: float, fp: float, positives: float, beta: float) -> float:
    """F-beta = (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP); 0 where nothing was hit."""
    square = beta * beta
    return _ratio((1 + square) * tp, (1 + square) * tp + square * (positives - tp) + fp)


def intervals(
    curve: Curve, *, threshold: float, beta: float, seed: int, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """95% percentile-bootstrap interval of every figure.

    Resamples keep the number of positives and of negatives: a rare category would lose all its
    positives in some of them otherwise, and prevalence is a property of the set.

    Args:
        curve: with both kinds of labels.
        threshold: of `Curve.figures`.
        beta: of `Curve.figures`.
        seed: of the resampling.
        resamples: how many.
    """
    rng = np.random.default_rng(seed)
    up, down = np.flatnonzero(curve.labels > 0.5), np.flatnonzero(curve.labels <= 0.5)
    found: dict[str, list[float]] = {}
    for _ in range(resamples):
        rows = np.concatenate((rng.choice(up, len(up)), rng.choice(down, len(down))))
        weights = np.bincount(rows, minlength=len(curve.labels)).astype(np.float64)
        for name, value in curve.figures(threshold, beta, weights).items():
            found.setdefault(name, []).append(value)
    out = {}
    for name, values in found.items():
        known = np.array(values)[~np.isnan(values)]
        low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
        out[name] = (float(low), float(high))
    return out


def _area(x: FloatArray, y: FloatArray) -> float:
    x, y = np.append(0.0, x), np.append(0.0, y)
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
