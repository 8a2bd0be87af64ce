"""Whether groups of people are treated alike: what is flagged, hit and missed in each.

A text belongs to the groups that its row names, or else to those of the identities that it
mentions (`conf/training/identities.yaml`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from scripts.cli.dataset.config import Identities
from scripts.cli.dataset.identity import Swapper
from udfs.calibration import expected_calibration_error

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LEAST: Final = 20
"""Rows of a kind (positive, negative) that a group needs for a rate over them."""
MOST_SWAPPED: Final = 400
"""Harmless sentences that are put to every identity of their class."""


def mentioned(texts: Sequence[str], identities: Identities) -> dict[str, BoolArray]:
    """By class of identities: which texts mention one."""
    swapper = Swapper(identities)
    class_of = {word: entry.name for entry in identities.classes for word in entry.words}
    out: dict[str, BoolArray] = {}
    for i, text in enumerate(texts):
        for word in swapper.mentions(text):
            name = class_of[word]
            if name not in out:
                out[name] = np.zeros(len(texts), np.bool_)
            out[name][i] = True
    return dict(sorted(out.items()))


def rates(
    labels: FloatArray, scores: FloatArray, own: BoolArray, threshold: float
) -> dict[str, Any]:
    """Rates and calibration of one group; None where it has too few rows.

    Besides the rates, the three AUCs of Borkan et al. 2019: within the group, its harmless texts
    against the others' harmful ones (low: the group is flagged too much), and its harmful ones
    against the others' harmless ones (low: too little).
    """
    positive, flagged = labels > 0.5, scores >= threshold
    up, down = own & positive, own & ~positive
    out: dict[str, Any] = {
        "rows": int(own.sum()),
        "positives": int(up.sum()),
        "base_rate": _mean(positive, own),
        "selection_rate": _mean(flagged, own),
        "tpr": _mean(flagged, up),
        "fpr": _mean(flagged, down),
        "precision": _mean(positive, own & flagged),
        "ece": None,
        "subgroup_auc": _auc(labels, scores, own),
        "bpsn_auc": _auc(labels, scores, (~own & positive) | down),
        "bnsp_auc": _auc(labels, scores, (~own & ~positive) | up),
    }
    if own.sum() >= 5 * LEAST:
        out["ece"] = expected_calibration_error(scores[own], labels[own], bins=10)
    return out


def fairness(
    labels: FloatArray, scores: FloatArray, groups: Mapping[str, BoolArray], threshold: float
) -> dict[str, Any]:
    """Rates by group and how far apart they are; NaN labels must be taken out before.

    Returns:
        `groups`, and over the groups with enough rows: `demographic_parity_difference` and
        `disparate_impact` (lowest over highest selection rate; four fifths is the customary
        limit, Feldman et al. 2015), `equal_opportunity_difference` (of true positive rates) and
        `equalised_odds_difference` (the larger of that and the same of false positive rates;
        Hardt et al. 2016, as Fairlearn computes them), `worst_fpr_ratio` (highest over that of
        all texts).
    """
    table = {name: rates(labels, scores, own, threshold) for name, own in groups.items()}
    out: dict[str, Any] = {"groups": table}
    spread = {
        name: [entry[name] for entry in table.values() if entry[name] is not None]
        for name in ("selection_rate", "tpr", "fpr")
    }
    gaps = {
        name: max(found) - min(found) if len(found) > 1 else None for name, found in spread.items()
    }
    out["demographic_parity_difference"] = gaps["selection_rate"]
    out["disparate_impact"] = None
    if len(spread["selection_rate"]) > 1 and max(spread["selection_rate"]) > 0:
        out["disparate_impact"] = min(spread["selection_rate"]) / max(spread["selection_rate"])
    out["equal_opportunity_difference"] = gaps["tpr"]
    out["equalised_odds_difference"] = None
    if gaps["tpr"] is not None and gaps["fpr"] is not None:
        out["equalised_odds_difference"] = max(gaps["tpr"], gaps["fpr"])
    everywhere = _mean(scores >= threshold, labels <= 0.5)
    out["fpr"] = everywhere
    out["worst_fpr_ratio"] = (
        max(spread["fpr"]) / everywhere if everywhere and spread["fpr"] else None
    )
    return out


def terms(
    texts: Sequence[str],
    identities: Identities,
    score: Callable[[Sequence[str]], FloatArray],
    threshold: float,
    *,
    seed: int,
) -> dict[str, Any]:
    """False positives by identity term, on the same harmless sentences for each term of a class.

    Sentences that mention one identity are put to every other of its class (counterfactual token
    fairness, Garg et al. 2019), so that the terms alone differ.

    Args:
        texts: harmless ones.
        identities: the classes.
        score: as-they-came texts to the probabilities of one category.
        threshold: at or above it a text is flagged.
        seed: of the draw of sentences.

    Returns:
        By term its rate and the ratio to its class's (which has the same sentences; None where
        fewer than 20 are flagged in the class), the worst of these ratios, and how far apart the
        terms put a sentence's probability on average. Empty where no text mentions an identity.
    """
    swapper = Swapper(identities)
    words_of = {word: entry.words for entry in identities.classes for word in entry.words}
    single = [(text, found[0]) for text in texts if len(found := swapper.mentions(text)) == 1]
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    single = rng.sample(single, min(MOST_SWAPPED, len(single)))
    cases = [
        (place, other, swapper.replaced(text, {word: other}))
        for place, (text, word) in enumerate(single)
        for other in words_of[word]
    ]
    if not cases:
        return {}
    scores = score([text for *_, text in cases])
    flagged = scores >= threshold
    places = np.array([place for place, *_ in cases])
    by_term: dict[str, list[int]] = {}
    for i, (_, term, _) in enumerate(cases):
        by_term.setdefault(term, []).append(i)
    table: dict[str, dict[str, Any]] = {}
    for entry in identities.classes:
        own = {term: by_term[term] for term in entry.words if len(by_term.get(term, ())) >= LEAST}
        if own:
            together = flagged[[row for rows in own.values() for row in rows]]
            usual = float(together.mean()) if together.sum() >= LEAST else 0.0
            for term, rows in own.items():
                rate = float(flagged[rows].mean())
                table[term] = {
                    "class": entry.name,
                    "rows": len(rows),
                    "fpr": rate,
                    "ratio": rate / usual if usual else None,
                }
    ratios = [entry["ratio"] for entry in table.values() if entry["ratio"] is not None]
    spread = [float(np.ptp(scores[places == place])) for place in range(len(single))]
    return {
        "sentences": len(single),
        "cases": len(cases),
        "fpr": float(flagged.mean()),
        "terms": table,
        "worst_ratio": max(ratios) if ratios else None,
        "mean_spread": float(np.mean(spread)),
    }


def _mean(values: BoolArray, rows: BoolArray) -> float | None:
    return float(values[rows].mean()) if rows.sum() >= LEAST else None


def _auc(labels: FloatArray, scores: FloatArray, rows: BoolArray) -> float | None:
    positives = int(labels[rows].sum())
    if min(positives, int(rows.sum()) - positives) < LEAST:
        return None
    return float(sk.roc_auc_score(labels[rows], scores[rows]))
