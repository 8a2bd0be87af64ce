"""Live configuration, without an engine: validate, compile, swap, acknowledge.

`operators.moderate` feeds this from the broadcast control stream and keeps accepted messages
in broadcast state, so that they are there after a restart, a rescale and a savepoint.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from operators.moderation_logic import Configurable, Record
from schemas.control import HISTORY, ControlAck, decode_control
from schemas.errors import ConfigError


class Answer(NamedTuple):
    """What came of one message."""

    ack: Record | None
    """None where the message is not for the job (history)."""
    keep: bool
    """Whether the broadcast state should now hold (or, for a tombstone, drop) it."""


class ControlLogic:
    """Applies control messages on one subtask.

    Args:
        target: what is configured.
        acks_topic: where answers go.
        subtask: index of this subtask, and how many there are.
        subtasks: how many there are.
        now_ms: wall clock, ms since the epoch.
    """

    def __init__(
        self,
        target: Configurable,
        acks_topic: str,
        *,
        subtask: int,
        subtasks: int,
        now_ms: Callable[[], float],
    ) -> None:
        self._target = target
        self._topic = acks_topic
        self._subtask = subtask
        self._subtasks = subtasks
        self._now_ms = now_ms

    def on_message(self, key: str, value: bytes | None) -> Answer:
        """Take one record of the control topic. Never raises for what is in it."""
        if key.startswith(HISTORY):
            return Answer(None, keep=False)
        return self._apply(key, value, restored=False)

    def restore(self, entries: Iterable[tuple[str, bytes]]) -> list[Record]:
        """Put back in force what the state holds; gives the answers."""
        answers = [self._apply(key, value, restored=True) for key, value in sorted(entries)]
        return [answer.ack for answer in answers if answer.ack is not None]

    def _apply(self, key: str, value: bytes | None, *, restored: bool) -> Answer:
        digest = ""
        try:
            if value:
                message = decode_control(key, value)
                digest = message.digest
                self._target.apply(message)
            else:
                self._target.withdraw(key)
        except ConfigError as error:
            return Answer(self._ack(key, digest, str(error), restored=restored), keep=False)
        except Exception as error:  # noqa: BLE001 - a control message must never stop the job
            text = f"{type(error).__name__}: {error}"
            return Answer(self._ack(key, digest, text, restored=restored), keep=False)
        return Answer(self._ack(key, digest, "", restored=restored), keep=True)

    def _ack(self, key: str, digest: str, error: str, *, restored: bool = False) -> Record:
        ack = ControlAck(
            key=key,
            digest=digest,
            ok=not error,
            error=error,
            restored=restored,
            subtask=self._subtask,
            subtasks=self._subtasks,
            applied=self._target.applied(),
            timestamp=dt.datetime.fromtimestamp(self._now_ms() / 1000, dt.UTC),
        )
        return Record(self._topic, key.encode(), msgspec.json.encode(ack))
