"""How the two text tiers' answers become one: a weighted sum of log-odds, fitted on held-out rows.

    p = sigmoid(a * logit(fast) + b * logit(heavy) + c),  a, b >= 0

A logistic regression on the two calibrated probabilities (stacking; Wolpert 1992), drawn towards
a = b = 0.5, so that a category with few positives stays near the mean of the two. Slope and offset
are then calibrated as a single tier's are (`assess.calibrators`), on natural rows where there are
any. Texts that the heavy tier cannot read (`udfs.text_tiers.readable`) take no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from schemas.categories import TEXT_CATEGORIES
from scripts.cli.deep.assess import LEAST_OF_EACH
from scripts.cli.deep.data import Rows
from scripts.cli.training_model import NATURAL, PRIORS, reference_weights
from udfs.text_tiers import log_odds

FloatArray = npt.NDArray[np.float64]
Blend = dict[str, tuple[float, float, float]]

DRAW: Final = 1_000.0
"""What the distance from a = b = 0.5 weighs, in rows. The mean of two models carries over to other
sets better than weights that suit these."""
OFFSET_DRAW: Final = 5.0
"""What the distance of the offset from its centre weighs."""
STEEPNESS: Final = (0.7, 1.6)
"""Least and most that calibrating may stretch the mixture."""


def fit(
    fast: Mapping[str, FloatArray], deep: Mapping[str, FloatArray], rows: Rows
) -> tuple[Blend, dict[str, Any]]:
    """Fit the weights of every category that both tiers have.

    Args:
        fast: probabilities of the rows by category.
        deep: likewise.
        rows: held out from the training of both.

    Returns:
        The weights, and for each category how much log loss they save over either tier.
    """
    blend: Blend = {}
    facts: dict[str, Any] = {}
    for category in [name for name in TEXT_CATEGORIES if name in fast and name in deep]:
        every = rows.labels[:, TEXT_CATEGORIES.index(category)].astype(np.float64)
        known = np.flatnonzero(~np.isnan(every))
        labels = every[known]
        if min(labels.sum(), (labels == 0).sum()) < LEAST_OF_EACH:
            continue
        odds = np.stack([log_odds(fast[category][known]), log_odds(deep[category][known])], axis=1)
        weights = reference_weights(labels, rows.sources[known], PRIORS[category])
        weights = weights * len(weights) / weights.sum()
        first, second, _ = _fitted(odds, labels, weights, (0.5, 0.5))
        # The mixture stays; what a natural sample can tell better is slope and offset.
        mixed = odds @ np.array([first, second])
        natural = rows.sources[known] == NATURAL
        if len(set(labels[natural].tolist())) == 2:
            slope, offset = _platt(
                mixed[natural], labels[natural], np.ones(int(natural.sum())), first + second
            )
        else:
            slope, offset = _platt(mixed, labels, weights, first + second)
        found = (slope * first, slope * second, offset)
        blend[category] = (round(found[0], 4), round(found[1], 4), round(found[2], 4))
        facts[category] = {
            "rows": len(known),
            "log_loss": {
                name: round(_loss(values, labels, weights), 5)
                for name, values in (
                    ("fast", odds[:, 0]),
                    ("heavy", odds[:, 1]),
                    ("joined", slope * mixed + offset),
                )
            },
        }
    return blend, facts


def _fitted(
    odds: FloatArray, labels: FloatArray, weights: FloatArray, towards: Sequence[float]
) -> tuple[float, float, float]:
    centre = np.array(towards)

    def loss(values: FloatArray) -> float:
        total = odds @ values[:2] + values[2]
        spread = DRAW * float(((values[:2] - centre) ** 2).sum())
        return float((weights * (np.logaddexp(0, total) - labels * total)).sum()) + spread

    bounds = [(0.0, 4.0), (0.0, 4.0), (None, None)]
    best = minimize(loss, np.array([*towards, 0.0]), bounds=bounds, method="L-BFGS-B").x
    return float(best[0]), float(best[1]), float(best[2])


def _platt(
    values: FloatArray, labels: FloatArray, weights: FloatArray, sum_of_weights: float
) -> tuple[float, float]:
    """Slope and offset of the mixture.

    The offset is drawn to what it is for two answers that are right: evidence counted more than
    once over brings the prior more than once (a + b - 1 times too often). Where few positives are
    told apart without a fault, nothing else would hold it.
    """
    prior = float((weights * labels).sum() / weights.sum())
    odds = float(np.log(prior / (1 - prior)))

    def loss(line: FloatArray) -> float:
        total = line[0] * values + line[1]
        off = line[1] + (line[0] * sum_of_weights - 1) * odds
        told = float((weights * (np.logaddexp(0, total) - labels * total)).sum())
        return told + OFFSET_DRAW * float(off * off)

    best = minimize(loss, np.array([1.0, 0.0]), bounds=[STEEPNESS, (None, None)]).x
    return float(best[0]), float(best[1])


def _loss(odds: FloatArray, labels: FloatArray, weights: FloatArray) -> float:
    return float((weights * (np.logaddexp(0, odds) - labels * odds)).sum() / weights.sum())
