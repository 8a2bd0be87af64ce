"""What uploads leave behind: bytes in the broker's logs, rows in Redis."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple, cast

import redis

from scripts.cli.local_stack import Stack


class Footprint(NamedTuple):
    """At one moment."""

    logs: dict[str, int]
    """Bytes of each topic's log segments, as they lie on disk (compressed where they are)."""
    redis_bytes: int
    redis_keys: int


def footprint(stack: Stack, prefix: str) -> Footprint:
    """Look at the broker's folder and at Redis.

    Args:
        stack: the local stack.
        prefix: of the topics that count; it is left out of their names in the answer.
    """
    client = redis.Redis.from_url(stack.redis_url)
    try:
        # The client's types also cover its asyncio twin.
        info = cast("dict[str, int]", client.info("memory"))
        keys = cast("int", client.dbsize())
    finally:
        client.close()
    return Footprint(log_bytes(stack.directory / "kafka", prefix), info["used_memory"], keys)


def log_bytes(data: Path, prefix: str) -> dict[str, int]:
    """Bytes of log segments by topic, under one prefix."""
    found: Counter[str] = Counter()
    for segment in data.glob(f"{prefix}.*-*/*.log"):
        topic = segment.parent.name.rpartition("-")[0]
        found[topic.removeprefix(f"{prefix}.")] += segment.stat().st_size
    return dict(found)


def growth(before: Footprint, after: Footprint, uploads: int) -> dict[str, object]:
    """What one upload adds, on average."""
    keys = after.redis_keys - before.redis_keys
    topics = {
        name: round((size - before.logs.get(name, 0)) / uploads, 1)
        for name, size in sorted(after.logs.items())
        if size > before.logs.get(name, 0)
    }
    return {
        "log_bytes": topics,
        "redis_keys": round(keys / uploads, 4),
        "redis_bytes_per_key": round((after.redis_bytes - before.redis_bytes) / keys, 1)
        if keys > 0
        else None,
    }
