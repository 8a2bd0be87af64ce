"""`conf/campaigns.yaml`: when copies of one content from many users are a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from schemas.banks import Similarity
from schemas.media_banks import Quality
from schemas.policy_parts import GradedSeverity, Name, Part, Probability, Weight
from schemas.yaml_source import FaultError, YamlSource

Days = Annotated[float, Field(ge=0, le=36_500)]
Hours = Annotated[float, Field(gt=0, le=8_760)]
Count = Annotated[int, Field(ge=1)]
Mode = Literal["off", "observe", "act"]


class TextsPart(Part):
    """Which texts are copies of each other."""

    min_chars: Annotated[int, Field(ge=1, le=2_000)] = 40
    """Of the normalised text; shorter ones are what people say, and are never counted."""
    bands: Annotated[int, Field(ge=1, le=16)] = 4
    """Groups that a text is counted in, of four hashes each. More find campaigns whose copies
    differ more, and cost as much more."""
    similarity: Similarity = 0.6
    """Share of their pieces that copies have in common at least."""


class PicturesPart(Part):
    """Which pictures, and frames of videos, are copies of each other."""

    min_quality: Quality = 50
    """Of a PDQ hash that is counted."""
    distance: Annotated[int, Field(ge=0, le=31)] = 24
    """Bits of 256 in which copies differ at most."""
    frames: Annotated[int, Field(ge=0, le=16)] = 4
    """Of a video that are counted, the first good ones; 0: no videos."""
    wait_hours: Hours = 6.0
    """How long an upload waits for what was found in its media, and the other way round."""


class AccountsPart(Part):
    """What a user counts, 0 to 1, by the age of the account at the time of the upload."""

    new_days: Days = 7.0
    """Up to this age an account counts as 1; from there on less, in a straight line ..."""
    old_days: Days = 90.0
    """... to `old` at this age and above."""
    old: Probability = 0.02
    """Of an old or a verified account."""
    unknown: Probability = 0.2
    """Of an account whose age nobody tells."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.new_days > self.old_days:
            raise FaultError("must not be above old_days", "new_days")
        if not self.old <= self.unknown:
            raise FaultError("must not be below old", "unknown")
        return self


class ThresholdsPart(Part):
    """What makes copies within one window a campaign: the first three, or the last two."""

    users: Annotated[int, Field(ge=2)] = 10
    """Distinct users, and ..."""
    weight: Weight = 5.0
    """... the sum of what they count, and ..."""
    mean_weight: Probability = 0.2
    """... its mean over all of them: what a community shares is shared by its old accounts too."""
    communities: Annotated[int, Field(ge=2)] = 12
    """Distinct communities, and ..."""
    communities_per_user: Annotated[float, Field(ge=1)] = 4.0
    """... so many for each user: a few who post into many."""


class BankPart(Part):
    """The temporary bank that a campaign becomes."""

    mode: Mode = "observe"
    """off: campaigns are recorded, no bank is made. observe: later copies carry evidence of it.
    act: they are decided by it."""
    category: Name = "spam"
    severity: GradedSeverity = "moderate"
    confidence: Probability = 1.0
    """Of an exact copy."""
    expires_hours: Hours = 24.0
    """After its last counted copy, by the broker's time of uploads."""
    keep_hours: Annotated[float, Field(ge=0)] = 1.0
    """How long after that, by the clock, its message is taken back: uploads that are decided late
    or again still meet it until then."""


class BoundsPart(Part):
    """What the job remembers at most."""

    counted: Annotated[int, Field(ge=16, le=65_536)] = 128
    """Users, communities and uploads of one group that are counted one by one; beyond, their
    numbers are estimates (within 2 / sqrt(counted) of the truth, mostly)."""
    examples: Annotated[int, Field(ge=2, le=64)] = 8
    """Copies of one group that are remembered as examples."""
    campaigns: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Campaigns at one time; beyond, new ones are counted and given up."""


class CampaignsDocument(Part):
    """The whole file."""

    version: Literal[1]
    window_minutes: Annotated[float, Field(gt=0, le=10_080)] = 60.0
    """Copies count together that the broker took within such a time."""
    texts: TextsPart = TextsPart()
    pictures: PicturesPart = PicturesPart()
    accounts: AccountsPart = AccountsPart()
    thresholds: ThresholdsPart = ThresholdsPart()
    bank: BankPart = BankPart()
    bounds: BoundsPart = BoundsPart()
    excerpt_chars: Annotated[int, Field(ge=0, le=2_000)] = 0
    """Of a copy's text that records and state carry; 0: none of what users wrote."""
    known_good: tuple[Annotated[str, Field(min_length=1, max_length=2_000)], ...] = ()
    """Texts that, with their nearly equal copies, are no campaign however many share them."""

    @property
    def window_ms(self) -> int:
        """The window in milliseconds."""
        return int(self.window_minutes * 60_000)


def load_campaigns(path: Path) -> CampaignsDocument:
    """Read `conf/campaigns.yaml`.

    Raises:
        ConfigError: with the line of the mistake.
    """
    return YamlSource.read(path).validate(CampaignsDocument)


def campaigns_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/campaigns.yaml`, as kept in `conf/schemas`."""
    return CampaignsDocument.model_json_schema()
