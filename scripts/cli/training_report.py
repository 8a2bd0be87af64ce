"""What a trained model is measured on, all of it on texts that were never fitted."""

from __future__ import annotations

import csv
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scripts.cli import training_metrics as measure
from scripts.cli import training_split
from scripts.cli.training_corpus import Corpus
from scripts.cli.training_metrics import Estimate, FloatArray, Metric
from scripts.cli.training_model import NATURAL
from scripts.cli.training_noise import misspell
from udfs.normalise import normalise
from udfs.text_fast import FastTextScorer

THRESHOLDS: Final = (0.2, 0.5, 0.8)
LEAST_OF_EACH: Final = 10
"""Positives and negatives below which a source gets no figures of its own."""

_HARMLESS: Final = (
    "we met at the station and walked along the river until it got dark. the bakery on the "
    "corner had fresh bread, and the owner told us how the recipe came down from her aunt. "
    "later the train was late, so we read the timetable twice and played cards on a suitcase. "
)
_IDENTITY_WORDS: Final = re.compile(
    r"\b(gay|lesbian|bisexual|transgender|trans|queer|muslims?|islam|christians?|jewish|jews?|hindu"
    r"|catholic|atheist|black|white|asian|latino|hispanic|arab|african|mexican|chinese|indian"
    r"|wom[ae]n|female|immigrants?|refugees?|disabled)\b"
)


def report(scorer: FastTextScorer, corpus: Corpus, *, seed: int, resamples: int) -> dict[str, Any]:
    """Figures on the corpus's TEST part, and what the model does to long and misspelt texts.

    Args:
        scorer: calibrated.
        corpus: without noisy copies in its TEST part.
        seed: of every draw.
        resamples: of each bootstrap.
    """
    rows = np.flatnonzero(corpus.part == training_split.TEST)
    texts = [corpus.texts[i] for i in rows]
    scores = scorer.score(texts).astype(np.float64)
    labels = corpus.labels[rows].astype(np.float64)
    sources = corpus.sources[rows]
    draw = _Draw(seed, resamples)
    return {
        "by_category": {
            category: _category(labels[:, j], scores[:, j], sources, draw)
            for j, category in enumerate(scorer.categories)
        },
        "natural": _natural(labels[:, 0], scores[:, 0], sources, draw),
        "identity": identity(scorer, corpus, seed=seed, resamples=resamples),
        "subgroup": _subgroup(texts, labels[:, 0], scores[:, 0], sources, draw),
        "misspelt": _misspelt(scorer, texts, labels[:, 0], scores[:, 0], sources, seed=seed),
        "buried": _buried(scorer, texts, labels[:, 0], scores[:, 0], seed=seed),
    }


def identity(
    scorer: FastTextScorer, corpus: Corpus, *, seed: int, resamples: int
) -> dict[str, Any]:
    """Harmless and hateful sentences about groups of people, of patterns that were not fitted."""
    draw = _Draw(seed, resamples)
    benign, hateful = _family(corpus, "identity_benign"), _family(corpus, "identity_hateful")
    out: dict[str, Any] = {
        "benign_rows": len(benign),
        "benign_patterns": len(_patterns(corpus, "identity_benign")),
        "hateful_rows": len(hateful),
        "hateful_patterns": len(_patterns(corpus, "identity_hateful")),
    }
    if not benign or not hateful:
        return out
    scores = scorer.score([*benign, *hateful]).astype(np.float64)
    labels = np.array([0.0] * len(benign) + [1.0] * len(hateful))
    for category in ("toxicity", "hate_speech"):
        column = scores[:, scorer.categories.index(category)]
        out[category] = {
            "benign_mean": round(float(column[labels < 1].mean()), 4),
            "hateful_mean": round(float(column[labels > 0].mean()), 4),
            **{
                f"benign_share_at_{threshold}": round(
                    float((column[labels < 1] >= threshold).mean()), 4
                )
                for threshold in THRESHOLDS
            },
            **draw.ranking(labels, column),
        }
    return out


def external(scorer: FastTextScorer, folder: Path, *, seed: int, resamples: int) -> dict[str, Any]:
    """Sets that are only ever evaluated on; those that are absent are left out."""
    draw = _Draw(seed, resamples)
    out: dict[str, Any] = {}
    hate = scorer.categories.index("hate_speech")
    for language in ("french", "german", "hindi"):
        path = folder / f"multilingual_hatecheck/hatecheck_cases_final_{language}.csv"
        cases = [(r["test_case"], r["label_gold"] == "hateful") for r in _csv(path)]
        if cases:
            out[f"hatecheck_{language}"] = _external(scorer, hate, cases, draw)
    for language in ("de", "nl"):
        path = folder / f"bias_templates/{language}_sentence_templates.csv"
        cases = [(r["phrase"], r["toxicity"] == "toxic") for r in _csv(path)][::20]
        if cases:
            out[f"bias_templates_{language}"] = _external(scorer, 0, cases, draw)
    return out


def speed(scorer: FastTextScorer, texts: Sequence[str]) -> dict[str, float]:
    """CPU microseconds per text of 120 characters, by batch size: the best of 25 rounds."""
    short = [text[:120] for text in texts if len(text) >= 120][:512]
    out = {}
    for size in (1, 16, 64):
        batches = [short[i : i + size] for i in range(0, len(short) - size + 1, size)]
        best = min(_seconds(scorer.score, batches) for _ in range(25))
        out[f"batch_{size}"] = round(best / max(1, len(batches) * size) * 1e6, 1)
    return out


class _Draw:
    """Estimates with one seed and number of resamples."""

    def __init__(self, seed: int, resamples: int) -> None:
        self._seed = seed
        self._resamples = resamples

    def __call__(self, metric: Metric, labels: FloatArray, scores: FloatArray) -> Estimate:
        return measure.estimate(metric, labels, scores, seed=self._seed, resamples=self._resamples)

    def ranking(self, labels: FloatArray, scores: FloatArray) -> dict[str, Any]:
        """Counts, and where both kinds are there ROC-AUC and average precision."""
        positives = int(labels.sum())
        out: dict[str, Any] = {"rows": len(labels), "positives": positives}
        if min(positives, len(labels) - positives) >= LEAST_OF_EACH:
            out["roc_auc"] = self(measure.roc_auc, labels, scores)
            out["average_precision"] = self(measure.average_precision, labels, scores)
        return out


def _category(
    labels: FloatArray, scores: FloatArray, sources: npt.NDArray[np.str_], draw: _Draw
) -> dict[str, Any]:
    known = ~np.isnan(labels)
    out = draw.ranking(labels[known], scores[known])
    out["by_source"] = {}
    for source in sorted(set(sources[known].tolist())):
        own = known & (sources == source)
        entry = draw.ranking(labels[own], scores[own])
        positive = labels[own] > 0.5
        for threshold in THRESHOLDS:
            flagged = scores[own] >= threshold
            if positive.any():
                entry[f"recall_at_{threshold}"] = round(float(flagged[positive].mean()), 3)
            if not positive.all():
                entry[f"false_positives_at_{threshold}"] = round(
                    float(flagged[~positive].mean()), 4
                )
        out["by_source"][source] = entry
    return out


def _natural(
    labels: FloatArray, scores: FloatArray, sources: npt.NDArray[np.str_], draw: _Draw
) -> dict[str, Any]:
    rows = (sources == NATURAL) & ~np.isnan(labels)
    own, at = labels[rows], scores[rows]
    out = draw.ranking(own, at)
    if "roc_auc" in out:
        out["expected_calibration_error"] = draw(measure.calibration_error, own, at)
        for threshold in THRESHOLDS:
            out[f"precision_at_{threshold}"] = draw(measure.precision_at(threshold), own, at)
            out[f"recall_at_{threshold}"] = draw(measure.recall_at(threshold), own, at)
    return out


def _subgroup(
    texts: Sequence[str],
    labels: FloatArray,
    scores: FloatArray,
    sources: npt.NDArray[np.str_],
    draw: _Draw,
) -> dict[str, Any]:
    """Wikipedia comments that mention an identity, and those against the others (Borkan 2019)."""
    known = np.char.startswith(sources, "jigsaw") & ~np.isnan(labels)
    mention = np.array([_IDENTITY_WORDS.search(text) is not None for text in texts])
    positive = labels > 0.5
    parts = {
        "subgroup": known & mention,
        "background_positive_subgroup_negative": known & np.where(positive, ~mention, mention),
        "background_negative_subgroup_positive": known & np.where(positive, mention, ~mention),
    }
    return {name: draw.ranking(labels[rows], scores[rows]) for name, rows in parts.items()}


def _misspelt(
    scorer: FastTextScorer,
    texts: Sequence[str],
    labels: FloatArray,
    scores: FloatArray,
    sources: npt.NDArray[np.str_],
    *,
    seed: int,
) -> dict[str, Any]:
    """ROC-AUC for toxicity when 40% of the longer words are misspelt."""
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    out: dict[str, Any] = {}
    for source in (NATURAL, "davidson", "toxic_spans"):
        rows = np.flatnonzero((sources == source) & ~np.isnan(labels))
        if len(set(labels[rows].tolist())) < 2:
            continue
        slipped = scorer.score([misspell(texts[i], rng, share=0.4) for i in rows])[:, 0]
        out[source] = {
            "roc_auc_as_is": round(measure.roc_auc(labels[rows], scores[rows]), 4),
            "roc_auc_misspelt": round(measure.roc_auc(labels[rows], slipped.astype(np.float64)), 4),
        }
    return out


def _buried(
    scorer: FastTextScorer,
    texts: Sequence[str],
    labels: FloatArray,
    scores: FloatArray,
    *,
    seed: int,
) -> dict[str, Any]:
    """What is left of toxic texts in the middle of 4,000 harmless characters.

    Of the texts of at most 200 characters that score 0.8 or more alone, the share that still
    reaches each threshold; and the highest score of the harmless text by itself.
    """
    pad = normalise(_HARMLESS * (2_000 // len(_HARMLESS) + 1)).text[:2_000]
    found = [
        text
        for text, label, score in zip(texts, labels, scores, strict=True)
        if label == 1 and score >= 0.8 and len(text) <= 200
    ]
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    found = rng.sample(found, min(500, len(found)))
    if not found:
        return {}
    buried = scorer.score([f"{pad} {text} {pad}" for text in found])[:, 0]
    return {
        "texts": len(found),
        "harmless_alone": round(float(scorer.score([pad])[0, 0]), 3),
        **{
            f"still_at_{threshold}": round(float((buried >= threshold).mean()), 3)
            for threshold in THRESHOLDS
        },
    }


def _family(corpus: Corpus, family: str) -> list[str]:
    return [corpus.texts[i] for i in _rows_of(corpus, family)]


def _patterns(corpus: Corpus, family: str) -> set[str]:
    return {corpus.patterns[i] for i in _rows_of(corpus, family)}


def _rows_of(corpus: Corpus, family: str) -> list[int]:
    return [
        i
        for i in np.flatnonzero(corpus.part == training_split.TEST).tolist()
        if corpus.patterns[i].split("/")[0] == family
    ]


def _external(
    scorer: FastTextScorer, column: int, cases: list[tuple[str, bool]], draw: _Draw
) -> dict[str, Any]:
    scores = scorer.score([normalise(text).text for text, _ in cases])[:, column]
    labels = np.array([float(label) for _, label in cases])
    negative = scores[labels < 1]
    return {
        **draw.ranking(labels, scores.astype(np.float64)),
        "negatives_mean": round(float(negative.mean()), 4),
        "false_positives_at_0.5": round(float((negative >= 0.5).mean()), 4),
    }


def _csv(path: Path) -> Iterator[dict[str, str]]:
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def _seconds(score: Callable[[Sequence[str]], Any], batches: Sequence[Sequence[str]]) -> float:
    start = time.process_time()
    for batch in batches:
        score(batch)
    return time.process_time() - start
