"""What decisions, appeals and reports say about their user's trust."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from schemas.decision import Decision, Evidence
from schemas.feedback import AppealOutcome, decode_appeal
from schemas.report_evidence import ReportEvidence
from schemas.settings import ROOT
from schemas.trust import (
    AutomaticLabelPart,
    Decided,
    Overturned,
    ReportsPassed,
    TrustEvent,
    load_trust,
)
from schemas.upload import Account, decode_upload
from tests.fakes import NOW_MS, decision, payload
from tests.feedback_kit import appeal
from udfs.contracts import Item
from udfs.trust import apply, replay, row
from udfs.trust_events import EVERY_REVISION, labels_of, of_appeal, of_decision, of_reports
from udfs.trust_state import decode_trust, encode_trust

CONFIG = load_trust(ROOT / "conf/trust.yaml")
BORN = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


def made(name: str = "c1", **changes: Any) -> Decision:
    raw = payload(name)
    whole = decision(Item(decode_upload(raw), raw, int(NOW_MS)), NOW_MS + 5)
    return msgspec.structs.replace(whole, **changes)


@pytest.mark.parametrize(
    ("action", "severity", "counts_as"),
    [
        ("allow", "none", "none"),
        ("review", "severe", "none"),
        ("label", "mild", "none"),
        ("age_gate", "moderate", "none"),
        ("warn", "none", "none"),  # a restriction of the account, nothing that the upload did
        ("restrict", "moderate", "moderate"),
        ("shadowban", "mild", "mild"),
        ("remove", "severe", "severe"),
    ],
)
def test_an_action_against_the_author_is_a_violation(
    action: Any, severity: Any, counts_as: str
) -> None:
    event = of_decision(
        made(action=action, severity=severity, revision=2), Account(created_at=BORN), int(NOW_MS)
    )
    assert event == Decided(
        content_id="c1",
        revision=2,
        severity=counts_as,  # type: ignore[arg-type]  # one of the severities
        at_ms=int(NOW_MS),
        account_created_ms=int(BORN.timestamp() * 1000),
    )


def test_what_says_nothing_about_the_user_is_no_event() -> None:
    assert of_decision(made(interim=True, action="review"), Account(), 0) is None
    for outcome in ("upheld", "escalated"):
        assert of_appeal(decode_appeal(appeal(outcome=outcome)[1])) is None


def test_appeals_and_reports() -> None:
    ended: AppealOutcome = decode_appeal(appeal()[1])
    at_ms = int(ended.at.timestamp() * 1000)
    assert of_appeal(ended) == Overturned(content_id="c1", revision=EVERY_REVISION, at_ms=at_ms)
    ended = decode_appeal(appeal(revision=3)[1])
    assert of_appeal(ended) == Overturned(content_id="c1", revision=3, at_ms=at_ms)
    evidence = ReportEvidence(
        evidence_id="e",
        content_id="c1",
        user_id="u1",
        threshold=3.0,
        weight=3.0,
        reporters=6,
        categories={},
        at=BORN,
    )
    assert of_reports(evidence) == ReportsPassed(
        content_id="c1", at_ms=int(BORN.timestamp() * 1000)
    )


def test_a_row_rebuilt_from_the_topic_is_the_online_row() -> None:
    """Online with state as bytes between uploads; offline from what was written to topics."""
    account = Account(created_at=BORN, verified=True)
    actions: list[Any] = ["allow", "remove", "allow", "warn", "restrict", "review"]
    decisions = [
        made(f"c{i}", action=action, severity="moderate" if action == "remove" else "none")
        for i, action in enumerate(actions)
    ]
    kept: bytes | None = None
    topic = []
    for i, each in enumerate(decisions):
        event = of_decision(each, account, int(NOW_MS) + i)
        assert event is not None
        kept = encode_trust(apply(decode_trust(kept), event, CONFIG))
        topic.append((msgspec.json.encode(each), int(NOW_MS) + i))
    later = int(NOW_MS) + 86_400_000
    online = row(decode_trust(kept), later, CONFIG)
    events: list[TrustEvent] = []
    for raw, broker_ms in [*topic, topic[1]]:  # at least once: one comes again
        event = of_decision(msgspec.json.decode(raw, type=Decision), account, broker_ms)
        assert event is not None
        events.append(event)
    offline = row(replay(events, CONFIG), later, CONFIG)
    assert msgspec.json.encode(online) == msgspec.json.encode(offline)
    assert (online.uploads, online.violations, len(online.strikes)) == (6, 1, 1)


def test_decisions_give_labels_by_rule_and_by_category() -> None:
    config = CONFIG.model_copy(
        update={
            "labels": (
                AutomaticLabelPart(label="linker", rule="shady-links", days=7, reason="Links."),
                AutomaticLabelPart(
                    label="spammer",
                    category="spam",
                    severity="moderate",
                    probability=0.9,
                    days=30,
                    reason="Spam.",
                ),
            )
        }
    )

    def given(**changes: Any) -> list[tuple[str, str, str]]:
        whole = made(**changes)
        return [(each.name, each.source, each.by) for each in labels_of(whole, 5, config)]

    spam = {"category": "spam", "severity": "moderate", "probability": 0.95, "action": "remove"}
    assert given(**spam, stage="deep_text") == [("spammer", "model", "deep_text")]
    assert given(**spam, stage="rules") == [("spammer", "rule", "rules")]
    for change in ({"severity": "mild"}, {"probability": 0.8}, {"action": "review"}):
        assert given(**{**spam, **change}) == []
    matched = Evidence(kind="rule", id="shady-links")
    assert given(evidence=[matched]) == [("linker", "rule", "shady-links")]
    assert given(evidence=[msgspec.structs.replace(matched, observe_only=True)]) == []
    assert given(evidence=[matched], interim=True) == []
    label = labels_of(made(evidence=[matched]), 5, config)[0]
    assert (label.at_ms, label.expires_ms) == (5, 5 + 7 * 86_400_000)
