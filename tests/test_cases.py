"""Cases of pictures and videos, through the operator's logic: what comes when, and twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.cases import WAKE_MS, Case, may_be_deadline
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic, Record
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision
from schemas.evidence import Failure, Hashes, MediaEvidence, encode_evidence, evidence_id
from schemas.features import SINGLE
from schemas.settings import CaseSettings
from schemas.topics import topics
from tests.fakes import NOW_MS, FakeBrain, Memory, payload

TOPICS = topics()
SETTINGS = CaseSettings(early_s=30, grace_s=10)
SEEN = Hashes(sha256="0" * 64, md5="0" * 32, pdq=["0" * 64], quality=90)


class Map:
    """A keyed map and the timers that were asked for."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.timers: list[int] = []

    def get(self, key: str) -> bytes | None:
        return self.stored.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.stored[key] = value

    def remove(self, key: str) -> None:
        self.stored.pop(key, None)

    def items(self) -> Iterable[tuple[str, bytes]]:
        return self.stored.items()

    def wake(self, at_ms: int) -> None:
        self.timers.append(at_ms)


class Job:
    """One user's records through one operator, which can be killed."""

    def __init__(self) -> None:
        self.now = NOW_MS
        self.metrics = Metrics()
        self.state, self.cases = Memory(), Map()
        self.out: list[Record] = []
        self.offset = 0
        self.start()

    def start(self) -> None:
        self.logic = ModerationLogic(
            FakeBrain(),
            TOPICS,
            velocity=VelocityConfig(),
            max_batch=100,
            now_ms=lambda: self.now,
            metrics=self.metrics,
            cases=SETTINGS,
        )

    def take(self, raw: bytes, topic: str) -> None:
        self.offset += 1
        arrived = Arrived(raw, topic, 0, self.offset, int(self.now), SINGLE)
        self.out += self.logic.on_record("u1", arrived, self.state, self.cases)

    def upload(self, content_id: str = "c1", **fields: Any) -> None:
        media: dict[str, Any] = {"content_type": "image", "media_uri": "file:///p.png", **fields}
        self.take(payload(content_id, **media), TOPICS.content_image)

    def evidence(
        self, content_id: str = "c1", *, user_id: str = "u1", seen: bool = True, about: str = ""
    ) -> None:
        record = MediaEvidence(
            evidence_id=about or evidence_id(content_id, 0),
            content_id=content_id,
            user_id=user_id,
            content_type="image",
            hashes=SEEN if seen else Hashes(),
            errors=[]
            if seen
            else [Failure(kind="unreachable", step="fetch", message="It was away.")],
            made_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        )
        self.take(encode_evidence(record), TOPICS.evidence)

    def tick(self) -> None:
        for records in self.logic.on_tick("u1", self.state, self.cases):
            self.out += records

    def later(self, seconds: float) -> None:
        """Let time pass, with the timers that are due."""
        end = self.now + seconds * 1000
        while due := [at for at in self.cases.timers if at <= end]:
            self.now = max(self.now, float(min(due)))
            self.cases.timers.remove(min(due))
            self.end(everything=False)
        self.now = end

    def end(self, *, everything: bool = True) -> None:
        for records in self.logic.on_deadline("u1", self.state, self.cases, everything=everything):
            self.out += records

    @property
    def decided(self) -> list[tuple[str, int, str]]:
        """Content, revision and what decided, in order."""
        found = [
            msgspec.json.decode(record.value, type=Decision)
            for record in self.out
            if record.topic == TOPICS.decisions
        ]
        assert len({d.moderation_id for d in found}) == len({(d.content_id, d.revision, d.reason)
                                                             for d in found})  # fmt: skip
        return [(d.content_id, d.revision, d.reason) for d in found]

    @property
    def dead(self) -> list[DeadLetter]:
        return [
            msgspec.json.decode(record.value, type=DeadLetter)
            for record in self.out
            if record.topic == TOPICS.dead_letters
        ]

    def fate(self, name: str) -> float:
        return self.metrics.value("evidence", fate=name)


ID = evidence_id("c1", 0)
INTERIM, FINAL = ("c1", 0, "interim"), ("c1", 1, ID)


def test_held_first_then_decided_with_its_evidence() -> None:
    job = Job()
    job.upload()
    job.tick()
    assert job.decided == [INTERIM]
    job.later(3)
    job.evidence()
    job.tick()
    assert job.decided == [INTERIM, FINAL]
    job.later(3600)
    assert job.decided == [INTERIM, FINAL]
    assert job.metrics.value("evidence_wait_ms_sum") == 3000


def test_evidence_within_the_uploads_tick_comes_second() -> None:
    job = Job()
    job.upload()
    job.evidence()
    job.tick()
    assert job.decided == [INTERIM, FINAL]


def test_evidence_before_its_upload_waits_for_it() -> None:
    job = Job()
    job.evidence()
    job.tick()
    assert job.decided == []
    job.later(5)
    job.upload()
    job.tick()
    assert job.decided == [INTERIM, FINAL]
    job.later(3600)
    assert job.decided == [INTERIM, FINAL]
    assert (job.fate("early"), job.fate("joined"), job.dead) == (1, 1, [])


def test_evidence_of_an_unknown_upload_is_a_dead_letter_in_the_end() -> None:
    job = Job()
    job.evidence()
    job.later(29)
    assert job.dead == []
    job.later(2)
    (letter,) = job.dead
    assert (letter.error_kind, letter.field, letter.topic) == (
        "unmatched",
        "$.content_id",
        TOPICS.evidence,
    )
    assert job.fate("unmatched") == 1
    assert job.cases.stored == {}


def test_evidence_that_comes_twice_counts_once() -> None:
    job = Job()
    job.upload()
    job.evidence()
    job.evidence()
    job.tick()
    job.evidence()
    job.tick()
    assert job.decided == [INTERIM, FINAL]
    assert job.fate("duplicate") == 2


def test_a_deadline_decides_without_evidence_and_late_evidence_corrects() -> None:
    job = Job()
    job.upload()
    job.tick()
    job.later(59)
    assert job.decided == [INTERIM]
    job.later(2)
    assert job.decided == [INTERIM, ("c1", 1, "overdue")]
    job.later(600)
    job.evidence()
    job.tick()
    assert job.decided == [INTERIM, ("c1", 1, "overdue"), ("c1", 2, ID)]
    assert (job.fate("late"), job.metrics.value("cases", event="overdue")) == (1, 1)


def test_urgent_uploads_wait_for_a_shorter_time() -> None:
    job = Job()
    job.upload("c1", priority=9)
    job.upload("c2")
    job.tick()
    job.later(11)
    assert [d for d in job.decided if d[1]] == [("c1", 1, "overdue")]
    job.later(60)
    assert [d for d in job.decided if d[1]] == [("c1", 1, "overdue"), ("c2", 1, "overdue")]


def test_what_could_not_be_fetched_can_be_looked_at_again() -> None:
    job = Job()
    job.upload()
    job.evidence(seen=False)
    job.tick()
    job.evidence(about="again")
    job.tick()
    job.evidence(about="once more")
    job.tick()
    assert job.decided == [INTERIM, FINAL, ("c1", 2, "again")]
    assert job.fate("settled") == 1


def test_what_was_seen_needs_no_upload_any_more() -> None:
    job = Job()
    job.upload(text="x" * 5000)
    job.tick()
    (value,) = job.cases.stored.values()
    assert len(value) > 5000
    job.evidence()
    job.tick()
    (value,) = job.cases.stored.values()
    assert len(value) < 100


def test_an_upload_that_comes_again_is_held_again_and_nothing_more() -> None:
    job = Job()
    for _ in range(2):
        job.upload()
        job.tick()
        job.evidence()
        job.tick()
    assert job.decided == [INTERIM, FINAL, INTERIM]
    job.later(3600)
    assert len(job.decided) == 3


def test_an_edit_is_a_case_of_its_own() -> None:
    job = Job()
    job.upload()
    job.upload(revision=1)
    job.evidence()
    job.tick()
    assert len(job.cases.stored) == 2
    job.later(61)
    revisions = [
        (d.upload_revision, d.reason)
        for record in job.out
        if (d := msgspec.json.decode(record.value, type=Decision)).revision == 1
    ]
    assert revisions == [(0, ID), (1, "overdue")]


def test_evidence_for_another_user_or_of_no_kind_is_refused() -> None:
    job = Job()
    job.evidence(user_id="u2")
    job.take(b"{}", TOPICS.evidence)
    job.take(b"\xff", TOPICS.evidence)
    assert [(d.error_kind, d.topic) for d in job.dead] == [
        ("key_mismatch", TOPICS.evidence),
        ("invalid_field", TOPICS.evidence),
        ("not_json", TOPICS.evidence),
    ]


def test_a_text_opens_no_case() -> None:
    job = Job()
    job.take(payload("c1"), TOPICS.content_text)
    job.tick()
    assert job.cases.stored == {}
    assert job.cases.timers == []


def test_at_the_end_of_the_input_nothing_is_left_waiting() -> None:
    job = Job()
    job.upload("c1")
    job.evidence("c9")
    job.tick()
    job.end()
    assert job.decided == [INTERIM, ("c1", 1, "overdue")]
    assert len(job.dead) == 1


def test_after_an_outage_evidence_is_read_before_deadlines_count() -> None:
    job = Job()
    job.upload()
    job.tick()
    job.now += 3_600_000
    job.start()
    job.end(everything=False)  # the timers that were due fire at once
    assert job.decided == [INTERIM]
    job.evidence()
    job.tick()
    job.later(3600)
    assert job.decided == [INTERIM, FINAL]


def test_a_value_that_cannot_be_read_is_as_if_it_were_not_there() -> None:
    job = Job()
    job.upload()
    job.tick()
    for key in job.cases.stored:
        job.cases.stored[key] = b"\x09broken"
    job.evidence()
    job.tick()
    job.later(3600)
    assert job.decided == [INTERIM]
    assert job.fate("unmatched") == 1


@pytest.mark.parametrize("interval", [2, 5, 7, 20, 50])
def test_ticks_are_not_taken_for_deadlines(interval: int) -> None:
    ticks = [n * interval for n in range(10_000)]
    found = [tick for tick in ticks if may_be_deadline(tick)]
    # Of an interval that does not divide the grid some are: then it is looked for nothing.
    assert len(found) <= len(ticks) / WAKE_MS + 1
    job = Job()
    job.upload()
    assert all(may_be_deadline(at) for at in job.cases.timers)


def test_the_map_is_small() -> None:
    assert len(msgspec.msgpack.encode(Case(joined=[(ID, 1)]))) < 60


_STEPS = st.lists(
    st.sampled_from(["upload", "evidence", "again", "tick", "later", "kill"]), max_size=14
)


@given(steps=_STEPS)
def test_whatever_comes_when_the_answers_are_the_same(steps: Sequence[str]) -> None:
    """Of all orders: one interim, one final decision, and late ones only after the deadline."""
    job = Job()
    for step in [*steps, "tick"]:
        if step == "upload":
            job.upload()
        elif step == "evidence":
            job.evidence()
        elif step == "again":
            job.evidence(about="again", seen=False)
        elif step == "tick":
            job.tick()
        elif step == "later":
            job.tick()
            job.later(20)
        else:
            job.start()
    decided = job.decided
    # Interim first; revisions count up without a gap, each once but for what came again.
    distinct = list(dict.fromkeys(decided))
    assert [revision for _, revision, _ in distinct] == list(range(len(distinct)))
    if "upload" in steps:
        assert decided[0] == INTERIM
    else:
        assert decided == []
    assert sum(reason == ID for _, _, reason in distinct) <= 1
    letters = [letter for letter in job.dead if letter.error_kind != "unmatched"]
    assert letters == []
