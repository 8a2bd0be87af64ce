"""Redis behind the cascade: decision cache, user features, thread context; breaker in front.

Rows are JSON strings, read by one MGET a batch:

- `hash:{sha256}`: what was found about a content before: scores, model, and the action,
  confidence and reason that they alone give. Nothing in it depends on a user.
- `user:{user id}`: `schemas.trust.UserRow`; of it the cascade reads `UserFeatures`.
- `context:{content id}`: toxicity of a parent, and what else `operators.context_script` keeps.

What a batch says is written when it is decided, by a script on the server, and nobody waits for
that (`operators.redis_wire`): a pipeline of as many SETs would cost the client eight times as much,
and the server needs longer for the marks of a batch than the batch has.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from operators.breaker import Breaker
from operators.context_rows import Asked, ContextRows
from operators.context_script import SCRIPT
from operators.redis_wire import RedisWire
from schemas.features import ThreadContext, UserFeatures
from schemas.settings import ContextSettings, RedisSettings
from schemas.trust import UserRow
from udfs.contracts import Around, CachedAssessment, LookupResult, Mark

T = TypeVar("T")

DEGRADED: Final = "redis"
"""Name of this dependency in a decision's `degraded`."""
_MAX_QUEUED: Final = 5_000
"""Rows that wait at most; beyond, the oldest are dropped (it is a cache)."""
_AT_ONCE: Final = 128
"""Rows of contents, rows of users, and marks that one run of the script writes at most: the server
answers nobody else meanwhile, and all that an outage has piled up would take it longer than the
time-out, again and again."""
_RUNS: Final = 8
"""Runs for one batch at most; more than a full batch needs."""
_DEFAULT: Final = ContextSettings()
_NO_QUESTIONS: Final = Asked([], [], [], ())
_NOTHING: Final = msgspec.msgpack.encode(([], [], {}))


class _Writing(NamedTuple):
    """What one run of the script writes."""

    rows: dict[str, CachedAssessment]
    users: dict[str, UserRow]
    marks: list[Mark]


class RedisLookups:
    """The `Lookups` of the cascade over one Redis server.

    Args:
        settings: address, time-out, breaker, TTL.
        context: what is kept about threads and communities.
        user_days: how long a user's row outlives the last change to it.
        client: for tests; made from the settings otherwise.
        monotonic: clock of the breaker, seconds.
        now_ms: stamps what is written, ms since the epoch; None: the server's clock does.
    """

    def __init__(
        self,
        settings: RedisSettings,
        context: ContextSettings = _DEFAULT,
        *,
        user_days: int = 180,
        client: redis.Redis | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] | None = None,
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
        self._user_ttl_s = user_days * 86_400
        self._queued: OrderedDict[str, CachedAssessment] = OrderedDict()
        self._queued_users: OrderedDict[str, UserRow] = OrderedDict()
        self._context = ContextRows(context) if context.enabled else None
        self._now_ms = now_ms
        self._wire: RedisWire[_Writing] = RedisWire(self._client, SCRIPT)
        self._encode = msgspec.json.Encoder().encode
        self._assessments = msgspec.json.Decoder(CachedAssessment)
        self._users = msgspec.json.Decoder(UserFeatures)

    def fetch(
        self, hashes: Sequence[str], users: Sequence[str], around: Sequence[Around]
    ) -> LookupResult:
        """Read a batch's rows; on an outage everything is missing and `degraded` says so."""
        asked = self._context.ask(around) if self._context and around else _NO_QUESTIONS
        keys = [
            *(f"hash:{h}" for h in hashes),
            *(f"user:{u}" for u in users),
            *(f"context:{p}" for p in asked.parents),
        ]
        found = self._asked(keys, asked)
        if found is None:
            return LookupResult({}, {}, (), (DEGRADED,))
        rows, answers = found
        first, second = len(hashes), len(hashes) + len(users)
        return LookupResult(
            _decoded(hashes, rows[:first], self._assessments),
            _decoded(users, rows[first:second], self._users),
            self._answered(asked, rows[second:], answers),
        )

    def remember(self, content_hash: str, assessment: CachedAssessment) -> None:
        """Queue one assessment."""
        if len(self._queued) >= _MAX_QUEUED:
            self._queued.popitem(last=False)
        self._queued[content_hash] = assessment

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """Queue a user's row; the newest of a user is written."""
        self._queued_users.pop(user_id, None)
        if len(self._queued_users) >= _MAX_QUEUED:
            self._queued_users.popitem(last=False)
        self._queued_users[user_id] = row

    def note(self, marks: Sequence[Mark]) -> None:
        """Queue marks."""
        if self._context:
            self._context.note(marks)

    def flush(self) -> None:
        """Have what is queued written; nobody waits for it."""
        for _ in range(_RUNS):
            if not (self._queued or self._queued_users or self._marked):
                return
            if not self._breaker.allows():
                return
            writing = self._next()
            try:
                self._wire.tell(writing, *self._arguments(writing, [], _NO_QUESTIONS))
                if self._breaker.is_open:  # the one call that is let through
                    self._wire.settle()
                    self._breaker.succeeded()
            except (redis.RedisError, OSError):
                self._breaker.failed()
                self._take_back()
                return

    @property
    def _marked(self) -> bool:
        return self._context is not None and self._context.waits

    def _answered(
        self, asked: Asked, rows: Sequence[bytes | None], answers: Sequence[bytes]
    ) -> Sequence[ThreadContext]:
        return self._context.answered(asked, rows, answers) if self._context else ()

    def _asked(
        self, keys: list[str], asked: Asked
    ) -> tuple[list[bytes | None], list[bytes]] | None:
        """Rows and answers; None where the server does not answer, or is left alone."""
        self.flush()
        if not self._breaker.allows():
            return None if keys or asked.questions else ([], [])
        try:
            found = self._round_trip(keys, asked)
        except (redis.RedisError, OSError):
            self._breaker.failed()
            return None
        finally:
            self._take_back()
        self._breaker.succeeded()
        return found

    def _round_trip(self, keys: list[str], asked: Asked) -> tuple[list[bytes | None], list[bytes]]:
        wire = self._wire
        if asked.questions:
            rows, answers = wire.run(*self._arguments(_Writing({}, {}, []), keys, asked))
            return rows, answers
        if keys:
            return wire.ask("MGET", *keys), []
        wire.settle()
        return [], []

    def _arguments(self, writing: _Writing, keys: list[str], asked: Asked) -> tuple[Any, ...]:
        rows, users, marks = writing
        names = [*(f"hash:{h}" for h in rows), *(f"user:{u}" for u in users)]
        context = self._context
        return (
            len(names) + len(keys), *names, *keys,
            len(rows), self._ttl_s, len(names), self._user_ttl_s,
            _NOTHING if context is None else context.packed(marks, asked.questions),
            0 if self._now_ms is None else self._now_ms(),
            *map(self._encode, rows.values()), *map(self._encode, users.values()),
        )  # fmt: skip

    def _next(self) -> _Writing:
        marks = [] if self._context is None else self._context.take(_AT_ONCE)
        return _Writing(_oldest(self._queued), _oldest(self._queued_users), marks)

    def _take_back(self) -> None:
        """Queue again what may not have arrived."""
        for writing in reversed(self._wire.lost()):
            _put_back(self._queued, writing.rows)
            _put_back(self._queued_users, writing.users)
            if self._context:
                self._context.put_back(writing.marks)


class NoLookups:
    """Lookups where no store is wanted: everything has its default, nothing is degraded."""

    def fetch(
        self,
        hashes: Sequence[str],  # noqa: ARG002 - the protocol gives the signature
        users: Sequence[str],  # noqa: ARG002 - likewise
        around: Sequence[Around],  # noqa: ARG002 - likewise
    ) -> LookupResult:
        """Find nothing."""
        return LookupResult({}, {}, ())

    def remember(self, content_hash: str, assessment: CachedAssessment) -> None:
        """Keep nothing."""

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """Keep nothing."""

    def flush(self) -> None:
        """Write nothing."""

    def note(self, marks: Sequence[Mark]) -> None:
        """Keep nothing."""


def _oldest(waiting: OrderedDict[str, T]) -> dict[str, T]:
    """Take the next rows to write."""
    return dict(waiting.popitem(last=False) for _ in range(min(len(waiting), _AT_ONCE)))


def _put_back(waiting: OrderedDict[str, T], rows: dict[str, T]) -> None:
    """Rows that were taken wait again, in front; one that has been replaced does not."""
    for name in reversed(rows):
        if name not in waiting and len(waiting) < _MAX_QUEUED:
            waiting[name] = rows[name]
            waiting.move_to_end(name, last=False)


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
