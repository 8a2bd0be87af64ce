"""Known texts that other texts nearly are, by their sketches."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, NamedTuple

from schemas.banks import BankSpec
from udfs.campaign_kernels import SIZE
from udfs.campaign_sketch import SketchIndex, estimated
from udfs.contracts import BankMatch

_NO_MATCHES: Final[Sequence[BankMatch]] = ()


class NearText(NamedTuple):
    """An entry that nearly equal copies match."""

    spec: BankSpec
    ends_ms: float
    """When its bank ends, ms since the epoch."""
    sketch: bytes
    entry: str


def bank_match(spec: BankSpec, entry: str, share: float = 1.0, distance: int = 0) -> BankMatch:
    """A match of a bank's entry.

    Args:
        spec: the bank.
        entry: its id.
        share: how much of the entry the text is, 0 to 1.
        distance: places in which their sketches differ.
    """
    return BankMatch(
        bank=spec.id,
        entry=entry,
        category=spec.category,
        severity=spec.severity,
        polarity=spec.polarity,
        confidence=spec.confidence * share,
        distance=distance,
        observe_only=spec.observe_only,
    )


class NearTexts:
    """Entries of several banks.

    Args:
        entries: of banks that are enabled.
    """

    def __init__(self, entries: Sequence[NearText]) -> None:
        self._entries = entries
        self._least = min((each.spec.similarity for each in entries), default=1.0)

    def __len__(self) -> int:
        return len(self._entries)

    @functools.cached_property
    def _index(self) -> SketchIndex:
        return SketchIndex([each.sketch for each in self._entries])

    def match(self, sketch: bytes | None, uploaded_ms: float) -> Sequence[BankMatch]:
        """Entries that a text nearly is.

        Args:
            sketch: of the text; None where it is too short to have one.
            uploaded_ms: banks that have expired by then do not match.
        """
        if sketch is None or not self._entries:
            return _NO_MATCHES
        found = []
        for place, agreeing in self._index.near(sketch, self._least):
            spec, ends_ms, _, entry = self._entries[place]
            share = estimated(agreeing)
            if share >= spec.similarity and uploaded_ms < ends_ms:
                found.append(bank_match(spec, entry, share, SIZE - agreeing))
        return found or _NO_MATCHES
