"""The feedback job and erased users: nothing of what they wrote stays or comes out."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import ControlAck
from schemas.user_events import UserErased
from tests.feedback_kit import (
    DAY_0,
    HOUR,
    NOW_MS,
    TOPICS,
    Bench,
    appeal,
    audit,
    decision,
    erasure,
    report,
    touch,
    verdict,
)

TEXT = "what nobody shall read"
FIRST_MS = DAY_0.timestamp() * 1000


def erase(bench: Bench, user: str = "author", until_ms: float = NOW_MS) -> None:
    ack = bench.erase(user, until_ms)
    assert (ack.job, ack.ok, ack.subtask, ack.subtasks) == ("feedback", True, 0, 2)


def held(bench: Bench, content: str = "c1") -> bytes:
    return bench.states[content].stored or b""


def test_a_users_content_is_forgotten_at_the_next_touch() -> None:
    bench = Bench()
    bench.send(decision(), audit(text=TEXT), verdict())
    bench.send(
        decision("c2", user_id="somebody"),
        audit("c2", text="hello", user_id="somebody"),
        verdict("v2", content_id="c2"),
    )
    assert TEXT.encode() in held(bench)
    erase(bench)
    bench.wait(60)
    # The verdict's own timer is the touch.
    assert held(bench) == b""
    assert [row.content_id for row in bench.rows()] == ["c2"]
    assert bench.letters() == []


def test_what_is_said_later_about_it_finds_nothing() -> None:
    bench = Bench()
    bench.send(decision(), audit(text=TEXT), verdict())
    bench.wait(60)
    erase(bench)
    bench.send(verdict("v2", 2 * HOUR))
    assert TEXT.encode() not in held(bench)
    assert b"author" not in held(bench)
    # What was joined before is told again by a duplicate, and by nothing else.
    bench.send(verdict())
    bench.wait(80 * HOUR)
    assert len(bench.rows()) == 1
    assert [letter.error_kind for letter in bench.letters()] == ["unmatched"]


def test_topics_that_are_read_again_bring_nothing_back() -> None:
    bench = Bench()
    erase(bench, until_ms=FIRST_MS + 10_000)
    bench.send(audit(text=TEXT), decision(), audit(text=TEXT))
    # The kit's audit records are of uploads that the broker took now, after the erasure.
    assert TEXT.encode() in held(bench)
    erase(bench, until_ms=NOW_MS)
    bench.send(decision("c2"), audit("c2", text=TEXT))
    assert held(bench, "c2") == b""
    # The audit came before anybody was erased, and its decision never does.
    bench.send(audit("c4", text=TEXT, user_id="late"))
    erase(bench, "late")
    bench.send(verdict(content_id="c4"))
    assert TEXT.encode() not in held(bench, "c4")
    bench.restart()
    bench.send(decision("c3"), audit("c3", text=TEXT))
    assert TEXT.encode() in held(bench, "c3")  # nobody told the new process


def test_an_upload_in_flight_goes_and_a_later_one_stays() -> None:
    bench = Bench()
    until = FIRST_MS + 1_000
    erase(bench, until_ms=until)
    # Decided after the erasure, taken by the broker before it.
    bench.send(decision("c1", 1.5, latency_ms=600.0))
    bench.send(decision("c2", 1.5, latency_ms=400.0), verdict("v2", content_id="c2"))
    bench.wait(60)
    assert held(bench) == b""
    assert [row.content_id for row in bench.rows()] == ["c2"]


def test_an_edit_after_the_erasure_is_kept_alone() -> None:
    bench = Bench()
    bench.send(decision(seconds=0), audit(text=TEXT))
    bench.send(decision(seconds=7200, upload_revision=1))
    erase(bench, until_ms=FIRST_MS + 3_600_000)
    bench.send(verdict(seconds=8000))
    bench.wait(60)
    assert TEXT.encode() not in held(bench)
    (row,) = bench.rows()
    assert row.delay_s == pytest.approx(800.0)
    assert row.text is None


def test_words_of_an_erased_user_go_and_those_of_others_stay() -> None:
    bench = Bench()
    bench.send(decision(), report(1, note="in my words"), report(2), verdict())
    erase(bench, "reporter1")
    bench.wait(60)
    assert b"in my words" not in held(bench)
    assert {row.rater for row in bench.rows()} == {"reporter2", "anna"}
    # Nor is any new one of before taken in; nor an appeal by the author.
    erase(bench, "another")
    bench.send(report(3, reporter_id="another"), appeal(user_id="another"))
    bench.wait(60)
    assert len(bench.rows()) == 2


def test_a_record_that_names_the_content_drops_what_is_held_of_it_at_once() -> None:
    bench = Bench()
    for content in ("c1", "c2"):
        bench.send(decision(content), audit(content, text=TEXT), verdict(content_id=content))
    # Before the control message came, and twice.
    assert bench.send(touch("c1", "author", NOW_MS), touch("c1", "author", NOW_MS)) == []
    assert held(bench) == b""
    # Of what others wrote, of what came later, and of the user as such, it takes nothing.
    bench.send(touch("c2", "somebody", NOW_MS), touch("c2", "author", FIRST_MS - 1_000))
    event = msgspec.json.encode(UserErased(user_id="author", until=DAY_0))
    bench.send((TOPICS.user_events, event), (TOPICS.user_events, b"{"), key="user-events-0-7")
    assert TEXT.encode() in held(bench, "c2")
    bench.wait(60)
    assert [row.content_id for row in bench.rows()] == ["c2"]
    assert bench.letters() == []


def test_a_record_about_a_reported_content_drops_what_the_reporter_said() -> None:
    bench = Bench()
    bench.send(decision(), report(1, note="in my words"), report(2))
    bench.send(touch("c1", "reporter1", NOW_MS))
    assert b"in my words" not in held(bench)
    bench.wait(60)
    assert [row.rater for row in bench.rows()] == ["reporter2"]


def test_an_erasure_that_is_taken_back_hides_nothing() -> None:
    bench = Bench()
    erased = bench.logic.erased
    assert not erased
    erase(bench)
    assert erased.hides("author", NOW_MS)
    assert not erased.hides("author", NOW_MS + 1)
    assert not erased.hides("somebody", NOW_MS)
    (answer,) = bench.control.on_message(erasure("author", NOW_MS)[0], None)
    assert answer.keep
    assert not erased.hides("author", NOW_MS)


def test_what_state_held_is_in_force_after_a_restart() -> None:
    bench = Bench()
    kept = [erasure("author", NOW_MS)]
    bench.restart()
    (ack,) = bench.control.restore(kept)
    assert msgspec.json.decode(ack.value, type=ControlAck).restored
    assert bench.logic.erased.hides("author", NOW_MS)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (None, {"kind": "rules"}),
        ("rules", {"kind": "rules", "name": ""}),
        (None, {"text": "until: yesterday"}),
        (None, {"text": "since: 2026-01-01T00:00:00Z"}),
    ],
)
def test_other_messages_and_wrong_ones_are_refused(key: str | None, change: dict[str, str]) -> None:
    bench = Bench()
    own, value = erasure("author", NOW_MS)
    wrong = json.dumps({**json.loads(value), **change}).encode()
    for message in (wrong, b"{"):
        (answer,) = bench.control.on_message(key or own, message)
        assert not answer.keep
        assert msgspec.json.decode(answer.ack.value, type=ControlAck).error
    assert not bench.logic.erased


RECORDS = [
    decision(),
    audit(text=TEXT),
    decision(revision=1, seconds=60),
    audit(revision=1, text=TEXT),
    verdict(),
    report(1),
    appeal(),
]


@given(st.permutations(RECORDS), st.integers(0, len(RECORDS)), st.booleans())
def test_whatever_the_order_nothing_stays(
    records: list[tuple[str, bytes]], when: int, waited: bool
) -> None:
    bench = Bench()
    bench.send(*records[:when])
    if waited:
        bench.wait(60)
    before = len(bench.rows())
    erase(bench)
    bench.send(*records[when:], report(2, user_id="x"))
    assert TEXT.encode() not in held(bench)
    assert b"author" not in held(bench)
    bench.wait(60)
    assert len(bench.rows()) == before
    assert TEXT.encode() not in held(bench)
