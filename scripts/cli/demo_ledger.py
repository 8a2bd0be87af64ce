"""Double-entry bookkeeping of a run: what was published, and what came of it.

Knows nothing of Kafka's clients: records come in as bytes with their broker times.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import Counter, OrderedDict
from typing import Any, Final, NamedTuple

import msgspec

from schemas.decision import VOLATILE_FIELDS, moderation_id
from scripts.cli.publisher import Receipt
from scripts.cli.upload_lines import UploadLine

_EXPLAINED: Final = 20_000
"""Decisions kept whole, to name the fields in which a later one differs."""
_SHOWN: Final = 14
_ANSWERS: Final = ((0, "final"), (0, "interim"))
"""Case revision and stage of the decisions that answer an upload."""
_LATER: Final = ((1, "final"), (1, "overdue"), (2, "final"))
"""Of those that follow when its media were looked at."""


class Seen(NamedTuple):
    """One decision for people to look at."""

    text: str
    kind: str
    action: str
    category: str
    probability: float
    stage: str
    reason: str


class _Case:
    """One upload at one revision: how often it was taken, and when it was answered."""

    __slots__ = ("answers", "kind", "ledgered", "receipts", "text")

    def __init__(self, line: UploadLine) -> None:
        self.kind = line.kind
        self.text = line.text
        self.receipts: list[int] = []
        self.answers: list[int] = []
        self.ledgered = 0
        """How many pairs of receipt and answer have been turned into a latency."""


class _Answer(msgspec.Struct):
    """The part of a decision that is counted."""

    moderation_id: str
    content_id: str
    action: str
    stage: str
    category: str
    status: str
    probability: float
    reason: str
    degraded: list[str]
    revision: int = 0


class _Letter(msgspec.Struct):
    """The part of a dead letter that is matched and counted."""

    topic: str
    partition: int
    offset: int
    error_kind: str


class _Revision(msgspec.Struct):
    content_id: str
    revision: int = 0


_answers: Final = msgspec.json.Decoder(_Answer)
_letters: Final = msgspec.json.Decoder(_Letter)
_revisions: Final = msgspec.json.Decoder(_Revision)


class Ledger:
    """What was published, and what came of it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cases: dict[str, _Case] = {}
        self._open: dict[tuple[str, int, int], _Case | None] = {}
        self._dead: set[tuple[str, int, int]] = set()
        self._digests: dict[str, bytes] = {}
        self._whole: OrderedDict[str, bytes] = OrderedDict()
        self._repeated: set[str] = set()
        self._conflicting: dict[str, list[str]] = {}
        self._latencies: list[tuple[int, int]] = []
        self._first_receipt_ms: int | None = None
        self.uploads = 0
        self.decisions = 0
        self.first_decision_at: float | None = None
        """On the monotonic clock."""
        self.actions: Counter[str] = Counter()
        self.stages: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.by_kind: dict[str, Counter[str]] = {}
        self.others: Counter[str] = Counter()
        self._shown: dict[tuple[str, ...], Seen] = {}
        self._seen: set[str] = set()
        self.media = 0
        """Pictures and videos, each once."""
        self.later_actions: Counter[str] = Counter()
        """Of decisions after the first."""

    def register(self, line: UploadLine) -> _Case | None:
        """Expect an answer about an upload; call it before the upload is sent.

        Returns:
            What `taken` wants to know; None for what can only become a dead letter.
        """
        if not line.valid:
            return None
        upload = _revisions.decode(line.value)
        ids = [
            moderation_id(upload.content_id, upload.revision, case_revision, stage)
            for case_revision, stage in (*_ANSWERS, *_LATER)
        ]
        with self._lock:
            case = self._cases.get(ids[0])
            if case is None:
                case = _Case(line)
                for each in ids:
                    self._cases[each] = case
                if line.content_type in {"image", "video"}:
                    self.media += 1
            return case

    def taken(self, case: _Case | None, receipt: Receipt) -> None:
        """The broker has taken an upload."""
        place = (receipt.topic, receipt.partition, receipt.offset)
        with self._lock:
            self.uploads += 1
            if self._first_receipt_ms is None:
                self._first_receipt_ms = receipt.timestamp_ms
            if case is not None:
                case.receipts.append(receipt.timestamp_ms)
                self._settle(case)
            self._open[place] = case

    def decided(self, value: bytes, timestamp_ms: int) -> None:
        """A record of the decisions topic."""
        answer = _answers.decode(value)
        digest = _digest(value)
        with self._lock:
            self.decisions += not answer.revision
            if self.first_decision_at is None:
                self.first_decision_at = time.monotonic()
            case = self._cases.get(answer.moderation_id)
            if answer.moderation_id in self._digests:
                same = self._digests[answer.moderation_id] == digest
                self._again(answer.moderation_id, value, same=same)
            else:
                self._digests[answer.moderation_id] = digest
                self._whole[answer.moderation_id] = value
                if len(self._whole) > _EXPLAINED:
                    self._whole.popitem(last=False)
                self._count(answer, case)
            if case is not None and not answer.revision:
                case.answers.append(timestamp_ms)
                self._settle(case)

    def unseen(self) -> int:
        """Pictures and videos that were not decided with their evidence (or for want of it) yet."""
        return self.media - len(self._seen)

    def refused(self, value: bytes) -> None:
        """A record of the dead-letters topic."""
        letter = _letters.decode(value)
        place = (letter.topic, letter.partition, letter.offset)
        with self._lock:
            if place not in self._dead:
                self._dead.add(place)
                self.dead_letters[letter.error_kind] += 1

    def outstanding(self) -> int:
        """Uploads that the broker has and that have neither a decision nor a dead letter yet."""
        with self._lock:
            self._open = {
                place: case
                for place, case in self._open.items()
                if place not in self._dead and not (case is not None and case.answers)
            }
            return len(self._open)

    def unanswered(self, count: int = 5) -> list[str]:
        """Where some of the outstanding uploads are: topic, partition and offset."""
        self.outstanding()
        with self._lock:
            return ["/".join(map(str, place)) for place in list(self._open)[:count]]

    def latencies(self, *, skip_s: float = 0.0, last: int = 0) -> list[int]:
        """Milliseconds from each upload's broker time to its answer's.

        Args:
            skip_s: leave out uploads of the first seconds (a cold engine), if any are left then.
            last: only this many of the newest; 0 for all.
        """
        with self._lock:
            begin = (self._first_receipt_ms or 0) + skip_s * 1000
            pairs = self._latencies[-last:]
            warm = [latency for at, latency in pairs if at >= begin]
            return warm or [latency for _, latency in pairs]

    @property
    def shown(self) -> list[Seen]:
        """The newest decisions that did something, one of a sort."""
        with self._lock:
            return list(self._shown.values())[-_SHOWN:]

    @property
    def duplicates(self) -> int:
        """Ids under which more than one decision came."""
        return len(self._repeated)

    @property
    def conflicts(self) -> dict[str, list[str]]:
        """Ids under which decisions came that differ, and the fields in which they do."""
        return dict(self._conflicting)

    def _settle(self, case: _Case) -> None:
        """Pair receipts with answers, the first with the first."""
        while case.ledgered < min(len(case.receipts), len(case.answers)):
            begin = case.receipts[case.ledgered]
            self._latencies.append((begin, case.answers[case.ledgered] - begin))
            case.ledgered += 1

    def _again(self, identity: str, value: bytes, *, same: bool) -> None:
        self._repeated.add(identity)
        if not same:
            first = self._whole.get(identity)
            fields = _differences(first, value) if first else ["(the first is no longer kept)"]
            known = self._conflicting.setdefault(identity, [])
            known += [field for field in fields if field not in known]

    def _count(self, answer: _Answer, case: _Case | None) -> None:
        kind = (case.kind if case else "") or "unlabelled"
        if answer.revision:
            self._seen.add(answer.content_id)
            self.later_actions[answer.action] += 1
            kind = f"{kind}, looked at"
        else:
            self._count_first(answer)
        self.by_kind.setdefault(kind, Counter())[answer.action] += 1
        if answer.action != "allow":
            # One of a sort: a flood must not push everything else off the page.
            sort = (kind, answer.action, answer.category, answer.stage)
            self._shown.pop(sort, None)
            self._shown[sort] = Seen(
                text=case.text if case else "",
                kind=kind,
                action=answer.action,
                category=answer.category,
                probability=answer.probability,
                stage=answer.stage,
                reason=answer.reason,
            )

    def _count_first(self, answer: _Answer) -> None:
        self.actions[answer.action] += 1
        self.stages[answer.stage] += 1
        self.categories[answer.category or "none"] += 1
        self.statuses[answer.status] += 1
        self.degraded.update(answer.degraded)


def _stable(value: bytes) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(value)
    return {name: field for name, field in document.items() if name not in VOLATILE_FIELDS}


def _digest(value: bytes) -> bytes:
    """Fingerprint of everything in a decision that must be the same each time."""
    canonical = msgspec.json.encode(_stable(value), order="deterministic")
    return hashlib.blake2b(canonical, digest_size=16).digest()


def _differences(first: bytes, second: bytes) -> list[str]:
    one, two = _stable(first), _stable(second)
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def percentile(values: list[int], share: float) -> float | None:
    """Nearest-rank percentile; None of nothing.

    Args:
        values: any order.
        share: 0 to 1.
    """
    if not values:
        return None
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)])
