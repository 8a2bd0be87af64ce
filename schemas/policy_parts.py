"""Parts of a policy that stand alone: scales, thresholds by user, the review queue, labels.

`schemas.policy` puts them together.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.yaml_source import FaultError

Probability = Annotated[float, Field(ge=0, le=1)]
ShiftSize = Annotated[float, Field(ge=-1, le=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Tier = Annotated[int, Field(ge=0, le=3)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Sentence = Annotated[str, Field(min_length=1, max_length=500)]
Measure = Literal["review", "label", "age_gate", "warn", "restrict", "shadowban", "remove"]
Band = Literal["cold", "low", "normal", "high"]
GradedSeverity = Literal["mild", "moderate", "severe"]
Missing = Literal["fail_open", "fail_closed"]
WithoutEvidence = Literal["review", "wait"]

SEVERITIES: Final[tuple[GradedSeverity, ...]] = ("mild", "moderate", "severe")
BANDS: Final[tuple[Band, ...]] = ("cold", "low", "normal", "high")
MEASURES: Final[tuple[Measure, ...]] = (
    "review",
    "label",
    "age_gate",
    "warn",
    "restrict",
    "shadowban",
    "remove",
)
"""From the mildest to the strictest. A severity may not act milder than a lesser one."""


class Part(BaseModel):
    """Base of every part of a configuration file: frozen, and unknown fields are mistakes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class Thresholds(Part):
    """Approve below, reject above, a person decides between (both ends included)."""

    approve_below: Probability
    reject_above: Probability

    @model_validator(mode="after")
    def _ordered(self) -> Thresholds:
        if self.approve_below > self.reject_above:
            raise FaultError("must not be above reject_above", "approve_below")
        return self


class ThresholdChange(Part):
    """Thresholds of which some are replaced."""

    approve_below: Probability | None = None
    reject_above: Probability | None = None


class LowThresholds(Thresholds):
    """For users of low reputation."""

    below_reputation: Annotated[float, Field(ge=0, le=100)]


class HighThresholds(Thresholds):
    """For users of high reputation."""

    above_reputation: Annotated[float, Field(ge=0, le=100)]


class BandThresholds(Part):
    """One pair of thresholds for each band of users."""

    cold: Thresholds
    low: LowThresholds
    normal: Thresholds
    high: HighThresholds

    @model_validator(mode="after")
    def _bands_apart(self) -> BandThresholds:
        if self.low.below_reputation > self.high.above_reputation:
            raise FaultError("must not be above high.above_reputation", "low", "below_reputation")
        return self


class ColdStart(Part):
    """Who is new. New accounts have the band `cold`, whatever their reputation says."""

    max_account_age_days: Annotated[float, Field(ge=0)]
    """A younger account is new."""
    min_uploads: Annotated[int, Field(ge=0)]
    """A known user with fewer uploads is new."""
    unknown_user: Literal["cold", "normal"]
    """Band of a user without a row and without an account age."""
    user_stores: tuple[str, ...]
    """Names in `degraded` that mean: the store was away, so unknown does not mean new."""


class Shift(Part):
    """Moves thresholds: below zero is stricter, above is looser."""

    approve: ShiftSize = 0.0
    reject: ShiftSize = 0.0


class Shifts(Part):
    """Shifts by the upload's kind; they add up with those of community and language."""

    public: Shift = Shift()
    private: Shift = Shift()
    post: Shift = Shift()
    comment: Shift = Shift()
    lowest: Probability
    """A shifted threshold is never below this."""
    highest: Probability
    """Nor above this."""

    @model_validator(mode="after")
    def _ordered(self) -> Shifts:
        if self.lowest > self.highest:
            raise FaultError("must not be above highest", "lowest")
        return self


class Deadline(Part):
    """How long an upload waits for its evidence."""

    priority: Annotated[int, Field(ge=0, le=9)]
    """From this priority on."""
    seconds: Annotated[float, Field(gt=0, le=86_400)]


class MediaPolicy(Part):
    """Images and videos before their evidence is there."""

    without_evidence: WithoutEvidence
    """`review` asks a person at once; `wait` leaves it to the media job."""
    caption_may_reject: bool
    """True: a caption that is rejected decides at once."""
    tier: Tier
    deadlines: Annotated[tuple[Deadline, ...], Field(min_length=1)] = (
        Deadline(priority=0, seconds=300),
    )
    """How long evidence is waited for: the last whose priority is not above the upload's. Then
    the categories that need it decide as `on_missing` says; late evidence still corrects."""

    @model_validator(mode="after")
    def _ordered(self) -> MediaPolicy:
        if self.deadlines[0].priority != 0:
            raise FaultError("must begin with priority 0", "deadlines", 0, "priority")
        for index, (lower, higher) in enumerate(pairwise(self.deadlines), start=1):
            if higher.priority <= lower.priority:
                raise FaultError("must rise", "deadlines", index, "priority")
        return self

    def patience_s(self, priority: int) -> float:
        """How long an upload of this priority waits for its evidence, seconds."""
        return next(
            deadline.seconds
            for deadline in reversed(self.deadlines)
            if deadline.priority <= priority
        )


class PriorityWeights(Part):
    """Weights of the review queue's priority; `udfs.review.priority` has the formula."""

    reported: Weight
    uncertainty: Weight
    reputation: Weight
    engagement: Weight
    engagement_decades: Annotated[float, Field(gt=0)]
    """Powers of ten of engagement that give the full weight."""
    waiting: Weight
    waiting_hours: Annotated[float, Field(gt=0)]
    degraded: Weight
    """Added where the upload was allowed without having been judged."""


class TierPolicy(Part):
    """One tier of the review queue."""

    description: Sentence
    minutes: Annotated[float, Field(gt=0)]
    """Time within which a person answers."""


class Sampling(Part):
    """Allowed uploads that a person looks at all the same, picked by hash of the content id."""

    rate: Rate
    salt: str
    tier: Tier


class ReviewPolicy(Part):
    """The review queue."""

    priority: PriorityWeights
    tiers: Annotated[tuple[TierPolicy, ...], Field(min_length=4, max_length=4)]
    sampling: Sampling


class LabellingBand(Part):
    """Scores that are worth a label; a share of them is picked."""

    name: Name
    low: Probability
    high: Probability
    rate: Rate

    @model_validator(mode="after")
    def _ordered(self) -> LabellingBand:
        if self.low > self.high:
            raise FaultError("must not be above high", "low")
        return self


class Labelling(Part):
    """Active learning: what is worth a label, and what labels of each source weigh."""

    salt: str
    bands: tuple[LabellingBand, ...]
    disagreement_above: Probability
    disagreement_rate: Rate
    bank_weight: Rate
    rule_weight: Rate
    sample_weight: Rate
