"""What `conf/fusion.yaml` may say: the coefficients of the default fusion, in log-odds.

No coefficient may be negative: evidence can only raise a probability. `udfs.fusion` applies them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from schemas.policy_parts import Name, Part, Probability
from schemas.yaml_source import FaultError

Inner = Annotated[float, Field(gt=0, lt=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
LogOdds = Annotated[float, Field(ge=0, le=20)]
WindowName = Literal["10s", "1m", "1h", "1d"]


class Clip(Part):
    """Evidence never moves a probability beyond these; a model's own score may lie beyond."""

    low: Inner
    high: Inner

    @model_validator(mode="after")
    def _ordered(self) -> Clip:
        if self.low >= self.high:
            raise FaultError("must be below high", "low")
        return self


class RuleEvidence(Part):
    """Rules that matched, per category."""

    log_odds: LogOdds
    """Added by a rule of weight 1; less in proportion."""
    next: Probability
    """Each further rule of the category, from the heaviest down, counts this much of the last."""
    most: LogOdds
    """All rules of a category together add no more."""


class EvasionEvidence(Part):
    """Disguise that normalisation had to remove."""

    above: BelowOne
    """Evasion up to here is ordinary spelling."""
    log_odds: dict[Name, LogOdds]
    """By category: added at evasion 1, less in proportion to what is above."""


class WindowEvidence(Part):
    """One velocity window: how much is ordinary, and what the rest says."""

    free_count: Annotated[int, Field(ge=0)]
    """Uploads that are ordinary in this window."""
    count: LogOdds
    """Per natural logarithm of 1 + the uploads above."""
    free_repeats: Annotated[int, Field(ge=0)]
    """Repeated texts (uploads minus distinct texts) that are ordinary."""
    repeats: LogOdds
    """Per natural logarithm of 1 + the repeats above."""


class VelocityEvidence(Part):
    """Floods."""

    category: Name
    windows: dict[WindowName, WindowEvidence]
    most: LogOdds


class HistoryEvidence(Part):
    """What the author did before. New accounts are judged by content alone."""

    categories: tuple[Name, ...]
    min_uploads: Annotated[int, Field(ge=0)]
    """A user with fewer uploads has no history."""
    violations: LogOdds
    """Per natural logarithm of 1 + violations."""
    toxicity_rate: LogOdds
    """At a rate of 1."""
    report_rate: LogOdds
    """At a rate of 1."""
    most: LogOdds


class ContextEvidence(Part):
    """Surroundings: counts above a level, and fully at 1."""

    above: BelowOne
    log_odds: LogOdds
    categories: tuple[Name, ...]


class FusionDocument(Part):
    """All of `conf/fusion.yaml`."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    prior: Inner
    """Probability of a category that no model scored, before any evidence."""
    clip: Clip
    rules: RuleEvidence
    evasion: EvasionEvidence
    velocity: VelocityEvidence
    history: HistoryEvidence
    parent_toxicity: ContextEvidence
    community_baseline: ContextEvidence


def fusion_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/fusion.yaml`, as kept in `conf/schemas/fusion.schema.json`."""
    return FusionDocument.model_json_schema()
