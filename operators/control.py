"""Live configuration, without an engine: validate, compile, swap, acknowledge.

`operators.moderate` feeds this from the broadcast control stream and keeps accepted messages
in broadcast state, so that they are there after a restart, a rescale and a savepoint.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from operators.brain import Configurable
from operators.moderation_logic import Record
from schemas.control import HISTORY, MODERATION, ControlAck, decode_control
from schemas.errors import ConfigError, UnreadableError

_WAITS_FOR: Final = {"communities": "policy", "bank": "bank", "media_bank": "media_bank"}
"""Kinds that are checked against another kind: community overrides name the policy's categories,
and a bank's delta may build on another's."""


class Answer(NamedTuple):
    """What came of one message."""

    key: str
    value: bytes | None
    """The message; empty or None for a tombstone."""
    ack: Record
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
        job: that this is a subtask of.
    """

    def __init__(
        self,
        target: Configurable,
        acks_topic: str,
        *,
        subtask: int,
        subtasks: int,
        now_ms: Callable[[], float],
        job: str = MODERATION,
    ) -> None:
        self._job = job
        self._target = target
        self._topic = acks_topic
        self._subtask = subtask
        self._subtasks = subtasks
        self._now_ms = now_ms
        self._refused: dict[str, bytes] = {}

    def on_message(self, key: str, value: bytes | None) -> list[Answer]:
        """Take one record of the control topic. Never raises for what is in it.

        Returns:
            The answer; none to what is not for the job (history). More where the message was
            what an earlier, refused one had waited for: compaction keeps the newest of each key,
            so a job that reads the topic anew can meet overrides before the policy that they
            were made for.
        """
        if key.startswith(HISTORY):
            return []
        answer = self._apply(key, value, restored=False)
        self._refused.pop(key, None)
        answers = [answer]
        if answer.keep:
            answers += self._retry(_kind(key))
        elif value and _kind(key) in _WAITS_FOR:
            self._refused[key] = value
        return answers

    def restore(self, entries: Iterable[tuple[str, bytes]]) -> list[Record]:
        """Put back in force what the state holds; gives the answers."""
        # What others are checked against comes first.
        ordered = sorted(entries, key=lambda entry: (entry[0] in _WAITS_FOR, entry[0]))
        return [self._apply(key, value, restored=True).ack for key, value in ordered]

    def _retry(self, changed: str) -> list[Answer]:
        """Try again what waits for this kind, until nothing more is accepted."""
        accepted: list[Answer] = []
        progress = True
        while progress:
            progress = False
            for key, value in sorted(self._refused.items()):
                if _WAITS_FOR[_kind(key)] == changed:
                    answer = self._apply(key, value, restored=False)
                    if answer.keep:
                        del self._refused[key]
                        accepted.append(answer)
                        progress = True
        return accepted

    def _apply(self, key: str, value: bytes | None, *, restored: bool) -> Answer:
        digest = ""
        try:
            if value:
                message = decode_control(key, value)
                digest = message.digest
                self._target.apply(message)
            else:
                self._target.withdraw(key)
        except UnreadableError as error:
            # It takes force by itself once it can be read, after a restart as well.
            ack = self._ack(key, digest, str(error), restored=restored)
            return Answer(key, value, ack, keep=True)
        except ConfigError as error:
            return self._refuse(key, value, digest, str(error), restored=restored)
        except Exception as error:  # noqa: BLE001 - a control message must never stop the job
            text = f"{type(error).__name__}: {error}"
            return self._refuse(key, value, digest, text, restored=restored)
        return Answer(key, value, self._ack(key, digest, "", restored=restored), keep=True)

    def _refuse(
        self, key: str, value: bytes | None, digest: str, error: str, *, restored: bool
    ) -> Answer:
        return Answer(key, value, self._ack(key, digest, error, restored=restored), keep=False)

    def _ack(self, key: str, digest: str, error: str, *, restored: bool) -> Record:
        ack = ControlAck(
            job=self._job,
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


def _kind(key: str) -> str:
    return key.partition("/")[0]
