"""Laws of the feedback logic, over generated worlds: order, duplicates, restarts, no look-ahead."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.feedback_job import FeedbackDocument
from tests.fakes import Memory
from tests.feedback_kit import HOUR, TOPICS, Bench, appeal, audit, decision, report, verdict

# Small worlds: a few contents, decisions and raters, times that often meet.

seconds = st.integers(0, 6).map(lambda n: n * HOUR)
contents = st.sampled_from(["c1", "c2"])


@st.composite
def worlds(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    records = []
    for content in ("c1", "c2"):
        for revision in range(draw(st.integers(0, 3))):
            records.append(decision(content, draw(seconds), revision))
            if draw(st.booleans()):
                records.append(audit(content, revision))
    records += [
        report(number, draw(seconds), draw(contents), reporter_id=draw(names))
        for number in range(draw(st.integers(0, 8)))
    ]
    records += [
        verdict(f"v{number}", draw(seconds), draw(contents), violates=draw(st.booleans()))
        for number in range(draw(st.integers(0, 4)))
    ]
    if draw(st.booleans()):
        records.append(appeal("a", draw(seconds), draw(contents), category="spam"))
    return records


names = st.sampled_from([f"user{i}" for i in range(6)])
LOW = FeedbackDocument.model_validate(
    {
        "version": 1,
        "reports": {
            "thresholds": [0.8, 1.6],
            "least_reporters": 2,
            "new_most": 0.5,
            "window_hours": 2,
        },
    }
)


def outcome(bench: Bench) -> tuple[set[bytes], set[bytes], set[str]]:
    """What is in the topics in the end, the order and the place apart."""
    rows = {r.value for r in bench.records if r.topic == TOPICS.feedback}
    return (
        rows,
        {letter.raw for letter in bench.letters()},
        {e.evidence_id for e in bench.evidence()},
    )


def run(records: list[tuple[str, bytes]]) -> Bench:
    bench = Bench(LOW)
    bench.send(*records)
    bench.wait(100 * HOUR)
    return bench


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_order_of_arrival_changes_nothing(data: st.DataObject) -> None:
    world = data.draw(worlds())
    other = data.draw(st.permutations(world))
    assert outcome(run(world)) == outcome(run(other))


@settings(max_examples=40, deadline=None)
@given(worlds(), st.data())
def test_what_comes_twice_counts_once(world: list[tuple[str, bytes]], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(world), max_size=6)) if world else []
    mixed = data.draw(st.permutations([*world, *again]))
    once, twice = run(world), run(mixed)
    assert outcome(once) == outcome(twice)
    assert len(once.rows()) == len(twice.rows())
    twice.send(*again)
    twice.wait(100 * HOUR)
    assert len(once.rows()) == len(twice.rows())


@settings(max_examples=40, deadline=None)
@given(worlds(), st.data())
def test_a_restart_anywhere_changes_nothing(
    world: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    """Records since the last checkpoint are read again, with the state as it was then."""
    kept = data.draw(st.integers(0, len(world)))
    lost = data.draw(st.integers(kept, len(world)))
    bench = Bench(LOW)
    bench.send(*world[:kept])
    states = {key: state.stored for key, state in bench.states.items()}
    timers = set(bench.timers)
    bench.send(*world[kept:lost])
    bench.states = {key: Memory(stored) for key, stored in states.items()}
    bench.timers = timers
    bench.restart()
    bench.send(*world[kept:])
    bench.wait(100 * HOUR)
    assert outcome(bench) == outcome(run(world))


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_no_row_knows_what_came_after_and_nothing_is_lost(world: list[tuple[str, bytes]]) -> None:
    bench = run(world)
    made: dict[str, list[str]] = {}
    for topic, raw in world:
        if topic == TOPICS.decisions:
            document = json.loads(raw)
            made.setdefault(document["content_id"], []).append(document["timestamp"])
    for row in bench.rows():
        own = sorted(made[row.content_id])
        said, decided = row.said_at.isoformat(), row.timestamp.isoformat()
        before = [time for time in own if time <= said]
        assert decided == (before[-1] if before else own[0])
    said_ids = {
        document.get("report_id") or document.get("verdict_id") or document["appeal_id"]
        for topic, raw in world
        if topic not in {TOPICS.decisions, TOPICS.audit} and (document := json.loads(raw))
    }
    letters = {
        document.get("report_id") or document.get("verdict_id") or document["appeal_id"]
        for document in (json.loads(letter.raw) for letter in bench.letters())
    }
    assert {row.event_id for row in bench.rows()} | letters == said_ids
    assert not {row.event_id for row in bench.rows()} & letters


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_a_report_never_speaks_for_a_content(world: list[tuple[str, bytes]]) -> None:
    bench = run(world)
    assert all(row.label for row in bench.rows() if row.source == "report")
    assert all(e.weight >= e.threshold and e.user_id == "author" for e in bench.evidence())
