"""What is in the topics after a phase: broker times, latencies, rates."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import SluiceError

_BATCH: Final = 10_000
_READ_S: Final = 120.0
_KNOWN_S: Final = 10.0
Offsets = dict[int, int]
"""Next offset by partition."""


class Taken(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int
    timestamp_ms: int
    """Broker time."""
    key: bytes
    value: bytes


class _Identity(msgspec.Struct):
    content_id: str


_identity: Final = msgspec.json.Decoder(_Identity)


class TopicReader:
    """Reads stretches of topics.

    Args:
        bootstrap: `host:port` of the broker.
    """

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
            }
        )

    def ends(self, topic: str) -> Offsets:
        """Where a topic ends now; one that has just been made may take a moment to be known."""
        consumer, deadline = self._consumer, time.monotonic() + _KNOWN_S
        while True:
            try:
                partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
                return {
                    number: consumer.get_watermark_offsets(
                        TopicPartition(topic, number), timeout=20
                    )[1]
                    for number in partitions
                }
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def count(self, topic: str, since: Offsets) -> int:
        """Records that came after `since`."""
        return sum(end - since.get(number, 0) for number, end in self.ends(topic).items())

    def read(self, topic: str, since: Offsets, until: Offsets | None = None) -> list[Taken]:
        """Read a stretch; until the present end where `until` is not given.

        Raises:
            SluiceError: where that takes too long.
        """
        until = until or self.ends(topic)
        left = {n: end for n, end in until.items() if end > since.get(n, 0)}
        self._consumer.assign([TopicPartition(topic, n, since.get(n, 0)) for n in left])
        found: list[Taken] = []
        deadline = time.monotonic() + _READ_S
        while left:
            if time.monotonic() > deadline:
                raise SluiceError(f"{topic} could not be read within {_READ_S:.0f} s")
            for message in self._consumer.consume(_BATCH, timeout=0.2):
                if message.error() is not None:
                    raise KafkaException(message.error())
                number, offset = message.partition() or 0, message.offset() or 0
                if number in left and offset < until[number]:
                    found.append(
                        Taken(
                            number,
                            offset,
                            message.timestamp()[1],
                            message.key() or b"",
                            message.value() or b"",
                        )
                    )
                    if offset == until[number] - 1:
                        del left[number]
        self._consumer.unassign()
        return found

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


class Pairs(NamedTuple):
    """Uploads and what became of them."""

    taken_ms: np.ndarray[Any, np.dtype[np.int64]]
    """Broker time of each upload that was decided, sorted."""
    latency_ms: np.ndarray[Any, np.dtype[np.int64]]
    """From there to the broker time of its (first) decision."""
    undecided: int


def content_id(upload: bytes) -> bytes:
    """The key under which the decision about an upload comes."""
    return _identity.decode(upload).content_id.encode()


def pair(uploads: Iterable[Taken], decisions: Iterable[Taken]) -> Pairs:
    """Find each upload's decision."""
    decided: dict[bytes, int] = {}
    for record in decisions:
        decided.setdefault(record.key, record.timestamp_ms)
    rows: list[tuple[int, int]] = []
    undecided = 0
    for record in uploads:
        answer = decided.get(content_id(record.value))
        if answer is None:
            undecided += 1
        else:
            rows.append((record.timestamp_ms, answer - record.timestamp_ms))
    rows.sort()
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return Pairs(table[:, 0], table[:, 1], undecided)


def latency_figures(latency_ms: Sequence[int] | np.ndarray[Any, Any]) -> dict[str, float]:
    """P50, P99, P99.9 and maximum in ms (nearest rank), and their number."""
    values = np.sort(np.asarray(latency_ms))
    if not len(values):
        return {"count": 0}

    def rank(share: float) -> float:
        return float(values[max(0, int(np.ceil(share * len(values))) - 1)])

    return {
        "count": len(values),
        "p50_ms": rank(0.5),
        "p99_ms": rank(0.99),
        "p999_ms": rank(0.999),
        "max_ms": float(values[-1]),
    }


def rate_between(timestamps_ms: Sequence[int], begin_ms: int) -> tuple[float, int]:
    """Records a second after a moment, up to the last; and how many those are.

    Args:
        timestamps_ms: broker times, any order.
        begin_ms: when counting begins (exclusive).
    """
    late = [stamp for stamp in timestamps_ms if stamp > begin_ms]
    span = max(late, default=begin_ms) - begin_ms
    return (len(late) * 1000.0 / span if span else 0.0), len(late)


def by_second(pairs: Pairs) -> list[dict[str, float]]:
    """P50 and P99 of the uploads of each second, for charts."""
    if not len(pairs.taken_ms):
        return []
    seconds = (pairs.taken_ms - pairs.taken_ms[0]) // 1000
    rows = []
    for second in np.unique(seconds):
        figures = latency_figures(pairs.latency_ms[seconds == second])
        rows.append(
            {"second": int(second), "p50_ms": figures["p50_ms"], "p99_ms": figures["p99_ms"]}
        )
    return rows


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Parts of a whole, to four decimals."""
    total = sum(counts.values()) or 1
    return {name: round(count / total, 4) for name, count in sorted(counts.items())}
