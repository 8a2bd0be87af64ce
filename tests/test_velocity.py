"""The rings against a naive model that keeps every event."""

from __future__ import annotations

import math
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.velocity import (
    BUCKET_S,
    BUCKETS,
    COMMUNITY_BITS,
    TEXT_BITS,
    Event,
    VelocityConfig,
    VelocityRing,
    fingerprint,
)
from schemas.features import WINDOWS_S, Velocity, Window

CONFIG = VelocityConfig()
START = 1_767_225_600  # 2026-01-01


def event(
    content: str, second: int, text: str = "t", community: str = "c", broker_s: int | None = None
) -> Event:
    broker = second if broker_s is None else broker_s
    return Event(content, second * 1000, broker * 1000, fingerprint(text), community)


def linear_count(bits: int, values: set[int]) -> int:
    ones = len({value % bits for value in values})
    if ones == bits:
        return round(bits * math.log(bits))
    return round(-bits * math.log((bits - ones) / bits))


def naive(history: list[Event], now: Event) -> tuple[Window, ...]:
    """Windows that end at `now`, from the full history (`now` included)."""
    newest = max(e.created_ms // 1000 for e in history)
    second = now.created_ms // 1000
    windows = []
    for width, bucket, buckets in zip(WINDOWS_S, BUCKET_S, BUCKETS, strict=True):
        last = second // bucket
        inside = [
            e
            for e in history
            if last - buckets < e.created_ms // 1000 // bucket <= last
            and newest // bucket - e.created_ms // 1000 // bucket < buckets
        ]
        seen = [*inside, now]
        count = max(len(inside), 1)
        span = last - min((e.created_ms // 1000 // bucket for e in inside), default=last)
        windows.append(
            Window(
                count,
                min(linear_count(TEXT_BITS, {e.text_hash for e in seen}), count),
                min(
                    linear_count(COMMUNITY_BITS, {zlib.crc32(e.community.encode()) for e in seen}),
                    count,
                ),
                span * bucket / (count - 1) if count > 1 else float(width),
            )
        )
    return tuple(windows)


offsets = st.one_of(st.integers(0, 30), st.integers(0, 4000), st.integers(0, 200_000))
histories = st.lists(
    st.tuples(offsets, st.integers(0, 40), st.integers(0, 10)), min_size=1, max_size=60
)


@given(histories)
def test_equals_the_naive_model_in_any_order_of_arrival(
    history: list[tuple[int, int, int]],
) -> None:
    events = [
        event(f"c{i}", START + s, f"t{t}", f"k{c}", START + 200_000)
        for i, (s, t, c) in enumerate(history)
    ]
    ring = VelocityRing(None, CONFIG)
    for i, e in enumerate(events):
        assert ring.observe(e).windows == naive(events[: i + 1], e)


@given(histories, st.randoms(use_true_random=False))
def test_what_remains_does_not_depend_on_order(
    history: list[tuple[int, int, int]], rng: random.Random
) -> None:
    events = [
        event(f"c{i}", START + s, f"t{t}", f"k{c}", START + 200_000)
        for i, (s, t, c) in enumerate(history)
    ]
    shuffled = events.copy()
    rng.shuffle(shuffled)
    # Remembered ids are kept in order of arrival; the rings are what is compared.
    forgetful = VelocityConfig(remembered_uploads=1, remembered_for_s=0)
    values = []
    for order in (events, shuffled):
        ring = VelocityRing(None, forgetful)
        for e in order:
            ring.observe(e)
        values.append(ring.encode()[:-32])
    assert values[0] == values[1]


@given(histories)
def test_encoding_between_any_two_uploads_changes_nothing(
    history: list[tuple[int, int, int]],
) -> None:
    whole = VelocityRing(None, CONFIG)
    value: bytes | None = None
    for i, (s, t, c) in enumerate(history):
        e = event(f"c{i}", START + s, f"t{t}", f"k{c}", START + 200_000)
        again = VelocityRing(value, CONFIG)
        assert again.observe(e) == whole.observe(e)
        value = again.encode()
        assert value == whole.encode()


@given(histories, st.data())
def test_a_redelivery_does_not_count_and_gets_the_first_answer(
    history: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    ring = VelocityRing(None, CONFIG)
    events, answers = [], []
    for i, (s, t, c) in enumerate(history):
        e = event(f"c{i}", START + s, f"t{t}", f"k{c}", START + 200_000)
        events.append(e)
        answers.append(ring.observe(e))
    before = ring.encode()
    which = data.draw(st.integers(0, len(events) - 1))
    again = ring.observe(events[which])
    assert again == Velocity(answers[which].windows, duplicate=True)
    assert ring.encode() == before


def test_a_future_timestamp_counts_at_the_broker_time() -> None:
    ring = VelocityRing(None, CONFIG)
    ring.observe(event("a", START))
    ring.observe(event("b", START + 90_000, broker_s=START + 1))  # a day ahead: wrong clock
    assert ring.observe(event("c", START + 2)).windows[0].count == 3


def test_a_small_clock_skew_is_believed() -> None:
    ring = VelocityRing(None, CONFIG)
    ring.observe(event("a", START + 30, broker_s=START))
    assert ring.observe(event("b", START + 31, broker_s=START + 1)).windows[0].count == 2


def test_a_late_upload_sees_its_own_window_and_not_the_newest() -> None:
    ring = VelocityRing(None, CONFIG)
    for i in range(5):
        ring.observe(event(f"n{i}", START + 7200 + i, broker_s=START + 7300))
    late = ring.observe(event("late", START, broker_s=START + 7300))
    assert [w.count for w in late.windows] == [1, 1, 1, 1]
    newest = ring.observe(event("new", START + 7205, broker_s=START + 7300))
    assert [w.count for w in newest.windows] == [6, 6, 6, 7]


def test_size_is_bounded_for_the_busiest_user() -> None:
    ring = VelocityRing(None, VelocityConfig(remembered_uploads=16))
    rng = random.Random(1)  # noqa: S311 - not for secrets
    second = START
    for i in range(20_000):
        second += rng.randint(0, 9)
        ring.observe(event(f"c{i}", second, str(i), str(i)))
    assert len(ring.encode()) <= 7 + 46 * 9 + 16 * 32


def test_a_quiet_user_takes_a_hundred_bytes() -> None:
    ring = VelocityRing(None, CONFIG)
    ring.observe(event("a", START))
    assert len(ring.encode()) <= 100


def test_another_version_is_refused() -> None:
    value = bytes([99]) + VelocityRing(None, CONFIG).encode()[1:]
    with pytest.raises(ValueError, match="version 99"):
        VelocityRing(value, CONFIG)


@settings(max_examples=20)
@given(st.integers(1, 100))
def test_only_so_many_ids_are_remembered(remembered: int) -> None:
    ring = VelocityRing(None, VelocityConfig(remembered_uploads=remembered))
    for i in range(remembered + 1):
        ring.observe(event(f"c{i}", START))
    assert not ring.observe(event("c0", START)).duplicate
    assert ring.observe(event(f"c{remembered}", START)).duplicate is (remembered > 1)
