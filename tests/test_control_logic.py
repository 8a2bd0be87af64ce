from __future__ import annotations

import datetime as dt

import msgspec

from operators.control import Answer, ControlLogic
from schemas.control import ControlAck, ControlMessage
from schemas.errors import ConfigError
from tests.fakes import NOW_MS, FakeBrain

WHEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def make(brain: FakeBrain) -> ControlLogic:
    return ControlLogic(brain, "acks", subtask=1, subtasks=3, now_ms=lambda: NOW_MS)


def message(text: str, kind: str = "rules", name: str = "") -> bytes:
    document = {"kind": kind, "name": name, "text": text, "file": "r.yaml", "published_at": WHEN}
    return msgspec.json.encode(msgspec.convert(document, ControlMessage))


def ack(answer: Answer) -> ControlAck:
    return msgspec.json.decode(answer.ack.value, type=ControlAck)


def test_a_message_is_put_in_force_and_acknowledged_by_subtask() -> None:
    brain = FakeBrain()
    (answer,) = make(brain).on_message("rules", message("good"))
    assert answer.keep
    said = ack(answer)
    assert (said.ok, said.subtask, said.subtasks, said.key) == (True, 1, 3, "rules")
    assert said.applied == {"rules": "good"}
    assert len(said.digest) == 16


def test_a_wrong_message_is_refused_with_its_place_and_the_old_one_stays() -> None:
    brain = FakeBrain()
    logic = make(brain)
    logic.on_message("rules", message("good"))
    (answer,) = logic.on_message("rules", message("wrong"))
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
        (answer,) = logic.on_message(key, value)
        assert not answer.keep
        assert ack(answer).error


def test_a_tombstone_returns_to_the_start() -> None:
    brain = FakeBrain()
    logic = make(brain)
    logic.on_message("rules", message("good"))
    (answer,) = logic.on_message("rules", None)
    assert answer.keep
    assert ack(answer).ok
    assert brain.configured == {}


def test_history_is_for_people() -> None:
    assert make(FakeBrain()).on_message("history/rules/1", message("good")) == []


class Dependent(FakeBrain):
    """Takes communities, or a bank, only once the text that they name is in force elsewhere."""

    def apply(self, message: ControlMessage) -> None:
        needs, _, _ = message.text.partition(" first")
        if " first" in message.text and needs not in self.configured:
            raise ConfigError(f"{needs} is not there yet")
        super().apply(message)


def test_what_waited_for_a_policy_is_accepted_with_it() -> None:
    """A job that reads the compacted topic anew meets keys in the order of their last change."""
    brain = Dependent()
    logic = make(brain)
    overrides = message("policy first", "communities")
    (refused,) = logic.on_message("communities", overrides)
    assert not refused.keep
    (unrelated,) = logic.on_message("rules", message("good"))
    assert unrelated.keep
    policy, waited = logic.on_message("policy", message("good", "policy"))
    assert policy.keep
    assert (waited.key, waited.value, waited.keep) == ("communities", overrides, True)
    assert ack(waited).ok
    assert brain.configured["communities"] == "policy first"
    # It waits no longer.
    assert len(logic.on_message("policy", message("better", "policy"))) == 1


def test_banks_that_build_on_each_other_are_accepted_in_any_order() -> None:
    brain = Dependent()
    logic = make(brain)
    logic.on_message("bank/c", message("bank/b first", "bank", "c"))
    logic.on_message("bank/b", message("bank/a first", "bank", "b"))
    answers = logic.on_message("bank/a", message("good", "bank", "a"))
    assert [answer.key for answer in answers] == ["bank/a", "bank/b", "bank/c"]
    assert all(answer.keep for answer in answers)


def test_what_was_refused_and_then_replaced_or_taken_back_waits_no_longer() -> None:
    for instead in (message("good", "communities"), None):
        logic = make(Dependent())
        logic.on_message("communities", message("policy first", "communities"))
        logic.on_message("communities", instead)
        assert len(logic.on_message("policy", message("good", "policy"))) == 1


def test_other_kinds_are_refused_for_good() -> None:
    """A model whose folder turns up later must not slip in with some other change."""
    logic = make(Dependent())
    logic.on_message("model/fast_text", message("policy first", "model", "fast_text"))
    assert len(logic.on_message("policy", message("good", "policy"))) == 1


def test_state_is_put_back_in_force_after_a_restart() -> None:
    brain = Dependent()
    entries = [
        ("communities", message("policy first", "communities")),
        ("rules", message("good")),
        ("bank/scams", message("b", "bank", "scams")),
        ("policy", message("p", "policy")),
    ]
    records = make(brain).restore(entries)
    assert brain.configured == {
        "rules": "good",
        "bank/scams": "b",
        "policy": "p",
        "communities": "policy first",
    }
    acks = [msgspec.json.decode(r.value, type=ControlAck) for r in records]
    assert all(said.restored and said.ok for said in acks)
