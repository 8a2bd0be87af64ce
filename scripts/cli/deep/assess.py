"""Calibrating a heavy model on held-out rows, choosing thresholds, and measuring it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import SluiceError
from scripts.cli import training_metrics as measure
from scripts.cli.dataset.augment import disguise
from scripts.cli.dataset.config import TRICKS
from scripts.cli.dataset.identity import Swapper
from scripts.cli.deep.data import Rows
from scripts.cli.training_model import NATURAL, PRIORS, reference_weights
from udfs import calibration
from udfs.calibration import Calibrator, Choice, Platt
from udfs.contracts import Scorer
from udfs.normalise import normalise

FloatArray = npt.NDArray[np.float64]
LEAST_OF_EACH: Final = 8
NOTHING: Final = 1e-9
"""Slope of a category that the model has not learnt."""
PRECISION: Final = 0.95
RECALL: Final = 0.9
MOVED: Final = 0.1
"""An identity swap that moves a probability by more than this counts as moved."""
_MOST_PROBED: Final = 600


def in_parts(
    score: Callable[[Sequence[str]], npt.NDArray[Any]],
    texts: Sequence[str],
    say: Callable[[str], None],
) -> npt.NDArray[Any]:
    """What a heavy model says of many texts, a thousand at a time, showing progress.

    Args:
        score: of a scorer: its `raw` or its `score`.
        texts: normalised; one or more.
        say: is told after each part.
    """
    parts = []
    for first in range(0, len(texts), 1000):
        parts.append(score(texts[first : first + 1000]))
        say(f"scored {min(first + 1000, len(texts))} of {len(texts)}")
    return np.concatenate(parts)


def calibrators(
    raw: FloatArray, rows: Rows, categories: Sequence[str], *, seed: int
) -> tuple[list[Choice], list[float], dict[str, dict[str, float]]]:
    """Choose a calibrator for each category by held-out error, and thresholds on it.

    Toxicity is calibrated on the natural sample, where there is one; for the others the rows are
    weighted to an assumed share of positives, most negatives being ordinary traffic.

    Args:
        raw: logits of the rows, shape (rows, categories).
        rows: the holdout.
        categories: columns of `raw`.
        seed: of the folds.

    Returns:
        Choices, shares of positives, and thresholds by category.

    Raises:
        SluiceError: a category has too few rows of a kind.
    """
    choices, priors, thresholds = [], [], {}
    for i, category in enumerate(categories):
        every = rows.labels[:, TEXT_CATEGORIES.index(category)]
        known = np.flatnonzero(~np.isnan(every))
        natural = known[rows.sources[known] == NATURAL]
        labels = every[known].astype(np.float64)
        if min(labels.sum(), (labels == 0).sum()) < LEAST_OF_EACH:
            raise SluiceError(
                f"{category}: calibration needs {LEAST_OF_EACH} texts of each kind on the holdout"
            )
        if len(set(every[natural].tolist())) == 2:
            known, labels = natural, every[natural].astype(np.float64)
            weights, prior = np.ones(len(known)), float(labels.mean())
        else:
            prior = PRIORS[category]
            weights = reference_weights(labels, rows.sources[known], prior)
        try:
            choice = calibration.choose(raw[known, i], labels, weights, seed=seed)
        except ValueError:
            # Nothing was learnt: its probability is the prior, whatever the text.
            flat = Platt(NOTHING, float(np.log(prior / (1 - prior))))
            choice = Choice(flat, 0.0, 0.0)
        choices.append(choice)
        priors.append(prior)
        scores = choice.calibrator(raw[known, i])
        thresholds[category] = thresholds_of(scores, labels, weights)
    return choices, priors, thresholds


def method_of(calibrator: Calibrator) -> str:
    """Platt, isotonic, or none where the category was not learnt."""
    if isinstance(calibrator, Platt):
        return "none: not learnt" if calibrator.slope <= NOTHING else "Platt"
    return "isotonic"


def thresholds_of(scores: FloatArray, labels: FloatArray, weights: FloatArray) -> dict[str, float]:
    """Probabilities at which precision reaches 0.95, recall 0.9, and F1 is highest.

    `precision_0.95` is missing where no threshold reaches it.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum((weights * labels)[order])
    total = np.cumsum(weights[order])
    last = np.append(np.diff(scores[order]) != 0, True)
    at, hits, total = scores[order][last], hits[last], total[last]
    precision, recall = hits / total, hits / hits[-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    out = {
        "recall_0.9": float(at[np.flatnonzero(recall >= RECALL)[0]]),
        "best_f1": float(at[int(f1.argmax())]),
    }
    reach = np.flatnonzero(precision >= PRECISION)
    if len(reach):
        out["precision_0.95"] = float(at[reach[-1]])
    return {name: round(value, 5) for name, value in out.items()}


def quality(scores: FloatArray, rows: Rows, categories: Sequence[str]) -> dict[str, Any]:
    """Ranking by category and by set; calibration error where a set is a natural sample."""
    out: dict[str, Any] = {}
    for i, category in enumerate(categories):
        every = rows.labels[:, TEXT_CATEGORIES.index(category)].astype(np.float64)
        known = ~np.isnan(every)
        entry = _ranking(every[known], scores[known, i])
        entry["by_source"] = {}
        for source in sorted(set(rows.sources[known].tolist())):
            own = known & (rows.sources == source)
            found = _ranking(every[own], scores[own, i])
            if source == NATURAL and "roc_auc" in found:
                error = calibration.expected_calibration_error(scores[own, i], every[own])
                found["expected_calibration_error"] = round(error, 4)
            entry["by_source"][source] = found
        out[category] = entry
    return out


def robustness(
    scorer: Scorer, rows: Rows, *, seed: int, most: int = _MOST_PROBED
) -> dict[str, Any]:
    """What every trick does to toxicity at 0.5, on every word of short texts.

    Returns:
        By trick: of the abusive texts found the share that still is, and the share of harmless
        ones that are flagged, as they are and disguised.
    """
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    column = scorer.categories.index("toxicity")
    out: dict[str, Any] = {}
    texts = {kind: _sample(rows, kind, rng, most) for kind in (1, 0)}
    plain = {kind: scorer.score(own)[:, column] >= 0.5 for kind, own in texts.items()}
    for trick in TRICKS:
        changed = {
            kind: scorer.score(
                [normalise(disguise(text, trick, rng, share=1.0)).text for text in own]
            )[:, column]
            >= 0.5
            for kind, own in texts.items()
        }
        found = plain[1]
        out[trick] = {
            "recall_kept": round(float(changed[1][found].mean()), 4) if found.any() else None,
            "false_positives": round(float(plain[0].mean()), 4) if len(plain[0]) else None,
            "false_positives_disguised": (
                round(float(changed[0].mean()), 4) if len(changed[0]) else None
            ),
        }
    return out


def swaps(scorer: Scorer, rows: Rows, swapper: Swapper, *, seed: int) -> dict[str, Any]:
    """How far another identity in the same sentence moves toxicity and hate."""
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    texts = [text for text in rows.texts if swapper.mentions(text)]
    texts = rng.sample(texts, min(_MOST_PROBED, len(texts)))
    pairs = [(text, other) for text in texts if (other := swapper.swap(text, rng)) is not None]
    if not pairs:
        return {}
    before = scorer.score([text for text, _ in pairs]).astype(np.float64)
    after = scorer.score([other for _, other in pairs]).astype(np.float64)
    out: dict[str, Any] = {"pairs": len(pairs)}
    for category in ("toxicity", "hate_speech"):
        if category in scorer.categories:
            column = scorer.categories.index(category)
            apart = np.abs(before[:, column] - after[:, column])
            out[category] = {
                "moved": round(float((apart > MOVED).mean()), 4),
                "mean": round(float(apart.mean()), 4),
            }
    return out


def _sample(rows: Rows, label: int, rng: random.Random, most: int) -> list[str]:
    found: Sequence[int] = np.flatnonzero(rows.labels[:, 0] == label).tolist()
    short = [i for i in found if len(rows.texts[i]) <= 200]
    return [rows.texts[i] for i in rng.sample(short, min(most, len(short)))]


def _ranking(labels: FloatArray, scores: FloatArray) -> dict[str, Any]:
    positives = int(labels.sum())
    out: dict[str, Any] = {"rows": len(labels), "positives": positives}
    if min(positives, len(labels) - positives) >= LEAST_OF_EACH:
        out["roc_auc"] = round(measure.roc_auc(labels, scores), 4)
        out["average_precision"] = round(measure.average_precision(labels, scores), 4)
    return out
