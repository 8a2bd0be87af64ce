"""A refused record as a record of the dead-letters topic."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from schemas.dead_letter import DeadLetter, ErrorKind

_encode: Final = msgspec.json.Encoder().encode


class Refused(Protocol):
    """A record as it came from Kafka."""

    @property
    def raw(self) -> bytes: ...
    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def broker_ms(self) -> int: ...


def dead_letter(refused: Refused, kind: str, field: str, message: str) -> tuple[bytes, bytes]:
    """Key and value of the dead letter; the key is the record's place."""
    letter = DeadLetter(
        raw=refused.raw,
        topic=refused.topic,
        partition=refused.partition,
        offset=refused.offset,
        timestamp=refused.broker_ms,
        error_kind=msgspec.convert(kind, ErrorKind),
        field=field,
        message=message,
    )
    return f"{refused.topic}-{refused.partition}-{refused.offset}".encode(), _encode(letter)
