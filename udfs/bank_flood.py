"""Flood quarantine: an entry that suddenly matches far above its history does not act alone.

A wrong hash in a bank (a logo, a meme, a black frame) would take down thousands of uploads before
anyone looks. An entry whose matches in one window pass both a floor and a multiple of its mean
window is held: its matches go to review until a window has passed that is not too many.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from schemas.media_banks import Flood

_NEW_WEIGHT: Final = 0.1
"""Weight of the latest window in the mean: history is the last ten windows or so."""


class _Count:
    __slots__ = ("held", "matches", "mean", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.matches = 0
        self.mean = 0.0
        self.held = False


class FloodGuard:
    """Counts matches of entries; one for each process that matches.

    Args:
        flood: the bank's limits.
        entries: how many entries are remembered; those that matched longest ago are forgotten.
    """

    def __init__(self, flood: Flood, entries: int = 100_000) -> None:
        self._window_ms = flood.window_minutes * 60_000
        self._at_least = flood.at_least
        self._factor = flood.factor
        self._limit = entries
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def __len__(self) -> int:
        """Entries that are remembered."""
        return len(self._counts)

    def observe(self, entry: str, now_ms: float) -> str:
        """Count one match.

        Args:
            entry: the entry's id.
            now_ms: when, ms since the epoch; a time before the latest counts as the latest.

        Returns:
            Why the entry is held, as part of a sentence; empty where it is not.
        """
        window = int(now_ms // self._window_ms)
        count = self._counts.get(entry)
        if count is None:
            count = self._counts[entry] = _Count(window)
            if len(self._counts) > self._limit:
                self._counts.popitem(last=False)
        else:
            self._counts.move_to_end(entry)
            if window > count.window:
                self._close(count, window)
        count.matches += 1
        allowed = self._allowed(count)
        if count.matches > allowed:
            count.held = True
        if not count.held:
            return ""
        return (
            f"its entry has matched {count.matches} times in {self._window_ms / 60_000:g} minutes,"
            f" far above its history ({count.mean:.3g})"
        )

    def _allowed(self, count: _Count) -> float:
        return max(float(self._at_least), self._factor * count.mean)

    def _close(self, count: _Count, window: int) -> None:
        allowed = self._allowed(count)
        # A flood must not become the history that lets the next one pass.
        learnt = min(float(count.matches), allowed)
        count.mean += _NEW_WEIGHT * (learnt - count.mean)
        count.mean *= (1 - _NEW_WEIGHT) ** (window - count.window - 1)
        count.held = count.held and count.matches > allowed and window == count.window + 1
        count.window, count.matches = window, 0
