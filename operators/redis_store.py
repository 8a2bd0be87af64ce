"""Redis behind the cascade: decision cache, user features, thread context; breaker in front.

Rows are JSON strings, read by one MGET a batch:

- `hash:{sha256}`: what was found about a content before: scores, model, and the action,
  confidence and reason that they alone give. Nothing in it depends on a user.
- `user:{user id}`: `schemas.features.UserFeatures`.
- `context:{content id}`: `schemas.features.ThreadContext` of a parent.

Writes of one batch travel with the reads of the next, as one command: a script on the server
sets the rows and reads the others. A pipeline of as many SETs would cost the client eight times
as much.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from operators.breaker import Breaker
from schemas.features import ThreadContext, UserFeatures
from schemas.settings import RedisSettings
from udfs.contracts import CachedAssessment, LookupResult

T = TypeVar("T")

DEGRADED: Final = "redis"
"""Name of this dependency in a decision's `degraded`."""
_MAX_QUEUED: Final = 5_000
"""Writes that wait at most; beyond, the oldest are dropped (it is a cache)."""


_SCRIPT: Final = """
local writes = tonumber(ARGV[1])
for i = 1, writes do
  redis.call('SET', KEYS[i], ARGV[2 + i], 'EX', ARGV[2])
end
return redis.call('MGET', unpack(KEYS, writes + 1))
"""
"""KEYS: rows to write, then rows to read. ARGV: number of writes, TTL in seconds, values."""
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RedisLookups:
    """The `Lookups` of the cascade over one Redis server.

    Args:
        settings: address, time-out, breaker, TTL.
        client: for tests; made from the settings otherwise.
        monotonic: clock of the breaker, seconds.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        client: redis.Redis | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        timeout = settings.timeout_ms / 1000
        # A retry inside the client would hold the batch for twice the time-out.
        self._client = client or redis.Redis.from_url(
            settings.url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_open_s, monotonic)
        self._ttl_s = settings.decision_ttl_days * 86_400
        self._queued: dict[str, CachedAssessment] = {}
        self._encode = msgspec.json.Encoder().encode
        self._assessments = msgspec.json.Decoder(CachedAssessment)
        self._users = msgspec.json.Decoder(UserFeatures)
        self._contexts = msgspec.json.Decoder(ThreadContext)

    def fetch(
        self, hashes: Sequence[str], users: Sequence[str], parents: Sequence[str]
    ) -> LookupResult:
        """Read a batch's rows; on an outage everything is missing and `degraded` says so."""
        keys = [
            *(f"hash:{h}" for h in hashes),
            *(f"user:{u}" for u in users),
            *(f"context:{p}" for p in parents),
        ]
        if not keys:
            return LookupResult({}, {}, {})
        if not self._breaker.allows():
            return LookupResult({}, {}, {}, (DEGRADED,))
        try:
            rows = self._round_trip(keys)
        except (redis.RedisError, OSError):
            self._breaker.failed()
            return LookupResult({}, {}, {}, (DEGRADED,))
        self._breaker.succeeded()
        first, second = len(hashes), len(hashes) + len(users)
        return LookupResult(
            _decoded(hashes, rows[:first], self._assessments),
            _decoded(users, rows[first:second], self._users),
            _decoded(parents, rows[second:], self._contexts),
        )

    def remember(self, content_hash: str, assessment: CachedAssessment) -> None:
        """Queue one assessment for the next round trip."""
        if len(self._queued) >= _MAX_QUEUED:
            self._queued.pop(next(iter(self._queued)))
        self._queued[content_hash] = assessment

    def _round_trip(self, keys: list[str]) -> list[bytes | None]:
        queued = self._queued
        rows: list[bytes | None]
        if not queued:
            # The client's types also cover its asyncio twin.
            rows = cast("list[bytes | None]", self._client.mget(keys))
            return rows
        names = [f"hash:{content_hash}" for content_hash in queued]
        values = map(self._encode, queued.values())
        arguments = (len(names) + len(keys), *names, *keys, len(names), self._ttl_s, *values)
        command: Any = self._client.execute_command  # untyped in the client
        try:
            rows = command("EVALSHA", _SHA, *arguments)
        except redis.exceptions.NoScriptError:  # a new or restarted server
            rows = command("EVAL", _SCRIPT, *arguments)
        self._queued = {}
        return rows


class NoLookups:
    """Lookups where no store is wanted: everything has its default, nothing is degraded."""

    def fetch(
        self,
        hashes: Sequence[str],  # noqa: ARG002 - the protocol gives the signature
        users: Sequence[str],  # noqa: ARG002 - likewise
        parents: Sequence[str],  # noqa: ARG002 - likewise
    ) -> LookupResult:
        """Find nothing."""
        return LookupResult({}, {}, {})

    def remember(self, content_hash: str, assessment: CachedAssessment) -> None:
        """Keep nothing."""


def _decoded(
    names: Sequence[str], rows: Sequence[bytes | None], decoder: msgspec.json.Decoder[T]
) -> Mapping[str, T]:
    """Rows that are there and can be read; a damaged row counts as missing."""
    found: dict[str, T] = {}
    for name, row in zip(names, rows, strict=True):
        if row is not None:
            try:
                found[name] = decoder.decode(row)
            except msgspec.DecodeError:
                continue
    return found
