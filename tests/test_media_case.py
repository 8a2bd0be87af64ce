"""Pictures and videos with their evidence, through the whole cascade."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

import msgspec
import pytest

from operators.compose import compose_cascade
from schemas.categories import PIXEL_CATEGORIES
from schemas.decision import Decision, moderation_id
from schemas.evidence import (
    Failure,
    FoundText,
    FrameHash,
    Hashes,
    MediaEvidence,
    PixelScore,
    encode_evidence,
    evidence_id,
)
from schemas.settings import load_settings
from tests.fakes import NOW_MS, payload
from udfs.cascade import Cascade
from udfs.contracts import Item, Outcome
from udfs.media_banks import MediaBanks

KNOWN = "0f" * 32
SHA = "ab" * 32
BANKS = f"""
version: 1
banks:
  - {{id: known_csam, kind: pdq, category: csam, entries: [{{hash: "{KNOWN}", id: case-7}}]}}
  - {{id: our_own, kind: sha256, category: "", polarity: good, severity: mild,
      entries: [{{hash: "{SHA}", id: logo}}]}}
"""
SLUR = "you are a worthless idiot, kill yourself, everybody hates you"


@functools.cache
def cascade() -> Cascade:
    settings = load_settings("dev")
    changed = settings.model_copy(
        update={
            "redis": settings.redis.model_copy(update={"enabled": False}),
            "cascade": settings.cascade.model_copy(update={"deep_text": None}),
        }
    )
    return compose_cascade(changed).cascade.with_parts(media_banks=MediaBanks.parse(BANKS))


def evidence(**fields: Any) -> MediaEvidence:
    """All categories were looked for, and nothing was found."""
    defaults: dict[str, Any] = {
        "evidence_id": evidence_id("c1", 0),
        "content_id": "c1",
        "user_id": "u1",
        "content_type": "image",
        "hashes": hashes(),
        "scores": clean(),
        "made_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    }
    return MediaEvidence(**defaults | fields)


def hashes(pdq: str = "35" * 32, sha256: str = "00" * 32) -> Hashes:
    return Hashes(
        sha256=sha256,
        md5="00" * 16,
        pdq=[pdq] * 8,
        quality=100,
        phash64=["00" * 8] * 8,
        phash256=["00" * 32] * 8,
    )


def clean(**higher: float) -> dict[str, PixelScore]:
    scores = dict.fromkeys(PIXEL_CATEGORIES, 0.01) | higher
    return {name: PixelScore(score=score, model="eye") for name, score in scores.items()}


def upload(content_id: str = "c1", **fields: Any) -> Item:
    media = {
        "content_type": "image",
        "media_uri": "file:///p.png",
        "text": None,
        "account": {"created_at": "2020-01-01T00:00:00Z"},
    }
    raw = payload(content_id, **media | fields)
    return cascade().prepare(raw, int(NOW_MS) - 90_000)


def again(found: MediaEvidence | None, *, revision: int = 1, **fields: Any) -> Item:
    raw = b"" if found is None else encode_evidence(found)
    return cascade().with_evidence(
        upload(**fields), found, raw=raw, revision=revision, asked_ms=int(NOW_MS)
    )


def outcome(found: MediaEvidence | None, **fields: Any) -> Outcome:
    return cascade().moderate([again(found, **fields)], NOW_MS)[0]


def decide(found: MediaEvidence | None, **fields: Any) -> Decision:
    return outcome(found, **fields).decision


def test_first_it_is_held_and_nobody_is_asked() -> None:
    held = cascade().moderate([upload(text="what a lovely day")], NOW_MS)[0]
    assert (held.decision.status, held.decision.interim, held.decision.revision) == (
        "pending_review",
        True,
        0,
    )
    assert held.review is None


def test_what_was_looked_at_and_is_clean_is_allowed() -> None:
    decision = decide(evidence(), text="what a lovely day")
    assert (decision.status, decision.action, decision.degraded) == ("approved", "allow", [])
    assert (decision.revision, decision.interim, decision.stage) == (1, False, "fast_text")
    assert decision.moderation_id == moderation_id("c1", 0, 1, "final")
    assert decision.scores["nudity"] == 0.01
    assert decision.latency_ms == 90_000


@pytest.mark.parametrize("source", ["ocr", "qr", "transcript"])
def test_a_text_in_the_picture_counts_as_if_it_were_written(source: Any) -> None:
    as_text = cascade().moderate(
        [cascade().prepare(payload("t", text=SLUR), int(NOW_MS))], NOW_MS
    )[0].decision  # fmt: skip
    seen = FoundText(source=source, engine="any", text=SLUR, seconds=3.5)
    decision = decide(evidence(texts=[FoundText(source="ocr", engine="any", text="hello"), seen]))
    assert decision.category == as_text.category != ""
    assert (decision.action, decision.stage) == (as_text.action, as_text.stage)
    for name, score in as_text.scores.items():
        assert decision.scores[name] >= score
    pointing = [each for each in decision.evidence if each.spans]
    assert pointing
    for each in pointing:
        assert (each.source, each.found, each.seconds) == (source, 1, 3.5)
        assert all(0 <= begin < end <= len(SLUR) for begin, end in each.spans)


def test_a_caption_and_its_picture_are_decided_as_one() -> None:
    decision = decide(evidence(), text=SLUR)
    assert decision.action != "allow"
    assert {each.source for each in decision.evidence if each.spans} == {"text"}
    both = decide(evidence(texts=[FoundText(source="ocr", engine="any", text=SLUR)]), text=SLUR)
    assert {each.source for each in both.evidence if each.kind == "rule"} <= {"text", "ocr"}
    assert both.probability >= decision.probability


def test_a_known_picture_is_removed_and_says_which() -> None:
    near = f"{int(KNOWN, 16) ^ 0b1011:064x}"
    found = outcome(evidence(hashes=hashes(near)))
    decision = found.decision
    assert (decision.status, decision.action, decision.category, decision.stage) == (
        "rejected",
        "remove",
        "csam",
        "bank",
    )
    (match,) = decision.evidence
    assert (match.id, match.distance, match.source) == ("known_csam/case-7", 3, "pixels")
    assert found.enforcement is not None
    assert found.review is not None  # severe harm: a person looks as well
    assert [row.source for row in found.feedback] == ["bank"]


def test_a_known_frame_of_a_video_is_enough() -> None:
    frames = [
        FrameHash(pdq=pdq, quality=90, seconds=float(second))
        for second, pdq in enumerate(["35" * 32, KNOWN, "53" * 32])
    ]
    decision = decide(
        evidence(content_type="video", hashes=Hashes(frames=frames)), content_type="video"
    )
    assert (decision.action, decision.category) == ("remove", "csam")


def test_a_known_good_picture_is_vouched_for() -> None:
    scores = clean(nudity=0.99)
    decision = decide(evidence(scores=scores, hashes=hashes(sha256=SHA)))
    assert (decision.action, decision.stage) == ("allow", "bank")


def test_pixels_decide_with_the_frame_that_says_so() -> None:
    scores = clean() | {"nudity": PixelScore(score=0.9, model="eye", seconds=12.5)}
    decision = decide(evidence(scores=scores))
    assert (decision.category, decision.stage, decision.action) == ("nudity", "pixels", "age_gate")
    assert decision.probability == 0.9
    (seen,) = decision.evidence
    assert (seen.kind, seen.id, seen.weight, seen.seconds) == ("score", "eye", 0.9, 12.5)
    assert seen.source == "pixels"


def test_what_no_model_looked_for_is_never_a_silent_allow() -> None:
    scores = clean()
    del scores["gore"], scores["violence"]
    decision = decide(evidence(scores=scores))
    assert (decision.status, decision.category, decision.stage) == (
        "pending_review",
        "gore",
        "policy",
    )
    assert "evidence.gore" in decision.reason
    assert decision.degraded == ["evidence.violence", "evidence.gore"]
    # Violence is fail-open: allowed, but flagged.
    scores["gore"] = PixelScore(score=0.0, model="eye")
    opened = outcome(evidence(scores=scores))
    assert opened.decision.status == "approved"
    assert opened.review is not None
    assert opened.review.why == "degraded"


def test_what_could_not_be_seen_is_held() -> None:
    failed = Failure(kind="unreachable", step="fetch", message="It was away.")
    decision = decide(evidence(hashes=Hashes(), scores={}, errors=[failed]))
    assert (decision.status, decision.category, decision.degraded) == (
        "pending_review",
        "csam",
        ["evidence"],
    )


def test_a_view_that_failed_is_named() -> None:
    failed = Failure(kind="crashed", step="ocr", message="The reader crashed.")
    assert decide(evidence(errors=[failed])).degraded == ["evidence.ocr"]


def test_after_the_deadline_the_degraded_rule_decides() -> None:
    found = outcome(None)
    decision = found.decision
    assert (decision.status, decision.interim, decision.degraded) == (
        "pending_review",
        False,
        ["evidence"],
    )
    assert decision.moderation_id == moderation_id("c1", 0, 1, "overdue")
    assert found.review is not None
    assert found.audit is not None
    assert found.audit.evidence is None


def test_the_audit_record_holds_the_evidence() -> None:
    seen = evidence()
    audit = outcome(seen, revision=3).audit
    assert audit is not None
    assert audit.evidence is not None
    assert bytes(audit.evidence) == encode_evidence(seen)
    assert msgspec.json.decode(msgspec.json.encode(audit))["evidence"]["content_id"] == "c1"


def test_a_batch_gives_what_each_gets_alone() -> None:
    items = [
        again(evidence(texts=[FoundText(source="ocr", engine="any", text=SLUR)]), content_id="a"),
        upload("b", text=SLUR),
        again(None, content_id="c"),
        cascade().prepare(payload("d", text=SLUR), int(NOW_MS)),
        again(evidence(hashes=hashes(KNOWN)), content_id="e"),
    ]
    together = cascade().moderate(items, NOW_MS)
    for item, found in zip(items, together, strict=True):
        alone = cascade().moderate([item], NOW_MS)[0].decision
        assert msgspec.structs.replace(found.decision, cache="") == msgspec.structs.replace(
            alone, cache=""
        )


def test_the_same_banner_in_every_frame_is_read_once() -> None:
    texts = [
        FoundText(source="ocr", engine="any", text="buy now", seconds=float(i)) for i in range(10)
    ]
    case = again(evidence(texts=texts)).case
    assert case is not None
    assert [(seen.place, seen.seconds) for seen in case.texts] == [(0, 0.0)]
