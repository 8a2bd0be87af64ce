"""What tests of surroundings share: a clock, a store on a real Redis, marks and places."""

from __future__ import annotations

import itertools

import redis

from operators.redis_store import RedisLookups
from schemas.features import ThreadContext
from schemas.settings import ContextSettings, RedisSettings
from udfs.contracts import Around, Mark

START_MS = 1_767_225_600_000 + 7_000
"""In the first bucket of an hour, and off every round figure."""
SETTINGS = ContextSettings()
_numbers = itertools.count(1)


class Surroundings:
    """One Redis, a clock that the test moves, and as many processes as it wants.

    Args:
        url: of Redis.
        settings: windows and bounds.
    """

    def __init__(self, url: str, settings: ContextSettings = SETTINGS) -> None:
        self.now_ms = START_MS
        self.client = redis.Redis.from_url(url)
        self.settings = settings
        self._redis = RedisSettings(url=url, timeout_ms=5_000)
        number = next(_numbers)
        self.thread, self.community = f"thread {number}", f"community {number}"
        self._content = f"content {number} "

    def process(self) -> RedisLookups:
        """A new one, which knows nothing."""
        return RedisLookups(
            self._redis, self.settings, now_ms=lambda: self.now_ms, monotonic=lambda: 0.0
        )

    def name(self, content: int | str) -> str:
        """An id that no other test uses."""
        return f"{self._content}{content}"

    def mark(
        self,
        content: int | str,
        toxicity: float = 0.02,
        *,
        revision: int = 0,
        at_ms: int | None = None,
        community: bool = True,
        thread: bool = True,
    ) -> Mark:
        """What a content says, now unless a time is given."""
        return Mark(
            self.name(content),
            revision,
            self.now_ms if at_ms is None else at_ms,
            self.community if community else "",
            self.thread if thread else "",
            round(toxicity * 1000),
        )

    def write(self, *marks: Mark, process: RedisLookups | None = None) -> None:
        """Have marks arrive now."""
        lookups = process or self.process()
        for first in range(0, max(len(marks), 1), 500):
            lookups.note(marks[first : first + 500])
            assert lookups.fetch([], [], []).degraded == ()

    def read(
        self,
        at_ms: int | None = None,
        *,
        parent: int | str | None = None,
        own: int | str | None = None,
        process: RedisLookups | None = None,
    ) -> ThreadContext:
        """What an upload of that broker time is told, now unless a time is given."""
        place = Around(
            self.now_ms if at_ms is None else at_ms,
            self.community,
            self.thread,
            None if parent is None else self.name(parent),
            "" if own is None else self.name(own),
        )
        found = (process or self.process()).fetch([], [], [place])
        assert found.degraded == ()
        return found.contexts[0]

    def marks_kept(self) -> int:
        """Of the thread."""
        count: int = self.client.zcard(f"thread:{self.thread}")  # type: ignore[assignment]  # the client's types cover its asyncio twin
        return count

    def dump(self) -> dict[bytes, object]:
        """Everything that is kept of this test's places and contents."""
        client: redis.Redis = self.client
        found: dict[bytes, object] = {}
        names = (self.thread, self.community, self._content)
        for key in client.scan_iter(count=1000):
            if any(name.encode() in key + b" " for name in names):
                kind = client.type(key)
                if kind == b"zset":
                    found[key] = client.zrange(key, 0, -1, withscores=True)
                elif kind == b"hash":
                    found[key] = client.hgetall(key)
                else:
                    found[key] = client.get(key)
        return found
