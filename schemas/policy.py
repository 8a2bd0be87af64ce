"""The moderation policy as data: what `conf/policy.yaml` may say.

These models check the document; `udfs.policy` compiles and applies it. Probabilities and
thresholds are in [0, 1], reputation is in [0, 100]. The docstring under a field comes out as
its description in the JSON schema (`policy_json_schema`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, model_validator

from schemas.conditions import Expression, check_expression
from schemas.language import UnreadLanguage
from schemas.policy_parts import (
    BANDS,
    MEASURES,
    SEVERITIES,
    Band,
    BandThresholds,
    ColdStart,
    GradedSeverity,
    Labelling,
    Measure,
    MediaPolicy,
    Missing,
    Name,
    Part,
    Probability,
    Rate,
    ReviewPolicy,
    Sentence,
    Shift,
    Shifts,
    ThresholdChange,
    Thresholds,
    Tier,
)
from schemas.yaml_source import FaultError


class SeverityRule(Part):
    """What one severity of a category means and what follows from it."""

    meaning: Sentence
    action: Measure
    at: Probability | None = None
    """A probability from here on has this severity; null takes `severity_from`. 1 is never: then
    only definitive rules and banks find this severity, and however high a score is, no more than
    the severity below follows from it."""
    tier: Tier
    """Tier of the review queue."""
    review: bool = False
    """A person looks although the action is taken."""
    notify: bool = False
    """Tell the user."""


class Severities(Part):
    """The three severities."""

    mild: SeverityRule
    moderate: SeverityRule
    severe: SeverityRule

    @model_validator(mode="after")
    def _ladder(self) -> Severities:
        if self.mild.at is not None:
            raise FaultError("mild has no `at`: it is all that is below moderate", "mild", "at")
        check_ladder({name: getattr(self, name).action for name in SEVERITIES})
        return self


class PolicyException(Part):
    """What looks like a breach and is none. With `when`, automatic action becomes review."""

    id: Name
    description: Sentence
    when: Expression | None = None

    @model_validator(mode="after")
    def _direction(self) -> PolicyException:
        _check_when(self.when, stricter=False)
        return self


class CategoryPolicy(Part):
    """One category of the policy."""

    description: Sentence
    model: tuple[Name, ...] | None = None
    """Score columns that tell of it, the highest counts; null is the column of its own name."""
    severities: Severities
    context: dict[Name, Sentence] = Field(default_factory=dict)
    """What a reviewer weighs: directed at a person? protected attribute? a pattern?"""
    exceptions: tuple[PolicyException, ...] = ()
    on_missing: Missing
    """What happens when one of `needs` was not available."""
    needs: tuple[str, ...]
    """Names in `degraded` without which this category cannot be judged."""
    appealable: bool = True
    protected: bool = False
    """No community may switch it off or loosen it; a shift cannot loosen it either."""
    critical_action: Measure = "remove"
    thresholds: dict[Band, ThresholdChange] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _critical(self) -> CategoryPolicy:
        severe = self.severities.severe.action
        if MEASURES.index(self.critical_action) < MEASURES.index(severe):
            raise FaultError(
                f"must not be milder than {severe}, the severe action", "critical_action"
            )
        return self


class UnknownCategory(Part):
    """What happens to a category that a rule, bank or model names and the policy does not."""

    tier: Tier


class Critical(Part):
    """A rejected upload whose severity score is above this gets the category's critical action."""

    above: Probability


class SeverityScores(Part):
    """Severity score of a definitive rule or bank match."""

    mild: Probability
    moderate: Probability
    severe: Probability


class SeverityFrom(Part):
    """From which probability on a model's finding is of a severity. 1 is never."""

    moderate: Probability
    severe: Probability

    @model_validator(mode="after")
    def _ordered(self) -> SeverityFrom:
        if self.moderate > self.severe:
            raise FaultError("must not be above severe", "moderate")
        return self


class BankPolicy(Part):
    """What a match of a bank is worth, by its confidence."""

    act_at: Probability
    review_at: Probability


class Condition(Part):
    """A rule over behaviour and circumstances, for example a flood of one text."""

    id: Name
    description: Sentence
    """A sentence for people without its full stop; becomes the reason."""
    when: Expression
    category: Name
    severity: GradedSeverity
    action: Measure
    probability: Probability
    """How sure it is that the upload breaks the policy when this holds."""

    @model_validator(mode="after")
    def _checked(self) -> Condition:
        _check_when(self.when, stricter=True)
        if self.action == "remove":
            raise FaultError(
                "a condition may not remove: removal needs a definitive severe rule or bank"
                " match, or a probability above reject_above; shadowban is the strictest here",
                "action",
            )
        return self


class DegradedPolicy(Part):
    """What follows when a stage was not available."""

    tier: Tier
    """Tier of an upload that was allowed because its category is fail-open."""
    review_rate: Rate
    """Share of those that go to review (1: all)."""


class CommunityCategory(Part):
    """What a community changes about one category."""

    enabled: bool = True
    shift: Shift = Shift()
    actions: dict[GradedSeverity, Measure] = Field(default_factory=dict)


class CommunityOverride(Part):
    """What a community changes."""

    shift: Shift = Shift()
    categories: dict[Name, CommunityCategory] = Field(default_factory=dict)


class LanguageOverride(Part):
    """What a declared language changes."""

    shift: Shift = Shift()


class CommunitiesDocument(Part):
    """Overrides that come apart from their policy, and replace those in it."""

    communities: dict[str, CommunityOverride]


class PolicyDocument(Part):
    """All of `conf/policy.yaml`."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    thresholds: BandThresholds
    cold_start: ColdStart
    shifts: Shifts
    severity_from: SeverityFrom
    severity_scores: SeverityScores
    critical: Critical
    banks: BankPolicy
    categories: Annotated[dict[Name, CategoryPolicy], Field(min_length=1)]
    unknown_category: UnknownCategory
    conditions: tuple[Condition, ...] = ()
    degraded: DegradedPolicy
    unread_language: UnreadLanguage = Field(default_factory=UnreadLanguage)
    media: MediaPolicy
    review: ReviewPolicy
    labelling: Labelling
    communities: dict[str, CommunityOverride] = Field(default_factory=dict)
    languages: dict[str, LanguageOverride] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> PolicyDocument:
        for name, category in self.categories.items():
            self._check_bands(name, category)
            moderate, severe = self.severity_from_of(category)
            if moderate > severe:
                raise FaultError(
                    f"moderate begins at {moderate:g}, after severe at {severe:g}",
                    "categories",
                    name,
                    "severities",
                )
            # What is critical is told by one number for scores and for matches.
            if severe == 1 and self.severity_scores.severe > self.critical.above:
                raise FaultError(
                    f"must not be below severity_scores.severe ({self.severity_scores.severe:g}):"
                    f" no score makes {name} severe, so a score may not bring its critical"
                    " action either",
                    "critical",
                    "above",
                )
        for index, condition in enumerate(self.conditions):
            if condition.category not in self.categories:
                message = f"no category {condition.category!r} in this policy"
                raise FaultError(message, "conditions", index, "category")
        ids = [condition.id for condition in self.conditions]
        for index, name in enumerate(ids):
            if name in ids[:index]:
                raise FaultError("is the id of two conditions", "conditions", index, "id")
        self.check_communities(self.communities)
        return self

    def check_communities(self, communities: Mapping[str, CommunityOverride]) -> None:
        """Raise a FaultError where overrides do not fit this policy's categories."""
        for community, override in communities.items():
            for name, change in override.categories.items():
                self._check_community(community, name, change)

    def thresholds_of(self, category: CategoryPolicy | None, band: Band) -> tuple[float, float]:
        """(approve_below, reject_above) of a category in a band, before any shift."""
        base: Thresholds = getattr(self.thresholds, band)
        change = category.thresholds.get(band) if category else None
        approve, reject = base.approve_below, base.reject_above
        if change and change.approve_below is not None:
            approve = change.approve_below
        if change and change.reject_above is not None:
            reject = change.reject_above
        return approve, reject

    def severity_from_of(self, category: CategoryPolicy) -> tuple[float, float]:
        """Probabilities from which a model's finding is moderate, and severe."""
        moderate, severe = category.severities.moderate.at, category.severities.severe.at
        return (
            self.severity_from.moderate if moderate is None else moderate,
            self.severity_from.severe if severe is None else severe,
        )

    def _check_bands(self, name: str, category: CategoryPolicy) -> None:
        """Better reputation may not be judged more strictly."""
        previous = (0.0, 0.0)
        for band in BANDS[1:]:
            pair = self.thresholds_of(category, band)
            where: tuple[str, ...] = ("categories", name, "thresholds", band)
            if band not in category.thresholds:
                where = ("thresholds", band) if not category.thresholds else where[:3]
            if pair[0] > pair[1]:
                raise FaultError(f"{band}: approve_below is above reject_above", *where)
            if pair[0] < previous[0] or pair[1] < previous[1]:
                raise FaultError(
                    f"{band}: a better reputation may not be judged more strictly (the band"
                    f" below has {previous[0]:g} and {previous[1]:g}, this {pair[0]:g} and"
                    f" {pair[1]:g})",
                    *where,
                )
            previous = pair

    def _check_community(self, community: str, name: str, change: CommunityCategory) -> None:
        where = ("communities", community, "categories", name)
        category = self.categories.get(name)
        if category is None:
            raise FaultError(f"no category {name!r} in this policy", *where)
        if category.protected and not change.enabled:
            raise FaultError(
                f"{name} is protected: no community may switch it off", *where, "enabled"
            )
        if category.protected and (
            change.actions or max(change.shift.approve, change.shift.reject) > 0
        ):
            raise FaultError(f"{name} is protected: no community may loosen it", *where)
        actions = {s: getattr(category.severities, s).action for s in SEVERITIES} | change.actions
        check_ladder(actions, *where, "actions")
        if MEASURES.index(actions["severe"]) > MEASURES.index(category.critical_action):
            raise FaultError(
                f"severe must not be stricter than {category.critical_action}, the category's"
                " critical_action",
                *where,
                "actions",
            )


def check_ladder(actions: Mapping[GradedSeverity, Measure], *path: str) -> None:
    """Raise a FaultError where a graver severity acts more mildly than a lesser one."""
    for lesser, graver in pairwise(SEVERITIES):
        if MEASURES.index(actions[graver]) < MEASURES.index(actions[lesser]):
            below = path or (graver, "action")
            raise FaultError(
                f"{graver} acts more mildly ({actions[graver]}) than {lesser}"
                f" ({actions[lesser]}); from mild to strict: {', '.join(MEASURES)}",
                *below,
            )


def policy_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/policy.yaml`, as kept in `conf/schemas/policy.schema.json`."""
    return PolicyDocument.model_json_schema()


def _check_when(when: Expression | None, *, stricter: bool) -> None:
    if when is None:
        return
    try:
        check_expression(when, stricter=stricter)
    except FaultError as fault:
        raise FaultError(str(fault), "when", *fault.path) from None
