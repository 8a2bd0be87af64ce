"""Publishes uploads to the topics that the job reads, as a good producer does."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka.partitioner import murmur2

from schemas.errors import DependencyUnavailableError
from schemas.settings import Settings
from scripts.cli.kafka_topics import client_options
from scripts.cli.upload_lines import UploadLine

_BURST_S: Final = 0.004
"""Shortest pause of a paced sender: sleeping for less costs more than it evens out."""


class Prepared(NamedTuple):
    """A record with everything worked out that does not change between sendings."""

    topic: str
    partition: int | None
    """None: the producer picks one (records without a key)."""
    key: bytes | None
    value: bytes


class Receipt(NamedTuple):
    """Where and when the broker took a record."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Broker time, ms since the epoch."""


class UploadPublisher:
    """A producer of uploads: acknowledged by all replicas, keyed by user id.

    Args:
        settings: name the broker and the topics.
        linger_ms: how long a record may wait for company.

    Raises:
        DependencyUnavailableError: where no broker answers.

    Records of one user go to one partition, the one that Java clients would pick (murmur2
    of the key), and keep their order. Sending is asynchronous; `flush` before you count.
    """

    def __init__(self, settings: Settings, *, linger_ms: int = 5) -> None:
        self._topics = settings.topics
        try:
            self._producer = KafkaProducer(
                **client_options(settings),
                acks="all",
                linger_ms=linger_ms,
                batch_size=128 * 1024,
                bootstrap_timeout_ms=10_000,
                reconnect_backoff_max_ms=1_000,
                # Statistics that nobody reads, several microseconds a record.
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise DependencyUnavailableError(
                "kafka", f"no broker answers at {settings.kafka.bootstrap} ({error})"
            ) from error
        self._partitions = functools.cache(self._count_partitions)
        self._partition_of = functools.lru_cache(maxsize=1_000_000)(self._pick_partition)
        self.sent = 0
        self.delivered = 0
        self.failures: list[str] = []

    def prepare(self, line: UploadLine) -> Prepared:
        """Work out topic and partition. Do this ahead where the rate matters."""
        topic = self._topics.for_content_type(line.content_type)
        partition = None if line.key is None else self._partition_of(topic, line.key)
        return Prepared(topic, partition, line.key, line.value)

    def send(self, record: Prepared, then: Callable[[Receipt], None] | None = None) -> bool:
        """Send a record.

        Args:
            record: what to send.
            then: is called, on the producer's own thread, when the broker has it.

        Returns:
            False where the record is too large for the broker.
        """
        topic, partition, key, value = record
        try:
            future = self._producer.send(topic, value, key, partition=partition)
        except MessageSizeTooLargeError:
            self.failures.append(f"{len(value)} bytes are too large for a record")
            return False
        self.sent += 1
        future.add_errback(self._failed)
        future.add_callback(self._took, then)
        return True

    def flush(self) -> None:
        """Wait until the broker has taken (or refused) everything sent so far."""
        self._producer.flush()

    def close(self) -> None:
        """Flush and disconnect."""
        self._producer.close(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _took(self, then: Callable[[Receipt], None] | None, metadata: Any) -> None:
        self.delivered += 1
        if then is not None:
            then(Receipt(metadata.topic, metadata.partition, metadata.offset, metadata.timestamp))

    def _failed(self, error: BaseException) -> None:
        self.failures.append(f"{type(error).__name__}: {error}")

    def _count_partitions(self, topic: str) -> int:
        found = self._producer.partitions_for(topic)
        if not found:
            raise DependencyUnavailableError(
                "kafka", f"topic {topic} is not there; scripts/stack up makes the topics"
            )
        return len(found)

    def _pick_partition(self, topic: str, key: bytes) -> int:
        return int(murmur2(key) & 0x7FFF_FFFF) % self._partitions(topic)


def paced(rate: float, *, stop: Callable[[], bool] = lambda: False) -> Iterator[int]:
    """Count up at a steady rate, without drift: each number comes when it is due.

    A caller that falls behind gets the numbers it missed at once (an open loop).

    Args:
        rate: numbers a second; 0 for as fast as they are taken.
        stop: ends the counting.
    """
    begin = time.perf_counter()
    number = 0
    while not stop():
        if rate:
            due = int((time.perf_counter() - begin) * rate) + 1
            if number >= due:
                time.sleep(max(_BURST_S, number / rate - (time.perf_counter() - begin)))
                continue
        else:
            due = number + 1
        while number < due:
            yield number
            number += 1
