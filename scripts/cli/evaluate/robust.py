"""What disguises do to a scorer: how much abuse is still found, how much harmless text is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scripts.cli.dataset.augment import disguise
from scripts.cli.dataset.config import TRICKS
from scripts.cli.evaluate.curves import Curve

FloatArray = npt.NDArray[np.float64]

MOST: Final = 400
"""Texts of a kind that are disguised."""
MOST_CHARS: Final = 400
"""Longer texts tell little more and cost much."""


def robustness(
    texts: Sequence[str],
    labels: FloatArray,
    score: Callable[[Sequence[str]], FloatArray],
    threshold: float,
    *,
    word_share: float,
    seed: int,
) -> dict[str, Any]:
    """Every trick on the same texts, harmful and harmless alike.

    Args:
        texts: as they came.
        labels: 0, 1 or NaN for one category.
        score: as-they-came texts to the probabilities of that category.
        threshold: at or above it a text is flagged.
        word_share: of a text's words of three letters or more that is disguised.
        seed: of the draws.

    Returns:
        By trick: `recall_kept` (of the harmful texts that are flagged as they are, the share that
        still is), `recall` and `fpr` disguised, `roc_auc` and `pr_auc` disguised; `as_is` holds
        the same for the texts as they are. Empty where a kind is missing.
    """
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    chosen: list[int] = []
    for label in (1.0, 0.0):
        rows = [
            i for i in np.flatnonzero(labels == label).tolist() if 0 < len(texts[i]) <= MOST_CHARS
        ]
        chosen += rng.sample(rows, min(MOST, len(rows)))
    truth = labels[chosen]
    if len(set(truth.tolist())) < 2:
        return {}
    plain = score([texts[i] for i in chosen])
    found = (plain >= threshold) & (truth > 0.5)
    out: dict[str, Any] = {"as_is": _entry(truth, plain, found, threshold)}
    for trick in TRICKS:
        own = random.Random(f"{seed}:{trick}")  # noqa: S311 - likewise
        changed = score([disguise(texts[i], trick, own, share=word_share) for i in chosen])
        out[trick] = _entry(truth, changed, found, threshold)
    return out


def _entry(
    truth: FloatArray, scores: FloatArray, found: npt.NDArray[np.bool_], threshold: float
) -> dict[str, float | None]:
    figures = Curve(truth, scores).figures(threshold, 1.0)
    kept = float((scores[found] >= threshold).mean()) if found.any() else None
    return {
        "recall_kept": kept,
        **{name: figures[name] for name in ("recall", "fpr", "roc_auc", "pr_auc")},
    }
