"""Puts a report together: every tier on one labelled set."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.categories import TEXT_CATEGORIES
from scripts.cli.dataset.config import Identities
from scripts.cli.evaluate import groups, metrics, robust, spans
from scripts.cli.evaluate.curves import RESAMPLES
from scripts.cli.evaluate.frontier import frontier
from scripts.cli.evaluate.sets import LabelledSet
from udfs.contracts import FloatMatrix
from udfs.normalise import normalise
from udfs.text_tiers import HIGH, LOW, TextTiers, blend_of, merged

FloatArray = npt.NDArray[np.float64]
Say = Callable[[str], None]

_BATCH: Final = 512
PROBED: Final = ("toxicity", "hate_speech")
"""Categories whose robustness and fairness are looked at, where the set labels them."""


class Options(msgspec.Struct, frozen=True):
    """How to measure."""

    threshold: float = 0.5
    """At or above it a text is flagged."""
    beta: float = 2.0
    """Of F-beta: 2 puts recall first, as flags do."""
    low: float = LOW
    high: float = HIGH
    """The band in which `both` asks the heavy tier."""
    resamples: int = RESAMPLES
    word_share: float = 1.0
    """Of the words of a text that a disguise changes."""
    seed: int = 7
    span_posts: int = 1_000
    deep_span_posts: int = 100
    """Posts whose words are pointed at; the heavy tier takes dozens of runs for each."""


class Scores(msgspec.Struct):
    """One way to score: its probabilities on the set, and how to score other texts."""

    values: FloatArray
    """Shape (texts, TEXT_CATEGORIES), NaN where it has no such category."""
    score: Callable[[Sequence[str]], FloatArray]
    """As-they-came texts to probabilities of that shape."""
    cpu_us: float
    """CPU time a text, microseconds, normalisation included."""
    share_deep: float
    """Share of the texts that the heavy tier saw."""


def evaluate(
    data: LabelledSet,
    tiers: TextTiers,
    wanted: Sequence[str],
    identities: Identities,
    options: Options,
    *,
    span_posts: Sequence[spans.Marked] = (),
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Measure.

    Args:
        data: labelled texts.
        tiers: the models that are there.
        wanted: `fast`, `deep`, `both`, each only if its models are there.
        identities: for fairness, where the set names no groups.
        options: how.
        span_posts: texts with marked characters; empty to leave spans out.
        say: told what is being done.

    Returns:
        The report as plain data (`scores` apart: the arrays that plots are drawn from).
    """
    texts = [normalise(text).text for text in data.texts]
    say(f"scoring {len(texts)} texts")
    scored, raw = _scored(tiers, texts, wanted)
    report: dict[str, Any] = {
        "set": _about(data),
        "options": msgspec.to_builtins(options),
        "models": {
            name: f"{scorer.name} {scorer.version}"
            for name, scorer in (("fast", tiers.fast), ("deep", tiers.deep))
            if scorer is not None
        },
        "tiers": {},
    }
    for name, scores in scored.items():
        say(f"measuring {name}")
        report["tiers"][name] = _tier(data, scores, identities, options)
    if raw is not None and tiers.fast is not None and tiers.deep is not None:
        say("cost against quality")
        report["frontier"] = frontier(
            data.labels[:, [TEXT_CATEGORIES.index(name) for name in tiers.categories]],
            raw[0], tiers.fast.categories, raw[1], tiers.deep.categories,
            fast_us=scored["fast"].cpu_us, deep_us=scored["deep"].cpu_us,
            blend=blend_of(tiers.deep),
        )  # fmt: skip
    if span_posts:
        say("spans")
        report["spans"] = _spans(tiers, wanted, span_posts, options)
    report["scores"] = {name: scores.values for name, scores in scored.items()}
    return report


def _scored(
    tiers: TextTiers, texts: Sequence[str], wanted: Sequence[str]
) -> tuple[dict[str, Scores], tuple[FloatMatrix, FloatMatrix] | None]:
    """Scores of each wanted way, and the single tiers' own arrays where both were asked."""
    single: dict[str, tuple[FloatMatrix, float]] = {}
    for name, scorer in (("fast", tiers.fast), ("deep", tiers.deep)):
        if scorer is not None and (name in wanted or "both" in wanted):
            single[name] = _timed(scorer.score, texts)
    out: dict[str, Scores] = {}
    for name in wanted:
        if name == "both":
            assert tiers.fast is not None  # noqa: S101 - the caller's promise; for mypy
            assert tiers.deep is not None  # noqa: S101 - likewise
            (fast, fast_us), (deep, deep_us) = single["fast"], single["deep"]
            rows = tiers.undecided(fast, texts)
            joined = merged(
                fast,
                tiers.fast.categories,
                deep[rows],
                tiers.deep.categories,
                rows,
                blend_of(tiers.deep),
            )
            share = len(rows) / max(len(texts), 1)
            out[name] = Scores(
                _full(joined, tiers.categories), _scoring(tiers), fast_us + share * deep_us, share
            )
        else:
            scorer = tiers.fast if name == "fast" else tiers.deep
            assert scorer is not None  # noqa: S101 - the caller's promise; for mypy
            alone = TextTiers(scorer, None) if name == "fast" else TextTiers(None, scorer)
            scores, us = single[name]
            out[name] = Scores(
                _full(scores, scorer.categories), _scoring(alone), us, float(name == "deep")
            )
    pair = (single["fast"][0], single["deep"][0]) if {"fast", "deep"} <= out.keys() else None
    return out, pair


def _timed(
    score: Callable[[Sequence[str]], FloatMatrix], texts: Sequence[str]
) -> tuple[FloatMatrix, float]:
    started = time.process_time()
    parts = [score(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
    spent = time.process_time() - started
    return np.concatenate(parts), spent / max(len(texts), 1) * 1e6


def _scoring(tiers: TextTiers) -> Callable[[Sequence[str]], FloatArray]:
    def score(texts: Sequence[str]) -> FloatArray:
        normal = [normalise(text).text for text in texts]
        parts = [tiers.score(normal[i : i + _BATCH]).scores for i in range(0, len(normal), _BATCH)]
        return _full(np.concatenate(parts), tiers.categories)

    return score


def _full(scores: FloatMatrix, names: Sequence[str]) -> FloatArray:
    out = np.full((len(scores), len(TEXT_CATEGORIES)), np.nan)
    out[:, [TEXT_CATEGORIES.index(name) for name in names]] = scores
    return out


def _tier(
    data: LabelledSet, scores: Scores, identities: Identities, options: Options
) -> dict[str, Any]:
    how = {"threshold": options.threshold, "beta": options.beta}
    out: dict[str, Any] = {
        "cpu_us": scores.cpu_us,
        "share_deep": scores.share_deep,
        "categories": {},
        "averages": metrics.averages(data.labels, scores.values, **how),
        "robustness": {},
        "fairness": {},
        "identity_terms": {},
    }
    sources = np.array(data.sources)
    for column, name in enumerate(TEXT_CATEGORIES):
        labels, values = data.labels[:, column], scores.values[:, column]
        known = ~np.isnan(labels) & ~np.isnan(values)
        if not known.any():
            continue
        draws = {"seed": options.seed, "resamples": options.resamples}
        entry = metrics.category(labels, values, **how, **draws)  # type: ignore[arg-type]  # names decide the types
        entry["reliability"] = metrics.reliability(labels[known], values[known])
        if len(set(data.sources)) > 1:
            entry["by_source"] = {
                source: _brief(labels[known & (sources == source)],
                               values[known & (sources == source)], options)
                for source in sorted(set(sources[known].tolist()))
            }  # fmt: skip
        out["categories"][name] = entry
        if name in PROBED and len(set(labels[known].tolist())) == 2:
            own = _column(scores.score, column)
            out["robustness"][name] = robust.robustness(
                data.texts, labels, own, options.threshold,
                word_share=options.word_share, seed=options.seed,
            )  # fmt: skip
            parts = data.groups or groups.mentioned(data.texts, identities)
            out["fairness"][name] = groups.fairness(
                labels[known], values[known],
                {group: rows[known] for group, rows in parts.items()}, options.threshold,
            )  # fmt: skip
            harmless = [data.texts[i] for i in np.flatnonzero(labels == 0)]
            out["identity_terms"][name] = groups.terms(
                harmless, identities, own, options.threshold, seed=options.seed
            )
    return out


def _column(
    score: Callable[[Sequence[str]], FloatArray], column: int
) -> Callable[[Sequence[str]], FloatArray]:
    return lambda texts: np.asarray(score(texts)[:, column])


def _brief(labels: FloatArray, scores: FloatArray, options: Options) -> dict[str, Any]:
    """Figures of one source, without intervals."""
    positives = int(labels.sum())
    out: dict[str, Any] = {"rows": len(labels), "positives": positives}
    if min(positives, len(labels) - positives) >= metrics.LEAST_OF_EACH:
        found = metrics.figures(labels, scores, threshold=options.threshold, beta=options.beta)
        out |= {name: found[name] for name in ("roc_auc", "pr_auc", "f1", "recall", "fpr", "ece")}
    return out


def _spans(
    tiers: TextTiers, wanted: Sequence[str], posts: Sequence[spans.Marked], options: Options
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, scorer, most in (
        ("fast", tiers.fast, options.span_posts),
        ("deep", tiers.deep, options.deep_span_posts),
    ):
        if scorer is not None and name in wanted and "toxicity" in scorer.categories:
            step = max(1, -(-len(posts) // most))
            out[name] = spans.measure(
                posts[::step],
                lambda text, own=scorer: own.explain(text, "toxicity", spans.MOST_WORDS),  # type: ignore[misc]  # binds the loop's variable
            )
    return out


def _about(data: LabelledSet) -> dict[str, Any]:
    return {
        "name": data.name,
        "texts": len(data.texts),
        "sources": {name: data.sources.count(name) for name in sorted(set(data.sources))},
        "labels": {
            name: {
                "yes": int((data.labels[:, column] == 1).sum()),
                "no": int((data.labels[:, column] == 0).sum()),
            }
            for column, name in enumerate(TEXT_CATEGORIES)
        },
    }
