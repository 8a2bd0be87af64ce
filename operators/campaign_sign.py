"""Turns uploads into copies under their keys. No engine, no clock.

A text is ready as it comes. What is in a picture or video is known when its evidence is there:
the upload waits for it, or the other way round, under its content id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from operators.campaign_state import Copy, encode_copy
from operators.feedback_logic import Arrival
from operators.metrics import Metrics
from operators.moderation_logic import ValueState
from schemas.campaign_job import CampaignsDocument
from schemas.errors import InvalidUploadError
from schemas.evidence import MediaEvidence, decode_evidence
from schemas.report_evidence import is_reports
from schemas.settings import LimitSettings
from schemas.topics import Topics
from schemas.upload import Upload, decode_upload
from udfs.campaign_copies import (
    Content,
    hash64,
    picture,
    picture_contents,
    text_content,
    user_weight,
)


class Author(msgspec.Struct, frozen=True, array_like=True):
    """Who uploaded what waits for its evidence, and when."""

    user: int
    community: int
    weight: int
    at_ms: int


class Waiting(msgspec.Struct, array_like=True):
    """A picture or video of which one half is there, or both."""

    author: Author | None = None
    prints: list[bytes] = []
    """PDQ hashes of its evidence."""


class Signed(NamedTuple):
    """A copy under one of its keys."""

    key: str
    family: str
    copy: bytes


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Waiting)


class SignLogic:
    """Keys of uploads and of evidence.

    Args:
        config: what is counted.
        topics: what records are.
        limits: of an upload: what is no upload for the moderation job is none here.
        metrics: counts go here.
    """

    def __init__(
        self,
        config: CampaignsDocument,
        topics: Topics,
        limits: LimitSettings,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._evidence = topics.evidence
        self._limits = limits
        self._copies = metrics.counter("campaign_copies")

    def on_record(self, key: str, arrival: Arrival, state: ValueState) -> list[Signed]:
        """Take an upload, or what was found in one.

        What cannot be read is passed over: the moderation job makes dead letters of it.

        Args:
            key: the content id that the stream is partitioned by.
            arrival: the record.
            state: the key's value; pictures and videos alone have one.
        """
        try:
            if arrival.topic == self._evidence:
                return [] if is_reports(arrival.raw) else self._found(key, arrival, state)
            return self._uploaded(key, arrival, state)
        except (InvalidUploadError, msgspec.MsgspecError):
            self._copies.add("unreadable")
            return []

    def _uploaded(self, key: str, arrival: Arrival, state: ValueState) -> list[Signed]:
        limits = self._limits
        upload = decode_upload(
            arrival.raw, max_bytes=limits.max_bytes, max_text_chars=limits.max_text_chars
        )
        _check(key, upload.content_id)
        author = self._author(upload, arrival.broker_ms)
        signed: list[Signed] = []
        if upload.text:
            content = text_content(upload.text, self._config)
            if content is None:
                self._copies.add("short")
            else:
                signed += _signed(content, author, key)
        if upload.content_type != "text":
            waiting = _waiting(state)
            if waiting.author is None:
                waiting.author = author
                state.update(_encoder.encode(waiting))
            # What comes twice is counted once; by the first, whatever the second says.
            signed += self._pictures(key, waiting)
        return signed

    def _found(self, key: str, arrival: Arrival, state: ValueState) -> list[Signed]:
        evidence: MediaEvidence = decode_evidence(arrival.raw)
        _check(key, evidence.content_id)
        contents = picture_contents(evidence, self._config)
        waiting = _waiting(state)
        if contents and not waiting.prints:
            waiting.prints = [content.print for content in contents]
            state.update(_encoder.encode(waiting))
        return list(self._pictures(key, waiting))

    def _pictures(self, key: str, waiting: Waiting) -> Iterator[Signed]:
        if waiting.author is not None:
            for each in waiting.prints:
                yield from _signed(picture(each), waiting.author, key)

    def _author(self, upload: Upload, broker_ms: int) -> Author:
        at = dt.datetime.fromtimestamp(broker_ms / 1000, dt.UTC)
        return Author(
            hash64(upload.user_id),
            0 if upload.community_id is None else hash64(upload.community_id),
            user_weight(upload.account, at, self._config.accounts),
            broker_ms,
        )


def _signed(content: Content, author: Author, content_id: str) -> list[Signed]:
    copy = encode_copy(
        Copy(
            hash64(content_id),
            author.user,
            author.community,
            author.weight,
            author.at_ms,
            content_id,
            content.digest,
            content.print,
            content.excerpt,
        )
    )
    return [Signed(key, content.family, copy) for key in content.keys]


def _waiting(state: ValueState) -> Waiting:
    value = state.value()
    return _decoder.decode(value) if value else Waiting()


def _check(key: str, content_id: str) -> None:
    if key != content_id:
        raise InvalidUploadError(
            "key_mismatch",
            "the record was partitioned by another key than its content_id",
            field="$.content_id",
        )
