"""Erased users in the feedback job: nothing about what they wrote is kept or comes out as a row.

State is keyed by content, so that a user's part of it lies with each of their contents and with
what they reported. It goes when something touches the content next: a record (`scripts/erase`
publishes one for each content that the tables know), a timer, or the content's time to live. Until
then it is never looked at.
"""

from __future__ import annotations

from typing import Final, Self

from operators.feedback_state import Decided, Memory, Waiting
from schemas.control import ControlMessage
from schemas.errors import ConfigError, InvalidUploadError
from schemas.feedback import AppealOutcome, Report, Said, decode_said
from schemas.user_events import UserErased, erased_until_ms, to_ms, user_sha256

KIND: Final = "erase"
PREFIX: Final = f"{KIND}/"
"""How the keys of the control messages begin that this is about."""


class ErasedUsers:
    """Who was erased, and until when; made from control messages, in any order."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    @classmethod
    def of(cls, event: UserErased) -> Self:
        """One erased user, as told to a content's state itself."""
        made = cls()
        made._until[user_sha256(event.user_id)] = to_ms(event.until)
        return made

    def apply(self, message: ControlMessage) -> None:
        """Take a control message.

        Raises:
            ConfigError: it is of another kind, or says no time.
        """
        if message.kind != KIND:
            raise ConfigError(f"this job takes {KIND} alone", field=message.key)
        self._until[message.name] = erased_until_ms(message.text, message.key)

    def withdraw(self, key: str) -> None:
        """An erasure is taken back: what comes from now on is kept."""
        self._until.pop(key.removeprefix(PREFIX), None)

    def applied(self) -> dict[str, str]:
        """Nothing that has a hash is configured here."""
        return {}

    def hides(self, user_id: str, at_ms: int) -> bool:
        """Whether what the broker took of a user at a time leaves no trace."""
        # Nearly always empty: a hash of every id would cost more than the rest of this.
        return bool(self._until) and at_ms <= self._until.get(user_sha256(user_id), -1)

    def hides_said(self, said: Said, broker_ms: int) -> bool:
        """Whether a report or appeal was made by such a user; reviewers are no users."""
        if isinstance(said, Report):
            return self.hides(said.reporter_id, broker_ms)
        return isinstance(said, AppealOutcome) and self.hides(said.user_id, broker_ms)

    def forget(self, memory: Memory) -> bool:
        """Take out of a content's memory what is of such users; gives whether there was any."""
        if not self._until:
            return False
        hidden = {one.moderation_id for one in memory.decisions if self._hides_decision(one)}
        kept = [one for one in memory.decisions if one.moderation_id not in hidden]
        if hidden and not kept:
            # All that is known is about what the user wrote.
            _clear(memory)
            return True
        waiting = [one for one in memory.waiting if not self._hides_waiting(one)]
        shown = [
            one
            for one in memory.shown
            if one.moderation_id not in hidden and not self.hides(one.user_id, one.broker_ms)
        ]
        before = len(memory.waiting) + len(memory.shown)
        memory.decisions, memory.waiting, memory.shown = kept, waiting, shown
        return bool(hidden) or len(waiting) + len(shown) < before

    def _hides_decision(self, decided: Decided) -> bool:
        return self.hides(decided.user_id, decided.asked_ms or decided.made_ms)

    def _hides_waiting(self, waiting: Waiting) -> bool:
        try:
            return self.hides_said(decode_said(waiting.kind, waiting.raw), waiting.broker_ms)
        except InvalidUploadError:  # of an earlier release's form: its own way deals with it
            return False


def _clear(memory: Memory) -> None:
    memory.decisions, memory.shown, memory.waiting, memory.window = [], [], [], []
    memory.verdicts, memory.revision, memory.passed = {}, 0, 0
