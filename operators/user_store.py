"""What the moderation job keeps about users in Redis, for readers outside.

`user:{user id}` is `schemas.trust.UserRow` as JSON. The job writes it and does not read it: what it
knows of a user lies in its own state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import DependencyUnavailableError, SluiceError
from schemas.settings import RedisSettings
from schemas.trust import UserRow

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

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (redis.RedisError, OSError) as error:
            raise DependencyUnavailableError(
                "redis", f"no answer from {self._url} ({error})"
            ) from error
