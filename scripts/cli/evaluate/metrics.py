"""How well probabilities fit labels: one category at a time, and over all of them.

Point values are scikit-learn's where it has them. Labels that nobody knows (NaN) take no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from scripts.cli.evaluate.curves import Curve, Estimate, intervals
from udfs.calibration import expected_calibration_error

FloatArray = npt.NDArray[np.float64]

LEAST_OF_EACH: Final = 8
"""Positives and negatives below which a category gets counts and no figures."""
KS: Final = (10, 100, 1000)
PRECISIONS: Final = (0.95, 0.995)
"""What the policy holds for any removal, and for automatic ones."""
RECALLS: Final = (0.95, 0.99)
"""What it holds for flags, and for severe harm."""
FALL_OUT: Final = 0.01
"""Most false positives among harmless texts, as alerts have it."""


def category(
    labels: FloatArray,
    scores: FloatArray,
    *,
    threshold: float,
    beta: float,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Everything about one category: figures with intervals, thresholds, ranking.

    Args:
        labels: 0, 1 or NaN, shape (n,).
        scores: probabilities, shape (n,); rows whose score is NaN are left out too.
        threshold: at or above it a text is flagged.
        beta: of F-beta.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """
    known = ~np.isnan(labels) & ~np.isnan(scores)
    labels, scores = labels[known], scores[known]
    positives = int(labels.sum())
    out: dict[str, Any] = {"rows": len(labels), "positives": positives}
    if min(positives, len(labels) - positives) < LEAST_OF_EACH:
        return out
    ranges = intervals(
        Curve(labels, scores), threshold=threshold, beta=beta, seed=seed, resamples=resamples
    )
    values = figures(labels, scores, threshold=threshold, beta=beta)
    out["figures"] = {name: Estimate(value, *ranges[name]) for name, value in values.items()}
    out["thresholds"] = constrained(labels, scores)
    out["ranking"] = ranking(labels, scores)
    return out


def figures(
    labels: FloatArray, scores: FloatArray, *, threshold: float, beta: float
) -> dict[str, float]:
    """The figures that `Curve.figures` names, by scikit-learn; both kinds of labels needed."""
    flagged = scores >= threshold
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, flagged, average="binary", zero_division=np.nan
    )
    tn, fp, fn, tp = sk.confusion_matrix(labels, flagged, labels=[0, 1]).ravel()
    precisions, recalls, _ = sk.precision_recall_curve(labels, scores)
    return {
        "roc_auc": float(sk.roc_auc_score(labels, scores)),
        "pr_auc": float(sk.average_precision_score(labels, scores)),
        "precision_at_recall_0.9": float(precisions[recalls >= 0.9].max()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "f_beta": float(sk.fbeta_score(labels, flagged, beta=beta, zero_division=0.0)),
        "fpr": float(fp / (fp + tn)),
        "fnr": float(fn / (fn + tp)),
        "fdr": float(fp / (fp + tp)) if fp + tp else float("nan"),
        "ece": expected_calibration_error(scores, labels),
        "brier": float(sk.brier_score_loss(labels, np.clip(scores, 0.0, 1.0))),
    }


def constrained(labels: FloatArray, scores: FloatArray) -> dict[str, Any]:
    """Best thresholds under constraints; None where no threshold satisfies one.

    `precision_X`: most recall at a precision of X or more. `recall_X`: most precision at a recall
    of X or more. `fpr_X`: most recall with at most that share of negatives flagged. `best_f1`.
    """
    curve = Curve(labels, scores)
    up, down = curve.hits()
    table = {
        "precision": up / (up + down),
        "recall": up / up[-1],
        "fpr": down / max(down[-1], 1.0),
    }
    table["f1"] = 2 * up / (up + down + up[-1])
    every = np.ones(len(up), np.bool_)
    wanted = {f"precision_{p}": (table["precision"] >= p, "recall") for p in PRECISIONS}
    wanted |= {f"recall_{r}": (table["recall"] >= r, "precision") for r in RECALLS}
    wanted[f"fpr_{FALL_OUT}"] = (table["fpr"] <= FALL_OUT, "recall")
    wanted["best_f1"] = (every, "f1")
    out: dict[str, Any] = {}
    for name, (allowed, goal) in wanted.items():
        rows = np.flatnonzero(allowed)
        if not len(rows):
            out[name] = None
            continue
        # Of equals the highest threshold: it flags least.
        best = rows[int(table[goal][rows].argmax())]
        out[name] = {
            "threshold": float(curve.cuts[best]),
            **{column: float(values[best]) for column, values in table.items()},
        }
    return out


def ranking(labels: FloatArray, scores: FloatArray, ks: Sequence[int] = KS) -> dict[str, float]:
    """P@k, R@k, NDCG@k (Järvelin and Kekäläinen 2002) and AP of a queue sorted by score.

    Equal scores share their places, as if their order were drawn at random.
    """
    out = {"ap": float(sk.average_precision_score(labels, scores))}
    for k in ks:
        if k <= len(labels):
            hits = expected_hits(labels, scores, k)
            out[f"p@{k}"] = hits / k
            out[f"r@{k}"] = hits / float(labels.sum())
            out[f"ndcg@{k}"] = float(sk.ndcg_score(labels[None], scores[None], k=k))
    return out


def expected_hits(labels: FloatArray, scores: FloatArray, k: int) -> float:
    """Positives among the k highest scores; of a run of equals that k cuts, its share."""
    curve = Curve(labels, scores)
    up, _ = curve.hits()
    run = int(np.searchsorted(curve.ends, k - 1))
    before, hits = (int(curve.ends[run - 1]) + 1, float(up[run - 1])) if run else (0, 0.0)
    size = int(curve.ends[run]) + 1 - before
    return hits + (float(up[run]) - hits) * (k - before) / size


def averages(
    labels: FloatArray, scores: FloatArray, *, threshold: float, beta: float
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and F-beta over all categories: macro, micro, weighted.

    Macro is the mean over categories, weighted the mean by their positives, micro counts every
    known (text, category) once (Sokolova and Lapalme 2009). A category without positives among
    the known labels is left out; an undefined precision counts as 0.

    Args:
        labels: 0, 1 or NaN, shape (n, categories).
        scores: shape of `labels`.
        threshold: at or above it a text is flagged.
        beta: of F-beta.
    """
    known = ~np.isnan(labels) & ~np.isnan(scores)
    rows, support = [], []
    for column in np.flatnonzero(((labels == 1) & known).any(axis=0)):
        own = known[:, column]
        truth, flagged = labels[own, column], scores[own, column] >= threshold
        rows.append(_binary(truth, flagged, beta))
        support.append(truth.sum())
    if not rows:
        return {}
    table = np.array(rows)
    columns = np.isin(np.arange(labels.shape[1]), np.flatnonzero((labels == 1).any(axis=0)))
    pooled = known & columns
    found = {
        "macro": table.mean(axis=0),
        "micro": _binary(labels[pooled], scores[pooled] >= threshold, beta),
        "weighted": np.average(table, axis=0, weights=support),
    }
    names = ("precision", "recall", "f1", "f_beta")
    return {
        kind: dict(zip(names, map(float, values), strict=True)) for kind, values in found.items()
    }


def _binary(truth: FloatArray, flagged: npt.NDArray[np.bool_], beta: float) -> FloatArray:
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, flagged, average="binary", zero_division=0.0
    )
    return np.array(
        [precision, recall, f1, sk.fbeta_score(truth, flagged, beta=beta, zero_division=0.0)]
    )


def reliability(labels: FloatArray, scores: FloatArray, bins: int = 10) -> list[dict[str, float]]:
    """Predicted against observed rate (DeGroot and Fienberg 1983), in bins of equal width."""
    at = np.minimum((scores * bins).astype(np.int64), bins - 1)
    return [
        {
            "predicted": float(scores[at == i].mean()),
            "observed": float(labels[at == i].mean()),
            "rows": int((at == i).sum()),
        }
        for i in range(bins)
        if (at == i).any()
    ]
