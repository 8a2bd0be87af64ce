"""Decisions, audit records, reports, verdicts and appeal outcomes as they come from Kafka."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from operators.control import ControlLogic
from operators.feedback_logic import Arrival, FeedbackLogic
from operators.metrics import Metrics
from operators.moderation_logic import Record
from schemas.control import ControlAck, ControlMessage
from schemas.dead_letter import DeadLetter
from schemas.decision import moderation_id
from schemas.features import UserFeatures
from schemas.feedback import JoinedFeedback
from schemas.feedback_job import FeedbackDocument
from schemas.report_evidence import ReportEvidence, decode_report_evidence
from schemas.topics import topics
from schemas.user_events import UserErased, user_sha256
from tests.fakes import Memory

TOPICS: Final = topics("moderation")
DAY_0: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOW_MS: Final = int(dt.datetime(2026, 2, 1, tzinfo=dt.UTC).timestamp() * 1000)
HOUR: Final = 3_600.0


def at(seconds: float) -> str:
    """A time so many seconds after the first day began."""
    return (DAY_0 + dt.timedelta(seconds=seconds)).isoformat()


def decision(
    content_id: str = "c1", seconds: float = 0.0, revision: int = 0, **more: Any
) -> tuple[str, bytes]:
    """A decision; its features tell which one it is."""
    upload_revision = more.pop("upload_revision", 0)
    document = {
        "moderation_id": moderation_id(content_id, upload_revision, revision, "final"),
        "content_id": content_id,
        "revision": revision,
        "upload_revision": upload_revision,
        "content_type": "text",
        "user_id": "author",
        "community_id": None,
        "status": "approved",
        "action": "allow",
        "category": "",
        "scores": {"toxicity": 0.25, "spam": 0.125},
        "probability": 0.25,
        "features": {"revision": float(revision)},
        "model_versions": {"fast_text": "1"},
        "timestamp": at(seconds),
        "latency_ms": 3.5,
        **more,
    }
    return TOPICS.decisions, json.dumps(document).encode()


def audit(
    content_id: str = "c1",
    revision: int = 0,
    text: str = "hello there",
    user_id: str = "author",
    **more: Any,
) -> tuple[str, bytes]:
    """The audit record of that decision."""
    document = {
        "moderation_id": moderation_id(content_id, 0, revision, "final"),
        "content_id": content_id,
        "upload": {
            "content_id": content_id,
            "user_id": user_id,
            "text": text,
            "language": "en",
            **more,
        },
        "broker_timestamp": NOW_MS,
    }
    return TOPICS.audit, json.dumps(document).encode()


def report(
    number: int, seconds: float = HOUR, content_id: str = "c1", **more: Any
) -> tuple[str, bytes]:
    """A report by an established user of the default reputation."""
    document = {
        "report_id": f"r{number}",
        "content_id": content_id,
        "reporter_id": f"reporter{number}",
        "category": "harassment",
        "account": {"created_at": at(-400 * 24 * HOUR)},
        "at": at(seconds),
        **more,
    }
    return TOPICS.reports, json.dumps(document).encode()


def verdict(
    name: str = "v1", seconds: float = HOUR, content_id: str = "c1", **more: Any
) -> tuple[str, bytes]:
    """A reviewer found harassment."""
    document = {
        "verdict_id": name,
        "content_id": content_id,
        "rater_id": "anna",
        "violates": True,
        "category": "harassment",
        "at": at(seconds),
        **more,
    }
    return TOPICS.verdicts, json.dumps(document).encode()


def appeal(
    name: str = "a1", seconds: float = HOUR, content_id: str = "c1", **more: Any
) -> tuple[str, bytes]:
    """An appeal that a person granted."""
    document = {
        "appeal_id": name,
        "content_id": content_id,
        "user_id": "author",
        "outcome": "overturned",
        "rater_id": "bert",
        "at": at(seconds),
        **more,
    }
    return TOPICS.appeals, json.dumps(document).encode()


def erasure(user_id: str, until_ms: float) -> tuple[str, bytes]:
    """Key and value of the control message that erases a user."""
    until = dt.datetime.fromtimestamp(until_ms / 1000, dt.UTC)
    message = ControlMessage(
        kind="erase",
        name=user_sha256(user_id),
        text=f"until: {until.isoformat()}\n",
        published_at=until,
    )
    return message.key, msgspec.json.encode(message)


def touch(content_id: str, user_id: str, until_ms: float) -> tuple[str, bytes]:
    """The record that erases what is held of a user's content."""
    until = dt.datetime.fromtimestamp(until_ms / 1000, dt.UTC)
    event = UserErased(user_id=user_id, until=until, content_id=content_id)
    return TOPICS.user_events, msgspec.json.encode(event)


class Known:
    """A feature store with these users."""

    def __init__(self, users: dict[str, UserFeatures] | None = None) -> None:
        self.users = users or {}

    def features(self, user_id: str) -> UserFeatures:
        return self.users.get(user_id, UserFeatures())


class Bench:
    """The logic with a clock, states by key and timers, as an engine would have them."""

    def __init__(self, config: FeedbackDocument | None = None, users: Known | None = None) -> None:
        self.now = float(NOW_MS)
        self.metrics = Metrics()
        self.config = config or FeedbackDocument(version=1)
        self.users = users or Known()
        self.states: dict[str, Memory] = {}
        self.timers: set[tuple[int, str]] = set()
        self.records: list[Record] = []
        self.offset = 0
        self.restart()

    def restart(self) -> None:
        """A new process with the same states and timers."""
        self.logic = FeedbackLogic(
            self.config,
            TOPICS,
            users=self.users,
            now_ms=lambda: self.now,
            metrics=self.metrics,
        )
        self.control = ControlLogic(
            self.logic.erased,
            TOPICS.control_acks,
            subtask=0,
            subtasks=2,
            now_ms=lambda: self.now,
            job="feedback",
        )

    def erase(self, user_id: str, until_ms: float) -> ControlAck:
        """Deliver the control message that erases a user; gives the answer."""
        (answer,) = self.control.on_message(*erasure(user_id, until_ms))
        assert answer.keep
        return msgspec.json.decode(answer.ack.value, type=ControlAck)

    def send(self, *records: tuple[str, bytes], key: str | None = None) -> list[Record]:
        """Deliver records now, under the content id that they name."""
        before = len(self.records)
        for topic, raw in records:
            self.offset += 1
            name = key or str(json.loads(raw)["content_id"])
            arrival = Arrival(raw, topic, 0, self.offset, NOW_MS)
            state = self.states.setdefault(name, Memory())
            self._follow(name, self.logic.on_record(name, arrival, state))
        return self.records[before:]

    def wait(self, seconds: float) -> list[Record]:
        """Let time go by; timers fire when they are due."""
        before = len(self.records)
        until = self.now + seconds * 1000
        while self.timers and min(self.timers)[0] <= until:
            due, key = min(self.timers)
            self.timers.remove((due, key))
            self.now = max(self.now, float(due))
            self._follow(key, self.logic.on_timer(self.states[key]))
        self.now = until
        return self.records[before:]

    def end(self) -> None:
        """The input is over."""
        for key, state in self.states.items():
            self._follow(key, self.logic.on_end(state))

    def _follow(self, key: str, step: Any) -> None:
        self.records += step.records
        if step.timer_ms is not None:
            assert step.timer_ms > self.now
            self.timers.add((step.timer_ms, key))

    def rows(self) -> list[JoinedFeedback]:
        """Rows so far."""
        return rows_of(self.records)

    def letters(self) -> list[DeadLetter]:
        """Dead letters so far."""
        topic = TOPICS.dead_letters
        return [
            msgspec.json.decode(r.value, type=DeadLetter) for r in self.records if r.topic == topic
        ]

    def evidence(self) -> list[ReportEvidence]:
        """Evidence so far."""
        topic = TOPICS.evidence
        return [decode_report_evidence(r.value) for r in self.records if r.topic == topic]


def rows_of(records: Iterable[Record]) -> list[JoinedFeedback]:
    """Rows among records."""
    topic = TOPICS.feedback
    return [msgspec.json.decode(r.value, type=JoinedFeedback) for r in records if r.topic == topic]
