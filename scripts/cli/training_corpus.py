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
"""What a misspelt copy or a part weighs beside its original."""


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
    examples: Iterable[Example], presumed_clean_unless: dict[str, tuple[str, ...]]
) -> tuple[Corpus, sp.csr_matrix]:
    """Normalise, label, hash and split.

    Args:
        examples: of all sources.
        presumed_clean_unless: by category, strings whose presence makes a presumed 0 unknown.

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
    patterns = [e.pattern for e in rows]
    group = training_split.groups(training_split.minhashes(matrix), patterns)
    part = training_split.split(texts, group)
    sources = np.array([e.source for e in rows])
    return Corpus(texts, sources, patterns, labels, weights, presumed, part), matrix


def grown(corpus: Corpus, ones: sp.csr_matrix, *, seed: int) -> tuple[Corpus, sp.csr_matrix]:
    """The corpus with copies of what is fitted, which are only ever fitted themselves.

    A misspelt copy of every text that is not long; and short parts of long texts, for the
    categories that a text is free of: so is every part of it.
    """
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    rows: list[int] = []
    copies: list[str] = []
    parts: list[bool] = []
    for i in np.flatnonzero(corpus.part == training_split.FIT).tolist():
        text = corpus.texts[i]
        if len(text) < NOISE_BELOW_CHARS:
            copies.append(misspell(text, rng, share=NOISE_SHARE))
        if (corpus.labels[i] == 0).any():
            copies.extend(_parts(text, rng))
        parts.extend(
            j > 0 or len(text) >= NOISE_BELOW_CHARS for j in range(len(copies) - len(rows))
        )
        rows.extend([i] * (len(copies) - len(rows)))
    labels, weights = corpus.labels[rows].copy(), corpus.weights[rows] * np.float32(COPY_WEIGHT)
    unknown = np.array(parts)[:, None] & ~(labels == 0)
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
