"""The shipped policy decides as its figures say."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import jsonschema
import pytest
import yaml

from schemas.conf_schemas import FOLDER, SCHEMAS, rendered
from schemas.features import UserFeatures
from schemas.upload import Account
from tests.policy_kit import (
    CLEAN,
    NOW,
    POLICY_FILE,
    REGULAR,
    ROOT,
    bad,
    changed_policy,
    good,
    policy,
    rule,
    scored,
    signals,
    velocity,
)
from udfs.policy import NOTHING_FOUND, Policy

UNKNOWN = UserFeatures()
NO_ACCOUNT = {"account": Account()}
NEW_ACCOUNT = {"account": Account(created_at=NOW - dt.timedelta(days=2))}


@pytest.mark.parametrize(
    ("user", "on", "band", "approve", "reject"),
    [
        (REGULAR, {}, "normal", 0.2, 0.8),
        (UserFeatures(known=True, uploads=9, reputation=80), {}, "normal", 0.2, 0.8),
        (UserFeatures(known=True, uploads=9, reputation=80.5), {}, "high", 0.3, 0.9),
        (UserFeatures(known=True, uploads=9, reputation=20), {}, "normal", 0.2, 0.8),
        (UserFeatures(known=True, uploads=9, reputation=19.5), {}, "low", 0.15, 0.6),
        (UserFeatures(known=True, uploads=4, reputation=99), {}, "cold", 0.15, 0.6),
        (UserFeatures(known=True, uploads=9, reputation=99), NEW_ACCOUNT, "cold", 0.15, 0.6),
        (UNKNOWN, {}, "normal", 0.2, 0.8),  # an old account without a row
        (UNKNOWN, NO_ACCOUNT, "cold", 0.15, 0.6),
    ],
)
def test_thresholds_by_user(
    user: UserFeatures, on: dict[str, Any], band: str, approve: float, reject: float
) -> None:
    def decide(p: float) -> tuple[str, str]:
        scores = scored(toxicity=p)
        verdict = policy().decide(signals(user=user, scores=scores, on=on), scores)
        if verdict.category:
            assert (verdict.approve_below, verdict.reject_above) == (approve, reject)
        return verdict.status, verdict.action

    assert policy().band(signals(user=user, on=on)) == band
    assert decide(math.nextafter(approve, 0)) == ("approved", "allow")
    assert decide(approve) == ("pending_review", "review")
    assert decide(reject) == ("pending_review", "review")
    assert decide(math.nextafter(reject, 1))[0] == "rejected"


def test_an_unknown_user_is_not_new_while_the_store_is_away() -> None:
    away = signals(user=UNKNOWN, on=NO_ACCOUNT, degraded=("redis",))
    stored = changed_policy(("review.sampling.rate", 0.0), ("cold_start.user_stores", ["redis"]))
    assert stored.band(away) == "normal"
    assert stored.decide(away, CLEAN).action == "allow"
    # As shipped, the job's own state says who is new, and that is never away.
    assert policy().band(away) == "cold"


def test_clean_text_is_allowed_with_its_highest_probability() -> None:
    scores = scored(spam=0.12)
    verdict = policy().decide(signals(scores=scores), scores)
    assert (verdict.status, verdict.action, verdict.category) == ("approved", "allow", "")
    assert (verdict.probability, verdict.confidence) == (0.12, 0.88)
    assert (verdict.severity, verdict.review_why, verdict.reason) == ("none", "", NOTHING_FOUND)


@pytest.mark.parametrize(
    ("p", "severity", "action"),
    [
        (0.81, "mild", "restrict"),
        (0.86, "moderate", "restrict"),
        (0.951, "severe", "remove"),
    ],
)
def test_severity_and_action_by_probability(p: float, severity: str, action: str) -> None:
    scores = scored(toxicity=p)
    verdict = policy().decide(signals(scores=scores), scores)
    assert (verdict.status, verdict.severity, verdict.action) == ("rejected", severity, action)
    assert verdict.severity_score == p


def test_critical_is_removed_at_once_whatever_the_severe_action_is() -> None:
    soft = changed_policy(
        *(
            (f"categories.toxicity.severities.{s}.action", "label")
            for s in ("mild", "moderate", "severe")
        )
    )
    decided = [soft.decide(signals(), scored(toxicity=p)).action for p in (0.81, 0.95, 0.9501)]
    assert decided == ["label", "label", "remove"]


def test_the_strictest_category_decides_and_then_the_likelier() -> None:
    scores = scored(toxicity=0.82, sexual=0.84, spam=0.5)
    assert policy().decide(signals(), scores).category == "toxicity"  # restrict over age_gate
    scores = scored(toxicity=0.3, spam=0.4)
    assert policy().decide(signals(), scores).category == "spam"


@pytest.mark.parametrize(
    ("severity", "action", "why"),
    [("severe", "remove", ""), ("moderate", "restrict", "policy"), ("mild", "restrict", "")],
)
def test_a_definitive_match_removes_only_where_it_is_severe(
    severity: Any, action: str, why: str
) -> None:
    for match in (
        {"rules": (rule("hate_speech", severity),)},
        {"banks": (bad("hate_speech", severity),)},
    ):
        verdict = policy().decide(signals(**match), CLEAN)
        assert (verdict.status, verdict.action, verdict.review_why) == ("rejected", action, why)


def test_the_stricter_finding_decides_before_the_surer_source() -> None:
    both = signals(rules=(rule("sexual", "mild"),), velocity=velocity((20, 20)))
    verdict = policy().decide(both, scored(threat=0.97))
    assert (verdict.category, verdict.action, verdict.decided_by) == ("threat", "remove", "scores")
    verdict = policy().decide(both, scored(threat=0.5))
    assert (verdict.category, verdict.action, verdict.decided_by) == (
        "spam",
        "restrict",
        "condition",
    )


def test_a_rule_that_is_not_definitive_does_nothing_by_itself() -> None:
    verdict = policy().decide(signals(rules=(rule(definitive=False),)), CLEAN)
    assert (verdict.action, verdict.decided_by) == ("allow", "scores")


def test_what_decided_is_named() -> None:
    by_rule = policy().decide(signals(rules=(rule("threat"),)), CLEAN)
    assert (by_rule.decided_by, by_rule.finding) == ("rule", "r.one")
    assert by_rule.reason == "Removed: rule r.one matched (threat, severe)."
    by_bank = policy().decide(signals(rules=(rule("spam"),), banks=(bad("spam"),)), CLEAN)
    assert (by_bank.decided_by, by_bank.finding) == ("bank", "scams/e-1")
    assert by_bank.reason == "Removed: the content is known from bank scams (spam, severe)."
    by_score = policy().decide(signals(), scored(hate_speech=0.97))
    assert by_score.reason == ("Removed: hate speech (severe) has probability 0.970, above 0.8.")
    undecided = policy().decide(signals(), scored(hate_speech=0.5))
    assert undecided.reason == (
        "Held for a person: hate speech has probability 0.500, between 0.2 and 0.8."
    )


@pytest.mark.parametrize(
    ("confidence", "action"), [(0.84, "remove"), (0.83, "review"), (0.7, "review"), (0.69, "allow")]
)
def test_a_bank_match_is_worth_its_confidence(confidence: float, action: str) -> None:
    verdict = policy().decide(signals(banks=(bad("spam", "severe", confidence),)), CLEAN)
    assert verdict.action == action


def test_known_good_vouches_for_scores_rules_and_farther_known_bad() -> None:
    hot = scored(toxicity=0.99, hate_speech=0.5)
    verdict = policy().decide(signals(scores=hot, banks=(good(),)), hot)
    assert (verdict.action, verdict.decided_by, verdict.probability) == ("allow", "bank", 0.0)
    assert verdict.reason == "Allowed: the content is known to be good from bank quotes."
    for others in (
        {"banks": (good(), bad(confidence=0.9, distance=6))},
        {"banks": (good(), bad(distance=0))},
        {"banks": (good(),), "rules": (rule("toxicity", "moderate"),)},
    ):
        assert policy().decide(signals(**others), CLEAN).action == "allow"


def test_known_good_does_not_outweigh() -> None:
    severe = signals(banks=(good(),), rules=(rule("threat", "severe"),))
    assert policy().decide(severe, CLEAN).action == "remove"
    protected = signals(banks=(good(), bad("csam")))
    assert policy().decide(protected, CLEAN).action == "remove"
    closer = signals(banks=(good(confidence=0.9, distance=6), bad(distance=2)))
    assert policy().decide(closer, CLEAN).action == "remove"
    flood = signals(banks=(good(),), velocity=velocity((10, 1)))
    assert policy().decide(flood, CLEAN).action == "shadowban"


def test_known_good_of_one_category_vouches_for_that_alone() -> None:
    hot = scored(toxicity=0.99, threat=0.99)
    assert policy().decide(signals(banks=(good("toxicity"),)), hot).category == "threat"


def test_floods_hide_and_restrict_but_never_remove() -> None:
    same = policy().decide(signals(velocity=velocity((7, 2))), CLEAN)
    assert (same.action, same.category, same.decided_by) == ("shadowban", "spam", "condition")
    assert same.finding == "flood_same_text"
    assert same.reason == (
        "Hidden from others: the same text was sent many times within seconds (spam)."
    )
    fast = policy().decide(signals(velocity=velocity((20, 20))), CLEAN)
    assert (fast.action, fast.finding) == ("restrict", "flood_any_text")
    spread = policy().decide(signals(velocity=velocity((1, 1), (9, 2, 7))), CLEAN)
    assert (spread.action, spread.finding) == ("restrict", "spread_same_text")
    assert policy().decide(signals(velocity=velocity((6, 5))), CLEAN).action == "allow"


def test_fail_open_allows_and_flags() -> None:
    verdict = policy().decide(signals(scores={}, degraded=("fast_text",)), {})
    assert (verdict.status, verdict.action, verdict.review_why) == ("approved", "allow", "degraded")
    assert (verdict.fail_default, verdict.tier, verdict.confidence) == (True, 1, 0.5)
    assert verdict.reason == (
        "Allowed and flagged for review: it could not be judged without fast_text."
    )


def test_fail_closed_holds() -> None:
    verdict = policy().decide(signals(degraded=("banks",)), CLEAN)
    assert (verdict.status, verdict.category) == ("pending_review", "csam")
    assert (verdict.review_why, verdict.fail_default, verdict.tier) == ("degraded", True, 0)


def test_what_is_known_still_decides_while_degraded() -> None:
    verdict = policy().decide(signals(scores={}, rules=(rule(),), degraded=("fast_text",)), {})
    assert (verdict.action, verdict.fail_default) == ("remove", False)


def test_a_nan_score_is_a_missing_one() -> None:
    scores = scored(threat=math.nan)
    verdict = policy().decide(signals(scores=scores), scores)
    assert (verdict.action, verdict.review_why) == ("allow", "degraded")
    assert "the score of threat" in verdict.reason


def test_a_category_that_the_policy_does_not_know_goes_to_a_person() -> None:
    by_score = policy().decide(signals(), {**CLEAN, "gambling": 0.99})
    assert (by_score.status, by_score.category) == ("pending_review", "gambling")
    by_rule = policy().decide(signals(rules=(rule("gambling"),)), CLEAN)
    assert (by_rule.status, by_rule.category, by_rule.tier) == ("pending_review", "gambling", 2)


def test_communities_shift_change_actions_and_switch_off() -> None:
    def action(community: str | None, **scores: float) -> str:
        on = {"community_id": community}
        return policy().decide(signals(on=on), scored(**scores)).action

    assert [action(c, toxicity=0.25) for c in (None, "gaming", "elsewhere")] == [
        "review",
        "allow",
        "review",
    ]
    # Kids reject above 0.82, where others ask a person up to 0.97.
    assert [action(c, sexual=0.9) for c in (None, "kids", "health")] == [
        "review",
        "remove",
        "review",
    ]
    assert action("kids", toxicity=0.7) == "restrict"  # kids reject above 0.65
    off = {"misinformation": 0.99, **CLEAN}
    on = {"community_id": "satire"}
    assert policy().decide(signals(on=on), off).action == "allow"
    match = (rule("misinformation"),)
    assert policy().decide(signals(on=on, rules=match), CLEAN).action == "allow"
    assert policy().decide(signals(rules=match), CLEAN).action == "remove"


def test_private_uploads_are_removed_later() -> None:
    private = policy().decide(signals(on={"is_public": False}), scored(toxicity=0.82))
    assert (private.action, private.reject_above) == ("review", 0.85)


def test_comments_and_languages_have_their_shifts() -> None:
    shifted = changed_policy(
        ("shifts.comment", {"reject": -0.1}), ("languages", {"de": {"shift": {"approve": 0.1}}})
    )
    comment = shifted.decide(signals(on={"parent_content_id": "c-0"}), scored(toxicity=0.75))
    assert (comment.status, comment.reject_above) == ("rejected", 0.7)
    german = shifted.decide(signals(on={"language": "de"}), scored(toxicity=0.25))
    assert (german.status, german.approve_below) == ("approved", 0.3)


def test_shifts_add_up_and_stay_within_bounds() -> None:
    kids = signals(
        on={"community_id": "kids"}, user=UserFeatures(known=True, uploads=9, reputation=1)
    )
    verdict = changed_policy(("communities.kids.shift", {"approve": -1, "reject": -1})).decide(
        kids, scored(toxicity=0.5)
    )
    assert (verdict.approve_below, verdict.reject_above) == (0.02, 0.02)


def test_a_shift_cannot_loosen_a_protected_category() -> None:
    loose = changed_policy(("communities.gaming.shift", {"approve": 0.3, "reject": 0.15}))
    on = {"community_id": "gaming"}
    csam = loose.decide(signals(on=on), {**CLEAN, "csam": 0.25})
    assert (csam.status, csam.approve_below) == ("pending_review", 0.2)
    assert loose.decide(signals(on=on), scored(threat=0.25)).action == "allow"


def test_columns_that_a_category_reads() -> None:
    mapped = changed_policy(("categories.harassment.model", ["insult", "toxicity"]))
    verdict = mapped.decide(signals(), {"insult": 0.97})
    assert (verdict.category, verdict.action) == ("harassment", "remove")


def test_an_exception_with_a_condition_holds_back_automatic_measures() -> None:
    when = {"field": "upload.community_id", "op": "in", "value": ["newsroom"]}
    exceptions = [{"id": "news", "description": "Reporting.", "when": when}]
    cautious = changed_policy(("categories.hate_speech.exceptions", exceptions))
    on = {"community_id": "newsroom"}
    held = cautious.decide(signals(on=on), scored(hate_speech=0.97))
    assert (held.action, held.review_why) == ("review", "policy")
    assert held.reason.endswith("; the exception news may apply.")
    assert cautious.decide(signals(), scored(hate_speech=0.97)).action == "remove"
    certain = signals(on=on, rules=(rule("hate_speech", "severe"),))
    assert cautious.decide(certain, CLEAN).action == "remove"


def test_media_without_evidence_is_held() -> None:
    photo = {"content_type": "image", "media_uri": "s3://b/1.png", "text": None}
    asks = changed_policy(("media.without_evidence", "review"))
    bare = asks.interim(signals(on=photo, scores={}, degraded=("evidence",)), {})
    assert (bare.status, bare.action, bare.interim) == ("pending_review", "review", True)
    assert (bare.category, bare.review_why, bare.tier) == ("", "interim", 2)
    assert (bare.probability, bare.confidence, bare.appealable) == (0.5, 0.5, True)
    caption = policy().interim(signals(on=photo), scored(threat=0.99))
    assert (caption.action, caption.category, caption.tier) == ("review", "threat", 0)
    assert caption.probability == 0.99


def test_media_settings() -> None:
    photo = signals(on={"content_type": "image", "media_uri": "s3://b/1.png"})
    assert policy().interim(photo, CLEAN).review_why == ""
    rejects = changed_policy(("media.caption_may_reject", True))
    verdict = rejects.interim(photo, scored(threat=0.99))
    assert (verdict.action, verdict.interim) == ("remove", False)


def test_samples_of_allowed_uploads() -> None:
    everything = changed_policy(("review.sampling.rate", 1.0))
    verdict = everything.decide(signals(), CLEAN)
    assert (verdict.action, verdict.review_why, verdict.tier) == ("allow", "sample", 3)
    half = changed_policy(("review.sampling.rate", 0.5))
    picked = [half.decide(signals(on={"content_id": f"c-{i}"}), CLEAN) for i in range(400)]
    assert 150 < sum(v.review_why == "sample" for v in picked) < 250


def test_the_schemas_on_disk_are_current() -> None:
    for name in SCHEMAS:
        on_disk = (FOLDER / f"{name}.schema.json").read_text("utf-8")
        assert on_disk == rendered(name), "run `python -m schemas.conf_schemas`"
        text = (ROOT / "conf" / f"{name}.yaml").read_text("utf-8")
        jsonschema.validate(yaml.safe_load(text), json.loads(on_disk))


def test_the_hash_follows_the_content_and_not_its_looks() -> None:
    text = POLICY_FILE.read_text("utf-8")
    one = Policy.load(POLICY_FILE)
    assert len(one.hash) == 16
    assert Policy.parse(f"# a comment\n{text}", "x").hash == one.hash
    assert Policy.parse(text.replace("rate: 0.001", "rate: 0.002"), "x").hash != one.hash


def test_every_text_category_is_in_the_policy() -> None:
    assert set(CLEAN) <= set(policy().categories)
    assert policy().version == "1"


@pytest.mark.parametrize("p", [0.9, 0.96, 0.999, 1.0])
def test_a_person_at_risk_is_seen_at_once_and_never_removed_by_a_score(p: float) -> None:
    scores = scored(self_harm=p)
    verdict = policy().decide(signals(scores=scores), scores)
    assert (verdict.status, verdict.action) == ("rejected", "restrict")
    assert (verdict.severity, verdict.tier) == ("moderate", 0)
    assert (verdict.review_why, verdict.notify_user) == ("policy", True)
    encouraged = signals(scores=scores, rules=(rule("self_harm"),))
    assert policy().decide(encouraged, scores).action == "remove"
