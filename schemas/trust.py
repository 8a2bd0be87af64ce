"""Trust of a user: `conf/trust.yaml`, the events that it follows from, and what readers see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta
from pydantic import Field, model_validator

from schemas.categories import Severity
from schemas.features import UserFeatures
from schemas.policy_parts import GradedSeverity, Measure, Name, Part, Sentence
from schemas.upload import Count, Identifier
from schemas.yaml_source import FaultError, YamlSource

Days = Annotated[float, Field(gt=0, le=100_000)]
Points = Annotated[float, Field(ge=0, le=100)]
LabelName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
LabelSource = Literal["rule", "model", "person"]
Milliseconds = Annotated[int, Meta(ge=0)]
"""Since the epoch."""


class SeverityPoints(Part):
    """A figure for each severity of a violation."""

    mild: Points
    moderate: Points
    severe: Points


class ReputationPart(Part):
    """Points of the reputation; `udfs.trust.reputation` has the formula."""

    start: Points = 50.0
    """Of a user about whom nothing is known."""
    age_most: Points = 15.0
    """For an account of `age_days` and more; a younger one gets its share."""
    age_days: Days = 365.0
    verified: Points = 10.0
    clean_most: Points = 15.0
    """For `clean_uploads` uploads without a violation and more; fewer get their share."""
    clean_uploads: Annotated[int, Field(ge=1)] = 200
    violation: SeverityPoints = SeverityPoints(mild=5, moderate=15, severe=30)
    """Taken away by one violation ..."""
    half_life_days: Days = 30.0
    """... of which half is forgiven in that time."""
    overturned: Points = 5.0
    """Given for a decision that an appeal overturned, besides what it had taken away."""
    overturned_most: Points = 15.0
    """Of all of them together."""


class StrikesPart(Part):
    """Violations that count as strikes, and when they lapse."""

    weights: SeverityPoints = SeverityPoints(mild=0, moderate=1, severe=2)
    """Strikes for one violation; decimals are taken."""
    days: Days = 90.0
    """After which a strike lapses."""


class RestrictionPart(Part):
    """What acts on a user's next upload, for as long as its condition holds."""

    strikes: Annotated[float, Field(gt=0)] | None = None
    """So many strikes that have not lapsed, or more."""
    label: Name | None = None
    """Or a label that the user has."""
    measure: Measure
    reason: Sentence

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if (self.strikes is None) == (self.label is None):
            raise FaultError("give one of strikes and label", "strikes")
        return self


class AutomaticLabelPart(Part):
    """A label that a decision gives to the upload's author, by a rule or by a category."""

    label: Name
    rule: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Id of a rule that matched (not one that only observes) ..."""
    category: Name | None = None
    """... or the category of a decision that acted against the author."""
    severity: GradedSeverity = "mild"
    """Of that decision, at least."""
    probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of that decision, at least."""
    days: Days
    """After which the label lapses."""
    reason: Sentence

    @model_validator(mode="after")
    def _one_cause(self) -> Self:
        if (self.rule is None) == (self.category is None):
            raise FaultError("give one of rule and category", "rule")
        return self


class MemoryPart(Part):
    """What is remembered of one user; beyond, counts alone."""

    clean: Annotated[int, Field(ge=1, le=1000)] = 8
    """Newest uploads without a violation: to tell a redelivery, a correction, an appeal."""
    violations: Annotated[int, Field(ge=1, le=1000)] = 32
    recent: Annotated[int, Field(ge=0, le=1000)] = 64
    """Of either kind so many are remembered, if they are `recent_s` younger than the newest at
    most: as far as velocity remembers uploads, so that a redelivery reads the same of both."""
    recent_s: Annotated[int, Field(ge=0, le=86_400)] = 600
    labels: Annotated[int, Field(ge=1, le=1000)] = 32


class TrustDocument(Part):
    """The whole file."""

    version: Literal[1]
    reputation: ReputationPart = ReputationPart()
    strikes: StrikesPart = StrikesPart()
    restrictions: tuple[RestrictionPart, ...] = ()
    """The strictest of those whose condition holds acts."""
    labels: tuple[AutomaticLabelPart, ...] = ()
    """Labels that decisions give. What a person says outranks them."""
    incident_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
    """Violations in one such stretch of the clock are one incident: the gravest of them counts."""
    memory: MemoryPart = MemoryPart()
    settle_ms: Annotated[int, Field(ge=0, le=600_000)] = 1000
    """An upload counts what was asked at least so long before it: what is nearer may or may not
    have been decided by then, and a repetition must read the same."""
    idle_days: Annotated[int, Field(ge=1, le=3650)] = 180
    """When what is remembered of a silent user goes. Not less than strikes last."""

    @model_validator(mode="after")
    def _strikes_are_remembered(self) -> Self:
        if self.idle_days < self.strikes.days:
            raise FaultError("must not be below strikes.days", "idle_days")
        return self


class Decided(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="decided"):
    """An upload of the user was decided, or decided again."""

    content_id: Identifier
    revision: Count = 0
    """Of the case: the highest counts."""
    severity: Severity = "none"
    """`none`: it broke no rule."""
    at_ms: Milliseconds
    """Broker time of what asked for it, the upload or its evidence: the same under redelivery."""
    account_created_ms: Milliseconds = 0
    """0: unknown."""
    verified: bool = False


class Overturned(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="overturned"):
    """An appeal overturned a decision: it and those before it were no violation."""

    content_id: Identifier
    revision: Count = 0
    at_ms: Milliseconds


class ReportsPassed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="reports"):
    """Reports of a content passed a threshold."""

    content_id: Identifier
    at_ms: Milliseconds


class Labelled(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="label"
):
    """A label was set, or taken away. What a person says outranks rules and models."""

    name: LabelName
    source: LabelSource
    present: bool = True
    """False: the user shall not have it."""
    reason: Annotated[str, Meta(max_length=500)] = ""
    by: Annotated[str, Meta(max_length=256)] = ""
    """Rule, model or person."""
    at_ms: Milliseconds
    expires_ms: Milliseconds = 0
    """When it stops counting; 0: never."""


TrustEvent = Decided | Overturned | ReportsPassed | Labelled


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """One violation that counts against a user."""

    severity: Severity
    weight: float
    at_ms: int
    expires_ms: int


class UserRow(UserFeatures, frozen=True, kw_only=True):
    """The row `user:{id}` in Redis, which the job writes. It has every field of `UserFeatures`."""

    strikes: tuple[Strike, ...] = ()
    labels: tuple[Labelled, ...] = ()
    """That hold."""
    said: tuple[Labelled, ...] = ()
    """All that is remembered of what was said: denials, and what has expired, as well."""
    at_ms: int = 0
    """When it was true; what decays and lapses goes on from there."""


def load_trust(path: Path) -> TrustDocument:
    """Read `conf/trust.yaml`.

    Raises:
        ConfigError: with the line of the mistake.
    """
    return YamlSource.read(path).validate(TrustDocument)


def trust_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/trust.yaml`, as kept in `conf/schemas`."""
    return TrustDocument.model_json_schema()
