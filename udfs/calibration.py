"""From a model's raw score to a probability that holds: Platt scaling and isotonic regression.

Both are monotone, so calibration changes no ranking by more than ties. Applying needs numpy
alone and gives each element the same result in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ISOTONIC_MUST_GAIN: Final = 0.005
"""How much lower its held-out ECE must be for isotonic regression to be chosen: it saturates
beyond the scores it was fitted on, which Platt scaling does not."""
_NEWTON_STEPS: Final = 100


class Platt(msgspec.Struct, frozen=True, tag="platt"):
    """p = 1 / (1 + exp(-(slope * score + offset))) (Platt 1999); slope > 0."""

    slope: float
    offset: float

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Probabilities, the shape of `scores`."""
        return sigmoid(scores * self.slope + self.offset)


class Isotonic(msgspec.Struct, frozen=True, tag="isotonic"):
    """Straight lines between knots, level outside (isotonic regression, Zadrozny 2002)."""

    scores: tuple[float, ...]
    """Strictly increasing."""
    probabilities: tuple[float, ...]
    """Non-decreasing, one a knot."""

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Probabilities, the shape of `scores`."""
        x, y = np.array(self.scores), np.array(self.probabilities)
        at = np.clip(x.searchsorted(scores, side="right") - 1, 0, max(len(x) - 2, 0))
        if len(x) == 1:
            return np.asarray(y[at])
        share = np.clip((scores - x[at]) / (x[at + 1] - x[at]), 0.0, 1.0)
        # In this form the result cannot leave [y[at], y[at + 1]] by rounding.
        return np.asarray(np.clip(y[at] + share * (y[at + 1] - y[at]), y[at], y[at + 1]))


Calibrator = Platt | Isotonic


class Choice(msgspec.Struct, frozen=True):
    """The calibrator that was chosen, and the figures that chose it."""

    calibrator: Calibrator
    platt_ece: float
    """Cross-validated expected calibration error."""
    isotonic_ece: float


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0))))


def fit_platt(scores: FloatArray, labels: FloatArray, weights: FloatArray | None = None) -> Platt:
    """Weighted logistic regression on the score, by Newton's method.

    Labels are softened as Platt did, so that separable data has a finite answer.

    Args:
        scores: raw scores, shape (n,).
        labels: 0 or 1, shape (n,); both must occur.
        weights: how much each row counts, shape (n,); equal if not given.

    Raises:
        ValueError: one class is missing, or the score does not rise with the label.
    """
    weight = _checked(scores, labels, weights)
    positive = labels > 0.5
    # Effective sample sizes (Kish), so that weighting alone adds no confidence.
    up, down = _effective(weight[positive]), _effective(weight[~positive])
    target = np.where(positive, (up + 1.0) / (up + 2.0), 1.0 / (down + 2.0))
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    x = np.stack(((scores - centre) / spread, np.ones_like(scores)))
    base = float((weight * target).sum() / weight.sum())
    theta = np.array([1.0, np.log(base / (1.0 - base))])
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(theta @ x)
        gradient = x @ (weight * (p - target))
        hessian = (x * (weight * np.maximum(p * (1.0 - p), 1e-9))) @ x.T
        step = np.linalg.solve(hessian + np.eye(2) * 1e-9 * weight.sum(), gradient)
        # A bounded step keeps far starts from overshooting.
        theta = theta - step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-10:
            break
    slope = float(theta[0]) / spread
    if slope <= 0:
        raise ValueError("scores do not rise with the labels: nothing to calibrate")
    return Platt(slope, float(theta[1]) - slope * centre)


def fit_isotonic(
    scores: FloatArray, labels: FloatArray, weights: FloatArray | None = None
) -> Isotonic:
    """Weighted isotonic regression by pooling adjacent violators; a knot a pool, at its mean.

    Probabilities stay off 0 and 1 by half a row's worth. Arguments and errors as `fit_platt`.
    """
    weight = _checked(scores, labels, weights)
    pools: list[tuple[float, float, float]] = []  # weight, weighted label, weighted score
    for i in np.argsort(scores, kind="stable"):
        w = float(weight[i])
        pool = (w, w * float(labels[i]), w * float(scores[i]))
        while pools and pools[-1][1] * pool[0] >= pool[1] * pools[-1][0]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    edge = 0.5 / len(scores)
    knots: dict[float, float] = {}
    for w, label, score in pools:
        knots[score / w] = float(np.clip(label / w, edge, 1.0 - edge))
    x = sorted(knots)
    return Isotonic(tuple(x), tuple(knots[value] for value in x))


def choose(
    scores: FloatArray,
    labels: FloatArray,
    weights: FloatArray | None = None,
    *,
    seed: int,
    folds: int = 5,
) -> Choice:
    """Fit both ways, keep what is better on rows that were not fitted.

    Args:
        scores: raw scores, shape (n,).
        labels: 0 or 1, shape (n,); both must occur.
        weights: how much each row counts, shape (n,); equal if not given.
        seed: of the assignment to folds.
        folds: of the cross-validation; classes are spread evenly over them.
    """
    weight = _checked(scores, labels, weights)
    rng = np.random.default_rng(seed)
    fold = np.empty(len(scores), np.int64)
    for positive in (False, True):
        rows = np.flatnonzero((labels > 0.5) == positive)
        fold[rng.permutation(rows)] = np.arange(len(rows)) % folds
    errors = []
    for fit in (fit_platt, fit_isotonic):
        held_out = np.empty(len(scores))
        for k in range(folds):
            rest, own = fold != k, fold == k
            held_out[own] = fit(scores[rest], labels[rest], weight[rest])(scores[own])
        errors.append(expected_calibration_error(held_out, labels, weight))
    isotonic = errors[1] < errors[0] - ISOTONIC_MUST_GAIN
    fitted = (fit_isotonic if isotonic else fit_platt)(scores, labels, weight)
    return Choice(fitted, errors[0], errors[1])


def expected_calibration_error(
    probabilities: FloatArray,
    labels: FloatArray,
    weights: FloatArray | None = None,
    *,
    bins: int = 15,
) -> float:
    """Mean gap between predicted and observed rate, over bins of equal weight.

    As Guo et al. 2017 define it, but with equal-mass bins: at natural prevalence nearly every
    row would share the first equal-width bin.
    """
    weight = np.ones_like(probabilities) if weights is None else weights
    order = np.argsort(probabilities, kind="stable")
    total = weight.sum()
    # A row belongs to the bin that the middle of its weight falls into.
    middle = np.cumsum(weight[order]) - weight[order] / 2
    at = np.minimum((middle / total * bins).astype(np.int64), bins - 1)
    gap = np.bincount(at, weight[order] * (probabilities - labels)[order], bins)
    return float(np.abs(gap).sum() / total)


def prior_weights(labels: FloatArray, prior: float) -> FloatArray:
    """Row weights, of mean 1, under which a share `prior` of the rows is positive.

    Raises:
        ValueError: one class is missing, or `prior` is not within (0, 1).
    """
    positive = labels > 0.5
    rate = float(positive.mean())
    if not 0.0 < prior < 1.0 or not 0.0 < rate < 1.0:
        raise ValueError("both classes must occur, and the prior lie within 0 and 1")
    return np.where(positive, prior / rate, (1.0 - prior) / (1.0 - rate))


def shift_prior(probabilities: FloatArray, old: float, new: float) -> FloatArray:
    """Probabilities as they would be if the share of positives were `new`, not `old`.

    Bayes' rule on the odds (Saerens et al. 2002); right where only the share differs.

    Args:
        probabilities: calibrated at `old`.
        old: share of positives that the probabilities hold for, within (0, 1).
        new: share of positives wanted, within (0, 1).
    """
    factor = new / (1.0 - new) * (1.0 - old) / old
    odds = probabilities * factor
    return np.asarray(odds / (odds + 1.0 - probabilities))


def apply_all(calibrators: Sequence[Calibrator], scores: FloatArray) -> FloatArray:
    """Calibrate column by column.

    Args:
        calibrators: one a column.
        scores: shape (rows, columns).
    """
    columns = [
        calibrate(np.ascontiguousarray(scores[:, i])) for i, calibrate in enumerate(calibrators)
    ]
    return np.stack(columns, axis=1) if columns else np.empty_like(scores)


def _checked(
    scores: FloatArray, labels: FloatArray, weights: FloatArray | None
) -> npt.NDArray[np.float64]:
    positive = labels > 0.5
    if not positive.any() or positive.all():
        raise ValueError("both classes must occur")
    return np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)


def _effective(weight: FloatArray) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum())
