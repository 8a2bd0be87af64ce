"""Erasing state: what is published, and whose answers count."""

from __future__ import annotations

import datetime as dt
from typing import Any, Self

import msgspec
import pytest

from schemas.control import ControlAck
from schemas.errors import DependencyUnavailableError
from schemas.settings import Settings
from schemas.user_events import UserErased, decode_user_event
from scripts.cli import control_topic, erase_state
from scripts.cli.erase_state import forget_state, forgotten
from scripts.cli.publisher import Prepared

UNTIL = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def ack(job: str, subtask: int, subtasks: int, **more: Any) -> ControlAck:
    """An answer to the message that was published last."""
    fields: dict[str, Any] = {"key": Broker.key, "digest": Broker.digest, "ok": True, "error": ""}
    return ControlAck(
        job=job, subtask=subtask, subtasks=subtasks, applied={}, timestamp=UNTIL,
        **{"restored": False, **fields, **more},
    )  # fmt: skip


class Broker:
    """What was published, and what jobs answer to it."""

    key = digest = ""
    records: list[Prepared]
    answers: list[tuple[str, int, int, dict[str, Any]]]

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records, self.answers = [], []
        self.failures: list[str] = []
        self.asked = 0
        monkeypatch.setattr(control_topic, "open_consumer", lambda *_, **__: self)
        monkeypatch.setattr(
            control_topic.ControlTopic, "publish", lambda _, message: self._publish(message)
        )
        monkeypatch.setattr(control_topic, "poll", self._poll)
        monkeypatch.setattr(erase_state, "UploadPublisher", lambda _: self)
        monkeypatch.setattr(erase_state, "_WAIT_S", 0.2)

    def _publish(self, message: Any) -> None:
        Broker.key, Broker.digest = message.key, message.digest

    def _poll(self, *_: object) -> list[Any]:
        self.asked += 1
        found = [ack(job, *which, **more) for job, *which, more in self.answers]
        self.answers = []
        return [type("Record", (), {"value": msgspec.json.encode(each)}) for each in found]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
    def close(self) -> None: ...
    def flush(self) -> None: ...
    def send(self, record: Prepared) -> None:
        self.records.append(record)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(monkeypatch)


def test_each_content_is_named_and_answers_are_told_by_job(broker: Broker) -> None:
    broker.answers = [
        ("moderation", 1, 2, {}),
        ("feedback", 0, 1, {}),
        ("feedback", 0, 1, {"digest": "another"}),
        ("campaigns", 0, 9, {}),
        ("moderation", 0, 2, {"restored": True}),
        ("moderation", 0, 2, {}),
    ]
    state = forget_state(Settings(), "u1", UNTIL, ["c2", "c1", "c2"])
    assert broker.asked == 1  # all have answered: nobody waits
    assert state == {
        "published": True,
        "contents": 2,
        "moderation": {"subtasks": 2, "answered": 2},
        "feedback": {"subtasks": 1, "answered": 1},
    }
    assert forgotten(state)
    events = [decode_user_event(record.value) for record in broker.records]
    assert [event.content_id for event in events if isinstance(event, UserErased)] == [
        None, "c1", "c2",
    ]  # fmt: skip
    assert {(record.topic, record.key) for record in broker.records} == {
        ("moderation.user-events", b"u1")
    }


def test_a_job_that_does_not_run_keeps_nothing_and_one_that_is_silent_may(broker: Broker) -> None:
    broker.answers = [("moderation", 0, 1, {})]
    state = forget_state(Settings(), "u1", UNTIL)
    assert state["feedback"] == {"subtasks": 0, "answered": 0}
    assert forgotten(state)
    broker.answers = [("moderation", 0, 1, {}), ("feedback", 0, 2, {})]
    assert not forgotten(forget_state(Settings(), "u1", UNTIL))
    broker.answers = [("moderation", 0, 1, {"ok": False, "error": "no time"})]
    state = forget_state(Settings(), "u1", UNTIL)
    assert state["moderation"]["refused"] == ["no time"]
    assert not forgotten(state)


def test_without_a_broker_nothing_is_forgotten(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.failures = ["gone"]
    state = forget_state(Settings(), "u1", UNTIL)
    assert (state["published"], forgotten(state)) == (False, False)

    def away(*_: object, **__: object) -> None:
        raise DependencyUnavailableError("kafka", "no broker")

    monkeypatch.setattr(control_topic, "open_consumer", away)
    assert forget_state(Settings(), "u1", UNTIL)["error"].endswith("no broker")
