from __future__ import annotations

import datetime as dt

import msgspec

from operators.control import Answer, ControlLogic
from schemas.control import ControlAck, ControlMessage
from tests.fakes import NOW_MS, FakeBrain

WHEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def make(brain: FakeBrain) -> ControlLogic:
    return ControlLogic(brain, "acks", subtask=1, subtasks=3, now_ms=lambda: NOW_MS)


def message(text: str, kind: str = "rules", name: str = "") -> bytes:
    document = {"kind": kind, "name": name, "text": text, "file": "r.yaml", "published_at": WHEN}
    return msgspec.json.encode(msgspec.convert(document, ControlMessage))


def ack(answer: Answer) -> ControlAck:
    assert answer.ack is not None
    return msgspec.json.decode(answer.ack.value, type=ControlAck)


def test_a_message_is_put_in_force_and_acknowledged_by_subtask() -> None:
    brain = FakeBrain()
    answer = make(brain).on_message("rules", message("good"))
    assert answer.keep
    said = ack(answer)
    assert (said.ok, said.subtask, said.subtasks, said.key) == (True, 1, 3, "rules")
    assert said.applied == {"rules": "good"}
    assert len(said.digest) == 16


def test_a_wrong_message_is_refused_with_its_place_and_the_old_one_stays() -> None:
    brain = FakeBrain()
    logic = make(brain)
    logic.on_message("rules", message("good"))
    answer = logic.on_message("rules", message("wrong"))
    assert not answer.keep
    said = ack(answer)
    assert not said.ok
    assert said.error == "r.yaml:3: it is wrong"
    assert said.applied == {"rules": "good"}


def test_nothing_in_a_message_can_stop_the_job() -> None:
    logic = make(FakeBrain())
    for key, value in [
        ("rules", b"\xff"),
        ("rules", b"{}"),
        ("rules", message("crash")),
        ("policy", message("good")),
        ("rules", message("good", kind="rules", name="x")),
        ("bank", message("good", kind="bank")),
    ]:
        answer = logic.on_message(key, value)
        assert not answer.keep
        assert ack(answer).error


def test_a_tombstone_returns_to_the_start() -> None:
    brain = FakeBrain()
    logic = make(brain)
    logic.on_message("rules", message("good"))
    answer = logic.on_message("rules", None)
    assert answer.keep
    assert ack(answer).ok
    assert brain.configured == {}


def test_history_is_for_people() -> None:
    answer = make(FakeBrain()).on_message("history/rules/1", message("good"))
    assert answer == Answer(None, keep=False)


def test_state_is_put_back_in_force_after_a_restart() -> None:
    brain = FakeBrain()
    entries = [("rules", message("good")), ("bank/scams", message("b", "bank", "scams"))]
    records = make(brain).restore(entries)
    assert brain.configured == {"rules": "good", "bank/scams": "b"}
    assert all(msgspec.json.decode(r.value, type=ControlAck).restored for r in records)
