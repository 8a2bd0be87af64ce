"""A dead letter: what could not be moderated, with its bytes and the reason."""

from __future__ import annotations

from typing import Literal

import msgspec

ErrorKind = Literal[
    "oversize",
    "encoding",
    "not_json",
    "nesting",
    "missing_field",
    "invalid_field",
    "unknown_content_type",
    "key_mismatch",
    "unmatched",
    "internal",
]
"""`unmatched` is feedback about a content that no decision came for while it was held.

`internal` is a fault of Sluice itself: the upload is kept, the job goes on."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One refused record. `raw` holds its exact bytes (base64 in JSON)."""

    raw: bytes
    topic: str
    partition: int
    offset: int
    timestamp: int
    """Broker timestamp of the refused record, ms since the epoch."""
    error_kind: ErrorKind
    field: str
    message: str
    content_id: str | None = None
    """Where it could be read."""
