"""Emergency brakes, and community overrides that come apart from the policy."""

from __future__ import annotations

import pytest

from schemas.errors import ConfigError
from tests.policy_kit import CLEAN, bad, policy, rule, scored, signals
from udfs.policy import Switches


def test_observe_only_allows_everything_and_says_what_it_would_have_done() -> None:
    observing = policy().with_switches(Switches(observe_only=True))
    verdict = observing.decide(signals(rules=(rule(),)), CLEAN)
    assert (verdict.status, verdict.action, verdict.review_why) == ("approved", "allow", "")
    assert (verdict.category, verdict.severity, verdict.notify_user) == ("threat", "severe", False)
    assert verdict.reason == (
        "Observe-only, nothing was done. It would have been:"
        " Removed: rule r.one matched (threat, severe)."
    )
    photo = signals(on={"content_type": "image", "media_uri": "s3://b/1.png"})
    interim = observing.interim(photo, CLEAN)
    assert (interim.status, interim.action, interim.interim) == ("approved", "allow", True)


def test_a_disabled_category_never_acts() -> None:
    off = policy().with_switches(Switches(disabled_categories=frozenset({"threat"})))
    hot = scored(threat=0.99)
    assert (
        off.decide(signals(rules=(rule("threat"),), banks=(bad("threat"),)), hot).action == "allow"
    )
    assert off.decide(signals(), scored(threat=0.99, spam=0.5)).category == "spam"
    assert off.decide(signals(), hot).probability == 0.01  # of the categories that act


def test_a_disabled_action_falls_back_to_review() -> None:
    off = policy().with_switches(Switches(disabled_actions=frozenset({"remove"})))
    verdict = off.decide(signals(), scored(threat=0.99))
    assert (verdict.status, verdict.action) == ("pending_review", "review")
    assert verdict.review_why == "policy"
    assert verdict.reason.endswith("; the action remove is switched off.")
    assert off.decide(signals(), scored(toxicity=0.82)).action == "restrict"


def test_switches_show_in_the_hash_and_can_be_taken_back() -> None:
    off = policy().with_switches(Switches(observe_only=True))
    assert off.hash != policy().hash
    assert off.content_hash == policy().content_hash
    assert off.with_switches(Switches()).hash == policy().hash


def test_switches_from_yaml() -> None:
    text = "observe_only: true\ndisabled_categories: [spam]\ndisabled_actions: [remove]\n"
    assert Switches.parse(text, "s.yaml") == Switches(
        observe_only=True,
        disabled_categories=frozenset({"spam"}),
        disabled_actions=frozenset({"remove"}),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "observe_only: false\ndisabled_actions: [review]\n",
            "s.yaml:2: disabled_actions: review cannot be switched off; these can: label,"
            " age_gate, warn, restrict, shadowban, remove",
        ),
        ("observe: true\n", "s.yaml:1: observe: unknown field observe"),
    ],
)
def test_wrong_switches_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Switches.parse(text, "s.yaml")
    assert str(caught.value) == message


def test_communities_can_come_apart_from_the_policy() -> None:
    text = "communities:\n  chess:\n    categories:\n      spam: {enabled: false}\n"
    changed = policy().with_communities(text, "c.yaml")
    spam = scored(spam=0.99)
    assert changed.decide(signals(on={"community_id": "chess"}), spam).action == "allow"
    assert policy().decide(signals(on={"community_id": "chess"}), spam).action == "remove"
    assert changed.hash != policy().hash
    # They replace those of the policy.
    gaming = signals(on={"community_id": "gaming"})
    assert changed.decide(gaming, scored(toxicity=0.25)).action == "review"


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (
            "csam: {enabled: false}",
            "c.yaml:4: communities.chess.categories.csam.enabled: csam is protected: no community"
            " may switch it off",
        ),
        (
            "csam: {shift: {reject: 0.1}}",
            "c.yaml:4: communities.chess.categories.csam: csam is protected: no community may"
            " loosen it",
        ),
        (
            "chatter: {enabled: false}",
            "c.yaml:4: communities.chess.categories.chatter: no category 'chatter' in this policy",
        ),
        (
            "spam: {actions: {severe: label}}",
            "c.yaml:4: communities.chess.categories.spam.actions: severe acts more mildly (label)"
            " than moderate (shadowban); from mild to strict: review, label, age_gate, warn,"
            " restrict, shadowban, remove",
        ),
    ],
)
def test_wrong_communities_are_refused(categories: str, message: str) -> None:
    text = f"communities:\n  chess:\n    categories:\n      {categories}\n"
    with pytest.raises(ConfigError) as caught:
        policy().with_communities(text, "c.yaml")
    assert str(caught.value) == message
