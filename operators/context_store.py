"""What Redis keeps about threads, communities and contents, for people who look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from operators.context_rows import ContextRows
from operators.context_script import SCRIPT
from schemas.errors import DependencyUnavailableError
from schemas.features import ThreadContext
from schemas.settings import ContextSettings, RedisSettings
from udfs.contracts import Around

T = TypeVar("T")
_TIMEOUT_S = 2.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One key."""

    key: str
    entries: int
    bytes: int | None
    """None where the server does not say."""
    expires_s: int


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a content, or an edit of it, said."""

    at_ms: int
    toxicity: float
    revision: int


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A closed bucket of a community."""

    start_ms: int
    uploads: float
    hostile: float


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Of a thread, a community or a content."""

    at_ms: int
    """Time of the server."""
    context: ThreadContext
    """What an upload that comes now would be told."""
    kept: list[Kept]
    said: list[Said] = []
    buckets: list[Bucket] = []


class ContextStore:
    """Reads what the moderation job keeps.

    Args:
        settings: where Redis is.
        context: windows and bounds, as the job has them.
    """

    def __init__(self, settings: RedisSettings, context: ContextSettings) -> None:
        self._url = settings.url
        self._context = context
        self._client = redis.Redis.from_url(
            settings.url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )

    def thread(self, thread_id: str) -> Surroundings:
        """Heat and posts of a thread; of answers in no named thread by their parent's id.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
        """
        return self._ask(lambda: self._found(f"thread:{thread_id}", thread_id=thread_id))

    def community(self, community_id: str) -> Surroundings:
        """Baseline of a community, and the closed buckets that it is made of.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
        """
        return self._ask(lambda: self._community(community_id))

    def content(self, content_id: str) -> Surroundings:
        """What answers to a content are told of it.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
        """
        return self._ask(lambda: self._content(content_id))

    def _community(self, community_id: str) -> Surroundings:
        client: Any = self._client
        found = self._found(f"baseline:{community_id}", community_id=community_id)
        width = self._context.baseline_bucket_s * 1000
        # The bucket that is open, and those that nobody has asked for since they closed.
        last = found.at_ms // width
        samples = [
            f"sample:{community_id}:{bucket}"
            for bucket in range(last - self._context.baseline_buckets, last + 1)
        ]
        buckets = []
        rows = client.hgetall(f"baseline:{community_id}")
        for name in sorted(rows, key=int):
            uploads, hostile = rows[name].split()
            buckets.append(
                Bucket(start_ms=int(name) * width, uploads=float(uploads), hostile=float(hostile))
            )
        return msgspec.structs.replace(
            found, kept=[*found.kept, *self._kept(*samples)], buckets=buckets
        )

    def _content(self, content_id: str) -> Surroundings:
        client: Any = self._client
        key = f"context:{content_id}"
        found = self._found(key, thread_id=content_id, parent_id=content_id)
        said = []
        for entry in (client.get(key) or b"").split(b",")[:-1]:
            stamp, toxicity, revision = entry.split(b":")
            said.append(
                Said(at_ms=int(stamp), toxicity=int(toxicity) / 1000, revision=int(revision))
            )
        return msgspec.structs.replace(found, said=said)

    def _found(
        self,
        key: str,
        *,
        community_id: str | None = None,
        thread_id: str | None = None,
        parent_id: str | None = None,
    ) -> Surroundings:
        client: Any = self._client
        seconds, micros = client.time()
        at_ms = seconds * 1000 + micros // 1000
        rows = ContextRows(self._context)
        asked = rows.ask([Around(at_ms, community_id, thread_id, parent_id)])
        keys = [f"context:{parent}" for parent in asked.parents]
        told = (*keys, 0, 0, 0, 0, rows.packed([], asked.questions), 0)
        found, answers = client.execute_command("EVAL", SCRIPT, len(keys), *told)
        (context,) = rows.answered(asked, found, answers)
        return Surroundings(at_ms=at_ms, context=context, kept=self._kept(key))

    def _kept(self, *keys: str) -> list[Kept]:
        client: Any = self._client
        entries = {b"zset": client.zcard, b"hash": client.hlen}
        return [
            Kept(
                key=key,
                entries=entries[kind](key) if kind in entries else 1,
                bytes=self._bytes(key),
                expires_s=client.ttl(key),
            )
            for key in keys
            if (kind := client.type(key)) != b"none"
        ]

    def _bytes(self, key: str) -> int | None:
        client: Any = self._client
        try:
            found: int | None = client.memory_usage(key)
        except redis.ResponseError:  # some hosted servers do not have it
            return None
        return found

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (redis.RedisError, OSError) as error:
            raise DependencyUnavailableError(
                "redis", f"no answer from {self._url} ({error})"
            ) from error
