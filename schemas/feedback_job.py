"""`conf/feedback.yaml`: how long the feedback job remembers, and what a person's word weighs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from schemas.policy_parts import Part, Probability, Weight
from schemas.yaml_source import FaultError, YamlSource

Hours = Annotated[float, Field(gt=0, le=100_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1)]


class JoinPart(Part):
    """How what people say finds the decision that it is about."""

    remember_hours: Hours = 168.0
    """How long after its last record a content is remembered."""
    settle_s: Seconds = 30.0
    """What is said waits for so long, so that records that are on their way come first; and again
    after a decision came."""
    hold_hours: Hours = 72.0
    """What is said about a content that is not known waits for so long, then it becomes a dead
    letter."""
    decisions: Annotated[int, Field(ge=1, le=64)] = 8
    """Newest decisions of a content that are remembered."""
    text_chars: Annotated[int, Field(ge=0, le=50_000)] = 4_000
    """Of a content's text that rows carry; 0: none."""
    name_fields: Annotated[tuple[str, ...], Field(max_length=32)] = (
        "display_name",
        "full_name",
        "user_name",
        "username",
        "author_name",
        "author",
        "name",
        "mentions",
    )
    """Fields of an upload that tell names of persons (a name, an object or a list of either with
    such fields): rows have `[name]` in their place, wherever the text has them."""
    most_waiting: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Of one content; beyond, the oldest does not wait longer."""
    remembered_events: Annotated[int, Field(ge=1, le=10_000)] = 512
    """Of one content that are recognised when they come again. Others give a row of the same id
    again."""

    @model_validator(mode="after")
    def _held_while_remembered(self) -> Self:
        if self.hold_hours > self.remember_hours:
            raise FaultError("must not be above remember_hours", "hold_hours")
        return self


class WeightPart(Part):
    """What a label weighs in training, 0 to 1, before anybody outranks anybody."""

    report: Probability = 0.2
    """Times the reporter's trust."""
    reviewer: Probability = 0.8
    senior: Probability = 1.0
    appeal: Probability = 1.0
    """Resolved by a person."""
    automatic_appeal: Probability = 0.5


class ReporterPart(Part):
    """A reporter's trust: reputation / 100 times how established the account is, 0 to 1."""

    full_age_days: Annotated[float, Field(gt=0)] = 30.0
    """An account of that age is established; a younger one by its share of it."""
    unknown_age: Probability = 0.1
    """How established an account is whose age nobody tells."""
    verified: Probability = 0.5
    """How established a verified account is at least."""
    uploads: Count = 20
    """A user who is known to have uploaded so often is established, where no age is told."""


class ReportsPart(Part):
    """When reports have a content decided again."""

    window_hours: Hours = 24.0
    """Reports count together that were made within such a time."""
    thresholds: Annotated[tuple[Weight, ...], Field(min_length=1, max_length=8)] = (3.0, 10.0)
    """Sums of trust, ascending; each that is passed has the content decided again, once."""
    least_reporters: Count = 3
    """Distinct reporters that it takes whatever they weigh."""
    new_below: Probability = 0.25
    """Reporters with less trust are taken as new ..."""
    new_most: Weight = 1.0
    """... and all of them together weigh no more than that."""
    most_reports: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Of one content that are remembered; those with the most trust."""
    reporter: ReporterPart = ReporterPart()

    @model_validator(mode="after")
    def _brigade_is_not_enough(self) -> Self:
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise FaultError("must ascend", "thresholds")
        if self.new_most >= self.thresholds[0]:
            raise FaultError(
                "must be below the first threshold, or new accounts alone would pass it", "new_most"
            )
        return self


class FeedbackDocument(Part):
    """The whole file."""

    version: Literal[1]
    join: JoinPart = JoinPart()
    weights: WeightPart = WeightPart()
    reports: ReportsPart = ReportsPart()


def load_feedback(path: Path) -> FeedbackDocument:
    """Read `conf/feedback.yaml`.

    Raises:
        ConfigError: with the line of the mistake.
    """
    return YamlSource.read(path).validate(FeedbackDocument)


def feedback_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/feedback.yaml`, as kept in `conf/schemas`."""
    return FeedbackDocument.model_json_schema()
