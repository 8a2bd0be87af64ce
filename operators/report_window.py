"""Reports of one content within a sliding window, weighed by who made them.

Engine-free: entries in, thresholds passed out. A window is as long as the setting says and ends
with a report; reports may come in any order, so that each new one is looked at in every window
that it is part of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from schemas.feedback_job import ReportsPart


class Reported(msgspec.Struct, frozen=True, array_like=True):
    """One report, as it is remembered."""

    report: int
    """64-bit hash of its id."""
    reporter: int
    """64-bit hash of the reporter's id."""
    at_ms: int
    weight: float
    """Trust of the reporter, 0 to 1."""
    category: str


class Sum(NamedTuple):
    """What a window holds."""

    weight: float
    """With all new accounts together counted as `new_most` at most."""
    reporters: int
    """Distinct ones."""
    categories: dict[str, float]
    at_ms: int
    """Of the report that ends the window."""


def added(entries: Sequence[Reported], new: Reported, config: ReportsPart) -> list[Reported]:
    """The entries with one more, in the order of time, within the bound.

    Beyond the bound, what is older than two windows goes first, then what weighs least: a flood of
    new accounts does not push trusted reports out.
    """
    kept = [*entries, new]
    if len(kept) > config.most_reports:
        oldest = max(entry.at_ms for entry in kept) - 2 * _window_ms(config)
        kept.sort(
            key=lambda entry: (entry.at_ms < oldest, -entry.weight, -entry.at_ms, entry.report)
        )
        kept.pop()
    kept.sort(key=lambda entry: (entry.at_ms, entry.report))
    return kept


def heaviest(
    entries: Sequence[Reported],
    config: ReportsPart,
    *,
    since_ms: int = 0,
    around: int | None = None,
) -> Sum | None:
    """The window that weighs most, among those with enough reporters.

    Args:
        entries: what is remembered.
        config: the figures.
        since_ms: reports before do not count (they were about what an edit has replaced).
        around: look at windows that hold this moment alone, ms since the epoch; all without it.

    Returns:
        None where no window has enough distinct reporters.
    """
    length = _window_ms(config)
    counted = [entry for entry in entries if entry.at_ms >= since_ms]
    ends = {
        entry.at_ms for entry in counted if around is None or 0 <= entry.at_ms - around <= length
    }
    best: Sum | None = None
    for end in sorted(ends):
        found = _sum([e for e in counted if end - length < e.at_ms <= end], end, config)
        if found.reporters >= config.least_reporters and (
            best is None or found.weight > best.weight
        ):
            best = found
    return best


def _sum(entries: Sequence[Reported], end: int, config: ReportsPart) -> Sum:
    own: dict[int, Reported] = {}
    for entry in entries:
        known = own.get(entry.reporter)
        if known is None or (entry.weight, entry.category) > (known.weight, known.category):
            own[entry.reporter] = entry
    new = sum(entry.weight for entry in own.values() if entry.weight < config.new_below)
    scale = min(1.0, config.new_most / new) if new > 0 else 1.0
    categories: dict[str, float] = {}
    for entry in sorted(own.values(), key=lambda entry: entry.reporter):
        weight = entry.weight * (scale if entry.weight < config.new_below else 1.0)
        categories[entry.category] = categories.get(entry.category, 0.0) + weight
    weighed = {name: round(categories[name], 6) for name in sorted(categories)}
    return Sum(round(sum(categories.values()), 6), len(own), weighed, end)


def _window_ms(config: ReportsPart) -> int:
    return int(config.window_hours * 3_600_000)
