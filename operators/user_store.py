"""What people and jobs keep about users in Redis.

- `user:{user id}`: `schemas.trust.UserRow` as JSON. The job writes it; the cascade reads its
  features (`operators.redis_store`).
- `labels:{user id}`: a hash of label name to `schemas.trust.Labelled` as JSON. People write it
  (`scripts/user`), no job does, so that neither overwrites the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import DependencyUnavailableError, InvalidUploadError, SluiceError
from schemas.settings import RedisSettings
from schemas.trust import Labelled, UserRow, decode_label

T = TypeVar("T")
_TIMEOUT_S = 2.0


class DamagedRowError(SluiceError):
    """A row that cannot be read."""


class UserStore:
    """Rows and people's labels of users.

    Args:
        settings: where Redis is.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._url = settings.url
        self._client = redis.Redis.from_url(
            settings.url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )

    def row(self, user_id: str) -> UserRow | None:
        """The user's row; None where there is none.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
            DamagedRowError: it cannot be read.
        """
        raw = cast("bytes | None", self._ask(lambda: self._client.get(f"user:{user_id}")))
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=UserRow)
        except msgspec.DecodeError as error:
            raise DamagedRowError(f"user:{user_id} cannot be read: {error}") from None

    def put_row(self, user_id: str, row: UserRow) -> None:
        """Write the user's row.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
        """
        self._ask(lambda: self._client.set(f"user:{user_id}", msgspec.json.encode(row)))

    def labels(self, user_id: str) -> list[Labelled]:
        """Labels that people set, by name; expired ones as well.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
            DamagedRowError: one cannot be read.
        """
        kept: Any = self._ask(lambda: self._client.hgetall(f"labels:{user_id}"))
        try:
            return [decode_label(kept[name]) for name in sorted(kept)]
        except InvalidUploadError as error:
            raise DamagedRowError(f"labels:{user_id} cannot be read: {error.message}") from None

    def set_label(self, user_id: str, label: Labelled) -> None:
        """Set a person's label, in place of the one of that name.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
        """
        raw = msgspec.json.encode(label).decode()
        self._ask(lambda: self._client.hset(f"labels:{user_id}", label.name, raw))

    def clear_labels(self, user_id: str, *names: str) -> int:
        """Take back people's labels of these names, all of them without names.

        Returns:
            How many there were.

        Raises:
            DependencyUnavailableError: where Redis does not answer.
        """
        key = f"labels:{user_id}"
        there = {label.name for label in self.labels(user_id)}
        wanted = sorted(there & set(names) if names else there)
        if not wanted:
            return 0
        return cast("int", self._ask(lambda: self._client.hdel(key, *wanted)))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (redis.RedisError, OSError) as error:
            raise DependencyUnavailableError(
                "redis", f"no answer from {self._url} ({error})"
            ) from error
