"""Records of an outcome: complete, consistent with each other, the same under redelivery."""

from __future__ import annotations

import datetime as dt
import inspect
import math
from typing import Any

import msgspec
import pytest

from schemas.decision import (
    VOLATILE_FIELDS,
    Audit,
    Decision,
    Enforcement,
    Evidence,
    Feedback,
    ReviewItem,
    moderation_id,
)
from schemas.features import ThreadContext, UserFeatures
from schemas.upload import decode_upload
from tests.policy_kit import (
    CLEAN,
    NOW,
    NOW_MS,
    bad,
    changed_policy,
    fusion,
    good,
    policy,
    rule,
    scored,
    signals,
    velocity,
)
from udfs.assemble import (
    Applied,
    Assembler,
    AuditMode,
    Moment,
    features_of,
    stage_of,
)
from udfs.contracts import Item, Outcome, Signals
from udfs.evidence import bank_evidence, rule_evidence
from udfs.policy import Policy

APPLIED = Applied("rules-hash", "banks-hash", {"fast_text": "7", "fusion": "linear-1"})
RAW = (
    b'{"content_id": "c-1", "content_type": "text", "user_id": "u-1",'
    b' "created_at": "2026-01-01T00:00:00Z", "text": "some words", "mood": {"x": [1]},'
    b' "engagement": {"views": 900, "shares": 99, "reports": 2}}'
)
PHOTO = (
    b'{"content_id": "p-1", "content_type": "image", "user_id": "u-1",'
    b' "created_at": "2026-01-01T00:00:00Z", "media_uri": "s3://b/1.png"}'
)


def outcome(
    raw: bytes = RAW,
    *,
    given: Signals | None = None,
    by: Policy | None = None,
    audit: AuditMode = "all",
    late_ms: float = 7.25,
    **more: Any,
) -> Outcome:
    """The records of one upload, from its payload on."""
    upload = decode_upload(raw)
    item = Item(upload, raw, NOW_MS, content_hash="ab" * 32)
    found = msgspec.structs.replace(given or signals(), upload=upload)
    fused = fusion().fuse([found])[0]
    decider = by or policy()
    verdict = (decider.decide if upload.content_type == "text" else decider.interim)(found, fused)
    options: dict[str, Any] = {"scored_by": "fast_text", "evidence": (), **more}
    assembler = Assembler(decider, APPLIED, audit)
    return assembler.assemble(
        item, found, fused, verdict, moment=Moment.of(NOW_MS + late_ms), **options
    )


def test_a_clean_upload_gets_a_decision_and_an_audit_record() -> None:
    found = outcome()
    decision = found.decision
    assert decision.moderation_id == moderation_id("c-1", 0, 0, "final")
    assert (decision.content_id, decision.user_id, decision.revision) == ("c-1", "u-1", 0)
    assert (decision.status, decision.action, decision.stage) == ("approved", "allow", "fast_text")
    assert decision.scores == CLEAN
    assert (decision.policy_version, decision.policy_hash) == ("1", policy().hash)
    assert (decision.rules_hash, decision.banks_hash) == ("rules-hash", "banks-hash")
    assert decision.model_versions == APPLIED.model_versions
    assert decision.latency_ms == 7.25
    assert decision.timestamp == NOW + dt.timedelta(milliseconds=7.25)
    assert (decision.degraded, decision.interim, decision.cache) == ([], False, "")
    assert (found.review, found.enforcement, found.feedback) == (None, None, ())
    audit = found.audit
    assert audit is not None
    assert bytes(audit.upload) == RAW
    assert audit.text_sha256 == "ab" * 32
    assert audit.thresholds == {"approve_below": 0.2, "reject_above": 0.8}
    assert audit.broker_timestamp == NOW_MS


@pytest.mark.parametrize(
    "given",
    [
        signals(scores=scored(spam=0.3)),
        signals(rules=(rule("toxicity", "moderate", weight=0.95),)),
        signals(scores=scored(toxicity=0.97)),
    ],
)
def test_the_decision_says_what_the_verdict_says(given: Signals) -> None:
    decision = outcome(given=given).decision
    upload = decode_upload(RAW)
    given = msgspec.structs.replace(given, upload=upload)
    verdict = policy().decide(given, fusion().fuse([given])[0])
    for field in (
        "status",
        "action",
        "category",
        "severity",
        "severity_score",
        "confidence",
        "probability",
        "reason",
        "interim",
    ):
        assert getattr(decision, field) == getattr(verdict, field), field
    for field in ("content_id", "content_type", "user_id", "community_id"):
        assert getattr(decision, field) == getattr(upload, field), field


def test_records_that_are_built_by_position_have_every_value_in_its_place() -> None:
    found = outcome(cache="redis", case_revision=3)
    for record in (found.decision, found.audit):
        assert record is not None
        # Encoding and decoding checks each value against the type of its field.
        assert msgspec.json.decode(msgspec.json.encode(record), type=dict) is not None
    decoded = msgspec.json.decode(msgspec.json.encode(found.decision), type=Decision)
    assert decoded == found.decision
    assert (decoded.cache, decoded.revision) == ("redis", 3)
    assert list(inspect.signature(Decision).parameters)[-2:] == ["latency_ms", "timestamp"]
    audit = msgspec.json.decode(msgspec.json.encode(found.audit), type=Audit)
    assert audit.moderation_id == found.decision.moderation_id


def test_a_redelivery_differs_in_volatile_fields_alone() -> None:
    first, second = outcome(late_ms=3), outcome(late_ms=90_000, cache="local")
    for field in Decision.__struct_fields__:
        same = getattr(first.decision, field) == getattr(second.decision, field)
        assert same or field in VOLATILE_FIELDS, field
    hot = signals(scores=scored(toxicity=0.5))
    one, two = outcome(given=hot, late_ms=3).review, outcome(given=hot, late_ms=90_000).review
    assert one is not None
    assert two is not None
    assert (one.priority, one.due_at) == (two.priority, two.due_at)
    # What goes with a decision says when it was asked for, which a redelivery does not change.
    known = signals(rules=(rule("threat"),))
    for late_ms in (3, 90_000):
        found = outcome(given=known, late_ms=late_ms)
        assert found.review is not None
        assert found.enforcement is not None
        records: list[ReviewItem | Enforcement | Feedback] = [
            found.review,
            found.enforcement,
            *found.feedback,
        ]
        assert {record.broker_timestamp for record in records} == {NOW_MS}
        assert found.feedback


def test_an_uncertain_upload_gets_a_review_item() -> None:
    found = outcome(given=signals(scores=scored(hate_speech=0.5)))
    item = found.review
    assert item is not None
    assert (item.why, item.category, item.tier) == ("uncertain", "hate_speech", 2)
    # Reported, undecided, reputation 50, 999 views and shares.
    assert item.priority == pytest.approx(100 + 50 + 15 + 10, abs=0.01)
    assert item.due_at == NOW + dt.timedelta(hours=4)
    assert item.upload["mood"] == {"x": [1]}
    assert item.reason == found.decision.reason
    assert found.enforcement is None


def test_a_rejected_upload_gets_an_enforcement() -> None:
    found = outcome(given=signals(scores=scored(hate_speech=0.97)))
    order = found.enforcement
    assert order is not None
    assert (order.action, order.category, order.severity) == ("remove", "hate_speech", "severe")
    assert (order.appealable, order.notify_user) == (True, True)
    assert order.moderation_id == found.decision.moderation_id
    assert found.review is None


def test_some_removals_are_looked_at_as_well() -> None:
    found = outcome(given=signals(rules=(rule("threat"),)))
    assert found.enforcement is not None
    assert found.review is not None
    assert (found.review.why, found.review.tier) == ("policy", 0)


def test_what_could_not_be_judged_is_urgent() -> None:
    degraded = outcome(given=signals(scores={}, degraded=("fast_text",)))
    assert degraded.review is not None
    assert degraded.decision.stage == "policy"
    assert degraded.decision.degraded == ["fast_text"]
    # Reported 100, undecided 50, reputation 15, engagement 10, and 100 for not being judged.
    assert degraded.review.priority == pytest.approx(275, abs=0.01)


def test_media_is_interim_until_its_evidence_comes() -> None:
    asks = changed_policy(("media.without_evidence", "review"))
    found = outcome(PHOTO, given=signals(scores={}), by=asks)
    decision = found.decision
    assert (decision.status, decision.action, decision.stage) == (
        "pending_review",
        "review",
        "interim",
    )
    assert (decision.interim, decision.degraded) == (True, ["evidence"])
    assert decision.moderation_id == moderation_id("p-1", 0, 0, "interim")
    assert found.review is not None
    assert found.review.why == "interim"
    assert found.feedback == ()
    assert outcome(PHOTO, given=signals(scores={})).review is None


def test_an_edit_and_a_later_case_have_their_own_ids() -> None:
    edited = RAW.replace(b'"mood"', b'"revision": 1, "mood"')
    ids = {
        outcome().decision.moderation_id,
        outcome(edited).decision.moderation_id,
        outcome(case_revision=1).decision.moderation_id,
    }
    assert len(ids) == 3


def test_certain_matches_become_labels() -> None:
    found = outcome(
        given=signals(
            rules=(rule("threat"), rule("threat", rule_id="r.two"), rule("spam", definitive=False)),
            banks=(bad("spam"), bad("sexual", confidence=0.75, distance=16)),
        )
    )
    rows = {(row.source, row.category): row for row in found.feedback}
    assert rows.keys() == {("rule", "threat"), ("bank", "spam")}
    assert {row.label for row in rows.values()} == {True}
    assert (rows["rule", "threat"].weight, rows["bank", "spam"].weight) == (0.7, 1.0)
    assert rows["bank", "spam"].text == "some words"
    assert len({row.feedback_id for row in rows.values()}) == 2
    again = outcome(given=signals(rules=(rule("threat"),)), late_ms=99)
    assert again.feedback[0].feedback_id == rows["rule", "threat"].feedback_id


def test_contradicting_matches_are_no_labels() -> None:
    assert outcome(given=signals(banks=(bad("spam"), good()))).feedback == ()


def test_instructive_scores_are_picked_for_a_label() -> None:
    always = changed_policy(("labelling.bands.0.rate", 1.0))
    found = outcome(given=signals(scores=scored(spam=0.5)), by=always)
    assert [(row.source, row.label, row.category) for row in found.feedback] == [
        ("sample", None, "spam")
    ]
    assert outcome(given=signals(scores=scored(spam=0.6)), by=always).feedback == ()


@pytest.mark.parametrize(
    ("mode", "clean", "acted", "reviewed"),
    [("all", True, True, True), ("acted", False, True, True), ("none", False, False, False)],
)
def test_audit_modes(mode: AuditMode, clean: bool, acted: bool, reviewed: bool) -> None:
    def has(**scores: float) -> bool:
        return outcome(given=signals(scores=scored(**scores)), audit=mode).audit is not None

    assert (has(), has(spam=0.99), has(spam=0.5)) == (clean, acted, reviewed)


def test_a_flood_is_in_the_evidence() -> None:
    decision = outcome(given=signals(velocity=velocity((9, 1)))).decision
    assert decision.stage == "rules"
    assert [(e.kind, e.id, e.category) for e in decision.evidence] == [
        ("velocity", "flood_same_text", "spam")
    ]


def test_evidence_of_matches() -> None:
    assert rule_evidence(rule("threat", weight=0.5), "ocr") == Evidence(
        kind="rule", id="r.one", category="threat", weight=0.5, spans=[(0, 4)], source="ocr"
    )
    assert bank_evidence(bad(confidence=0.9, distance=6), "pixels") == Evidence(
        kind="bank", id="scams/e-1", category="spam", weight=0.9, distance=6, source="pixels"
    )


def test_stages() -> None:
    def stage(fused: dict[str, float] | None = None, **fields: Any) -> str:
        found = signals(**fields)
        joined = fusion().fuse([found])[0] if fused is None else fused
        return stage_of(policy().decide(found, joined), found.scores, joined, "fast_text")

    assert stage() == "fast_text"
    assert stage(scores=scored(spam=0.9)) == "fast_text"
    assert stage(scores=scored(spam=0.5), evasion=1.0) == "fusion"
    assert stage(rules=(rule(),)) == "rules"
    assert stage(banks=(bad(),)) == "bank"
    assert stage(banks=(good(),)) == "bank"
    assert stage(degraded=("banks",)) == "policy"


def test_features_tell_what_was_used() -> None:
    found = signals(
        velocity=velocity((4, 2), (30, 9, 3)),
        user=UserFeatures(
            known=True, uploads=12, violations=1, toxicity_rate=1 / 3, strike_weight=2
        ),
        context=ThreadContext(parent_toxicity=0.12345),
        evasion=2 / 3,
    )
    features = features_of(found, fusion().fuse([found])[0])
    assert features["uploads_10s"] == 4
    assert features["distinct_texts_1h"] == 9
    assert (features["toxicity_rate"], features["evasion"]) == (0.333, 0.667)
    assert features["strikes"] == 2
    assert (features["parent_toxicity"], features["account_age_days"]) == (0.123, 900.0)
    assert features["fused_spam"] > CLEAN["spam"]
    assert not {"community_baseline", "community_uploads", "thread_posts"} & set(features)
    context = ThreadContext(thread_heat=1.2345, thread_posts=3, community_uploads=7)
    around = features_of(signals(context=context), CLEAN)
    assert (around["thread_heat"], around["thread_posts"]) == (1.234, 3)
    assert around["community_uploads"] == 7
    assert "fused_spam" not in features_of(signals(), CLEAN)
    assert "violations" not in features_of(signals(user=UserFeatures()), CLEAN)


def test_a_nan_score_leaves_valid_records() -> None:
    decision = outcome(given=signals(scores=scored(spam=math.nan))).decision
    assert "spam" not in decision.scores
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


def test_the_time_of_a_batch_is_made_once() -> None:
    moment = Moment.of(NOW_MS + 0.5)
    assert moment.timestamp == NOW + dt.timedelta(microseconds=500)
    assert moment.timestamp.tzinfo is dt.UTC
