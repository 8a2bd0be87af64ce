"""Takes what Redis keeps about a user away. See `operators.redis_store`, `operators.user_store`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import redis

from schemas.errors import DependencyUnavailableError
from schemas.settings import RedisSettings

_AT_ONCE: Final = 500
_TIMEOUT_S: Final = 5.0


def erase_user_keys(
    settings: RedisSettings, user_id: str, contents: Sequence[str]
) -> dict[str, int]:
    """Delete the keys of a user and of the user's contents; gives how many there were, by kind.

    `hash:` rows know no user: they say what was found in a text, whoever wrote it, and expire.
    Threads and communities (`thread:`, `sample:`, `baseline:`) know hashes of content ids and
    sums, and expire within 26 hours.

    Raises:
        DependencyUnavailableError: where Redis does not answer.
    """
    if not settings.enabled:
        return {}
    client = redis.Redis.from_url(
        settings.url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
    )
    keys = {
        "user": [f"user:{user_id}"],
        "context": [f"context:{content}" for content in contents],
    }
    gone = dict.fromkeys(keys, 0)
    try:
        for kind, names in keys.items():
            for start in range(0, len(names), _AT_ONCE):
                gone[kind] += cast("int", client.delete(*names[start : start + _AT_ONCE]))
    except (redis.RedisError, OSError) as error:
        raise DependencyUnavailableError(
            "redis", f"no answer from {settings.url} ({error})"
        ) from error
    finally:
        client.close()
    return gone
