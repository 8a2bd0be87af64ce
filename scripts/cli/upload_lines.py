"""JSONL uploads as commands read them: any JSON line, and a few conveniences.

A line is published as it stands, byte for byte, unless it uses one of these:

- `created_at` (and `account.created_at`) as an offset, `"-12.5s"`: resolved against one
  moment for the whole file, so that a file of samples is as fresh on any day.
- `"$pad_bytes": N`: the text is repeated until the payload has about N bytes.
- `"$kind": "..."`: a label for people; never published.
- `{"$raw": "BASE64"}`: the payload is these bytes. Broken UTF-8 does not fit into a text
  file otherwise.
- `"$key": "..."` or `null`: the record's key, where it shall not be the user id.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from schemas.errors import InvalidUploadError, SluiceError
from schemas.upload import decode_upload

_OFFSET: Final = re.compile(r"[+-]?\d+(\.\d+)?s")
_IDS: Final = ("content_id", "user_id", "thread_id", "parent_content_id")
_HAS_OFFSET: Final = re.compile(rb'"created_at"\s*:\s*"[+-]?[\d.]+s"')


class UploadLineError(SluiceError):
    """A line uses one of the conveniences wrongly."""


class UploadLine(NamedTuple):
    """One record to be published."""

    key: bytes | None
    value: bytes
    content_type: str
    """Decides the topic; empty where the payload cannot be read."""
    content_id: str | None
    """None where the payload is not a valid upload."""
    kind: str
    """The line's own label, empty if it has none."""
    text: str
    """What the upload says, for people to look at."""

    @property
    def valid(self) -> bool:
        """Whether Sluice will moderate this; otherwise it becomes a dead letter."""
        return self.content_id is not None


class _Peek(msgspec.Struct):
    """What a key and a topic can be had from, where the rest of a payload is wrong."""

    user_id: str | None = None


_peek: Final = msgspec.json.Decoder(_Peek)


def read_lines(source: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends; empty ones are left out."""
    for line in source:
        stripped = line.strip()
        if stripped:
            yield stripped


def parse_line(line: bytes, *, base: dt.datetime, suffix: str = "") -> UploadLine:
    """Turn one line into one record.

    Args:
        line: a line of the file.
        base: the moment that time offsets count from.
        suffix: is added to content, user and thread ids, so that a file can be published
            again as other people's uploads.

    Raises:
        UploadLineError: where a convenience is used wrongly.
    """
    kind = ""
    if suffix or b'"$' in line or _HAS_OFFSET.search(line):
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _record(line)
        if isinstance(document, dict):
            kind = str(document.pop("$kind", ""))
            return _prepared(document, line, kind, base, suffix)
    return _record(line, kind)


def _prepared(
    document: dict[str, Any], line: bytes, kind: str, base: dt.datetime, suffix: str
) -> UploadLine:
    """Resolve the conveniences of one JSON object."""
    if "$raw" in document:
        try:
            value = base64.b64decode(document["$raw"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise UploadLineError(f"$raw is not base64: {line[:80]!r}") from None
        return _record(value, kind, **_own_key(document))
    own_key = _own_key(document)
    document.pop("$key", None)
    pad = document.pop("$pad_bytes", 0)
    for owner in (document, document.get("account")):
        if isinstance(owner, dict):
            _resolve_time(owner, base)
    if suffix:
        for name in _IDS:
            if isinstance(document.get(name), str) and document[name]:
                document[name] += suffix
    if pad:
        text = str(document.get("text", "")) or "."
        document["text"] = text * (int(pad) // len(text.encode()) + 1)
    return _record(msgspec.json.encode(document), kind, **own_key)


def _own_key(document: dict[str, Any]) -> dict[str, bytes | None]:
    if "$key" not in document:
        return {}
    key = document["$key"]
    if key is not None and not isinstance(key, str):
        raise UploadLineError(f"$key must be a string or null, not {type(key).__name__}")
    return {"own_key": None if key is None else key.encode()}


def _resolve_time(owner: dict[str, Any], base: dt.datetime) -> None:
    value = owner.get("created_at")
    if isinstance(value, str) and _OFFSET.fullmatch(value):
        moment = base + dt.timedelta(seconds=float(value[:-1]))
        owner["created_at"] = moment.isoformat(timespec="milliseconds")


_NOT_GIVEN: Final = b"\x00not given"


def _record(value: bytes, kind: str = "", *, own_key: bytes | None = _NOT_GIVEN) -> UploadLine:
    """Find key and topic of a payload, valid or not."""
    try:
        upload = decode_upload(value)
    except InvalidUploadError:
        try:
            user = _peek.decode(value).user_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            user = None
        key = user.encode("utf-8", "replace") if user else None
        return UploadLine(key if own_key is _NOT_GIVEN else own_key, value, "", None, kind, "")
    key = upload.user_id.encode() if own_key is _NOT_GIVEN else own_key
    text = upload.text or upload.media_uri or ""
    return UploadLine(key, value, upload.content_type, upload.content_id, kind, text)
