"""What every `Scorer` keeps to. Run each of `CHECKS` on a scorer:

@pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name_of)
def test_conformance(check, scorer):
    check(scorer)
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from schemas.categories import TEXT_CATEGORIES
from udfs.contracts import Scorer

Check = Callable[[Scorer], None]

TEXTS: Final = (
    "hello there, how was the train ride?",
    "you are an idiot and nobody likes you",
    "i will find you and kill you",
    "",
    " ",
    "a",
    "buy cheap pills now http://example.com/win",
    "привет, как дела",
    "नमस्ते दुनिया",
    "مرحبا بالعالم",
    "今日はいい天気です",
    "😀😀😀 great game 👍🏽",
    "first line\nsecond line\twith a tab",
    "no-break\u00a0space and ideographic\u3000space",
    "x" * 700,
    "word " * 400,
    "you are an idiot " * 60,
    "good morning to everybody here. " * 30 + "you stupid idiot. " + "see you all later. " * 40,
)
"""Normalised texts: short and long, empty, several scripts."""

ODD_TEXTS: Final = (
    "\ud800 lone surrogate",
    "nul\x00inside",
    "\u200b\u200b",
    "\U0010ffff\U000e0001",
    "e\u0301\u0301\u0301\u0301",
    "\u202eright to left",
    "-" * 5_000,
    "🏳️‍🌈" * 300,
    "a b " * 12_500,
)
"""What no normaliser should let through, but no payload may break a scorer either."""


def name_of(check: Check) -> str:
    """For parametrised tests."""
    return check.__name__.removeprefix("check_")


def check_is_a_scorer(scorer: Scorer) -> None:
    assert isinstance(scorer, Scorer)


def check_names_itself(scorer: Scorer) -> None:
    assert scorer.name
    assert scorer.version
    # Caches key on "name:version".
    assert ":" not in scorer.name
    assert (scorer.name, scorer.version) == (scorer.name, scorer.version)


def check_categories_are_known_and_in_order(scorer: Scorer) -> None:
    places = [TEXT_CATEGORIES.index(category) for category in scorer.categories]
    assert places
    assert places == sorted(set(places))


def check_gives_probabilities(scorer: Scorer) -> None:
    scores = scorer.score(TEXTS)
    assert scores.shape == (len(TEXTS), len(scorer.categories))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def check_takes_an_empty_batch(scorer: Scorer) -> None:
    scores = scorer.score([])
    assert scores.shape == (0, len(scorer.categories))
    assert scores.dtype == np.float32


def check_tells_texts_apart(scorer: Scorer) -> None:
    scores = scorer.score(TEXTS)
    assert len(np.unique(scores, axis=0)) > len(TEXTS) // 2


def check_is_deterministic(scorer: Scorer) -> None:
    assert _same(scorer.score(TEXTS), scorer.score(TEXTS))


def check_batch_equals_one_by_one(scorer: Scorer) -> None:
    alone = np.concatenate([scorer.score([text]) for text in TEXTS])
    assert _same(scorer.score(TEXTS), alone)


def check_neighbours_do_not_matter(scorer: Scorer) -> None:
    alone = np.concatenate([scorer.score([text]) for text in TEXTS])
    rng = np.random.default_rng(5)
    for size in (2, 3, 16, 64):
        rows = rng.integers(0, len(TEXTS), size)
        assert _same(scorer.score([TEXTS[i] for i in rows]), alone[rows])


def check_takes_any_sequence(scorer: Scorer) -> None:
    texts = list(TEXTS[:4])
    before = texts.copy()
    assert _same(scorer.score(texts), scorer.score(tuple(texts)))
    assert texts == before


def check_survives_odd_texts(scorer: Scorer) -> None:
    scores = scorer.score(ODD_TEXTS)
    assert np.isfinite(scores).all()
    assert _same(scores, np.concatenate([scorer.score([text]) for text in ODD_TEXTS]))
    for text in ODD_TEXTS:
        _explanation(scorer, text, scorer.categories[0], 3)


def check_scores_are_the_callers_own(scorer: Scorer) -> None:
    first = scorer.score(TEXTS[:2])
    kept = first.copy()
    scorer.score(TEXTS[2:])
    assert _same(first, kept)


def check_pickles(scorer: Scorer) -> None:
    copy = pickle.loads(pickle.dumps(scorer))  # noqa: S301 - our own bytes
    assert (copy.name, copy.version, copy.categories) == (
        scorer.name,
        scorer.version,
        scorer.categories,
    )
    assert _same(copy.score(TEXTS), scorer.score(TEXTS))
    category = scorer.categories[0]
    assert copy.explain(TEXTS[1], category) == scorer.explain(TEXTS[1], category)


def check_explains_within_the_text(scorer: Scorer) -> None:
    for text in TEXTS:
        for category in scorer.categories:
            for limit in (0, 1, 5):
                _explanation(scorer, text, category, limit)


def check_explains_something(scorer: Scorer) -> None:
    found = [scorer.explain(text, category) for text in TEXTS for category in scorer.categories]
    assert any(found)


def check_explanation_is_deterministic(scorer: Scorer) -> None:
    for category in scorer.categories:
        assert scorer.explain(TEXTS[1], category) == scorer.explain(TEXTS[1], category)


def check_refuses_unknown_categories(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match=r".+"):
        scorer.explain(TEXTS[1], "no such category")


CHECKS: Final[tuple[Check, ...]] = (
    check_is_a_scorer,
    check_names_itself,
    check_categories_are_known_and_in_order,
    check_gives_probabilities,
    check_takes_an_empty_batch,
    check_tells_texts_apart,
    check_is_deterministic,
    check_batch_equals_one_by_one,
    check_neighbours_do_not_matter,
    check_takes_any_sequence,
    check_survives_odd_texts,
    check_scores_are_the_callers_own,
    check_pickles,
    check_explains_within_the_text,
    check_explains_something,
    check_explanation_is_deterministic,
    check_refuses_unknown_categories,
)


def _same(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    """Equal to the last bit."""
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _explanation(
    scorer: Scorer, text: str, category: str, limit: int
) -> Sequence[tuple[int, int, float]]:
    spans = scorer.explain(text, category, limit)
    assert len(spans) <= limit
    assert len({(start, end) for start, end, _ in spans}) == len(spans)
    for start, end, weight in spans:
        # Plain numbers: they go into JSON.
        assert (type(start), type(end), type(weight)) == (int, int, float)
        assert 0 <= start < end <= len(text)
        assert text[start:end].strip()
        assert weight > 0
    weights = [weight for *_, weight in spans]
    assert weights == sorted(weights, reverse=True)
    return spans
