"""The one keyed value of a user: velocity rings, trust, and the uploads that wait for their tick.

Layout: version byte, lengths of the velocity value and of the trust value (u32, little-endian),
these two, then the waiting uploads as MessagePack. Python state has no schema evolution in Flink:
the version byte is how a later release recognises what an earlier one wrote. Version 1 had no
trust, and is still read.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from schemas.features import Velocity
from schemas.kept import StateError

VERSION: Final = 2
_HEADER: Final = struct.Struct("<BII")
_HEADER_1: Final = struct.Struct("<BI")


class Arrived(msgspec.Struct, frozen=True, array_like=True):
    """One record as it arrived, with the velocity that it was counted with."""

    raw: bytes
    topic: str
    partition: int
    offset: int
    broker_ms: int
    velocity: Velocity


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Arrived])


class UserValue(NamedTuple):
    """The parts of the value, each still encoded but what waits."""

    velocity: bytes | None = None
    trust: bytes | None = None
    waiting: Sequence[Arrived] = ()


def encode_state(velocity: bytes, trust: bytes, waiting: Sequence[Arrived]) -> bytes:
    """Join the parts into the value that is kept."""
    head = _HEADER.pack(VERSION, len(velocity), len(trust)) + velocity + trust
    return head + _encoder.encode(waiting) if waiting else head


def decode_state(value: bytes | None) -> UserValue:
    """Split a kept value.

    Raises:
        StateError: for an unknown version or a damaged value.
    """
    if not value:
        return UserValue()
    version = value[0]
    try:
        if version == VERSION:
            _, velocity_bytes, trust_bytes = _HEADER.unpack_from(value)
            begin = _HEADER.size
        elif version == 1:
            _, velocity_bytes = _HEADER_1.unpack_from(value)
            begin, trust_bytes = _HEADER_1.size, 0
        else:
            raise StateError(f"keyed value has version {version}, this code reads {VERSION} and 1")
    except struct.error as error:
        raise StateError(f"keyed value of {len(value)} bytes: {error}") from None
    middle = begin + velocity_bytes
    end = middle + trust_bytes
    if end > len(value):
        raise StateError("keyed value is cut off")
    rest = value[end:]
    try:
        waiting = _decoder.decode(rest) if rest else []
    except msgspec.DecodeError as error:
        raise StateError(f"waiting uploads cannot be read: {error}") from None
    return UserValue(value[begin:middle] or None, value[middle:end] or None, waiting)
