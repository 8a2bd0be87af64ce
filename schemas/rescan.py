"""What waits on `moderation.rescan` besides uploads: contents that a bank was not there for.

The moderation job writes one for each picture or video that it decided without a bank; the rescan
job publishes its evidence again, under another id, once the bank's snapshot can be read.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.categories import ContentType
from schemas.decoding import decode_record
from schemas.upload import Count, Identifier

BANKS: Final = "banks"
"""Name in `degraded` of a decision that was made while the snapshot of a bank could not be read."""


class AwayBank(msgspec.Struct, frozen=True, kw_only=True):
    """A bank whose snapshot cannot be read."""

    bank: str
    snapshot: str
    """Folder, absolute, as the moderation job's workers name it."""
    snapshot_sha256: str
    """SHA-256 of its manifest."""


class BankWait(msgspec.Struct, frozen=True, kw_only=True):
    """A content that has to be decided again when banks are back."""

    waits_for: Literal["banks"] = "banks"
    """Tells it from an upload, and is what it is keyed by."""
    content_id: Identifier
    user_id: Identifier
    """The author."""
    revision: Count = 0
    """Of the upload."""
    content_type: ContentType
    banks: Annotated[tuple[AwayBank, ...], Meta(min_length=1)]
    evidence: msgspec.Raw
    """What was found in the media, as it came: nothing is fetched or decoded again."""


class _Kind(msgspec.Struct):
    waits_for: str = ""
    created_at: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_MAX_BYTES: Final = 4_300_000
"""The longest evidence that is read, and what is around it."""
_decoder: Final = msgspec.json.Decoder(BankWait)
_kinds: Final = msgspec.json.Decoder(_Kind)


def waits_for_banks(raw: bytes) -> bool:
    """Whether a record of the topic is of this kind; what cannot be read is not.

    Nor is an upload, whatever other fields it brings: nobody's upload may say what was found.
    """
    try:
        kind = _kinds.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return kind.waits_for == BANKS and kind.created_at is msgspec.UNSET


def decode_bank_wait(raw: bytes) -> BankWait:
    """Decode and check one record.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    return decode_record(_decoder, raw, "a content that waits for banks", max_bytes=_MAX_BYTES)
