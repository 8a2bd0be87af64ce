"""Publishes what people say about contents: JSONL reports, verdicts or appeal outcomes."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import InvalidUploadError
from schemas.feedback import Spoken, decode_said
from schemas.settings import Settings
from scripts.cli.publisher import Prepared, UploadPublisher, paced
from scripts.cli.upload_lines import read_lines

KINDS: Final[dict[str, Spoken]] = {
    "reports": "report",
    "verdicts": "verdict",
    "appeals": "appeal",
}
"""Short name of a topic to what it holds."""


class _Peek(msgspec.Struct):
    content_id: str | None = None


_peek: Final = msgspec.json.Decoder(_Peek)


def prepared(topic: str, settings: Settings, line: bytes) -> tuple[Prepared, bool]:
    """A record that is published as it stands, keyed by content id; and whether it is valid.

    Args:
        topic: a name of `KINDS`.
        settings: name the topics.
        line: one record.
    """
    try:
        said = decode_said(KINDS[topic], line)
    except InvalidUploadError:
        valid, content_id = False, _content_id(line)
    else:
        valid, content_id = True, said.content_id
    key = content_id.encode("utf-8", "replace") if content_id else None
    return Prepared(getattr(settings.topics, topic), None, key, line), valid


def publish_said(
    file: str, topic: str, settings: Settings, *, rate: float = 0.0
) -> tuple[Counter[str], list[str]]:
    """Publish a whole file to one topic.

    Args:
        file: path, or - for standard input.
        topic: a name of `KINDS`.
        settings: name broker and topics.
        rate: records a second; 0 for as fast as possible.

    Returns:
        Lines read (`malformed` for those that become dead letters), and why lines were not
        published.
    """
    counts: Counter[str] = Counter()
    with (
        UploadPublisher(settings) as publisher,
        sys.stdin.buffer if file == "-" else Path(file).open("rb") as source,
    ):
        for _, line in zip(paced(rate), read_lines(source), strict=False):
            record, valid = prepared(topic, settings, line)
            counts[topic if valid else "malformed"] += 1
            publisher.send(record)
        publisher.flush()
        return counts, publisher.failures


def _content_id(line: bytes) -> str | None:
    try:
        return _peek.decode(line).content_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
