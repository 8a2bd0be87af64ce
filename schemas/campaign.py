"""Campaigns: what many users said at once, published to `moderation.campaigns`, keyed by its id.

A campaign is told again, at its next revision, when it has grown to twice its size, when its
copies are found to differ, when its bank is prolonged, and when it ends.
Readers keep the newest revision of each id. A content that comes back after its campaign has
ended, and was forgotten, has the same id again and begins at revision 0.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.decoding import decode_record
from schemas.upload import Count, Identifier, Timestamp

CampaignKind = Literal["exact", "near", "picture"]
CampaignStatus = Literal["live", "ended", "known_good"]
CampaignId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
Hash256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]

BANK_PREFIX: Final = "campaign_"
"""How the bank of a campaign is called, before the campaign's id."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign at one revision."""

    campaign_id: CampaignId
    revision: Count
    status: CampaignStatus
    """live: its bank holds. ended: no copy came until the bank expired. known_good: what is
    copied was found in a known-good bank; its bank was taken back."""
    kind: CampaignKind
    """exact: all examples are one text after normalisation. near: they differ. picture: they are
    pictures or frames that look alike."""
    why: Literal["users", "communities"]
    """Many users, or a few users in many communities."""
    mode: Literal["off", "observe", "act"]
    """What its bank does with later copies."""
    category: str
    """Of its bank."""
    severity: Literal["mild", "moderate", "severe"]
    """Likewise."""
    users: Count
    """Distinct ones, as the following within one window; the most so far."""
    communities: Count
    uploads: Count
    estimated: bool
    """Whether any of these is an estimate, since there were too many to be counted one by one."""
    mean_weight: Annotated[float, Meta(ge=0, le=1)]
    """What its users count on average, by the age of their accounts: 1 where all are new."""
    similarity: Annotated[float, Meta(ge=0, le=1)]
    """Of the examples to the one that represents them, on average."""
    hashes: list[Hash256]
    """SHA-256 of the examples' normalised texts, the representative's first; none of pictures."""
    sketch: str
    """Of the representative's text, as `near` entries of banks have it; empty for pictures and
    for texts that are too short for one."""
    pdq: str
    """Of the representative picture, 64 hex digits; empty for texts."""
    examples: list[Identifier]
    """Content ids of some copies, the representative's first."""
    excerpt: str
    """Of the representative's text, as far as a setting allows."""
    first_seen: Timestamp
    """Broker time of the first counted copy, and of the last below."""
    last_seen: Timestamp
    expires_at: Timestamp
    """Uploads from then on do not meet its bank."""

    @property
    def bank(self) -> str:
        """Name of its bank."""
        return f"{BANK_PREFIX}{self.campaign_id}"

    @property
    def control_key(self) -> str:
        """Key of the control message that makes its bank."""
        return f"{'media_bank' if self.kind == 'picture' else 'bank'}/{self.bank}"


_decoder: Final = msgspec.json.Decoder(Campaign)


def decode_campaign(raw: bytes) -> Campaign:
    """Read a campaign.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    return decode_record(_decoder, raw, "a campaign")


def campaign_id(family: str, content: bytes) -> str:
    """Deterministic id: 64 bits of BLAKE2b, hex.

    Args:
        family: text or picture.
        content: SHA-256 of the representative's normalised text, or its PDQ hash.
    """
    return hashlib.blake2b(family.encode() + b"\0" + content, digest_size=8).hexdigest()


def time_of(ms: int) -> dt.datetime:
    """A broker's time, ms since the epoch, as records have it."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
