"""What is known about a thread, a parent and a community, against a real Redis."""

from __future__ import annotations

from functools import partial

import pytest

from operators.context_rows import ContextRows
from operators.context_script import CALM, HOT, REVISIONS, SLOT_MS
from operators.redis_store import RedisLookups
from schemas.features import ThreadContext
from schemas.settings import ContextSettings, RedisSettings
from scripts.cli.local_stack import Stack
from scripts.cli.processes import wait_until
from tests.context_kit import SETTINGS, Surroundings
from udfs.contracts import Around, Mark

pytestmark = pytest.mark.stack
MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture
def around(stack: Stack) -> Surroundings:
    return Surroundings(stack.redis_url)


def test_heat_is_the_hostile_posts_of_the_window_halved_every_half_life(
    around: Surroundings,
) -> None:
    start = around.now_ms
    # Toxicity and age in seconds when it is read; calm posts count as posts alone.
    posts = [(0.9, 599), (1.0, 240), (0.5, 120), (0.49, 60), (0.02, 30), (0.8, 2)]
    for number, (toxicity, age) in enumerate([(1.0, 605), *posts]):
        around.now_ms = start + (1000 - age) * 1000
        around.write(around.mark(number, toxicity))
    around.now_ms = start + 1000 * 1000 + SETTINGS.settle_ms
    as_of_s = (around.now_ms - SETTINGS.settle_ms) // 1000  # full seconds
    ages = [as_of_s * 1000 - (start + (1000 - age) * 1000) for _, age in posts]
    heat = sum(
        toxicity * 2 ** (-age / (SETTINGS.half_life_s * 1000))
        for (toxicity, _), age in zip(posts, ages, strict=True)
        if toxicity >= SETTINGS.hostile_from
    )
    found = around.read()
    assert found.thread_heat == pytest.approx(heat, abs=1e-4)
    assert found.thread_posts == len(posts)


def test_an_upload_is_told_what_was_known_before_it_and_always_the_same(
    around: Surroundings,
) -> None:
    arrival = around.now_ms
    around.write(around.mark("first", 0.9))
    around.now_ms += 1
    early = around.read(arrival + 1000, parent="first")
    assert early == ThreadContext()
    around.now_ms = arrival + 4000
    before = around.read(parent="first")
    assert (before.parent_toxicity, before.thread_posts) == (0.9, 1)
    at_ms = around.now_ms
    # It is decided itself, others follow, and much later it is delivered again.
    around.write(*(around.mark(number, 0.95) for number in range(5)))
    around.now_ms += 5 * MINUTE
    around.write(*(around.mark(number + 10, 0.95) for number in range(5)))
    assert around.read(at_ms, parent="first") == before
    assert around.read(arrival + 1000, parent="first") == early
    assert around.read().thread_posts == 1 + 5
    around.now_ms += SETTINGS.settle_ms + 1000
    assert around.read().thread_posts == 11
    # A window and a half later: what a replay that comes so late is still told.
    around.now_ms = at_ms + (SETTINGS.replay_s - 60) * 1000
    around.write(around.mark("later"))
    assert around.read(at_ms, parent="first") == before


def test_marks_count_from_when_they_were_written(around: Surroundings) -> None:
    """A job that is behind tells nobody what was not known yet when they wrote."""
    old = around.mark("slow", 0.9)
    around.now_ms += 30_000
    between = around.read(around.now_ms - 10_000, parent="slow")
    around.write(old)
    assert around.read(around.now_ms - 10_000, parent="slow") == between == ThreadContext()
    assert around.read(around.now_ms + 5_000, parent="slow").thread_posts == 1
    # So late that its thread has moved on: only answers to it still want to know.
    late = around.mark("late", 0.9)
    around.now_ms += (SETTINGS.late_s + 1) * 1000
    around.write(late)
    found = around.read(around.now_ms + 5_000, parent="late")
    assert (found.thread_posts, found.parent_toxicity) == (1, 0.9)


def test_what_is_delivered_twice_changes_nothing(around: Surroundings) -> None:
    marks = [
        *(around.mark(number, number / 20) for number in range(0, 20, 4)),
        around.mark("edited", 0.1, thread=False),
        around.mark("edited", 0.8, revision=1, thread=False),
    ]
    around.write(*marks)
    kept = around.dump()
    assert len(kept) == 6  # thread, sample, three rude posts and the edited one
    around.now_ms += 20_000
    around.write(*marks, *marks)
    assert around.dump() == kept


def test_a_content_that_comes_again_is_not_told_of_itself(around: Surroundings) -> None:
    around.write(around.mark("loud", 1.0), around.mark("other", 0.6))
    around.now_ms += 5_000
    alone = around.read(own="loud")
    assert (alone.thread_posts, around.read().thread_posts) == (1, 2)
    assert alone.thread_heat < 0.6 < around.read().thread_heat


def test_a_thread_is_bounded_and_harmless_posts_leave_room_for_hostile_ones(
    around: Surroundings,
) -> None:
    process = around.process()
    slots = 3
    around.now_ms -= around.now_ms % SLOT_MS
    for second in range(slots * SLOT_MS // 1000):
        around.write(*(around.mark(f"{second}.{n}") for n in range(100)), process=process)
        around.now_ms += 1000
    assert around.marks_kept() == slots * CALM
    around.now_ms -= 1000
    around.write(*(around.mark(f"bad {n}", 0.9) for n in range(100)), process=process)
    assert around.marks_kept() == (slots - 1) * CALM + HOT
    # What nobody can ask for any more goes, and then all of it.
    around.now_ms += (SETTINGS.window_s + SETTINGS.replay_s + 60) * 1000
    around.write(around.mark("fresh"), process=process)
    assert around.marks_kept() == 1


def test_every_key_expires(around: Surroundings) -> None:
    around.write(*(around.mark(number, number / 100) for number in range(100)))
    around.now_ms += 2 * HOUR
    around.read()
    around.write(*(around.mark(number + 200, number / 100) for number in range(100)))
    keys = list(around.dump())
    assert {key.split(b":")[0] for key in keys} == {b"thread", b"context", b"sample", b"baseline"}
    longest_s = SETTINGS.baseline_bucket_s * (SETTINGS.baseline_buckets + 2)
    for key in keys:
        ttl = around.client.ttl(key)
        assert isinstance(ttl, int)
        assert 0 < ttl <= longest_s, key


def test_a_baseline_is_the_hostile_share_of_closed_buckets(around: Surroundings) -> None:
    start = around.now_ms
    process = around.process()
    around.write(
        *(around.mark(n, 0.9 if n < 12 else 0.1, thread=False) for n in range(60)), process=process
    )
    around.now_ms = start + HOUR
    around.write(*(around.mark(n, 0.9, thread=False) for n in range(100, 120)), process=process)
    # The first bucket closes for good when nothing late can come any more.
    closed = start - start % HOUR + HOUR + SETTINGS.late_s * 1000 + SETTINGS.settle_ms
    assert around.read(closed - 1) == ThreadContext()
    around.now_ms = closed + 1
    first = around.read(closed + 1)
    assert (first.community_baseline, first.community_uploads) == (0.2, 60)
    around.now_ms = start + 2 * HOUR + 2 * MINUTE
    second = around.read()
    assert (second.community_baseline, second.community_uploads) == (0.4, 80)
    # Later, elsewhere, and whatever has come since.
    around.write(*(around.mark(n, 0.9, thread=False) for n in range(200, 300)))
    around.now_ms += HOUR
    assert around.read(closed + 1) == first
    kept = around.dump()
    assert f"baseline:{around.community}".encode() in kept
    # Two days later all that is forgotten.
    around.now_ms += 48 * HOUR
    assert around.read() == ThreadContext()


def test_a_reader_whose_clock_is_ahead_closes_no_bucket(around: Surroundings) -> None:
    around.now_ms += HOUR - around.now_ms % HOUR - 1000
    around.write(*(around.mark(n, 0.9, thread=False) for n in range(60)))
    around.now_ms += 2000
    assert around.read(around.now_ms + 2 * MINUTE) == ThreadContext()
    around.write(around.mark("late", 0.9, at_ms=around.now_ms - 2000, thread=False))
    around.now_ms += 2 * MINUTE
    assert around.read().community_uploads == 61


def test_a_community_with_few_uploads_has_no_baseline(around: Surroundings) -> None:
    few = SETTINGS.baseline_min_uploads - 1
    around.write(*(around.mark(n, 0.9, thread=False) for n in range(few)))
    around.now_ms += HOUR + 2 * MINUTE
    found = around.read()
    assert (found.community_baseline, found.community_uploads) == (None, few)


def test_a_large_community_is_estimated_from_a_bounded_sample(around: Surroundings) -> None:
    process = around.process()
    start = around.now_ms
    for hour in range(6):
        around.now_ms = start + hour * HOUR
        around.write(
            *(around.mark(f"{hour} {n}", float(n % 10 == 0), thread=False) for n in range(1500)),
            process=process,
        )
        sample = f"sample:{around.community}:{around.now_ms // HOUR}"
        assert around.client.zcard(sample) == SETTINGS.baseline_sample
    around.now_ms = start + 6 * HOUR + 2 * MINUTE
    found = around.read()
    assert found.community_baseline is not None
    assert found.community_baseline == pytest.approx(0.1, abs=0.05)
    assert found.community_uploads == pytest.approx(9000, rel=0.2)
    samples = [key for key in around.dump() if key.startswith(b"sample:")]
    assert samples == []  # a closed bucket is one field


def test_a_parent_is_told_as_it_was_and_edits_count_from_when_they_came(
    around: Surroundings,
) -> None:
    start = around.now_ms
    around.write(around.mark("calm", SETTINGS.parent_floor - 0.01), around.mark("rude", 0.7))
    around.now_ms += 10_000
    around.write(
        around.mark("rude", 0.05, revision=2),
        # An older edit that comes late, and one that is delivered again.
        around.mark("rude", 0.9, revision=1),
        around.mark("rude", 0.7),
        around.mark("calm", 0.9, revision=1),
    )
    at = {s: around.read(start + s * 1000, parent="rude").parent_toxicity for s in (1, 9, 15)}
    assert at == {1: None, 9: 0.7, 15: 0.05}
    calm = [around.read(start + s * 1000, parent="calm").parent_toxicity for s in (9, 15)]
    assert calm == [None, 0.9]
    around.write(*(around.mark("rude", 0.5, revision=n) for n in range(3, 50)))
    row = around.client.get(f"context:{around.name('rude')}")
    assert isinstance(row, bytes)
    assert row.count(b",") == REVISIONS
    around.now_ms += 5_000
    assert around.read(parent="rude").parent_toxicity == 0.5


def test_keys_that_are_not_ours_count_as_empty(around: Surroundings) -> None:
    client = around.client
    bucket = around.now_ms // HOUR
    for key in (f"thread:{around.thread}", f"sample:{around.community}:{bucket}"):
        client.set(key, "somebody's")
    client.set(f"baseline:{around.community}", "somebody's")
    client.rpush(f"context:{around.name('list')}", "somebody's")
    client.set(f"context:{around.name('text')}", "somebody's")
    around.write(*(around.mark(content, 0.9) for content in ("list", "text", "sound")))
    around.now_ms += 2 * HOUR
    for parent, toxicity in (("list", None), ("text", None), ("sound", 0.9)):
        assert around.read(parent=parent) == ThreadContext(parent_toxicity=toxicity)
    assert client.get(f"thread:{around.thread}") == b"somebody's"


def test_answers_are_asked_for_once(around: Surroundings) -> None:
    process = around.process()
    around.write(around.mark(1, 0.9), process=process)
    around.now_ms += 5_000
    second = around.now_ms - around.now_ms % 1000
    first = around.read(second, process=process)
    around.client.delete(f"thread:{around.thread}")
    assert around.read(second + 999, process=process) == first
    assert around.read(second + 1000, process=process) == ThreadContext()


def test_what_a_process_remembers_is_bounded() -> None:
    rows = ContextRows(ContextSettings(local_entries=10))
    for n in range(100):
        asked = rows.ask([Around(10**12 + n, f"c{n}", f"t{n}", None)])
        assert len(asked.questions) == 2
        rows.answered(asked, [], [b"100 7.000", b"1.5000 2"])
    assert len(rows._communities) == len(rows._threads) == 10
    rows.note(Mark(f"c{n}", 0, 10**12, "c", "t", 5) for n in range(20_000))
    taken = rows.take(10)
    assert [mark.content_id for mark in taken] == [f"c{n}" for n in range(15_000, 15_010)]
    rows.put_back(taken)
    assert rows.take(6_000)[:10] == taken
    rows.note(Mark(f"d{n}", 0, 10**12, "c", "t", 5) for n in range(4_995))
    rows.put_back(taken)
    assert [mark.content_id for mark in rows.take(6)] == [*(m.content_id for m in taken[5:]), "d0"]


def test_of_places_that_are_no_thread_only_what_matters_is_written() -> None:
    rows = ContextRows(SETTINGS)
    calm = Mark("calm", 0, 10**12, "", "", 299)
    rows.note([calm])
    assert not rows.waits
    loud = Mark("loud", 0, 10**12, "", "", 300)
    edit = Mark("calm", 1, 10**12, "", "", 0)
    rows.note([calm, loud, edit])
    assert rows.take(10) == [loud, edit]


def test_marks_do_not_wait_for_the_next_batch(around: Surroundings, stack: Stack) -> None:
    process = RedisLookups(RedisSettings(url=stack.redis_url, timeout_ms=1000))
    times = client_time(around)
    for kept in (1, 2, 3):
        process.note([Mark(around.name(kept), 0, times, "", around.thread, 10)])
        process.flush()
        assert wait_until(partial(_kept, around, kept), timeout_s=5)


def _kept(around: Surroundings, marks: int) -> bool:
    return around.marks_kept() == marks


def client_time(around: Surroundings) -> int:
    seconds, _ = around.client.time()  # type: ignore[misc]  # the client's types cover its asyncio twin
    return int(seconds) * 1000


def test_while_redis_is_away_nothing_is_told_and_marks_wait(
    around: Surroundings, stack: Stack
) -> None:
    away = RedisLookups(
        RedisSettings(url="redis://127.0.0.1:1/0", breaker_failures=1, breaker_open_s=60),
        now_ms=lambda: around.now_ms,
        monotonic=lambda: 0.0,
    )
    away.note([around.mark("waits", 0.9)])
    found = away.fetch([], ["u"], [Around(around.now_ms, "c", "t", "p")])
    assert (found.contexts, found.degraded) == ((), ("redis",))
    away._client.connection_pool = around.client.connection_pool
    assert away.fetch([], ["u"], []).degraded == ("redis",)  # the breaker is open
    away._breaker.succeeded()
    assert away.fetch([], ["u"], []).degraded == ()
    around.now_ms += 5_000
    assert around.read(parent="waits").parent_toxicity == 0.9


def test_marks_that_the_server_refuses_are_not_offered_again(around: Surroundings) -> None:
    process = around.process()
    around.client.config_set("maxmemory", 1)
    try:
        process.note([around.mark("refused", 0.9)])
        assert process.fetch([], ["u"], []).degraded == ("redis",)
    finally:
        around.client.config_set("maxmemory", 0)
    assert process.fetch([], ["u"], []).degraded == ()
    assert around.marks_kept() == 0


def test_without_context_nothing_is_kept(stack: Stack) -> None:
    off = Surroundings(stack.redis_url, ContextSettings(enabled=False))
    process = off.process()
    process.note([off.mark(1, 0.9)])
    found = process.fetch([], ["u"], [Around(off.now_ms, off.community, off.thread, None)])
    assert (found.contexts, found.degraded) == ((), ())
    assert off.dump() == {}
