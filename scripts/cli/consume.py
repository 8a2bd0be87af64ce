"""`scripts/consume`: print a topic's records as JSON lines."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.errors import DependencyUnavailableError, SluiceError
from schemas.settings import Settings, load_settings
from schemas.topics import Topics
from scripts.cli.kafka_topics import OUTPUT_MAX_BYTES, client_options
from scripts.cli.local_stack import resolve

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Record(NamedTuple):
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Broker time, ms since the epoch."""
    key: bytes | None
    value: bytes


@app.command()
def consume(
    topic: Annotated[
        str, typer.Argument(help="Short name (decisions, dead-letters, review ...) or full name.")
    ],
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest record.")
    ] = False,
    maximum: Annotated[
        int | None, typer.Option("--max", min=1, help="Stop after this many records.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many seconds without a record.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="host:port of the broker, if not the settings'.")
    ] = None,
    metadata: Annotated[
        bool, typer.Option("--metadata", help="Wrap each in its partition, offset and time.")
    ] = False,
    profile: Annotated[str, typer.Option(help="Profile that names broker and topics.")] = "dev",
) -> None:
    """Print a topic's records as JSON lines, from now on or from the beginning.

    A record that is not JSON is printed as {"$raw": "BASE64"}.
    """
    settings = resolve(load_settings(profile), kafka=bootstrap)
    name = full_name(topic, settings.topics)
    for count, record in enumerate(
        records(settings, [name], from_beginning=from_beginning, timeout_s=timeout), start=1
    ):
        sys.stdout.buffer.write(as_line(record, metadata=metadata) + b"\n")
        sys.stdout.buffer.flush()
        if count == maximum:
            break


def full_name(topic: str, topics: Topics) -> str:
    """Complete a short topic name (`dead-letters`, `content.text`) by the prefix.

    Raises:
        SluiceError: where it is neither a topic of ours nor a full name.
    """
    prefix = topics.decisions.removesuffix("decisions")
    short = {name.removeprefix(prefix): name for name in topics}
    wanted = topic.replace("_", "-")
    if wanted in short:
        return short[wanted]
    if "." in topic:
        return topic
    raise SluiceError(f"no topic {topic}; there are: {', '.join(short)} (or give a full name)")


def as_line(record: Record, *, metadata: bool = False) -> bytes:
    """Write a record as one line of JSON."""
    try:
        document: Any = msgspec.json.decode(record.value)
        line = msgspec.json.format(record.value, indent=-1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = {"$raw": base64.b64encode(record.value).decode()}
        line = msgspec.json.encode(document)
    if not metadata:
        return line
    around = record._asdict() | {
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "value": document,
    }
    return msgspec.json.encode(around)


def open_consumer(settings: Settings, names: list[str], *, from_beginning: bool) -> KafkaConsumer:
    """Read topics without a group: every partition, nothing committed.

    Raises:
        DependencyUnavailableError: where no broker answers, or a topic is not there.
    """
    try:
        consumer = KafkaConsumer(
            **client_options(settings),
            group_id=None,
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
            max_poll_records=5_000,
            max_partition_fetch_bytes=2 * OUTPUT_MAX_BYTES,
            bootstrap_timeout_ms=10_000,
            reconnect_backoff_max_ms=1_000,
        )
        partitions = []
        for name in names:
            found = consumer.partitions_for_topic(name)
            if not found:
                raise DependencyUnavailableError("kafka", f"there is no topic {name}")
            partitions += [TopicPartition(name, number) for number in sorted(found)]
        consumer.assign(partitions)
        if from_beginning:
            consumer.seek_to_beginning()
        else:
            consumer.seek_to_end()
        for partition in partitions:
            consumer.position(partition)  # "the end" means the end now, not at the first poll
    except KafkaError as error:
        raise DependencyUnavailableError(
            "kafka", f"no broker answers at {settings.kafka.bootstrap} ({error})"
        ) from error
    return consumer


def poll(consumer: KafkaConsumer, timeout_ms: int) -> list[Record]:
    """Take what has come, waiting at most `timeout_ms` for the first."""
    batches = consumer.poll(timeout_ms=timeout_ms)
    return [
        Record(tp.topic, tp.partition, r.offset, r.timestamp, r.key, r.value or b"")
        for tp, batch in batches.items()
        for r in batch
    ]


def records(
    settings: Settings,
    names: list[str],
    *,
    from_beginning: bool = False,
    timeout_s: float | None = None,
) -> Iterator[Record]:
    """Records of topics as they come.

    Args:
        settings: name the broker.
        names: full topic names.
        from_beginning: the oldest first, rather than only what comes from now on.
        timeout_s: end after this many seconds without a record; None never ends.
    """
    consumer = open_consumer(settings, names, from_beginning=from_beginning)
    try:
        last = time.monotonic()
        while timeout_s is None or time.monotonic() - last < timeout_s:
            batch = poll(consumer, 200)
            if batch:
                yield from batch
                last = time.monotonic()
    finally:
        consumer.close()


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/consume")
    except SluiceError as error:
        sys.exit(f"consume: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `| head` has had enough.
        sys.stderr.close()


if __name__ == "__main__":
    main()
