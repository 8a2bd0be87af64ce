"""Reading records that others wrote: wrong ones are refused with a kind and the field at fault.

What is refused becomes a dead letter, and its message goes to logs: it never quotes content.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from schemas.errors import InvalidUploadError

T = TypeVar("T")

_FIELD_IN_MESSAGE: Final = re.compile(r"`\$?\.?([^`]*)`\s*$")
_MISSING_FIELD: Final = re.compile(r"missing required field `([^`]+)`")
_QUOTED_VALUE: Final = re.compile(r"^Invalid (enum )?value .*")


def decode_record(
    decoder: msgspec.json.Decoder[T], raw: bytes, what: str, *, max_bytes: int = 65_536
) -> T:
    """Decode and check one record. Fields that the decoder does not know are passed over.

    Args:
        decoder: of the record's struct.
        raw: the record's value, as read from Kafka.
        what: the record, as messages name it, such as `a report`.
        max_bytes: longest record accepted, bytes.

    Raises:
        InvalidUploadError: with one of the kinds of `schemas.dead_letter.ErrorKind`.
    """
    if len(raw) > max_bytes:
        raise InvalidUploadError("oversize", f"{what} has {len(raw)} bytes, at most {max_bytes}")
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise explain(error) from None
    except UnicodeDecodeError:
        raise InvalidUploadError("encoding", f"{what} is not valid UTF-8") from None
    except (msgspec.DecodeError, RecursionError):
        if not is_utf8(raw):
            raise InvalidUploadError("encoding", f"{what} is not valid UTF-8") from None
        raise InvalidUploadError("not_json", f"{what} is not JSON") from None


def explain(error: msgspec.ValidationError) -> InvalidUploadError:
    """Turn msgspec's message into a kind, a field and a sentence. Quotes no content."""
    text = str(error)
    missing = _MISSING_FIELD.search(text)
    if missing:
        parent = _FIELD_IN_MESSAGE.search(text)
        prefix = f"{parent.group(1)}." if parent and " - at " in text else ""
        name = f"{prefix}{missing.group(1)}"
        return InvalidUploadError("missing_field", f"{name} is required", field=f"$.{name}")
    found = _FIELD_IN_MESSAGE.search(text)
    path = found.group(1) if found and " - at " in text else ""
    # The value itself is left out: it is somebody's input.
    what = _QUOTED_VALUE.sub("not one of the values there are", text.split(" - at ", maxsplit=1)[0])
    field = f"$.{path}" if path else "$"
    return InvalidUploadError("invalid_field", f"{field}: {what}", field=field)


def is_utf8(raw: bytes) -> bool:
    """Whether bytes are text."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
