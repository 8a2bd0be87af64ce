from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NoReturn

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic, Record
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.dead_letter import DeadLetter
from schemas.decision import VOLATILE_FIELDS, Decision
from schemas.errors import InvalidUploadError
from schemas.features import SINGLE
from schemas.topics import topics
from tests.fakes import NOW_MS, FakeBrain, Memory, payload

TOPICS = topics()


def make(brain: FakeBrain | None = None, max_batch: int = 100) -> ModerationLogic:
    return ModerationLogic(
        brain or FakeBrain(),
        TOPICS,
        velocity=VelocityConfig(),
        max_batch=max_batch,
        now_ms=lambda: NOW_MS,
        metrics=Metrics(),
    )


def arrived(raw: bytes, offset: int = 0) -> Arrived:
    return Arrived(raw, TOPICS.content_text, 1, offset, int(NOW_MS) - 7, SINGLE)


def decisions(emitted: Sequence[Sequence[Record]]) -> list[Decision]:
    return [
        msgspec.json.decode(record.value, type=Decision)
        for records in emitted
        for record in records
        if record.topic == TOPICS.decisions
    ]


def letter(records: Sequence[Record]) -> DeadLetter:
    (record,) = records
    assert record.topic == TOPICS.dead_letters
    return msgspec.json.decode(record.value, type=DeadLetter)


def test_an_upload_waits_for_its_tick_and_leaves_once() -> None:
    logic, state = make(), Memory()
    assert logic.on_record("u1", arrived(payload()), state) == ()
    (decision,) = decisions(logic.on_tick("u1", state))
    assert decision.content_id == "c1"
    assert decision.latency_ms == 7
    assert logic.on_tick("u1", state) == []


def test_a_refused_payload_leaves_at_once_with_its_bytes_and_place() -> None:
    dead = letter(make().on_record("u1", arrived(b"\xff\x00", 42), Memory()))
    assert dead.raw == b"\xff\x00"
    assert (dead.partition, dead.offset, dead.error_kind) == (1, 42, "encoding")
    wire = msgspec.to_builtins(dead)
    assert base64.b64decode(wire["raw"]) == b"\xff\x00"


def test_another_users_key_is_refused_by_name() -> None:
    dead = letter(make().on_record("u2", arrived(payload(user_id="u1")), Memory()))
    assert dead.error_kind == "key_mismatch"
    assert dead.field == "$.user_id"


def test_one_poisoned_upload_does_not_take_its_batch_with_it() -> None:
    logic = make()
    states = {f"u{i}": Memory() for i in range(4)}
    for i, (user, state) in enumerate(states.items()):
        text = "boom" if i == 2 else "hello"
        logic.on_record(user, arrived(payload(f"c{i}", user, text=text), i), state)
    emitted = [r for user, state in states.items() for rs in logic.on_tick(user, state) for r in rs]
    assert [r.topic for r in emitted] == [
        TOPICS.decisions,
        TOPICS.decisions,
        TOPICS.dead_letters,
        TOPICS.decisions,
    ]
    dead = letter([emitted[2]])
    assert dead.error_kind == "internal"
    assert dead.offset == 2


def test_an_error_while_preparing_is_a_dead_letter_too() -> None:
    dead = letter(make().on_record("u1", arrived(payload(text="boom at once")), Memory()))
    assert dead.error_kind == "internal"


def test_what_waited_before_a_restart_is_decided_after_it_with_the_same_features() -> None:
    before, state = make(), Memory()
    for i in range(3):
        before.on_record("u1", arrived(payload(f"c{i}"), i), state)
    expected = decisions(before.on_tick("u1", Memory(state.stored)))
    after = make()  # nothing in memory, the value as it was checkpointed
    assert decisions(after.on_tick("u1", state)) == expected
    assert [d.features["uploads_1d"] for d in expected] == [1, 2, 3]
    assert after.on_tick("u1", state) == []


def test_an_upload_after_a_restart_joins_what_waited() -> None:
    before, state = make(), Memory()
    before.on_record("u1", arrived(payload("c0")), state)
    after = make()
    after.on_record("u1", arrived(payload("c1")), state)
    found = decisions(after.on_tick("u1", state))
    assert [(d.content_id, d.features["uploads_1d"]) for d in found] == [("c0", 1), ("c1", 2)]


def test_a_waiting_upload_that_new_limits_refuse_becomes_a_dead_letter() -> None:
    before, state = make(), Memory()
    before.on_record("u1", arrived(payload(text="boom at once")[:-1] + b"}"), Memory())
    before.on_record("u1", arrived(payload("c0"), 5), state)

    class Strict(FakeBrain):
        def prepare(self, raw: bytes, broker_ms: int) -> NoReturn:
            raise InvalidUploadError("oversize", "too long now")

    (records,) = make(Strict()).on_tick("u1", state)
    assert letter(records).error_kind == "oversize"


def test_a_value_that_cannot_be_read_starts_anew_and_is_counted() -> None:
    metrics = Metrics()
    logic = ModerationLogic(
        FakeBrain(),
        TOPICS,
        velocity=VelocityConfig(),
        max_batch=10,
        now_ms=lambda: NOW_MS,
        metrics=metrics,
    )
    state = Memory(b"\x09garbage")
    logic.on_record("u1", arrived(payload()), state)
    assert len(decisions(logic.on_tick("u1", state))) == 1
    assert metrics.value("state_resets") == 1


def test_a_redelivery_gives_the_same_decision_and_does_not_count() -> None:
    logic, state = make(), Memory()
    first: list[Decision] = []
    for content in ("a", "b", "a", "c", "b"):
        logic.on_record("u1", arrived(payload(content)), state)
        first += decisions(logic.on_tick("u1", state))
    counts: dict[str, set[float]] = {}
    for decision in first:
        counts.setdefault(decision.moderation_id, set()).add(decision.features["uploads_1d"])
    assert sorted(counts.values(), key=min) == [{1}, {2}, {3}]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("upload"), st.sampled_from("ab"), st.integers(0, 9)),
            st.tuples(st.just("tick"), st.sampled_from("ab"), st.just(0)),
            st.tuples(st.just("crash"), st.just("a"), st.just(0)),
        ),
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_with_crashes_nothing_is_lost_and_answers_of_one_id_agree(
    steps: list[tuple[str, str, int]], max_batch: int
) -> None:
    """The state survives a crash, memory does not; a checkpoint is taken at every step."""
    states = {"a": Memory(), "b": Memory()}
    logic = make(max_batch=max_batch)
    sent: list[str] = []
    answers: list[Decision] = []
    for what, user, number in steps:
        if what == "upload":
            content = f"{user}{number}"
            logic.on_record(user, arrived(payload(content, user)), states[user])
            sent.append(content)
        elif what == "tick":
            answers += decisions(logic.on_tick(user, states[user]))
        else:
            logic = make(max_batch=max_batch)
    for user, state in states.items():
        answers += decisions(logic.on_tick(user, state))
    assert sorted(d.content_id for d in answers) == sorted(sent)
    by_id: dict[str, dict[str, object]] = {}
    for decision in answers:
        fields = {
            name: value
            for name, value in msgspec.structs.asdict(decision).items()
            if name not in VOLATILE_FIELDS
        }
        assert by_id.setdefault(decision.moderation_id, fields) == fields


def test_metrics_are_handed_on_as_growth() -> None:
    metrics = Metrics()
    grown: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}

    def add(name: str, labels: tuple[tuple[str, str], ...], growth: int) -> None:
        grown[name, labels] = grown.get((name, labels), 0) + growth

    metrics.counter("uploads").add("text")
    for value in (3, 3, 700, 10_000_000):
        metrics.histogram("latency_ms").observe(value)
    assert metrics.flush(add)
    assert not metrics.flush(add)
    metrics.histogram("latency_ms").observe(12)
    metrics.flush(add)
    assert grown["uploads", (("content_type", "text"),)] == 1
    assert grown["latency_ms_count", ()] == 5
    assert grown["latency_ms_sum", ()] == 10_000_718
    assert grown["latency_ms_bucket", (("le", "5"),)] == 2
    assert grown["latency_ms_bucket", (("le", "15"),)] == 3
    assert grown["latency_ms_bucket", (("le", "+Inf"),)] == 5


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'"x"', b"{", b"{}"])
def test_nothing_that_is_no_upload_raises(raw: bytes) -> None:
    assert letter(make().on_record("u1", arrived(raw), Memory())).raw == raw
