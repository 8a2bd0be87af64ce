"""Redis behind the cascade: decision cache, user features, thread context; breaker in front.

Rows are JSON strings, read by one MGET a batch:

- `hash:{sha256}`: what was found about a content before: scores, model, and the action,
  confidence and reason that they alone give. Nothing in it depends on a user.
- `user:{user id}`: `schemas.trust.UserRow`; of it the cascade reads `UserFeatures`.
- `context:{content id}`: toxicity of a parent, and what else `operators.context_script` keeps.

Writes of one batch travel with the reads of the next, as one command: a script on the server
sets the rows and reads the others. A pipeline of as many SETs would cost the client eight times
as much. Where batches are far apart, what uploads say about their surroundings does not wait for
the next: the answer to one may be that.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from operators.breaker import Breaker
from operators.context_rows import Asked, ContextRows
from operators.context_script import SCRIPT, SHA
from schemas.features import ThreadContext, UserFeatures
from schemas.settings import ContextSettings, RedisSettings
from schemas.trust import UserRow
from udfs.contracts import Around, CachedAssessment, LookupResult, Mark

T = TypeVar("T")

DEGRADED: Final = "redis"
"""Name of this dependency in a decision's `degraded`."""
_MAX_QUEUED: Final = 5_000
"""Writes that wait at most; beyond, the oldest are dropped (it is a cache)."""
_AT_ONCE: Final = 600
"""Rows of contents, and of users, that one round trip writes at most: more than a batch makes. All
that an outage has piled up would take the server longer than the time-out, again and again."""
_QUIET_S: Final = 0.1
"""Where batches are this far apart, marks go out at once."""
_DEFAULT: Final = ContextSettings()
_NO_QUESTIONS: Final = Asked([], [], [], ())
_NOTHING: Final = msgspec.msgpack.encode(([], [], {}))


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
        self._monotonic = monotonic
        self._now_ms = now_ms
        self._fetched_s = float("-inf")
        self._quiet = False
        self._encode = msgspec.json.Encoder().encode
        self._assessments = msgspec.json.Decoder(CachedAssessment)
        self._users = msgspec.json.Decoder(UserFeatures)

    def fetch(
        self, hashes: Sequence[str], users: Sequence[str], around: Sequence[Around]
    ) -> LookupResult:
        """Read a batch's rows; on an outage everything is missing and `degraded` says so."""
        now = self._monotonic()
        self._quiet = now - self._fetched_s > _QUIET_S
        self._fetched_s = now
        asked = self._context.ask(around) if self._context and around else _NO_QUESTIONS
        keys = [
            *(f"hash:{h}" for h in hashes),
            *(f"user:{u}" for u in users),
            *(f"context:{p}" for p in asked.parents),
        ]
        if not (keys or asked.questions or self._queued or self._queued_users or self._marked):
            return LookupResult({}, {}, self._answered(asked, (), ()))
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
        """Queue one assessment for the next round trip."""
        if len(self._queued) >= _MAX_QUEUED:
            self._queued.popitem(last=False)
        self._queued[content_hash] = assessment

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """Queue a user's row for the next round trip; the newest of a user is written."""
        self._queued_users.pop(user_id, None)
        if len(self._queued_users) >= _MAX_QUEUED:
            self._queued_users.popitem(last=False)
        self._queued_users[user_id] = row

    def flush(self) -> None:
        """Write users' rows that wait, where the next round trip may be far off."""
        if self._queued_users and (self._quiet or self._monotonic() - self._fetched_s > _QUIET_S):
            self._asked([], _NO_QUESTIONS)

    def note(self, marks: Sequence[Mark]) -> None:
        """Queue marks for the next round trip; where that may be far off, make one."""
        if self._context and self._context.note(marks) and self._quiet:
            self._asked([], _NO_QUESTIONS)

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
        if not self._breaker.allows():
            return None
        try:
            found = self._round_trip(keys, asked)
        except (redis.RedisError, OSError):
            self._breaker.failed()
            return None
        self._breaker.succeeded()
        return found

    def _round_trip(self, keys: list[str], asked: Asked) -> tuple[list[bytes | None], list[bytes]]:
        context = self._context
        queued = dict(itertools.islice(self._queued.items(), _AT_ONCE))
        users = dict(itertools.islice(self._queued_users.items(), _AT_ONCE))
        marks = context.next_marks() if context else []
        if not (queued or users or marks or asked.questions):
            # The client's types also cover its asyncio twin.
            return cast("list[bytes | None]", self._client.mget(keys)), []
        names = [*(f"hash:{h}" for h in queued), *(f"user:{u}" for u in users)]
        arguments = (
            len(names) + len(keys), *names, *keys,
            len(queued), self._ttl_s, len(names), self._user_ttl_s,
            _NOTHING if context is None else context.packed(marks, asked.questions),
            0 if self._now_ms is None else self._now_ms(),
            *map(self._encode, queued.values()), *map(self._encode, users.values()),
        )  # fmt: skip
        command: Any = self._client.execute_command  # untyped in the client
        try:
            try:
                rows, answers = command("EVALSHA", SHA, *arguments)
            except redis.exceptions.NoScriptError:  # a new or restarted server
                rows, answers = command("EVAL", SCRIPT, *arguments)
        except redis.ResponseError:
            # It will not take them another time either.
            if context:
                context.sent(marks)
            raise
        _drop(self._queued, queued)
        _drop(self._queued_users, users)
        if context:
            context.sent(marks)
        return rows, answers


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


def _drop(waiting: OrderedDict[str, Any], written: Mapping[str, object]) -> None:
    """Let go what has been written: the oldest."""
    if len(written) == len(waiting):
        waiting.clear()
    else:
        for _ in written:
            waiting.popitem(last=False)


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
