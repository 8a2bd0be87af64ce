"""Texts in, calibrated scores out, by one tier or by both: the heavy tier for what is undecided.

The fast tier scores every text. Where one of its probabilities is neither low nor high, the heavy
tier scores the text too, and its probabilities take the place of the fast tier's for the
categories that it has. Each text is handled by itself: what it gets does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.categories import TEXT_CATEGORIES
from udfs.contracts import FloatMatrix, Scorer

BoolArray = npt.NDArray[np.bool_]
Reads = Callable[[Sequence[str]], Sequence[bool]]
"""Says of normalised texts which of them a model reads."""
TextStage = Literal["fast_text", "deep_text"]
Blend = Mapping[str, tuple[float, float, float]]
"""By category: weights of the log-odds of the fast and of the heavy tier, and an offset."""
_TINY: Final = 1e-6

LOW: Final = 0.05
HIGH: Final = 0.95
"""The default band: a probability outside it is held with confidence above 0.95, where the fast
tier's answer is final. A caller that has settings hands in its own."""


def needs_deep(
    scores: FloatMatrix,
    low: float | Sequence[float] = LOW,
    high: float | Sequence[float] = HIGH,
) -> BoolArray:
    """Which texts the fast tier leaves undecided, shape (texts,).

    Args:
        scores: calibrated probabilities, shape (texts, categories).
        low: at or above it a probability is no clear no; one for all, or one a category.
        high: at or below it a probability is no clear yes; likewise.

    Returns:
        True where any category lies within [low, high]; a NaN decides nothing, so it counts.
    """
    # In the scores' own precision: a float32 0.95 is not below the 0.95 of a setting.
    bounds = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return np.asarray(~((scores < bounds[0]) | (scores > bounds[1])).all(axis=1))


def blend_of(scorer: Scorer) -> Blend:
    """How a heavy tier wants to be joined with the fast one; empty where it does not say."""
    return getattr(scorer, "blend", None) or {}


def readable(scorer: Scorer, texts: Sequence[str]) -> BoolArray:
    """Which texts a scorer can read, shape (texts,): all, where it does not say.

    Args:
        scorer: with `reads`, if its vocabulary leaves anything out.
        texts: normalised.
    """
    reads = getattr(scorer, "reads", None)
    return np.array([True] * len(texts) if reads is None else reads(texts), np.bool_)


def blended(
    fast: npt.ArrayLike, deep: npt.ArrayLike, weights: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Two tiers' probabilities of one category as one: a weighted sum of their log-odds.

    Monotone in both. NaN where either is NaN.

    Args:
        fast: probabilities of the fast tier.
        deep: probabilities of the heavy tier, the same shape.
        weights: of the log-odds of both, and an offset.
    """
    first, second, offset = weights
    total = first * log_odds(fast) + second * log_odds(deep) + offset
    return np.asarray(1.0 / (1.0 + np.exp(-total)), np.float64)


def log_odds(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Of probabilities, clipped away from 0 and 1."""
    within = np.clip(np.asarray(values, np.float64), _TINY, 1.0 - _TINY)
    return np.asarray(np.log(within / (1.0 - within)), np.float64)


def merged(
    fast: FloatMatrix,
    fast_names: Sequence[str],
    deep: FloatMatrix,
    deep_names: Sequence[str],
    rows: npt.NDArray[np.int64],
    blend: Blend | None = None,
) -> FloatMatrix:
    """Probabilities of both tiers in one array, shape (texts, `joined_names`).

    Args:
        fast: of every text, shape (texts, fast_names).
        fast_names: its columns.
        deep: of some texts, shape (len(rows), deep_names).
        deep_names: its columns; a category that the fast tier lacks is NaN where this did not run.
        rows: places of those texts.
        blend: of `blend_of` the heavy tier.
    """
    names = joined_names(fast_names, deep_names)
    out = np.full((len(fast), len(names)), np.nan, np.float32)
    out[:, [names.index(name) for name in fast_names]] = fast
    for column, name in enumerate(deep_names):
        own: npt.NDArray[np.floating[Any]] = deep[:, column]
        if blend and name in blend and name in fast_names:
            own = blended(fast[rows, list(fast_names).index(name)], own, blend[name])
        out[rows, names.index(name)] = own
    return out


def joined_names(fast: Sequence[str], deep: Sequence[str]) -> tuple[str, ...]:
    """Categories of either tier, in the order of `TEXT_CATEGORIES`."""
    return tuple(name for name in TEXT_CATEGORIES if name in fast or name in deep)


def telling(
    explained: Sequence[tuple[int, int, float]], share: float
) -> list[tuple[int, int, float]]:
    """Ranges that weigh at least `share` of the strongest, in the order of the text.

    Args:
        explained: of a scorer's `explain`, strongest first.
        share: within [0, 1].
    """
    if not explained:
        return []
    least = share * explained[0][2]
    return sorted(entry for entry in explained if entry[2] >= least)


class Tiered(NamedTuple):
    """Scores of a batch and the tier that each text's are from."""

    scores: FloatMatrix
    """Calibrated probabilities, shape (texts, `TextTiers.categories`). NaN: no tier that ran has
    the category."""
    deep: BoolArray
    """True where the heavy tier ran, shape (texts,)."""

    def stage(self, row: int) -> TextStage:
        """The tier that gave a text's scores."""
        return "deep_text" if self.deep[row] else "fast_text"


class TextTiers:
    """One or two scorers as one.

    Args:
        fast: None to ask the heavy tier alone, for every text.
        deep: None to do without.
        low: of the band of `needs_deep`.
        high: of the same.
        reads: which texts may be shown to the heavy tier; None: all. The others keep the fast
            tier's scores. Not asked where there is no fast tier.

    Raises:
        ValueError: there is neither.
    """

    def __init__(
        self,
        fast: Scorer | None,
        deep: Scorer | None,
        *,
        low: float | Sequence[float] = LOW,
        high: float | Sequence[float] = HIGH,
        reads: Reads | None = None,
    ) -> None:
        if fast is None and deep is None:
            raise ValueError("no tier to score with")
        self.fast = fast
        self.deep = deep
        self._low, self._high = low, high
        self._reads = reads
        self.categories = joined_names(
            fast.categories if fast else (), deep.categories if deep else ()
        )

    def score(self, texts: Sequence[str]) -> Tiered:
        """Score normalised texts."""
        if self.fast is None:
            assert self.deep is not None  # noqa: S101 - the constructor saw to it; for mypy
            return Tiered(self.deep.score(texts), np.ones(len(texts), np.bool_))
        fast = self.fast.score(texts)
        chosen = np.zeros(len(texts), np.bool_)
        if self.deep is None:
            return Tiered(fast, chosen)
        rows = self.undecided(fast, texts)
        chosen[rows] = True
        deep = self.deep.score([texts[i] for i in rows])
        joined = merged(
            fast, self.fast.categories, deep, self.deep.categories, rows, blend_of(self.deep)
        )
        return Tiered(joined, chosen)

    def undecided(self, fast: FloatMatrix, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Places of the texts that the heavy tier is shown.

        Args:
            fast: the fast tier's scores of the texts.
            texts: normalised.
        """
        rows = np.flatnonzero(needs_deep(fast, self._low, self._high))
        if self.deep is not None and len(rows):
            rows = rows[readable(self.deep, [texts[i] for i in rows])]
        if self._reads is not None and len(rows):
            rows = rows[np.array(self._reads([texts[i] for i in rows]), np.bool_)]
        return rows

    def explain(
        self, text: str, category: str, *, deep: bool, limit: int = 5
    ) -> list[tuple[int, int, float]]:
        """Ranges of a normalised text that raised a category, strongest first.

        Args:
            text: normalised.
            category: one of `categories`.
            deep: ask the heavy tier (some dozens of its runs) where it is there and has the
                category; else the fast tier (about the cost of scoring).
            limit: most ranges.
        """
        order = (self.deep, self.fast) if deep else (self.fast, self.deep)
        for scorer in order:
            if scorer is not None and category in scorer.categories:
                return list(scorer.explain(text, category, limit))
        raise ValueError(f"no tier has the category {category}")
