"""Media that no store gave: asked for again, found, or given up. No engine, no clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.metrics import Metrics
from operators.rescan_logic import Asked, RescanLogic, is_transient
from schemas.evidence import Failure, FailureKind, MediaEvidence, Step, evidence_id
from schemas.media_job import RescanPart
from schemas.upload import Upload, decode_upload
from tests.fakes import payload

PART = RescanPart(first_s=10, most_s=100, batch=4, tries=3, keep_hours=1)
HOUR = 3_600_000


class Memory:
    """State of one store."""

    def __init__(self) -> None:
        self.queue: bytes | None = None
        self.waiting: dict[int, bytes] = {}
        self.keys: set[str] = set()

    def head(self) -> bytes | None:
        return self.queue

    def put_head(self, value: bytes) -> None:
        self.queue = value

    def entry(self, place: int) -> bytes | None:
        return self.waiting.get(place)

    def put_entry(self, place: int, value: bytes) -> None:
        self.waiting[place] = value

    def drop_entry(self, place: int) -> None:
        self.waiting.pop(place, None)

    def known(self, key: str) -> bool:
        return key in self.keys

    def set_known(self, key: str, *, known: bool) -> None:
        (self.keys.add if known else self.keys.discard)(key)


class Store:
    """What the store would answer, a clock, and the logic that asks it."""

    def __init__(self, part: RescanPart = PART) -> None:
        self.now = 1_000_000.0
        self.down: set[str] | None = None
        """Contents that are not to be had; None: the whole store."""
        self.failure: tuple[FailureKind, Step] = ("unreachable", "fetch")
        self.asked: list[list[str]] = []
        self.metrics = Metrics()
        self.state = Memory()
        self.part = part
        self.restart()

    def restart(self) -> None:
        """Everything but the state is lost."""
        self.logic = RescanLogic(self.part, self._look, decoded, lambda: self.now, self.metrics)

    def _look(self, uploads: Sequence[Asked]) -> list[MediaEvidence]:
        self.asked.append([upload.content_id for upload in uploads])
        return [self._evidence(upload) for upload in uploads]

    def _evidence(self, upload: Asked) -> MediaEvidence:
        failing = self.down is None or upload.content_id in self.down
        kind, step = self.failure
        errors = [Failure(kind=kind, step=step, message="no")] if failing else []
        return MediaEvidence(
            evidence_id=evidence_id(upload.content_id, upload.revision),
            content_id=upload.content_id, user_id=upload.user_id, revision=upload.revision,
            content_type="image", errors=errors, made_at=dt.datetime.now(dt.UTC),
        )  # fmt: skip

    def take(self, *names: str) -> int:
        due = 0
        for name in names:
            due = self.logic.on_upload(self.state, raw(name), int(self.now))
        return due

    def run(self, until: float) -> dict[str, MediaEvidence]:
        """Turn by turn as timers would; evidence by content, none twice."""
        found: dict[str, MediaEvidence] = {}
        turn = self.logic.on_turn(self.state)
        while True:
            for evidence in turn.evidence:
                assert evidence.content_id not in found
                found[evidence.content_id] = evidence
            if not turn.due_ms or turn.due_ms > until:
                return found
            assert turn.due_ms > self.now
            self.now = turn.due_ms
            turn = self.logic.on_turn(self.state)

    def empty(self) -> bool:
        return not self.state.waiting and not self.state.keys


def raw(name: str) -> bytes:
    return payload(
        name, "u", text=None, content_type="image", media_uri=f"https://a.example/{name}"
    )


def decoded(data: bytes) -> Upload:
    return decode_upload(data, max_bytes=10_000, max_text_chars=1000)


def test_once_the_store_is_back_everything_is_looked_at_and_numbered_anew() -> None:
    store = Store()
    due = store.take("a", "b", "c", "d", "e", "f")
    assert due == store.now + 10_000
    assert store.run(store.now + 45_000) == {}
    # One upload asked each time, each time another, at growing intervals.
    assert store.asked == [["a"], ["b"]]
    store.down = set()
    found = store.run(store.now + HOUR)
    assert store.asked[2:] == [["c"], ["d", "e", "f", "a"], ["b"]]
    assert set(found) == set("abcdef")
    assert all(not evidence.errors for evidence in found.values())
    # Another id than the first try's, and than each other try's would be.
    assert found["a"].evidence_id == evidence_id("a", 0, "media/3")
    assert found["c"].evidence_id == evidence_id("c", 0, "media/2")
    assert store.empty()
    assert store.metrics.value("media_rescans", fate="found") == 6
    assert store.logic.on_turn(store.state) == ([], 0)


def test_a_store_that_stays_away_is_asked_ever_more_rarely_and_given_up() -> None:
    store = Store()
    began = store.now
    store.take("a", "b")
    found = store.run(began + 2 * HOUR)
    assert set(found) == {"a", "b"}
    for evidence in found.values():
        (failure,) = evidence.errors
        assert (failure.kind, failure.step) == ("unreachable", "fetch")
        assert "given up after" in failure.message
        assert failure.limit == "rescan.keep_hours = 1"
        assert evidence.evidence_id != evidence_id(evidence.content_id, 0)
    assert HOUR <= store.now - began <= HOUR + PART.most_s * 1000
    # 10 s, 20 s, 40 s, 80 s, then every 100 s.
    assert 36 <= len(store.asked) <= 40
    assert store.empty()
    assert store.metrics.value("media_rescans", fate="given_up") == 2


def test_what_one_upload_alone_cannot_get_is_tried_so_many_times() -> None:
    store = Store()
    store.down = {"bad"}
    store.take("a", "bad", "b")
    first = store.run(store.now + 15_000)
    assert set(first) == {"a", "b"}
    for name in ("c", "d", "e"):
        # The store gives others what they ask for: this is what counts.
        store.take(name)
        first |= store.run(store.now + 400_000)
    assert set(first) == {"a", "b", "c", "d", "e", "bad"}
    (failure,) = first["bad"].errors
    assert failure.limit == "rescan.tries = 3"
    assert store.empty()


@pytest.mark.parametrize("failure", [("not_found", "fetch"), ("refused", "fetch"),
                                     ("malformed", "decode"), ("timeout", "decode")])  # fmt: skip
def test_what_is_said_for_good_is_published_and_not_asked_again(
    failure: tuple[FailureKind, Step],
) -> None:
    store = Store()
    store.failure = failure
    store.take("a")
    found = store.run(store.now + HOUR)
    assert found["a"].errors[0].kind == failure[0]
    assert not is_transient(found["a"])
    assert store.asked == [["a"]]
    assert store.empty()


def test_an_upload_that_comes_twice_waits_once_and_garbage_is_counted() -> None:
    store = Store()
    store.take("a")
    assert store.take("a") == 0
    assert store.logic.on_upload(store.state, b"{", 0) == 0
    store.down = set()
    assert set(store.run(store.now + HOUR)) == {"a"}
    # After it was found the same content may fail anew (a redelivery long after).
    assert store.take("a") > 0
    assert store.metrics.value("media_rescans", fate="again") == 1
    assert store.metrics.value("media_rescans", fate="unreadable") == 1


def test_nothing_is_asked_before_its_turn_and_a_restart_loses_nothing() -> None:
    store = Store()
    due = store.take("a", "b")
    assert store.logic.on_turn(store.state) == ([], due)
    assert store.asked == []
    store.restart()
    store.now = due
    store.down = set()
    assert set(store.run(due + HOUR)) == {"a", "b"}


def test_state_that_cannot_be_read_is_passed_over() -> None:
    store = Store()
    store.take("a", "b", "c")
    store.state.waiting[0] = b"\x07 of another version"
    del store.state.waiting[1]
    store.down = set()
    assert set(store.run(store.now + HOUR)) == {"c"}
    assert not store.state.waiting


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 200_000), st.booleans()), max_size=30
    )
)
def test_whatever_happens_every_upload_gets_exactly_one_last_word(
    events: list[tuple[str, int, bool]],
) -> None:
    store = Store()
    taken: dict[str, int] = {}
    words: dict[str, int] = {}

    def count(found: dict[str, MediaEvidence]) -> None:
        for name in found:
            words[name] = words.get(name, 0) + 1

    for name, wait, down in events:
        store.down = None if down else set()
        waits = f"0/{name}" in store.state.keys
        store.take(name)
        if not waits:
            taken[name] = taken.get(name, 0) + 1
        count(store.run(store.now + wait))
        store.now += wait
    store.down = None
    count(store.run(store.now + 3 * HOUR))
    assert words == taken
    assert store.empty()


def test_the_state_says_its_version() -> None:
    store = Store()
    store.take("a")
    assert store.state.queue is not None
    assert store.state.queue[:1] == b"\x01"
    assert msgspec.msgpack.decode(store.state.queue[1:])["next"] == 1
