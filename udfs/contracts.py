"""What the stages of the cascade hand to each other.

An `Item` goes in, an `Outcome` comes out; everything between is one batch at a time. Stores
and models are Protocols here and are handed in by whoever composes the cascade.

What is made for every upload is a msgspec struct: a frozen one is built in a tenth of the time
that a frozen dataclass takes.
"""

from __future__ import annotations

import dataclasses as dc
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.categories import Action, Severity, Status
from schemas.decision import Audit, Decision, Enforcement, Feedback, ReviewItem
from schemas.evidence import MediaEvidence
from schemas.features import SINGLE, ThreadContext, UserFeatures, Velocity
from schemas.report_evidence import ReportEvidence
from schemas.rescan import BankWait
from schemas.trust import UserRow
from schemas.upload import Upload

FloatMatrix = npt.NDArray[np.float32]


class NormalisedText(Protocol):
    """A text after `udfs.normalise`, with the way back to the original."""

    @property
    def original(self) -> str: ...
    @property
    def text(self) -> str:
        """What is matched, hashed and given to models."""
        ...

    @property
    def evasion(self) -> float:
        """0 to 1: how much disguise was removed."""
        ...

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Map a half-open range of `text` to code points of `original`."""
        ...


class Item(msgspec.Struct, frozen=True):
    """One upload on its way through the cascade."""

    upload: Upload
    raw: bytes
    """The payload as it came; goes into the audit record."""
    broker_ms: int
    """Broker timestamp of the upload, ms since the epoch."""
    velocity: Velocity = SINGLE
    normalised: NormalisedText | None = None
    """None where the upload has no text."""
    content_hash: str = ""
    """SHA-256 (hex) of the normalised text; empty where there is none."""
    case: MediaCase | None = None
    """None for a text, and for a picture or video whose evidence is still to come."""
    reports: ReportEvidence | None = None
    """What has it decided again, where that are reports."""
    user: UserFeatures | None = None
    """What is known of the author; None where the lookups have to say."""
    first_ms: int | None = None
    """Broker time at which this content first came, as far as that is remembered."""

    def with_velocity(self, velocity: Velocity) -> Item:
        """Give the same item with the velocity that it was counted with."""
        return Item(
            self.upload, self.raw, self.broker_ms, velocity, self.normalised, self.content_hash,
            self.case, self.reports, self.user, self.first_ms,
        )  # fmt: skip

    def with_user(self, user: UserFeatures, first_ms: int | None = None) -> Item:
        """Give the same item with what is known of its author, and when it first came."""
        return Item(
            self.upload, self.raw, self.broker_ms, self.velocity, self.normalised,
            self.content_hash, self.case, self.reports, user, first_ms,
        )  # fmt: skip

    @property
    def case_revision(self) -> int:
        """How often this content was decided before."""
        if self.reports is not None:
            return 1 + (0 if self.reports.before is None else self.reports.before.revision)
        return 0 if self.case is None else self.case.revision

    @property
    def asked_ms(self) -> int:
        """Broker time of what asks for a decision now: the evidence, or the upload itself."""
        return self.broker_ms if self.case is None else self.case.asked_ms

    @property
    def identity(self) -> tuple[str, int, int, str]:
        """The same for every redelivery, and another for each revision of a case."""
        upload = self.upload
        return (upload.content_id, upload.revision, self.case_revision, self.content_hash)


class SeenText(msgspec.Struct, frozen=True):
    """A text that was seen or heard in an upload's media."""

    source: Literal["ocr", "qr", "transcript"]
    place: int
    """Among the texts of the evidence record, from 0."""
    seconds: float | None
    item: Item
    """As if the author had written it."""


class MediaCase(msgspec.Struct, frozen=True):
    """A picture or video that is decided again: with its evidence, or because none came."""

    revision: int
    """Of the decision to be made, 1 or more."""
    asked_ms: int
    """Broker time of the evidence, or when its deadline had passed; ms since the epoch."""
    evidence: MediaEvidence | None = None
    """None: it did not come in time."""
    raw: bytes = b""
    """The evidence as it came; goes into the audit record."""
    texts: tuple[SeenText, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """Everything that follows from one upload."""

    decision: Decision
    audit: Audit | None = None
    review: ReviewItem | None = None
    enforcement: Enforcement | None = None
    feedback: tuple[Feedback, ...] = ()
    rescan: BankWait | None = None
    """Why it has to be decided again later, without its author or anybody asking for it."""


@dc.dataclass(slots=True, frozen=True)
class RuleMatch:
    """A keyword or pattern rule that matched."""

    rule_id: str
    category: str
    severity: Severity
    weight: float
    """0 to 1: how much the match says about the category."""
    definitive: bool
    """True where the match decides alone, without a model."""
    observe_only: bool
    spans: tuple[tuple[int, int], ...]
    """Half-open ranges of code points in the ORIGINAL text."""


@dc.dataclass(slots=True, frozen=True)
class BankMatch:
    """A known piece of content was seen again."""

    bank: str
    entry: str
    category: str
    severity: Severity
    polarity: Literal["bad", "good"]
    confidence: float
    distance: int = 0
    hold: str = ""
    """Why people should look before the match acts, as part of a sentence; empty where it acts."""
    observe_only: bool = False
    """Recorded as evidence; nothing that decides sees it."""

    def acts(self, act_at: float) -> bool:
        """Whether it decides alone, where matches do from that confidence on."""
        return self.confidence >= act_at and not self.hold


class Span(Protocol):
    """A stretch of text that a scorer points at."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def weight(self) -> float: ...


@runtime_checkable
class Scorer(Protocol):
    """A model that turns normalised texts into calibrated probabilities.

    The conformance suite in `tests/conformance.py` says what every scorer keeps to:
    deterministic, batch equals one by one, empty batch and empty text work, pickles.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def categories(self) -> tuple[str, ...]: ...

    def score(self, texts: Sequence[str]) -> FloatMatrix:
        """Calibrated probabilities, shape (len(texts), len(categories)), in [0, 1]."""
        ...

    def explain(self, text: str, category: str, limit: int = 5) -> Sequence[tuple[int, int, float]]:
        """Up to `limit` (start, end, weight) ranges in `text` that raised `category` most."""
        ...


class Signals(msgspec.Struct, frozen=True):
    """All that is known about one upload when it is fused and decided."""

    upload: Upload
    scores: Mapping[str, float]
    """Calibrated model probabilities by category; empty where no model ran."""
    rules: Sequence[RuleMatch]
    """Matches that act (observe-only ones are not here)."""
    banks: Sequence[BankMatch]
    evasion: float
    """0 to 1: how much disguise normalisation had to remove."""
    velocity: Velocity
    user: UserFeatures
    context: ThreadContext
    now_ms: int
    """When it was uploaded, ms since the epoch: ages are counted up to then."""
    """The upload's broker time, ms since the epoch: ages are the same under redelivery."""
    degraded: tuple[str, ...] = ()


class Fusion(Protocol):
    """Joins scores, rules and behaviour into one calibrated probability a category."""

    @property
    def version(self) -> str: ...

    def fuse(self, batch: Sequence[Signals]) -> list[dict[str, float]]:
        """One dict of category to probability for each of the batch."""
        ...


class Verdict(msgspec.Struct, frozen=True):
    """What the policy says about one upload."""

    status: Status
    action: Action
    category: str
    severity: Severity
    severity_score: float
    probability: float
    confidence: float
    reason: str
    approve_below: float
    reject_above: float
    review_why: Literal["", "uncertain", "policy", "degraded", "sample", "interim"] = ""
    """Why a person should look; empty where nobody needs to."""
    tier: int = 3
    """Tier of the review queue, 0 to 3, should a person look."""
    appealable: bool = True
    notify_user: bool = False
    fail_default: bool = False
    """True where a missing stage made the policy's fail-open or fail-closed rule decide."""
    decided_by: Literal["scores", "bank", "rule", "condition", "default"] = "scores"
    """What kind of finding decided; `default` is the fail-open or fail-closed rule."""
    finding: str = ""
    """Id of the rule, bank entry or condition that decided."""
    interim: bool = False
    """True where evidence is still to come and a later revision will follow."""


class Around(msgspec.Struct, frozen=True, gc=False):
    """Where an upload stands, for what is known about its surroundings."""

    at_ms: int
    """Broker time at which the upload first came, ms since the epoch: what came later does not
    count."""
    community_id: str | None
    thread_id: str | None
    """For an answer in no named thread, its parent's id."""
    parent_id: str | None
    own_id: str = ""
    """Content id of an upload that came before, nobody knows when: its own mark does not count."""
    revision: int = 0
    """The upload's, which goes with `own_id`."""


class Mark(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a decided upload says about its surroundings."""

    content_id: str
    revision: int
    """The upload's: an edit is a mark of its own."""
    at_ms: int
    """Broker time of what had it decided, ms since the epoch."""
    community_id: str
    """Empty: none."""
    thread_id: str
    """Empty: none. As in `Around`."""
    toxicity: int
    """In thousandths, see `udfs.context.toxicity_of`."""


class Lookups(Protocol):
    """The stores behind the cascade: one round trip a batch. Never raises for an outage."""

    def fetch(
        self, hashes: Sequence[str], users: Sequence[str], around: Sequence[Around]
    ) -> LookupResult:
        """Read everything that a batch needs.

        Args:
            hashes: content hashes (hex) whose model scores are wanted.
            users: user ids.
            around: places whose surroundings are wanted.
        """
        ...

    def remember(self, content_hash: str, assessment: CachedAssessment) -> None:
        """Queue one assessment for writing."""
        ...

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """Queue a user's row, for readers outside. The newest of a user is written."""
        ...

    def flush(self) -> None:
        """Have what is queued written. Nobody waits for it: it is there before the next `fetch`."""
        ...

    def note(self, marks: Sequence[Mark]) -> None:
        """Queue what a batch says about its surroundings. The same mark twice counts once."""
        ...


class CachedAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """What the decision cache holds about a content: nothing that depends on the user."""

    scores: dict[str, float]
    """Calibrated model probabilities."""
    model: str
    """Version of the models that gave them; another version does not use the row."""
    tier: Literal["fast_text", "deep_text"] = "fast_text"
    """The last of the models that looked."""
    action: str = ""
    """What the policy says about the content alone, for readers of the cache."""
    confidence: float = 0.0
    reason: str = ""


@dc.dataclass(slots=True, frozen=True)
class LookupResult:
    """Rows that were found. What is missing has defaults; `degraded` names stores that failed."""

    assessments: Mapping[str, CachedAssessment]
    users: Mapping[str, UserFeatures]
    contexts: Sequence[ThreadContext]
    """One for each place that was asked for, in order; none at all where nothing is known."""
    degraded: tuple[str, ...] = ()
