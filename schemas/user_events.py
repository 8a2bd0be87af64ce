"""What is said about users: labels that people and other systems give, and erasure.

Records of `moderation.user-events`, keyed by user id, so that they reach the user's state in the
moderation job. The same record twice is the same as once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from pydantic import AwareDatetime

from schemas.decoding import decode_record
from schemas.errors import InvalidUploadError
from schemas.policy_parts import Part
from schemas.trust import Labelled, LabelName, LabelSource
from schemas.upload import Identifier, Timestamp
from schemas.yaml_source import YamlSource


class LabelGiven(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="label"):
    """A label was given to a user, denied, or taken back."""

    user_id: Identifier
    name: LabelName
    source: LabelSource = "person"
    present: bool = True
    """False: the user shall not have it, whatever rules and models say."""
    reason: Annotated[str, Meta(max_length=500)] = ""
    by: Annotated[str, Meta(max_length=256)] = ""
    """Rule, model or person."""
    at: Timestamp
    expires_at: Timestamp | None = None
    """When it stops counting; `at` itself takes back what the same source said before."""


class UserErased(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="erase"):
    """What is remembered of a user is to go; what they upload later counts from zero."""

    user_id: Identifier
    until: Timestamp
    content_id: Identifier | None = None
    """Of what the user wrote or spoke about. With it, the record is for jobs whose state is keyed
    by content, and says nothing about the user's own state."""


UserEvent = LabelGiven | UserErased
_decoder: Final = msgspec.json.Decoder(UserEvent)


def decode_user_event(raw: bytes) -> UserEvent:
    """Decode and check a record of the topic.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    event: UserEvent = decode_record(_decoder, raw, "a user event", max_bytes=16_384)
    if isinstance(event, LabelGiven) and event.expires_at and event.expires_at < event.at:
        raise InvalidUploadError(
            "invalid_field", "$.expires_at: must not be before at", field="$.expires_at"
        )
    return event


def labelled(event: LabelGiven) -> Labelled:
    """What the user's trust remembers of it."""
    return Labelled(
        name=event.name,
        source=event.source,
        present=event.present,
        reason=event.reason,
        by=event.by,
        at_ms=to_ms(event.at),
        expires_ms=to_ms(event.expires_at) if event.expires_at else 0,
    )


def to_ms(time: dt.datetime) -> int:
    """Milliseconds since the epoch; 0 for what lies before it."""
    return max(int(time.timestamp() * 1000), 0)


class ErasureDocument(Part):
    """Text of a control message of kind `erase`, whose name is `user_sha256` of the user's id.

    It tells jobs that read old records again which ones are of an erased user.
    """

    until: AwareDatetime
    """What was taken by the broker up to then leaves no trace in state."""


def erased_until_ms(text: str, file: str) -> int:
    """Read such a text.

    Raises:
        ConfigError: naming file, line and field.
    """
    return to_ms(YamlSource(text, file).validate(ErasureDocument).until)


def user_sha256(user_id: str) -> str:
    """Hash of a user's id, hex, as Flink's SHA256 gives it."""
    return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()
