"""Kafka sources and the sink as Table DDL: the only place that knows the connector's options.

Topics arrive as raw bytes with their metadata; outputs leave by one sink table whose writable
`topic` column routes each row, so that neither reading nor routing enters Python.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from schemas.errors import ConfigError
from schemas.settings import KafkaSettings

_FETCH_BYTES: Final = 65_536
"""With this much the broker does not wait for more."""
_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)\}")


def source_ddl(
    table: str,
    topics: Sequence[str],
    kafka: KafkaSettings,
    *,
    bounded: bool = False,
    start: str | None = None,
    fetch_wait_ms: int | None = None,
) -> str:
    """DDL of a table over `topics`: k, v, topic, partition, offset, ts (ms since the epoch).

    Args:
        table: its name.
        topics: full topic names.
        kafka: where Kafka is.
        bounded: stop at the offsets that are newest when the job starts.
        start: scan mode, the setting's where None.
        fetch_wait_ms: how long the broker may wait for more records; None: it answers with the
            first one, and is asked as often as it answers.
    """
    together = {
        "properties.fetch.min.bytes": str(_FETCH_BYTES),
        "properties.fetch.max.wait.ms": str(fetch_wait_ms),
    }
    options = {
        **({} if fetch_wait_ms is None else together),
        **_reading(kafka, topics, bounded=bounded, start=start),
        "key.format": "raw",
        "key.fields": "k",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    return (
        f"CREATE TEMPORARY TABLE {table} (k BYTES, v BYTES,"
        " `topic` STRING NOT NULL METADATA VIRTUAL,"
        " `partition` INT NOT NULL METADATA VIRTUAL,"
        " `offset` BIGINT NOT NULL METADATA VIRTUAL,"
        " ts TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL"
        f") WITH ({_with(options)})"
    )


def json_source_ddl(
    table: str,
    topic: str,
    fields: Sequence[tuple[str, str]],
    kafka: KafkaSettings,
    *,
    bounded: bool = False,
) -> str:
    """DDL of a table over a topic of JSON objects: fields, and the place and time of the record.

    What cannot be read is left out (a record) or NULL (a field) and nobody is told: read the
    topic as bytes as well (`source_ddl`) to find those.

    Args:
        table: its name.
        topic: full name of the topic.
        fields: name and Flink SQL type of each field that is read.
        kafka: where Kafka is.
        bounded: stop at the offsets that are newest when the job starts.
    """
    options = {
        **_reading(kafka, [topic], bounded=bounded, start=None),
        "format": "json",
        "json.ignore-parse-errors": "true",
        "json.timestamp-format.standard": "ISO-8601",
    }
    columns = "".join(f"`{name}` {kind}, " for name, kind in fields)
    return (
        f"CREATE TEMPORARY TABLE {table} ({columns}"
        "record_partition INT NOT NULL METADATA FROM 'partition' VIRTUAL,"
        " record_offset BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL,"
        " written_ltz TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL,"
        " written_at AS CAST(written_ltz AS TIMESTAMP(3))"
        f") WITH ({_with(options)})"
    )


def sink_ddl(table: str, topics: Sequence[str], kafka: KafkaSettings) -> str:
    """DDL of the routing sink: rows of (topic, k, v) go to the topic that they name."""
    options = {
        "connector": "kafka",
        "topic": ";".join(topics),
        "properties.bootstrap.servers": kafka.bootstrap,
        "properties.linger.ms": str(kafka.linger_ms),
        "properties.batch.size": "131072",
        "properties.compression.type": "lz4",
        # A dead letter holds its record in base64; the output topics allow as much.
        "properties.max.request.size": "4194304",
        # No upload is acknowledged (by a checkpoint) before its decision is replicated.
        "properties.acks": "all",
        "sink.delivery-guarantee": "at-least-once",
        "key.format": "raw",
        "key.fields": "k",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **_client_options(kafka),
    }
    return (
        f"CREATE TEMPORARY TABLE {table} (k BYTES, v BYTES,"
        f" `topic` STRING NOT NULL METADATA) WITH ({_with(options)})"
    )


def _reading(
    kafka: KafkaSettings, topics: Sequence[str], *, bounded: bool, start: str | None
) -> dict[str, str]:
    """Options of a source, whatever it makes of the records."""
    return {
        "connector": "kafka",
        "topic": ";".join(topics),
        "properties.bootstrap.servers": kafka.bootstrap,
        "properties.group.id": kafka.group_id,
        "properties.auto.offset.reset": "earliest",
        # Partitions that are added while the job runs are found within this time.
        "scan.topic-partition-discovery.interval": "0" if bounded else "30 s",
        "scan.startup.mode": start or ("earliest-offset" if bounded else kafka.start),
        **({"scan.bounded.mode": "latest-offset"} if bounded else {}),
        **_client_options(kafka),
    }


def _client_options(kafka: KafkaSettings) -> dict[str, str]:
    """Client properties, with ${NAME} taken from the environment (secrets stay out of files)."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(f"environment variable {name} is not set", field="kafka.client")
        return os.environ[name]

    return {f"properties.{name}": _VARIABLE.sub(value, text) for name, text in kafka.client.items()}


def _with(options: dict[str, str]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    return ", ".join(f"{quoted(name)} = {quoted(value)}" for name, value in options.items())
