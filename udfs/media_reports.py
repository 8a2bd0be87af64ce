"""What the process that decodes tells the one that asked, message by message.

Each step says when it begins and what it found when it ends, so that whatever kills the process
costs the step it was at, and is named by it.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

import msgspec

from schemas.evidence import Failure, FoundText, Hashes, MediaFacts, Note, Step
from udfs.pixel_package import Geometry

_LENGTH: Final = struct.Struct(">I")
MOST: Final = 1000
"""Frames or failures that are believed of one file: a record must not outgrow its topic, even
where a decoder was taken over."""
LONGEST: Final = 300
"""Characters of a failure's message."""


class CutSquares(msgspec.Struct, frozen=True):
    """What models of one geometry see of the frames."""

    geometry: Geometry
    seconds: tuple[float | None, ...]
    """Of each frame."""
    pixels: bytes
    """RGB bytes, shape (frames, crop, crop, 3)."""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message."""

    step: Step
    state: Literal["began", "ended"]
    ms: float = 0.0
    facts: MediaFacts | None = None
    notes: tuple[Note, ...] = ()
    """Beside those of `facts`."""
    hashes: Hashes | None = None
    texts: tuple[FoundText, ...] = ()
    failures: tuple[Failure, ...] = ()
    squares: tuple[CutSquares, ...] = ()


_decoder: Final = msgspec.msgpack.Decoder(Report)


def frame(report: Report) -> bytes:
    """The message as it goes through the pipe: its length (4 bytes, big-endian), then msgpack."""
    body = msgspec.msgpack.encode(report)
    return _LENGTH.pack(len(body)) + body


class Gathered:
    """Everything that one process said, whether or not it came to its end.

    Args:
        raw: all bytes that came through the pipe; a message that was cut off is left out.
    """

    def __init__(self, raw: bytes) -> None:
        self.facts = MediaFacts()
        self.notes: list[Note] = []
        self.hashes: Hashes | None = None
        self.texts: list[FoundText] = []
        self.failures: list[Failure] = []
        self.squares: list[CutSquares] = []
        self.stage_ms: dict[str, float] = {}
        self.at: Step | None = None
        """The step that began and did not end."""
        place = 0
        while place + _LENGTH.size <= len(raw):
            (length,) = _LENGTH.unpack_from(raw, place)
            place += _LENGTH.size
            if place + length > len(raw):
                break
            try:
                self._take(_decoder.decode(raw[place : place + length]))
            except msgspec.DecodeError:
                # A decoder that went wild may write anything: nothing after it is believed.
                break
            place += length

    def _take(self, report: Report) -> None:
        if report.state == "began":
            self.at = report.step
            return
        self.at = None
        self.stage_ms[report.step] = round(report.ms, 3)
        self.facts = report.facts or self.facts
        self.notes += report.notes
        self.texts += report.texts
        self.squares += report.squares
        room = MOST - len(self.failures)
        self.failures += [
            msgspec.structs.replace(failure, message=failure.message[:LONGEST])
            for failure in report.failures[:room]
        ]
        if report.hashes is not None:
            frames = report.hashes.frames[:MOST]
            self.hashes = msgspec.structs.replace(report.hashes, frames=frames)
