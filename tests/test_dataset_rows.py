"""Raters, disguises, identities and balance of the data set build."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.cli.dataset import agreement, augment, balance, config
from scripts.cli.dataset.config import AugmentConfig, BalanceConfig
from scripts.cli.dataset.identity import Swapper
from scripts.cli.training_data import Example
from tests.dataset_kit import TRICKS, row, texts
from udfs.normalise import normalise

# --- raters ------------------------------------------------------------------------------


def test_the_majority_is_weighted_and_a_tie_says_nothing() -> None:
    most = agreement.majority([(True, 1), (True, 1), (False, 1)])
    assert most.label == 1
    assert most.agreement == pytest.approx(2 / 3)
    assert agreement.majority([(True, 1), (False, 3)]) == (0, 0.75)
    assert agreement.majority([(True, 2), (False, 1), (False, 1)]) == (None, 0.5)
    with pytest.raises(ValueError, match="needs a vote"):
        agreement.majority([])


def test_alpha_is_krippendorffs() -> None:
    assert agreement.alpha([(3, 3), (0, 3), (2, 2), (0, 4)]) == 1.0
    # By hand: observed disagreement 2/3 over pairs, expected 2 * 6 * 6 / (12 * 11).
    assert agreement.alpha([(2, 4), (2, 4), (2, 4)]) == pytest.approx(
        1 - (2 / 3) / (2 * 36 / 132), abs=1e-3
    )
    assert agreement.alpha([(1, 1), (0, 1)]) is None
    assert agreement.alpha([(0, 3), (0, 2)]) is None
    assert agreement.alpha([]) is None


def test_labels_that_raters_dispute_become_unknown() -> None:
    example = Example(
        "x",
        "davidson",
        {"toxicity": 1, "hate_speech": 0},
        1.0,
        votes={"toxicity": (2, 4), "hate_speech": (0, 4)},
    )
    assert agreement.agreed(example, 0.6).labels == {"hate_speech": 0}
    assert agreement.agreed(example, 0.5) is example
    assert agreement.share_of(example) == 0.5


# --- disguises and identities ------------------------------------------------------------


@given(st.text(max_size=80), st.sampled_from(config.TRICKS), st.integers(0, 5))
def test_a_disguise_is_the_same_for_the_same_draw(text: str, trick: str, seed: int) -> None:
    draws = [random.Random(seed) for _ in range(2)]  # noqa: S311 - draws examples
    one, two = (augment.disguise(text, trick, rng, share=0.5) for rng in draws)
    assert one == two
    rng = random.Random(seed)  # noqa: S311 - draws examples
    assert augment.disguise(text, trick, rng, share=0.0) == text


@pytest.mark.parametrize("trick", config.TRICKS)
def test_a_disguise_changes_words(trick: str) -> None:
    rng = random.Random(1)  # noqa: S311 - draws examples
    text = "terrible stories about islands"
    assert augment.disguise(text, trick, rng, share=1.0) != text


def test_what_normalisation_undoes_is_not_kept() -> None:
    rng = random.Random(3)  # noqa: S311 - draws examples
    rows = [row(text, id=i) for i, text in enumerate(texts(60))]
    options = AugmentConfig(share=1.0, tricks=TRICKS)
    made = balance.disguised(rows, options, rng)
    assert made
    for copy in made:
        assert normalise(copy.text).text != normalise(rows[copy.parent].text).text
    hidden = AugmentConfig(share=1.0, tricks={"zero_width": 1})
    assert not balance.disguised(rows, hidden, rng)


def test_abusive_and_harmless_rows_are_disguised_alike() -> None:
    rng = random.Random(3)  # noqa: S311 - draws examples
    rows = [row(t, (i % 2,) * 6, id=i) for i, t in enumerate(texts(2_000))]
    made = balance.disguised(rows, AugmentConfig(share=0.3, tricks=TRICKS), rng)
    toxic = sum(copy.positive for copy in made)
    assert 0.4 < toxic / len(made) < 0.6
    assert 0.2 < len(made) / len(rows) <= 0.35  # what normalisation undoes is left out


@pytest.fixture(scope="module")
def swapper() -> Swapper:
    return Swapper(config.load_identities())


@pytest.mark.parametrize(
    ("text", "chosen", "said"),
    [
        ("Muslims and jews", {"muslims": "hindus", "jews": "sikhs"}, "Hindus and sikhs"),
        ("a gay man", {"gay": "asexual"}, "an asexual man"),
        ("An Irish pub", {"irish": "polish"}, "A Polish pub"),
        ("ALL WOMEN", {"women": "men"}, "ALL MEN"),
        ("african american art", {"african american": "arab"}, "arab art"),
        ("womenfolk", {"women": "men"}, "womenfolk"),
    ],
)
def test_identities_are_replaced_in_place(
    text: str, chosen: dict[str, str], said: str, swapper: Swapper
) -> None:
    assert swapper.replaced(text, chosen) == said


@given(st.integers(0, 1_000))
def test_a_swap_keeps_classes_and_distinctness(seed: int) -> None:
    found = Swapper(config.load_identities())
    rng = random.Random(seed)  # noqa: S311 - draws examples
    text = "muslims met jews, and muslims met a black woman"
    other = found.swap(text, rng)
    assert other is not None
    before, after = found.mentions(text), found.mentions(other)
    assert len(before) == len(after)
    assert not set(before) & set(after)
    assert after[0] == after[2] != after[1]
    assert found.swap("nobody in particular", rng) is None


# --- balance -----------------------------------------------------------------------------


def test_clean_rows_are_thinned_in_training_only() -> None:
    rows = [row(id=i, labels=(int(i < 3),) + (0,) * 5) for i in range(100)]
    rows += [row(id=100 + i, split="test") for i in range(50)]
    rng = random.Random(1)  # noqa: S311 - draws examples
    left = balance.downsampled(rows, BalanceConfig(clean_per_positive=10), rng)
    assert sum(r.split == "train" and r.positive for r in left) == 3
    assert sum(r.split == "train" and not r.positive for r in left) == 30
    assert sum(r.split == "test" for r in left) == 50
    assert [r.id for r in left] == sorted(r.id for r in left)


def test_rare_categories_get_copies() -> None:
    rows = [row("plain words here", id=i) for i in range(96)]
    threat = (None, None, 1, None, None, None)
    rows += [row("something rare stands here", threat, id=96 + i) for i in range(4)]
    rng = random.Random(1)  # noqa: S311 - draws examples
    options = AugmentConfig(tricks=TRICKS)
    made = balance.upsampled(rows, BalanceConfig(rare_share=0.1, most_copies=5), options, rng)
    assert {copy.parent for copy in made} == {96, 97, 98, 99}
    assert len(made) == 8  # ten in all are wanted; each row gets as many
    assert all(copy.labels == threat for copy in made)
