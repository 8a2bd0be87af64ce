"""The one keyed value of a user: velocity rings and the uploads that wait for their tick.

Layout: version byte, length of the velocity value (u32, little-endian), the velocity value,
then the waiting uploads as MessagePack. Python state has no schema evolution in Flink: the
version byte is how a later release recognises what an earlier one wrote.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from schemas.features import Velocity

VERSION: Final = 1
_HEADER: Final = struct.Struct("<BI")


class Arrived(msgspec.Struct, frozen=True, array_like=True):
    """One record as it arrived, with the velocity that it was counted with."""

    raw: bytes
    topic: str
    partition: int
    offset: int
    broker_ms: int
    velocity: Velocity


class StateError(ValueError):
    """A keyed value that this code cannot read."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Arrived])


def encode_state(velocity: bytes, waiting: list[Arrived]) -> bytes:
    """Join the two parts into the value that is kept."""
    head = _HEADER.pack(VERSION, len(velocity)) + velocity
    return head + _encoder.encode(waiting) if waiting else head


def decode_state(value: bytes | None) -> tuple[bytes | None, list[Arrived]]:
    """Split a kept value into velocity and waiting uploads.

    Raises:
        StateError: for an unknown version or a damaged value.
    """
    if not value:
        return None, []
    try:
        version, length = _HEADER.unpack_from(value)
    except struct.error as error:
        raise StateError(f"keyed value of {len(value)} bytes: {error}") from None
    if version != VERSION:
        raise StateError(f"keyed value has version {version}, this code reads {VERSION}")
    end = _HEADER.size + length
    if end > len(value):
        raise StateError("keyed value is cut off")
    velocity = value[_HEADER.size : end] or None
    rest = value[end:]
    try:
        return velocity, _decoder.decode(rest) if rest else []
    except msgspec.DecodeError as error:
        raise StateError(f"waiting uploads cannot be read: {error}") from None
