"""The control topic as a person uses it: read what is published, publish, wait for answers."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Self

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from schemas.control import (
    HISTORY,
    MAX_BYTES,
    MODERATION,
    ControlAck,
    ControlMessage,
    decode_control,
)
from schemas.errors import ConfigError, DependencyUnavailableError
from schemas.settings import Settings
from scripts.cli.consume import open_consumer, poll
from scripts.cli.kafka_topics import client_options

ROLLBACK: Final = "rollback to "
"""How the comment of a version begins that is an earlier one, published again."""


class Published(NamedTuple):
    """What the topic holds."""

    current: dict[str, ControlMessage]
    """Newest message by key."""
    history: dict[str, list[ControlMessage]]
    """Everything that was ever published, by key, oldest first."""


class Replies(NamedTuple):
    """What the job's subtasks said about one message."""

    acks: list[ControlAck]
    """One for each subtask that answered, by its number."""
    subtasks: int
    """How many there are; 0 where none answered."""

    @property
    def complete(self) -> bool:
        """Whether every subtask answered."""
        return bool(self.acks) and len(self.acks) == self.subtasks


class ControlTopic:
    """Reader and writer of `moderation.control`.

    Args:
        settings: name the broker and the topics.

    Raises:
        DependencyUnavailableError: where no broker answers or the topic is not there.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = settings.topics
        # From now on: only answers to what is published here.
        self._acks = open_consumer(settings, [self._topics.control_acks], from_beginning=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._acks.close()

    def read(self) -> Published:
        """Read the topic from its beginning to its present end."""
        consumer = open_consumer(self._settings, [self._topics.control], from_beginning=True)
        try:
            ends = consumer.end_offsets(consumer.assignment())
            current: dict[str, ControlMessage] = {}
            history: dict[str, list[ControlMessage]] = {}
            while any(consumer.position(tp) < end for tp, end in ends.items()):
                for record in poll(consumer, 200):
                    _file(record.key, record.value, current, history)
        except KafkaError as error:
            raise DependencyUnavailableError("kafka", str(error)) from error
        finally:
            consumer.close()
        for messages in history.values():
            messages.sort(key=lambda message: message.published_at)
        return Published(current, history)

    def publish(self, message: ControlMessage) -> None:
        """Publish a message, and once more under a key of its own for the history.

        Raises:
            ConfigError: where it is too large for a record.
        """
        value = msgspec.json.encode(message)
        if len(value) > MAX_BYTES:
            raise ConfigError(
                f"the message has {len(value)} bytes, at most {MAX_BYTES}", file=message.file
            )
        kept = f"{HISTORY}{message.key}/{message.published_at.isoformat()}"
        self._send({kept: value, message.key: value})

    def withdraw(self, key: str) -> None:
        """Publish a tombstone: the job returns to its own file."""
        self._send({key: None})

    def wait(self, key: str, digest: str, timeout_s: float) -> Replies:
        """Wait until every subtask of the moderation job has answered, or the time is over."""
        return self.wait_for([MODERATION], key, digest, timeout_s)[MODERATION]

    def wait_for(
        self, jobs: Iterable[str], key: str, digest: str, timeout_s: float
    ) -> dict[str, Replies]:
        """Wait until every subtask of these jobs has answered, or the time is over; by job."""
        found: dict[str, dict[int, ControlAck]] = {job: {} for job in jobs}
        subtasks = dict.fromkeys(found, 0)
        for ack in self._answers(timeout_s):
            own = found.get(ack.job)
            if own is not None and (ack.key, ack.digest) == (key, digest) and not ack.restored:
                own[ack.subtask] = ack
                subtasks[ack.job] = ack.subtasks
                if all(0 < subtasks[job] == len(acks) for job, acks in found.items()):
                    break
        return {
            job: Replies([acks[number] for number in sorted(acks)], subtasks[job])
            for job, acks in found.items()
        }

    def _answers(self, timeout_s: float) -> Iterator[ControlAck]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for record in poll(self._acks, 100):
                yield msgspec.json.decode(record.value, type=ControlAck)

    def _send(self, records: dict[str, bytes | None]) -> None:
        try:
            producer = KafkaProducer(
                **client_options(self._settings), acks="all", bootstrap_timeout_ms=10_000
            )
            futures = [
                producer.send(self._topics.control, key=key.encode(), value=value)
                for key, value in records.items()
            ]
            producer.flush()
            for future in futures:
                future.get(timeout=10)
            producer.close()
        except KafkaError as error:
            raise DependencyUnavailableError("kafka", str(error)) from error


def now() -> dt.datetime:
    """The present, for `published_at`."""
    return dt.datetime.now(dt.UTC)


def version_before(
    current: ControlMessage, versions: Sequence[ControlMessage]
) -> ControlMessage | None:
    """The version that a rollback of `current` goes to; None before the first.

    A version that a rollback brought back stands where it was first, so that rolling back again
    goes on backwards.

    Args:
        current: what is published now.
        versions: everything that was published under its key, oldest first.
    """
    places = [
        place
        for place, version in enumerate(versions)
        if version.digest == current.digest and not version.comment.startswith(ROLLBACK)
    ]
    earlier = versions[: places[-1]] if places else ()
    return next((v for v in reversed(earlier) if v.digest != current.digest), None)


def _file(
    raw_key: bytes | None,
    value: bytes,
    current: dict[str, ControlMessage],
    history: dict[str, list[ControlMessage]],
) -> None:
    """Put one record where it belongs; what is no control message is passed over."""
    key = (raw_key or b"").decode("utf-8", "replace")
    if key.startswith(HISTORY):
        try:
            message = msgspec.json.decode(value, type=ControlMessage)
        except msgspec.DecodeError:
            return
        history.setdefault(message.key, []).append(message)
    elif not value:
        current.pop(key, None)
    else:
        try:
            current[key] = decode_control(key, value)
        except ConfigError:
            current.pop(key, None)
