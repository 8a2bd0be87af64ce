"""The breaker by a fake clock; the lookups against a real Redis."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
import redis

from operators.breaker import Breaker
from operators.redis_store import RedisLookups
from schemas.features import ThreadContext, UserFeatures
from schemas.settings import RedisSettings
from schemas.trust import UserRow
from scripts.cli.local_stack import Stack
from udfs.contracts import Around, CachedAssessment, Mark


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_breaker_opens_after_failures_and_lets_one_call_through_later() -> None:
    clock = Clock()
    breaker = Breaker(2, 5.0, clock)
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    clock.now = 5.0
    assert breaker.allows()
    assert not breaker.allows()  # one call decides
    breaker.failed()
    clock.now = 9.9
    assert not breaker.allows()
    clock.now = 10.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert not breaker.is_open


@pytest.fixture
def slow_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        for connection in held:
            connection.close()


def test_a_server_that_does_not_answer_costs_a_time_out_and_then_nothing(slow_server: str) -> None:
    store = RedisLookups(
        RedisSettings(url=slow_server, timeout_ms=20, breaker_failures=2, breaker_open_s=60)
    )
    started = time.monotonic()
    for _ in range(50):
        assert store.fetch(["a"], ["u"], []).degraded == ("redis",)
    assert time.monotonic() - started < 1.0


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
    store = RedisLookups(RedisSettings(url=url))
    assert store.fetch([], ["u"], []).degraded == ("redis",)


def test_nothing_wanted_asks_nobody() -> None:
    store = RedisLookups(RedisSettings(url="redis://127.0.0.1:1/0"))
    assert store.fetch([], [], []).degraded == ()


def _answer(parent: str) -> Around:
    return Around(int(time.time() * 1000), None, parent, parent)


@pytest.mark.stack
def test_rows_are_read_and_queued_writes_travel_with_reads(stack: Stack) -> None:
    redis_url = stack.redis_url
    client = redis.Redis.from_url(redis_url)
    client.flushdb()  # jobs of other tests have written users' rows
    client.set("user:u1", msgspec.json.encode(UserFeatures(reputation=12.5, known=True)))
    client.set("user:u2", b"not json")
    client.set("context:p1", "0:900:0,")
    store = RedisLookups(RedisSettings(url=redis_url, timeout_ms=1000))
    assessment = CachedAssessment(scores={"spam": 0.5}, model="m:1", action="allow")
    store.remember("h1", assessment)
    first = store.fetch(["h2"], ["u1", "u2", "u3"], [_answer("p1"), _answer("p2")])
    assert first.degraded == ()
    assert first.users == {"u1": UserFeatures(reputation=12.5, known=True)}
    assert first.contexts == [ThreadContext(parent_toxicity=0.9), ThreadContext()]
    again = store.fetch(["h1"], [], [])
    assert again.assessments == {"h1": assessment}
    ttl = client.ttl("hash:h1")
    assert isinstance(ttl, int)
    assert 29 * 86_400 < ttl <= 30 * 86_400


@pytest.mark.stack
def test_what_an_outage_has_piled_up_is_written_in_pieces(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.redis_url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
    away = RedisSettings(url=nobody, breaker_failures=1, breaker_open_s=1e-6)
    store = RedisLookups(away)
    assessment = CachedAssessment(scores={"spam": 0.5}, model="m:1", action="allow")
    users = [f"piled-{number}" for number in range(1_500)]
    for number, user in enumerate(users):
        store.remember_user(user, UserRow(reputation=number / 100, at_ms=number))
        store.remember(user, assessment)
        store.note([Mark(user, 0, int(time.time() * 1000), "", "piled", 900)])
        if number % 300 == 0:
            store.flush()
            assert store.fetch([], ["u"], []).degraded == ("redis",)
    store._client.connection_pool = client.connection_pool

    def written(kind: str) -> list[int]:
        return [int(str(client.exists(f"{kind}:{user}"))) for user in users]

    before = 0
    while before < len(users):
        assert store.fetch([], ["u"], []).degraded == ()
        told = written("user")
        assert told == sorted(told, reverse=True), "the oldest first"
        assert told == written("hash") == written("context")
        assert before < sum(told) <= before + 1_100, "and not all at once"
        before = sum(told)


@pytest.mark.stack
def test_writes_are_not_waited_for_and_come_before_the_next_question(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.redis_url)
    store = RedisLookups(RedisSettings(url=stack.redis_url, timeout_ms=1000))
    assert store.fetch([], ["u"], []).degraded == ()
    # Asleep, the server would be waited for: this takes no longer than to hand the write over.
    client.client_pause(400)
    started = time.monotonic()
    store.remember_user("unhurried", UserRow(reputation=12.5))
    store.flush()
    assert time.monotonic() - started < 0.3
    assert store.fetch([], ["unhurried"], []).users["unhurried"].reputation == 12.5
    assert time.monotonic() - started > 0.3


@pytest.mark.stack
def test_a_connection_that_was_lost_costs_no_answer_and_no_write(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.redis_url)
    store = RedisLookups(RedisSettings(url=stack.redis_url, timeout_ms=1000))
    for number in range(3):
        assert store.fetch([], ["u"], []).degraded == ()
        client.client_kill_filter(_type="normal", skipme=True)
        store.remember_user(f"lost-{number}", UserRow(reputation=1.0))
        store.flush()
        if number == 1:
            client.script_flush()
        assert store.fetch([], ["u"], []).degraded == ()
    # The next look-up carries what the connection took along.
    assert store.fetch([], ["u"], []).degraded == ()
    assert client.exists("user:lost-0", "user:lost-1", "user:lost-2") == 3
