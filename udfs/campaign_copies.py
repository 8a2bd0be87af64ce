"""Which groups an upload is counted in: keys of its text, and of its pictures.

Texts share a group where four minima of their sketches are the same: two texts with similarity J
share one of b groups with probability 1 - (1 - J**4)**b, and of many copies of one text that each
differ a little, a group holds the share J**4. Pictures share one where 32 of their 256 PDQ bits
are the same, at the same place.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Final, NamedTuple

from schemas.campaign_job import AccountsPart, CampaignsDocument
from schemas.evidence import MediaEvidence
from schemas.upload import Account
from udfs.campaign_sketch import sketched
from udfs.normalise import normalise

PICTURE_BANDS: Final = 8
"""Pieces of a PDQ hash, 32 bits each."""
_DAY_S: Final = 86_400.0


class Content(NamedTuple):
    """One thing that an upload shows, and the groups that it is counted in."""

    family: str
    """text or picture."""
    digest: bytes
    """SHA-256 of the normalised text; empty for pictures."""
    print: bytes
    """Sketch or PDQ hash."""
    keys: tuple[str, ...]
    excerpt: str = ""


def text_content(text: str, config: CampaignsDocument) -> Content | None:
    """A text as it is counted; None where it is too short.

    Args:
        text: as it was uploaded.
        config: says what is too short, and in how many groups a text is counted.
    """
    normalised = normalise(text).text
    if len(normalised) < config.texts.min_chars:
        return None
    digest = hashlib.sha256(normalised.encode()).digest()
    excerpt = text[: config.excerpt_chars]
    found = sketched(normalised, config.texts.bands)
    if found is None:
        # Too few pieces, as of a row of emoji: only the very same text is a copy.
        return Content("text", digest, b"", (f"x{digest[:12].hex()}",), excerpt)
    keys = tuple(f"t{place}{band.hex()}" for place, band in enumerate(found.bands))
    return Content("text", digest, found.sketch, keys, excerpt)


def picture_contents(evidence: MediaEvidence, config: CampaignsDocument) -> list[Content]:
    """Pictures, or frames of a video, as they are counted; those with too little structure not."""
    limits, hashes = config.pictures, evidence.hashes
    found: list[str] = []
    if hashes.pdq and hashes.quality >= limits.min_quality:
        found.append(hashes.pdq[0])
    good = (frame.pdq for frame in hashes.frames if frame.quality >= limits.min_quality)
    found += list(dict.fromkeys(good))[: limits.frames]
    return [picture(bytes.fromhex(pdq)) for pdq in dict.fromkeys(found)]


def picture(pdq: bytes) -> Content:
    """A picture as it is counted, by its PDQ hash (32 bytes)."""
    width = len(pdq) // PICTURE_BANDS
    keys = tuple(
        f"p{place}{pdq[place * width : (place + 1) * width].hex()}"
        for place in range(PICTURE_BANDS)
    )
    return Content("picture", b"", pdq, keys)


def user_weight(account: Account, at: dt.datetime, config: AccountsPart) -> int:
    """What a user counts in a campaign, in thousandths.

    1 up to `new_days` of age, `old` from `old_days` on and of verified accounts, in between in a
    straight line; `unknown` where nobody tells the age.

    Args:
        account: what the platform says.
        at: when the upload came: later age does not count.
        config: the figures.
    """
    if account.verified:
        return round(config.old * 1000)
    if account.created_at is None:
        return round(config.unknown * 1000)
    days = (at - account.created_at).total_seconds() / _DAY_S
    if days <= config.new_days:
        return 1000
    if days >= config.old_days:
        return round(config.old * 1000)
    share = (days - config.new_days) / (config.old_days - config.new_days)
    return round(1000 * (1.0 - share * (1.0 - config.old)))


def hash64(text: str) -> int:
    """64-bit hash of an id, never 0."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) or 1
