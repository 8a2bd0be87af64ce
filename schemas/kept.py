"""Values that are kept in state: a version byte, then MessagePack.

Python state has no schema evolution in Flink: the version byte is how a later release recognises
what an earlier one wrote.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")
_encoder: Final = msgspec.msgpack.Encoder()


class StateError(ValueError):
    """A kept value that this code cannot read."""


class Kept(Generic[T]):
    """How values of one type are kept.

    Args:
        kind: their type.
        version: of its layout, 0 to 255.
        name: of such a value, for errors.
    """

    def __init__(self, kind: type[T], version: int, name: str) -> None:
        self._head = bytes([version])
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._version = version
        self._name = name

    def encode(self, value: T) -> bytes:
        """The bytes that are kept."""
        return self._head + _encoder.encode(value)

    def decode(self, raw: bytes) -> T:
        """Read them again.

        Raises:
            StateError: for an unknown version or a damaged value.
        """
        if raw[:1] != self._head:
            found = raw[0] if raw else "none"
            raise StateError(f"{self._name} has version {found}, this code reads {self._version}")
        try:
            return self._decoder.decode(raw[1:])
        except msgspec.DecodeError as error:
            raise StateError(f"{self._name} cannot be read: {error}") from None

    def found(self, raw: bytes | None) -> T | None:
        """Likewise; None where nothing is there that this code can read."""
        try:
            return None if raw is None else self.decode(raw)
        except StateError:
            return None
