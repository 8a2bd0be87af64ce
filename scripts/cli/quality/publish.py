"""Results onto the topic `moderation.quality`, keyed by suite and day."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from schemas.errors import DependencyUnavailableError
from schemas.quality import QualityRecord
from schemas.settings import Settings
from scripts.cli.kafka_topics import client_options


def publish(settings: Settings, records: Sequence[QualityRecord]) -> None:
    """Publish results, and wait until the broker has them.

    Raises:
        DependencyUnavailableError: no broker answers, or it refuses one.
    """
    topic = settings.topics.quality
    try:
        producer = KafkaProducer(
            **client_options(settings), acks="all", bootstrap_timeout_ms=10_000
        )
        try:
            futures = [
                producer.send(topic, msgspec.json.encode(record), key_of(record))
                for record in records
            ]
            producer.flush()
            for future in futures:
                future.get(timeout=10)
        finally:
            producer.close(timeout=10)
    except KafkaError as error:
        raise DependencyUnavailableError(
            "kafka", f"no answer from {settings.kafka.bootstrap} ({error})"
        ) from error


def key_of(record: QualityRecord) -> bytes:
    """Key of a result: a reader who keeps the newest of each has the state of every suite."""
    return f"{record.suite}/{record.day}".encode() if record.day else record.suite.encode()
