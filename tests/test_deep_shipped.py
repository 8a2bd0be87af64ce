"""The heavy text model that comes with Sluice."""

from __future__ import annotations

import pytest

from schemas.categories import TEXT_CATEGORIES
from schemas.settings import ROOT, load_settings
from tests import conformance
from udfs.normalise import normalise
from udfs.text_deep import DeepTextOptions, DeepTextScorer, load
from udfs.text_fast import FastTextScorer
from udfs.text_tiers import TextTiers

FOLDER = ROOT / "conf/models/deep_text"


@pytest.fixture(scope="module")
def scorer() -> DeepTextScorer:
    return load(FOLDER, DeepTextOptions(explain_passes=8))


def test_it_is_what_the_profile_runs_and_small_enough_to_ship(scorer: DeepTextScorer) -> None:
    settings = load_settings("dev")
    assert settings.cascade.deep_text is not None
    assert ROOT / settings.cascade.deep_text == FOLDER
    assert scorer.precision == "int8"
    assert scorer.categories == TEXT_CATEGORIES
    assert scorer.manifest.files["model.int8.onnx"].bytes <= 24_000_000
    assert set(scorer.blend) == set(TEXT_CATEGORIES)


def test_its_card_says_its_version_and_limits(scorer: DeepTextScorer) -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text("utf-8")
    assert scorer.manifest.version in card
    assert "## Limits" in card
    assert "CC0" in str(scorer.manifest.training["licences"])


@pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name_of)
def test_conformance(check: conformance.Check, scorer: DeepTextScorer) -> None:
    check(scorer)


def test_both_tiers_tell_plain_texts_apart(scorer: DeepTextScorer) -> None:
    settings = load_settings("dev")
    assert settings.cascade.fast_text is not None
    fast = FastTextScorer.load(ROOT / settings.cascade.fast_text)
    tiers = TextTiers(fast, scorer, low=0.0, high=1.0)
    texts = {
        "toxicity": "you are a pathetic moron and everybody despises you",
        "threat": "i am going to find you and break every bone in your body",
        "spam": "congratulations, you won a free prize! click the link to claim your cash now",
    }
    clean = [
        "the train to the coast leaves at nine, bring something to read",
        "does anybody know how to mount an encrypted disk at boot?",
        "i killed the process and it came back, what a stubborn daemon",
        "as a muslim woman i was glad to read this",
    ]
    every = [*texts.values(), *clean]
    found = tiers.score([normalise(text).text for text in every])
    assert found.deep.all()
    for row, category in enumerate(texts):
        assert found.scores[row, tiers.categories.index(category)] > 0.3, category
    assert found.scores[len(texts) :].max() < 0.2
