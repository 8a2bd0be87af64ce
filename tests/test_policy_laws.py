"""Laws of every policy: stricter with the score, never stricter with the reputation."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.categories import TEXT_CATEGORIES
from schemas.features import ThreadContext, UserFeatures
from schemas.policy import PolicyDocument
from schemas.policy_parts import MEASURES, SEVERITIES
from schemas.upload import Account
from tests.policy_kit import (
    OLD_ACCOUNT,
    bad,
    changed_policy,
    document,
    good,
    policy,
    rule,
    signals,
    velocity,
)
from udfs.contracts import Signals, Verdict
from udfs.policy import Policy, Switches
from udfs.policy_tables import strictness

probability = st.floats(0, 1)
scores = st.dictionaries(st.sampled_from([*TEXT_CATEGORIES, "nudity", "gambling"]), probability)
severity = st.sampled_from(SEVERITIES)
category = st.sampled_from([*TEXT_CATEGORIES, "csam", "harassment", "gambling"])
users = st.builds(
    UserFeatures,
    reputation=st.floats(0, 100),
    known=st.booleans(),
    uploads=st.integers(0, 20),
    violations=st.integers(0, 9),
)


@st.composite
def circumstances(draw: st.DrawFn) -> dict[str, Any]:
    """Everything about an upload but its scores and its author's reputation."""
    count = draw(st.integers(1, 25))
    rules = st.builds(rule, category, severity, weight=probability, definitive=st.booleans())
    banks = st.one_of(
        st.builds(bad, category, severity, probability, st.integers(0, 10)),
        st.builds(good, st.sampled_from(["", "toxicity"]), probability, st.integers(0, 10)),
    )
    return {
        "rules": tuple(draw(st.lists(rules, max_size=2))),
        "banks": tuple(draw(st.lists(banks, max_size=2))),
        "velocity": velocity(
            (count, draw(st.integers(1, count))), (30, 3, draw(st.integers(1, 9)))
        ),
        "degraded": tuple(
            draw(st.lists(st.sampled_from(["fast_text", "banks", "redis", "other"]), max_size=2))
        ),
        "context": ThreadContext(parent_toxicity=draw(st.none() | probability)),
        "on": {
            "community_id": draw(st.sampled_from([None, "gaming", "kids", "health", "satire"])),
            "is_public": draw(st.booleans()),
            "parent_content_id": draw(st.sampled_from([None, "c-0"])),
            "account": draw(st.sampled_from([OLD_ACCOUNT, Account()])),
        },
    }


def rank(verdict: Verdict) -> int:
    return strictness(verdict.status, verdict.action)


def make(given_: dict[str, Any], **more: Any) -> Signals:
    return signals(**{**given_, "on": dict(given_["on"]), **more})


@given(circumstances(), scores, users, st.data())
@settings(max_examples=300, deadline=None)
def test_a_higher_score_is_never_milder(
    around: dict[str, Any], low: dict[str, float], user: UserFeatures, data: st.DataObject
) -> None:
    high = {name: data.draw(st.floats(p, 1)) for name, p in low.items()}
    before = policy().decide(make(around, scores=low, user=user), low)
    after = policy().decide(make(around, scores=high, user=user), high)
    assert rank(after) >= rank(before)


@given(circumstances(), scores, users, st.data())
@settings(max_examples=300, deadline=None)
def test_a_better_reputation_is_never_stricter(
    around: dict[str, Any], fused: dict[str, float], user: UserFeatures, data: st.DataObject
) -> None:
    better = UserFeatures(
        reputation=data.draw(st.floats(user.reputation, 100)),
        known=user.known,
        uploads=user.uploads,
        violations=user.violations,
    )
    before = policy().decide(make(around, scores=fused, user=user), fused)
    after = policy().decide(make(around, scores=fused, user=better), fused)
    assert rank(after) <= rank(before)


@given(circumstances(), scores, users)
@settings(max_examples=300, deadline=None)
def test_every_verdict_is_consistent(
    around: dict[str, Any], fused: dict[str, float], user: UserFeatures
) -> None:
    given_ = make(around, scores=fused, user=user)
    verdict = policy().decide(given_, fused)
    assert policy().decide(given_, fused) == verdict
    assert (verdict.status == "approved") == (verdict.action == "allow")
    assert (verdict.status == "pending_review") == (verdict.action == "review")
    assert 0 <= verdict.probability <= 1
    assert verdict.confidence == 0.5 or verdict.confidence == max(
        verdict.probability, 1 - verdict.probability
    )
    assert verdict.approve_below <= verdict.reject_above
    if verdict.status == "pending_review":
        assert verdict.review_why
    if verdict.action == "remove":
        # Precision first: a severe definitive match, or a probability above the threshold.
        by_match = verdict.decided_by in {"rule", "bank"} and verdict.severity == "severe"
        by_score = verdict.decided_by == "scores" and verdict.probability > verdict.reject_above
        assert by_match or by_score
    assert verdict.reason.endswith(".")


@given(circumstances(), scores, users)
@settings(max_examples=150, deadline=None)
def test_observe_only_allows_and_disabled_actions_are_not_taken(
    around: dict[str, Any], fused: dict[str, float], user: UserFeatures
) -> None:
    given_ = make(around, scores=fused, user=user)
    assert OBSERVING.decide(given_, fused).action == "allow"
    assert WITHOUT_REMOVAL.decide(given_, fused).action != "remove"


OBSERVING = policy().with_switches(Switches(observe_only=True))
WITHOUT_REMOVAL = policy().with_switches(Switches(disabled_actions=frozenset({"remove"})))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy that passes the checks: thresholds, severities and actions at random."""
    data = document()
    bands = data["thresholds"]
    approve = sorted(draw(st.lists(st.floats(0, 0.5), min_size=4, max_size=4)))
    reject = sorted(draw(st.lists(st.floats(0.5, 1), min_size=4, max_size=4)))
    for band, a, r in zip(("cold", "low", "normal", "high"), approve, reject, strict=True):
        bands[band] |= {"approve_below": a, "reject_above": r}
    below_never = st.floats(0, 1, exclude_max=True)
    moderate, severe = sorted(draw(st.tuples(below_never, below_never)))
    data["severity_from"] = {"moderate": moderate, "severe": severe}
    data["critical"]["above"] = draw(probability)
    # Goes only with a critical score that no match reaches; it has a law of its own below.
    del data["categories"]["self_harm"]["severities"]["severe"]["at"]
    for name in ("toxicity", "threat"):
        steps = sorted(draw(st.lists(st.integers(0, 6), min_size=4, max_size=4)))
        for severity_name, step in zip(SEVERITIES, steps, strict=False):
            data["categories"][name]["severities"][severity_name]["action"] = MEASURES[step]
        data["categories"][name]["critical_action"] = MEASURES[steps[3]]
    return Policy(PolicyDocument.model_validate(data))


@given(policies(), st.lists(st.tuples(probability, st.floats(0, 100)), min_size=8, max_size=8))
@settings(max_examples=60, deadline=None)
def test_the_laws_hold_for_any_policy(
    any_policy: Policy, points: list[tuple[float, float]]
) -> None:
    def at(p: float, reputation: float) -> int:
        fused = {"toxicity": p, "threat": p / 2}
        user = UserFeatures(known=True, uploads=50, reputation=reputation)
        return rank(any_policy.decide(signals(scores=fused, user=user), fused))

    by_score = [at(p, 50) for p in sorted(p for p, _ in points)]
    assert by_score == sorted(by_score)
    by_reputation = [at(points[0][0], r) for r in sorted(r for _, r in points)]
    assert by_reputation == sorted(by_reputation, reverse=True)


@given(
    st.one_of(st.none(), st.floats(0, 1)),
    st.floats(0.9, 1),
    st.lists(probability | st.just(1.0), min_size=2, max_size=8),
    users,
)
@settings(max_examples=100, deadline=None)
def test_what_is_never_severe_by_a_score_is_never_removed_by_one(
    moderate: float | None, critical: float, points: list[float], user: UserFeatures
) -> None:
    any_policy = changed_policy(
        ("critical.above", critical), ("categories.self_harm.severities.moderate.at", moderate)
    )
    ranks = []
    for p in sorted(points):
        fused = {"self_harm": p}
        verdict = any_policy.decide(signals(scores=fused, user=user), fused)
        assert verdict.severity != "severe"
        assert verdict.action != "remove"
        ranks.append(rank(verdict))
    assert ranks == sorted(ranks)
    # A definitive severe match still removes.
    found = any_policy.decide(signals(rules=(rule("self_harm"),), user=user), {"self_harm": 1.0})
    assert (found.action, found.severity) == ("remove", "severe")
