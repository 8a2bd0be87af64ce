"""The linear fusion: the identity without evidence, monotone in all of it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.categories import TEXT_CATEGORIES
from schemas.features import SINGLE, ThreadContext, UserFeatures, Velocity, Window
from tests.fusion_kit import contexts, probability, users
from tests.policy_kit import CLEAN, FUSION_FILE, REGULAR, fusion, rule, scored, signals, velocity
from udfs.contracts import Fusion, Signals
from udfs.fusion import LinearFusion

scores = st.dictionaries(st.sampled_from(TEXT_CATEGORIES), probability)
categories = st.sampled_from([*TEXT_CATEGORIES, "csam"])
rules = st.lists(
    st.builds(rule, categories, weight=probability, definitive=st.booleans()), max_size=4
)
velocities = st.builds(
    lambda count, texts: velocity((count, min(texts, count))),
    st.integers(1, 200),
    st.integers(1, 200),
)
everything = st.builds(
    signals,
    scores=scores,
    rules=rules,
    evasion=probability,
    velocity=velocities,
    user=users,
    context=contexts,
)


def fused(**fields: Any) -> dict[str, float]:
    return fusion().fuse([signals(**fields)])[0]


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_it_is_a_fusion_with_a_version_of_its_content() -> None:
    joined: Fusion = fusion()
    assert re.fullmatch(r"linear-1-[0-9a-f]{8}", joined.version)
    text = FUSION_FILE.read_text("utf-8")
    assert LinearFusion.parse(f"# looks only\n{text}", "f").version == joined.version
    assert LinearFusion.parse(text.replace("prior: 0.02", "prior: 0.03"), "f").version != (
        joined.version
    )


@given(scores, st.floats(0, 0.1), st.floats(0, 100), st.floats(0, 0.5), st.floats(0, 0.1))
def test_without_evidence_scores_come_out_as_they_went_in(
    given_: dict[str, float], evasion: float, reputation: float, parent: float, baseline: float
) -> None:
    ordinary = Velocity(
        windows=(
            Window(3, 3, 1, 2.0),
            Window(8, 7, 1, 6.0),
            Window(60, 40, 2, 60.0),
            Window(300, 200, 3, 288.0),
        )
    )
    for moved in (SINGLE, ordinary):
        found = fused(
            scores=given_,
            evasion=evasion,
            velocity=moved,
            user=UserFeatures(known=True, uploads=500, reputation=reputation),
            context=ThreadContext(parent_toxicity=parent, community_baseline=baseline),
        )
        assert found.keys() == given_.keys()
        for name, p in found.items():
            assert abs(p - given_[name]) <= 1e-9


@given(everything, st.data())
@settings(max_examples=200, deadline=None)
def test_more_evidence_never_lowers_a_probability(before: Signals, data: st.DataObject) -> None:
    def raised(p: float) -> float:
        return data.draw(st.floats(p, 1))

    after = signals(
        scores={name: raised(p) for name, p in before.scores.items()},
        rules=[
            rule(r.category, weight=raised(r.weight), definitive=r.definitive) for r in before.rules
        ],
        evasion=raised(before.evasion),
        velocity=before.velocity,
        user=UserFeatures(
            known=before.user.known,
            uploads=before.user.uploads,
            reputation=before.user.reputation,
            violations=before.user.violations + data.draw(st.integers(0, 3)),
            toxicity_rate=raised(before.user.toxicity_rate),
            report_rate=raised(before.user.report_rate),
        ),
        context=before.context,
    )
    low, high = fusion().fuse([before, after])
    assert low.keys() == high.keys()
    for name, p in low.items():
        assert high[name] >= p - 1e-12


@given(everything, rules)
@settings(max_examples=100, deadline=None)
def test_another_rule_never_lowers_a_probability(before: Signals, more: list[Any]) -> None:
    after = signals(
        scores=before.scores,
        rules=[*before.rules, *more],
        evasion=before.evasion,
        velocity=before.velocity,
        user=before.user,
        context=before.context,
    )
    low, high = fusion().fuse([before, after])
    for name, p in low.items():
        assert high[name] >= p - 1e-12


@given(st.lists(everything, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_its_uploads_one_by_one(batch: list[Signals]) -> None:
    assert fusion().fuse(batch) == [fusion().fuse([one])[0] for one in batch]
    for one, found in zip(batch, fusion().fuse(batch), strict=True):
        for name, p in found.items():
            assert 0 <= p <= 1
            assert p >= one.scores.get(name, 0.0)


def test_the_signals_are_left_as_they_were() -> None:
    given_ = dict(CLEAN)
    found = fusion().fuse([signals(scores=given_, rules=(rule("spam"),))])[0]
    found["spam"] = 0.5
    assert given_ == CLEAN


def test_a_rule_adds_its_weight_in_log_odds() -> None:
    found = fused(scores=scored(spam=0.1), rules=(rule("spam", weight=0.5),))
    assert logit(found["spam"]) == pytest.approx(logit(0.1) + 4.0 * 0.5)
    assert found["toxicity"] == CLEAN["toxicity"]


def test_further_rules_count_less_and_are_capped() -> None:
    two = fused(scores=scored(spam=0.1), rules=(rule("spam", weight=0.2), rule("spam", weight=0.6)))
    assert logit(two["spam"]) == pytest.approx(logit(0.1) + 4.0 * (0.6 + 0.5 * 0.2))
    many = fused(scores=scored(spam=0.1), rules=[rule("spam", weight=1.0)] * 9)
    assert logit(many["spam"]) == pytest.approx(logit(0.1) + 6.0)


def test_a_category_without_a_score_starts_from_the_prior() -> None:
    found = fused(scores={}, rules=(rule("csam", weight=0.5),))
    assert found == {"csam": pytest.approx(1 / (1 + math.exp(-(logit(0.02) + 2.0))))}


def test_a_flood_is_spam_even_where_no_model_ran() -> None:
    flood = fused(scores={}, velocity=velocity((12, 1)))
    assert flood.keys() == {"spam"}
    assert flood["spam"] > 0.2
    assert fused(velocity=velocity((40, 1)))["spam"] > fused(velocity=velocity((9, 1)))["spam"]
    assert fused(velocity=velocity((9, 9)))["spam"] < fused(velocity=velocity((9, 1)))["spam"]


def test_circumstances_raise_only_what_was_scored() -> None:
    user = UserFeatures(known=True, uploads=50, violations=20, toxicity_rate=1.0, report_rate=1.0)
    hot = ThreadContext(parent_toxicity=1.0, community_baseline=1.0)
    assert fused(scores={}, user=user, context=hot, evasion=1.0) == {}
    found = fused(scores={"toxicity": 0.1, "self_harm": 0.1}, user=user, context=hot)
    # History is capped at 1, and each of the surroundings adds 0.6 at its full.
    assert logit(found["toxicity"]) == pytest.approx(logit(0.1) + 1.0 + 0.6 + 0.6)
    assert found["self_harm"] == 0.1


def test_new_accounts_are_judged_by_content() -> None:
    for user in (
        UserFeatures(known=True, uploads=4, violations=3, toxicity_rate=1.0),
        UserFeatures(known=False, uploads=40, violations=3, toxicity_rate=1.0),
    ):
        assert fused(user=user) == CLEAN
    assert fused(user=UserFeatures(known=True, uploads=40, violations=3)) != CLEAN


def test_reputation_is_the_policys_and_not_counted_twice() -> None:
    low = UserFeatures(known=True, uploads=100, reputation=1)
    assert fused(user=low, evasion=0.5) == fused(user=REGULAR, evasion=0.5)


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-15, 0.9999999])
def test_extreme_scores_stay_probabilities(p: float) -> None:
    found = fused(scores={"spam": p}, rules=(rule("spam", weight=1.0),), evasion=1.0)
    assert p <= found["spam"] <= 1


def test_nan_stays_nan() -> None:
    scores_ = scored(spam=math.nan)
    assert math.isnan(fused(scores=scores_)["spam"])
    assert math.isnan(fused(scores=scores_, rules=(rule("spam"),))["spam"])
