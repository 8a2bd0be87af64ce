"""Cases: pictures and videos between their upload and what was found in them.

A case is one entry of the user's keyed map, under content id and revision. The upload opens it,
evidence joins it, and where none comes in time the deadline decides; whatever comes when, each
fact is there once. Evidence that comes before its upload waits for it.

    upload ......... open ---- evidence ----> settled (dropped, but for the ids of its evidence)
                      |                          ^
                      +---- deadline ---> overdue, evidence still corrects
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

import msgspec

from operators.metrics import Metrics
from operators.user_state import Arrived
from schemas.evidence import MediaEvidence
from schemas.kept import Kept
from schemas.settings import CaseSettings
from schemas.upload import Upload
from udfs.media_evidence import unseen

WAKE_MS: Final = 100
"""Deadlines are kept to this grid. One more makes a time that no tick has, so that a timer of
ticks does not have to look for cases."""


class CaseState(Protocol):
    """The user's keyed map of cases, and their timers."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, value: bytes) -> None: ...
    def remove(self, key: str) -> None: ...
    def items(self) -> Iterable[tuple[str, bytes]]: ...
    def wake(self, at_ms: int) -> None:
        """Call `ModerationLogic.on_deadline` then."""
        ...


class _NoCases:
    """Of a caller that has no pictures and videos, or does not wait for them."""

    def get(self, key: str) -> bytes | None:  # noqa: ARG002 - the protocol's
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keep nothing."""

    def remove(self, key: str) -> None:
        """Keep nothing."""

    def items(self) -> Iterable[tuple[str, bytes]]:
        return ()

    def wake(self, at_ms: int) -> None:
        """Never."""


NO_CASES: Final[CaseState] = _NoCases()


class Case(msgspec.Struct, array_like=True):
    """What is kept of one upload."""

    upload: Arrived | None = None
    """None before it came, and after everything was seen."""
    revision: int = 0
    """Of the newest decision."""
    deadline_ms: int = 0
    """When it is decided without evidence, or early evidence is given up; 0: not any more."""
    joined: list[tuple[str, int]] = []
    """Ids of evidence, and the revision that each was decided at."""
    early: list[Arrived] = []
    """Evidence that came before its upload."""


class Joined(NamedTuple):
    """Evidence meets its upload."""

    upload: Arrived
    revision: int
    """Of the decision to be made."""


class Due(NamedTuple):
    """What a deadline ends."""

    overdue: list[Joined]
    """To be decided without evidence."""
    unmatched: list[Arrived]
    """Evidence whose upload never came."""


class Cases:
    """Opens, joins and ends cases. Keeps nothing itself but when it was started.

    Args:
        settings: how long early evidence waits, and how long deadlines wait after a start.
        patience_s: how long an upload waits for its evidence, seconds.
        now_ms: wall clock, ms since the epoch.
        metrics: counts go here.
    """

    def __init__(
        self,
        settings: CaseSettings,
        patience_s: Callable[[Upload], float],
        now_ms: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._now_ms = now_ms
        self._evidence = metrics.counter("evidence")
        self._cases = metrics.counter("cases")
        self._wait = metrics.histogram("evidence_wait_ms")
        self._from_ms = now_ms() + settings.grace_s * 1000
        """After an outage the evidence that came meanwhile is read before deadlines count."""

    def open(self, state: CaseState, upload: Upload, arrived: Arrived) -> list[Arrived]:
        """Open a case; gives evidence that is here already, to be joined now.

        An upload that comes again changes nothing.
        """
        key = case_key(upload.content_id, upload.revision)
        case = self._read(state, key)
        if case.upload is not None or case.joined:
            return []
        early, case.early = case.early, []
        case.upload = arrived
        case.deadline_ms = int(self._now_ms() + self._patience_s(upload) * 1000)
        self._write(state, key, case)
        self._wake(state, case.deadline_ms)
        self._cases.add("opened")
        return early

    def join(self, state: CaseState, evidence: MediaEvidence, arrived: Arrived) -> Joined | None:
        """Join evidence with its upload; None where there is nothing to decide now."""
        key = case_key(evidence.content_id, evidence.revision)
        case = self._read(state, key)
        if any(known == evidence.evidence_id for known, _ in case.joined):
            self._evidence.add("duplicate")
            return None
        if case.upload is None:
            if case.joined:
                self._evidence.add("settled")
                return None
            self._keep_early(state, key, case, arrived)
            return None
        overdue = case.revision > 0 and not case.joined
        case.revision += 1
        case.joined.append((evidence.evidence_id, case.revision))
        case.deadline_ms = 0
        self._write(state, key, case)
        self._evidence.add("late" if overdue else "joined")
        self._wait.observe(arrived.broker_ms - case.upload.broker_ms)
        return Joined(case.upload, case.revision)

    def again(self, state: CaseState, evidence: MediaEvidence) -> Joined | None:
        """The same answer as `join` gave before a restart."""
        case = self._read(state, case_key(evidence.content_id, evidence.revision))
        for known, revision in case.joined:
            if known == evidence.evidence_id and case.upload is not None:
                return Joined(case.upload, revision)
        return None

    def settle(self, state: CaseState, evidence: MediaEvidence) -> None:
        """After the decision: where everything was seen the upload is not needed any more."""
        if unseen(evidence):
            return
        key = case_key(evidence.content_id, evidence.revision)
        case = self._read(state, key)
        case.upload = None
        self._write(state, key, case)

    def due(self, state: CaseState, *, everything: bool = False) -> Due:
        """What is over now.

        Args:
            state: the user's.
            everything: the input has ended, nothing more will come.
        """
        now = self._now_ms()
        found = Due([], [])
        for key, value in list(state.items()):
            case = _KEPT.found(value) or Case()
            if not case.deadline_ms:
                continue
            if not everything and max(case.deadline_ms, self._from_ms) > now:
                # Woken by another's deadline, or too soon after a restart.
                self._wake(state, int(max(case.deadline_ms, self._from_ms)))
                continue
            if case.upload is None:
                found.unmatched.extend(case.early)
                for _ in case.early:
                    self._evidence.add("unmatched")
                state.remove(key)
                continue
            case.deadline_ms = 0
            case.revision += 1
            self._write(state, key, case)
            self._cases.add("overdue")
            found.overdue.append(Joined(case.upload, case.revision))
        return found

    def forget(self, state: CaseState, until_ms: int) -> None:
        """Drop the cases of uploads, and the evidence, that the broker had up to a time."""
        for key, value in list(state.items()):
            case = _KEPT.found(value) or Case()
            newest = case.upload or (case.early[-1] if case.early else None)
            if newest is None or newest.broker_ms <= until_ms:
                state.remove(key)

    def _keep_early(self, state: CaseState, key: str, case: Case, arrived: Arrived) -> None:
        place = arrived.partition, arrived.offset
        if any((known.partition, known.offset) == place for known in case.early):
            self._evidence.add("duplicate")
            return
        self._evidence.add("early")
        case.early = [*case.early, arrived]
        if not case.deadline_ms:
            case.deadline_ms = int(self._now_ms() + self._settings.early_s * 1000)
            self._wake(state, case.deadline_ms)
        self._write(state, key, case)

    def _read(self, state: CaseState, key: str) -> Case:
        value = state.get(key)
        return _KEPT.found(value) or Case()

    def _write(self, state: CaseState, key: str, case: Case) -> None:
        state.put(key, _KEPT.encode(case))

    def _wake(self, state: CaseState, at_ms: int) -> None:
        state.wake((at_ms // WAKE_MS + 1) * WAKE_MS + 1)


def may_be_deadline(timer_ms: int) -> bool:
    """Whether a timer may be one of `CaseState.wake`; ticks of 2 ms or more never are."""
    return timer_ms % WAKE_MS == 1


def case_key(content_id: str, revision: int) -> str:
    """Key of a case in the map."""
    return f"{content_id}\x00{revision}"


_KEPT: Final = Kept(Case, 1, "case")
