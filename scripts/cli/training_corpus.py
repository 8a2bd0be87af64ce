"""The training corpus as arrays: texts, labels, weights and hashed features."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from schemas.categories import TEXT_CATEGORIES
from scripts.cli import training_split
from scripts.cli.dataset.augment import disguise
from scripts.cli.dataset.config import TRICKS, HoldoutConfig
from scripts.cli.dataset.identity import Swapper
from scripts.cli.training_data import Example
from scripts.cli.training_noise import misspell
from udfs.normalise import normalise
from udfs.text_fast import CLOSE_WINDOW
from udfs.text_features import BUCKETS, features

PRESUMED_WEIGHT: Final = 0.5
"""What a presumed label weighs beside one that somebody gave."""
MOST_CHARS: Final = 5_000
"""Longer texts are cut for training (Jigsaw's longest have 5,000)."""
NOISE_BELOW_CHARS: Final = 1_000
NOISE_SHARE: Final = 0.4
"""Share of the longer words that is misspelt in a copy."""
MOST_PARTS: Final = 6
"""Short parts that are taken of one long text."""
COPY_WEIGHT: Final = 0.5
"""What a misspelt or disguised copy, a counterfactual or a part weighs beside its original."""
DISGUISED: Final = 0.3
"""Share of the shorter texts that get a disguised copy."""
DISGUISE_SHARES: Final = (0.5, 1.0)
"""Share of the words of such a copy that are disguised, one or the other."""


class Corpus(msgspec.Struct):
    """Rows in reading order; columns of `labels` and `weights` are `TEXT_CATEGORIES`."""

    texts: list[str]
    sources: npt.NDArray[np.str_]
    patterns: list[str]
    labels: npt.NDArray[np.float32]
    """1, 0, or NaN for unknown; shape (rows, categories)."""
    weights: npt.NDArray[np.float32]
    """Weight in the loss, 0 where unknown; shape (rows, categories)."""
    presumed: npt.NDArray[np.bool_]
    """True where nobody gave the label; shape (rows, categories)."""
    part: npt.NDArray[np.int64]
    """training_split.FIT, DEV or TEST."""

    def known(self, category: int, part: int) -> npt.NDArray[np.int64]:
        """Rows of `part` whose label for `category` is known or presumed."""
        return np.flatnonzero((self.part == part) & ~np.isnan(self.labels[:, category]))


def build(
    examples: Iterable[Example],
    presumed_clean_unless: dict[str, tuple[str, ...]],
    holdout: HoldoutConfig | None = None,
) -> tuple[Corpus, sp.csr_matrix]:
    """Normalise, label, hash and split.

    Args:
        examples: of all sources.
        presumed_clean_unless: by category, strings whose presence makes a presumed 0 unknown.
        holdout: what only tests, beside a fifth of all.

    Returns:
        The corpus and its feature matrix of ones, shape (rows, BUCKETS).
    """
    rows = [e for e in examples if e.text.strip()]
    texts = [normalise(e.text[:MOST_CHARS]).text for e in rows]
    labels = np.full((len(rows), len(TEXT_CATEGORIES)), np.nan, np.float32)
    weights = np.zeros_like(labels)
    presumed = np.zeros(labels.shape, np.bool_)
    for i, (example, text) in enumerate(zip(rows, texts, strict=True)):
        for j, category in enumerate(TEXT_CATEGORIES):
            if category in example.labels:
                labels[i, j] = example.labels[category]
                weights[i, j] = example.weight * example.emphasis.get(category, 1.0)
            elif category in example.presumed and not any(
                word in text for word in presumed_clean_unless.get(category, ())
            ):
                labels[i, j] = 0
                weights[i, j] = example.weight * PRESUMED_WEIGHT
                presumed[i, j] = True
    matrix = hashed(texts)
    _, part = parts(rows, texts, matrix, holdout or HoldoutConfig())
    sources = np.array([e.source for e in rows])
    patterns = [e.pattern for e in rows]
    return Corpus(texts, sources, patterns, labels, weights, presumed, part), matrix


def parts(
    examples: Sequence[Example], texts: Sequence[str], matrix: sp.csr_matrix, holdout: HoldoutConfig
) -> tuple[training_split.IntArray, training_split.IntArray]:
    """Which examples are related, and which are fitted, calibrate and test.

    Args:
        examples: of all sources.
        texts: theirs, normalised.
        matrix: features of the texts.
        holdout: what only tests, with all that is related to it.

    Returns:
        Group numbers, and `training_split.FIT`, `DEV` or `TEST`.
    """
    group = training_split.related(matrix, [e.pattern or e.link for e in examples])
    # Sentences of two patterns are often alike: what is the project's own is parted by patterns
    # alone, or whole kinds of it would be held out.
    first: dict[str, int] = {}
    for i, example in enumerate(examples):
        if example.pattern:
            group[i] = first.setdefault(example.pattern, i)
    same: dict[str, int] = {}
    for i, text in enumerate(texts):
        other = same.setdefault(text, i)
        if group[other] != group[i]:
            group[group == group[i]] = group[other]
    part = training_split.split(texts, group)
    part[np.isin(group, group[_held_out(examples, holdout)])] = training_split.TEST
    return group, part


def _held_out(examples: Sequence[Example], holdout: HoldoutConfig) -> list[int]:
    subsets = set(holdout.subsets)
    out = [
        i
        for i, e in enumerate(examples)
        if e.subset and f"{e.source}/{e.subset}".lower() in subsets
    ]
    for source, share in holdout.newest_share.items():
        own = sorted((e.time, i) for i, e in enumerate(examples) if e.source == source and e.time)
        out += [i for _, i in own[len(own) - int(len(own) * share) :]]
    return out


def grown(
    corpus: Corpus, ones: sp.csr_matrix, *, seed: int, swapper: Swapper | None = None
) -> tuple[Corpus, sp.csr_matrix]:
    """The corpus with copies of what is fitted, which are only ever fitted themselves.

    A misspelt copy of every text that is not long; a disguised one of some, harmless and abusive
    alike, as normalisation leaves it; the same text about another identity; and short parts of
    long texts, for the categories that a text is free of: so is every part of it.

    Args:
        corpus: of `build`.
        ones: its features.
        seed: of every draw.
        swapper: of identities; None to do without.
    """
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    rows: list[int] = []
    copies: list[str] = []
    partial: list[bool] = []
    for i in np.flatnonzero(corpus.part == training_split.FIT).tolist():
        text = corpus.texts[i]
        own = []
        if len(text) < NOISE_BELOW_CHARS:
            own.append(misspell(text, rng, share=NOISE_SHARE))
            if rng.random() < DISGUISED:
                own.append(_disguised(text, rng))
            if swapper is not None and (other := swapper.swap(text, rng)) is not None:
                own.append(other)
        # What normalisation undoes would be the same text again.
        own = [copy for copy in dict.fromkeys(normalise(each).text for each in own) if copy != text]
        cut = list(_parts(text, rng)) if (corpus.labels[i] == 0).any() else []
        copies += own + cut
        partial += [False] * len(own) + [True] * len(cut)
        rows += [i] * (len(own) + len(cut))
    labels, weights = corpus.labels[rows].copy(), corpus.weights[rows] * np.float32(COPY_WEIGHT)
    unknown = np.array(partial)[:, None] & ~(labels == 0)
    labels[unknown], weights[unknown] = np.nan, 0
    bigger = Corpus(
        corpus.texts + copies,
        np.concatenate((corpus.sources, corpus.sources[rows])),
        corpus.patterns + [corpus.patterns[i] for i in rows],
        np.concatenate((corpus.labels, labels)),
        np.concatenate((corpus.weights, weights)),
        np.concatenate((corpus.presumed, corpus.presumed[rows])),
        np.concatenate((corpus.part, corpus.part[rows])),
    )
    return bigger, sp.vstack([ones, hashed(copies)]).tocsr()


def _disguised(text: str, rng: random.Random) -> str:
    trick = rng.choice(TRICKS)
    return disguise(text, trick, rng, share=rng.choice(DISGUISE_SHARES))


def _parts(text: str, rng: random.Random) -> Iterator[str]:
    for _ in range(min(MOST_PARTS, len(text) // CLOSE_WINDOW)):
        size = rng.randint(CLOSE_WINDOW // 2, CLOSE_WINDOW)
        at = rng.randrange(len(text) - size + 1)
        yield text[at : at + size]


def hashed(texts: Sequence[str]) -> sp.csr_matrix:
    """Features of whole texts as a matrix of ones, shape (len(texts), BUCKETS)."""
    found = features(texts)
    indices = found.buckets.astype(np.int32)
    ones = np.ones(len(indices), np.float32)
    return sp.csr_matrix((ones, indices, found.bounds), shape=(len(texts), BUCKETS))
