"""An upload, as producers write it, and its decoder.

Decoding is strict about what Sluice reads and tolerant about what it does not: wrong types
and missing ids are refused with the field's name, unknown fields are kept in `Upload.extra`.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.categories import ContentType
from schemas.decoding import explain, is_utf8
from schemas.errors import InvalidUploadError

Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
Timestamp = Annotated[dt.datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]

MAX_NESTING: Final = 32
"""Deepest nesting of arrays and objects that is accepted in a payload."""


class Engagement(msgspec.Struct, frozen=True, kw_only=True):
    """Counters at the time of the upload (or of its re-submission)."""

    views: Count = 0
    shares: Count = 0
    reports: Count = 0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform knows about the author's account."""

    created_at: Timestamp | None = None
    verified: bool = False
    followers: Count = 0


class Upload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of user content to be moderated.

    Times are RFC 3339 with an offset. `extra` holds fields that Sluice does not know, as
    they came; `encode_upload` writes them back at the top level.
    """

    content_id: Identifier
    content_type: ContentType
    user_id: Identifier
    created_at: Timestamp
    text: str | None = None
    media_uri: Annotated[str, Meta(max_length=4096)] | None = None
    community_id: Identifier | None = None
    thread_id: Identifier | None = None
    parent_content_id: Identifier | None = None
    language: Annotated[str, Meta(max_length=35)] | None = None
    is_public: bool = True
    priority: Annotated[int, Meta(ge=0, le=9)] = 0
    revision: Count = 0
    engagement: Engagement = Engagement()
    account: Account = Account()
    # Its wire name cannot meet a producer's own field called "extra".
    extra: dict[str, Any] = msgspec.field(default_factory=dict, name="$extra")


_KNOWN: Final = frozenset(Upload.__struct_encode_fields__) - {"$extra"}
_decoder: Final = msgspec.json.Decoder(Upload)
_fields_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()


def decode_upload(raw: bytes, *, max_bytes: int = 262_144, max_text_chars: int = 50_000) -> Upload:
    """Decode and check one payload.

    Args:
        raw: the record's value, as read from Kafka.
        max_bytes: longest payload accepted, bytes.
        max_text_chars: longest `text` accepted, code points.

    Raises:
        InvalidUploadError: with one of the kinds of `schemas.dead_letter.ErrorKind`.
    """
    if len(raw) > max_bytes:
        raise InvalidUploadError("oversize", f"payload has {len(raw)} bytes, at most {max_bytes}")
    # Cheap upper bound first: only a payload with many brackets is walked.
    if raw.count(b"[") + raw.count(b"{") > MAX_NESTING and _depth(raw) > MAX_NESTING:
        raise InvalidUploadError("nesting", f"nested deeper than {MAX_NESTING} levels")
    try:
        upload = _decoder.decode(raw)
        _check(upload, max_text_chars)
        fields = _fields_decoder.decode(raw)
        if fields.keys() <= _KNOWN:
            return upload
        # Unknown fields are looked into only here: their mistakes are mistakes too.
        extra = {k: msgspec.json.decode(v) for k, v in fields.items() if k not in _KNOWN}
    except msgspec.ValidationError as error:
        raise _explain(error) from None
    except UnicodeDecodeError:
        raise InvalidUploadError("encoding", "payload is not valid UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        if not is_utf8(raw):
            raise InvalidUploadError("encoding", "payload is not valid UTF-8") from None
        raise InvalidUploadError("not_json", f"payload is not JSON: {_plain(error)}") from None
    return msgspec.structs.replace(upload, extra=extra)


def encode_upload(upload: Upload) -> bytes:
    """Encode an upload as producers write it: unknown fields back at the top level."""
    document = msgspec.to_builtins(upload)
    document.update(document.pop("$extra", {}))
    return _encoder.encode(document)


def _check(upload: Upload, max_text_chars: int) -> None:
    """Check what the types cannot say."""
    if upload.text is not None and len(upload.text) > max_text_chars:
        raise InvalidUploadError(
            "oversize",
            f"text has {len(upload.text)} characters, at most {max_text_chars}",
            field="$.text",
        )
    if upload.content_type == "text":
        if upload.text is None:
            raise InvalidUploadError(
                "missing_field", "text is required where content_type is text", field="$.text"
            )
    elif upload.media_uri is None:
        raise InvalidUploadError(
            "missing_field",
            f"media_uri is required where content_type is {upload.content_type}",
            field="$.media_uri",
        )
    if upload.extra:
        raise InvalidUploadError(
            "invalid_field", "the field name $extra is reserved", field="$.$extra"
        )


def _explain(error: msgspec.ValidationError) -> InvalidUploadError:
    """As `explain`, and a content type that there is not has a kind of its own."""
    told = explain(error)
    if told.field == "$.content_type" and "enum value" in str(error):
        return InvalidUploadError(
            "unknown_content_type",
            "content_type is none of text, image, video",
            field="$.content_type",
        )
    return told


def _plain(error: Exception) -> str:
    return str(error).split(" (byte")[0] if isinstance(error, msgspec.DecodeError) else "too deep"


def _depth(raw: bytes) -> int:
    """Deepest nesting of brackets outside strings. Linear, without recursion."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            deepest = max(deepest, depth)
        elif byte in (0x5D, 0x7D):
            depth -= 1
    return deepest
