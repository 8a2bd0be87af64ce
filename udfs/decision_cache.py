"""In-process cache of what was found about a content, in front of the store's."""

from __future__ import annotations

from collections import OrderedDict

from udfs.contracts import CachedAssessment


class LocalCache:
    """Least recently used assessments by content hash.

    Args:
        entries: how many are kept.
    """

    def __init__(self, entries: int) -> None:
        self._limit = entries
        self._rows: OrderedDict[str, CachedAssessment] = OrderedDict()

    def __len__(self) -> int:
        """Rows held now."""
        return len(self._rows)

    def get(self, content_hash: str, model: str) -> CachedAssessment | None:
        """What the named model version found, if it is known."""
        row = self._rows.get(content_hash)
        if row is None or row.model != model:
            return None
        self._rows.move_to_end(content_hash)
        return row

    def put(self, content_hash: str, assessment: CachedAssessment) -> None:
        """Keep one row; the least recently used one leaves."""
        self._rows[content_hash] = assessment
        self._rows.move_to_end(content_hash)
        if len(self._rows) > self._limit:
            self._rows.popitem(last=False)
