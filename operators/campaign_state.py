"""What is remembered of one group of copies: who, where, how many, and some examples.

Sets are kept whole while they are small. Beyond a bound only those members stay whose hash is
below 1/2, 1/4, ... of all hashes, as many halvings as it takes (distinct sampling: Gibbons,
"Distinct sampling for highly-accurate answers to distinct values queries", 2001); their number is
estimated by what is left times 2 to the halvings. So what is kept follows from the set of what
came, not from its order, and what comes twice changes nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.kept import Kept


class Copy(msgspec.Struct, frozen=True, array_like=True):
    """One upload with one content, as it is counted under one key."""

    upload: int
    """64-bit hash of its content id."""
    user: int
    """Likewise of its user's."""
    community: int
    """Likewise; 0: none."""
    weight: int
    """What the user counts, in thousandths."""
    at_ms: int
    """Broker time of the upload, ms since the epoch."""
    content_id: str
    digest: bytes
    """SHA-256 of the normalised text; empty for pictures."""
    print: bytes
    """Sketch of the text (empty where it is too short) or PDQ hash."""
    excerpt: str = ""


class Seen(msgspec.Struct, array_like=True):
    """When a member of a set was last seen."""

    at_ms: int
    weight: int = 0
    """The least that it came with, in thousandths."""


class Tally(msgspec.Struct, array_like=True):
    """A set of hashes, whole or sampled."""

    halvings: int = 0
    members: dict[int, Seen] = {}

    def add(self, member: int, at_ms: int, weight: int, most: int) -> None:
        """Add a member, or see it again.

        Args:
            member: 64-bit hash.
            at_ms: when.
            weight: in thousandths.
            most: members that are kept.
        """
        if member >> (64 - self.halvings):
            return
        seen = self.members.get(member)
        if seen is None:
            self.members[member] = Seen(at_ms, weight)
            while len(self.members) > most:
                self.halvings += 1
                bits = 64 - self.halvings
                self.members = {m: s for m, s in self.members.items() if not m >> bits}
        else:
            seen.at_ms = max(seen.at_ms, at_ms)
            seen.weight = min(seen.weight, weight)

    def prune(self, until_ms: int) -> None:
        """Forget who was last seen then or before."""
        if any(seen.at_ms <= until_ms for seen in self.members.values()):
            self.members = {m: s for m, s in self.members.items() if s.at_ms > until_ms}

    @property
    def count(self) -> int:
        """How many there are, or are estimated to be."""
        return len(self.members) << self.halvings

    @property
    def weight(self) -> int:
        """Sum of what they weigh, in thousandths, estimated likewise."""
        return sum(seen.weight for seen in self.members.values()) << self.halvings


class Group(msgspec.Struct, array_like=True):
    """Everything about the copies under one key."""

    first_ms: int = 0
    last_ms: int = 0
    """Of all copies so far; the window ends there."""
    told_level: int = -1
    """Of what was told last; -1: nothing yet."""
    told_ms: int = 0
    users: Tally = msgspec.field(default_factory=Tally)
    communities: Tally = msgspec.field(default_factory=Tally)
    uploads: Tally = msgspec.field(default_factory=Tally)
    examples: list[Copy] = []
    """Those with the lowest upload hashes, in their order."""


_encoder: Final = msgspec.msgpack.Encoder()
_copies: Final = msgspec.msgpack.Decoder(Copy)
_GROUPS: Final = Kept(Group, 1, "keyed value")


def encode_group(group: Group) -> bytes:
    """The value that is kept."""
    return _GROUPS.encode(group)


def decode_group(value: bytes | None) -> Group:
    """Read a kept value; an empty group where there is none.

    Raises:
        StateError: for an unknown version or a damaged value.
    """
    return _GROUPS.decode(value) if value else Group()


def encode_copy(copy: Copy) -> bytes:
    """A copy on its way between two operators."""
    return _encoder.encode(copy)


def decode_copy(raw: bytes) -> Copy:
    """The other way round."""
    return _copies.decode(raw)
