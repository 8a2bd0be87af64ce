"""Contents that trusted people reported, decided again through the whole cascade."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.compose import compose_cascade
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.categories import Action, Status
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision, moderation_id
from schemas.features import SINGLE
from schemas.report_evidence import Before, ReportEvidence, report_evidence_id
from schemas.settings import load_settings
from schemas.topics import topics
from tests.fakes import NOW_MS, FakeBrain, Memory
from udfs.cascade import Cascade
from udfs.contracts import Outcome
from udfs.policy_switches import Switches
from udfs.policy_tables import strictness

TOPICS = topics()
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
OUTCOMES: list[tuple[Status, Action]] = [
    ("approved", "allow"),
    ("pending_review", "review"),
    ("rejected", "restrict"),
    ("rejected", "remove"),
]


@functools.cache
def cascade() -> Cascade:
    found = load_settings("dev")
    changed = found.model_copy(
        update={
            "redis": found.redis.model_copy(update={"enabled": False}),
            "cascade": found.cascade.model_copy(update={"deep_text": None}),
        }
    )
    return compose_cascade(changed).cascade


def reports(
    text: str | None = "see you at noon",
    *,
    status: Status = "approved",
    action: Action = "allow",
    revision: int = 0,
    level: int = 0,
    **fields: Any,
) -> ReportEvidence:
    before = Before(
        revision=revision,
        content_type=fields.pop("content_type", "text"),
        status=status,
        action=action,
        category=fields.pop("category", ""),
        probability=0.1,
        made_at=AT,
        account_created_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    )
    return ReportEvidence(
        evidence_id=report_evidence_id("c1", 0, level),
        content_id="c1",
        user_id="u1",
        level=level,
        threshold=3.0,
        weight=4.5,
        reporters=6,
        categories=fields.pop("categories", {"harassment": 4.0, "": 0.5}),
        before=before,
        text=text,
        at=AT,
        **fields,
    )


def outcome(found: ReportEvidence, brain: Cascade | None = None) -> Outcome:
    chosen = brain or cascade()
    return chosen.moderate([chosen.reported(found, int(NOW_MS))], NOW_MS)[0]


def test_what_was_allowed_is_held_for_a_person_first_in_the_queue() -> None:
    found = outcome(reports(revision=2))
    decision = found.decision
    assert (decision.status, decision.action, decision.revision) == ("pending_review", "review", 3)
    assert decision.moderation_id == moderation_id("c1", 0, 3, "reports-0")
    assert decision.features["reporters"] == 6
    assert decision.features["report_weight"] == 4.5
    assert found.review is not None
    assert found.review.priority >= 100
    assert found.review.upload["text"] == "see you at noon"


def test_the_category_is_what_was_found_or_what_the_reporters_say() -> None:
    assert outcome(reports(text=None)).decision.category == "harassment"
    assert outcome(reports(text=None, categories={"": 3.0})).decision.category in {"", "harassment"}


def test_what_is_worse_now_is_decided_as_it_is_now() -> None:
    decision = outcome(reports("you are a worthless idiot, kill yourself")).decision
    assert decision.status == "rejected"
    assert "Decided again: 6 people" in decision.reason


def test_a_picture_that_was_allowed_is_held() -> None:
    decision = outcome(reports(None, content_type="image")).decision
    assert (decision.status, decision.interim, decision.degraded) == ("pending_review", False, [])


def test_what_was_removed_stays_removed() -> None:
    found = outcome(reports(status="rejected", action="remove", category="hate_speech"))
    decision = found.decision
    assert (decision.status, decision.action) == ("rejected", "remove")
    assert decision.category == "hate_speech"
    assert "stays" in decision.reason
    assert found.review is None


@settings(max_examples=60)
@given(
    before=st.sampled_from(OUTCOMES),
    text=st.sampled_from([None, "hello", "you idiot", "go and kill yourself", "buy cheap meds"]),
    level=st.integers(0, 3),
)
def test_a_report_never_makes_it_milder(
    before: tuple[Status, Action], text: str | None, level: int
) -> None:
    status, action = before
    decision = outcome(reports(text, status=status, action=action, level=level)).decision
    assert strictness(decision.status, decision.action) >= max(1, strictness(status, action))


def test_observe_only_does_nothing_about_it() -> None:
    brakes = Switches.parse("observe_only: true", "switches")
    observing = cascade().with_parts(policy=cascade().policy.with_switches(brakes))
    assert outcome(reports(), observing).decision.action == "allow"


def logic() -> ModerationLogic:
    return ModerationLogic(
        FakeBrain(),
        TOPICS,
        velocity=VelocityConfig(),
        max_batch=10,
        now_ms=lambda: NOW_MS,
        metrics=Metrics(),
    )


def arrived(found: ReportEvidence) -> Arrived:
    return Arrived(msgspec.json.encode(found), TOPICS.evidence, 0, 1, int(NOW_MS), SINGLE)


def test_reports_wait_for_their_tick_and_survive_a_restart() -> None:
    state = Memory()
    assert logic().on_record("u1", arrived(reports()), state) == ()
    after = logic()  # nothing in memory, the value as it was checkpointed
    ((record,),) = after.on_tick("u1", state)
    decision = msgspec.json.decode(record.value, type=Decision)
    assert (decision.content_id, decision.revision) == ("c1", 1)
    assert after.on_tick("u1", state) == []


@pytest.mark.parametrize(
    ("key", "found", "kind", "field"),
    [
        ("u2", reports(), "key_mismatch", "$.user_id"),
        ("u1", msgspec.structs.replace(reports(), before=None), "missing_field", "$.before"),
    ],
)
def test_reports_that_cannot_be_acted_on_are_dead_letters(
    key: str, found: ReportEvidence, kind: str, field: str
) -> None:
    (record,) = logic().on_record(key, arrived(found), Memory())
    letter = msgspec.json.decode(record.value, type=DeadLetter)
    assert (record.topic, letter.error_kind, letter.field) == (TOPICS.dead_letters, kind, field)
