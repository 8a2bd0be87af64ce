"""Contents that were looked at earlier, matched with the banks as they are now.

The evidence topic holds the hashes of every picture and video for as long as it keeps records, so
nothing is fetched or decoded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from schemas.errors import InvalidUploadError
from schemas.evidence import MediaEvidence, decode_evidence
from scripts.cli.consume import Record
from udfs.media_banks import MediaBanks
from udfs.media_evidence import bank_query


class Counts(NamedTuple):
    """What was read."""

    contents: int
    matched: int
    other: int
    """Records that are no evidence of media."""


class Rescanner:
    """Matches evidence with banks.

    Args:
        banks: as they are now.
        only: ids of banks to ask; all of them where it is empty.
        since_ms: broker time of the oldest evidence that counts.
    """

    def __init__(self, banks: MediaBanks, only: Iterable[str] = (), since_ms: float = 0) -> None:
        self._banks = banks
        self._only = frozenset(only)
        self._since_ms = since_ms
        self._contents: set[str] = set()
        self._matched: set[str] = set()
        self._other = 0

    @property
    def counts(self) -> Counts:
        return Counts(len(self._contents), len(self._matched), self._other)

    def matches(self, records: Iterable[Record]) -> Iterator[dict[str, Any]]:
        """One row a match; of a content that was looked at twice the same match is given once.

        Args:
            records: of the evidence topic.
        """
        given: set[tuple[str, int, str, str]] = set()
        for record in records:
            if record.timestamp_ms < self._since_ms:
                continue
            try:
                evidence = decode_evidence(record.value)
            except InvalidUploadError:
                self._other += 1
                continue
            self._contents.add(evidence.content_id)
            for row in self._rows(evidence, record.timestamp_ms):
                key = (row["content_id"], row["revision"], row["bank"], row["entry"])
                if key not in given:
                    given.add(key)
                    self._matched.add(evidence.content_id)
                    yield row

    def _rows(self, evidence: MediaEvidence, at_ms: float) -> Iterator[dict[str, Any]]:
        for match in self._banks.match(bank_query(evidence), at_ms):
            if self._only and match.bank not in self._only:
                continue
            yield {
                "content_id": evidence.content_id,
                "user_id": evidence.user_id,
                "revision": evidence.revision,
                "content_type": evidence.content_type,
                "bank": match.bank,
                "entry": match.entry,
                "category": match.category,
                "severity": match.severity,
                "polarity": match.polarity,
                "distance": match.distance,
                "confidence": round(match.confidence, 4),
                "hold": match.hold,
            }
