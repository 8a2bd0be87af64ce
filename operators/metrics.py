"""Counters and histograms of the moderation operator, kept in Python, handed on in deltas.

A call into the JVM for each upload would cost more than the counting: `Metrics` counts in
plain dicts, and whoever owns a registry (Flink's metric group, a test) takes the deltas about
once a second. Histograms are counters with an `le` label, cumulative, as Prometheus reads them.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Final, NamedTuple

Labels = tuple[tuple[str, str], ...]


class Meaning(NamedTuple):
    """What a metric is, for documents and dashboards."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    help: str


CATALOGUE: Final[tuple[Meaning, ...]] = (
    Meaning("uploads", "counter", "uploads", ("content_type",), "Uploads read and understood."),
    Meaning("redeliveries", "counter", "uploads", (), "Uploads whose content id was remembered."),
    Meaning("decisions", "counter", "decisions", ("action", "stage"), "Decisions made."),
    Meaning("decided_category", "counter", "decisions", ("category",), "Decisions that acted."),
    Meaning("dead_letters", "counter", "records", ("kind",), "Records refused, by kind of error."),
    Meaning("degraded", "counter", "decisions", ("dependency",), "Decisions made without it."),
    Meaning("cache_hits", "counter", "uploads", ("cache",), "Assessments that were known."),
    Meaning("deep_scored", "counter", "texts", (), "Texts that the heavy tier scored."),
    Meaning("cases", "counter", "uploads", ("event",), "Pictures and videos: opened, overdue."),
    Meaning("evidence", "counter", "records", ("fate",), "Evidence: joined, late, early, ..."),
    Meaning(
        "user_events", "counter", "records", ("kind",), "Labels, erasures, overturned appeals."
    ),
    Meaning("reviews", "counter", "items", ("why",), "Review items written."),
    Meaning("batches", "counter", "batches", (), "Batches scored."),
    Meaning("state_resets", "counter", "users", (), "Keyed values that could not be read."),
    Meaning("feedback_events", "counter", "records", ("kind",), "Reports, verdicts, appeals read."),
    Meaning("feedback_duplicates", "counter", "records", ("kind",), "Of them, heard before."),
    Meaning("feedback_rows", "counter", "rows", ("kind",), "Labels joined with a decision."),
    Meaning("feedback_unmatched", "counter", "records", ("kind",), "Given up: no decision came."),
    Meaning("feedback_contradictions", "counter", "labels", (), "Categories with yes and no."),
    Meaning("report_thresholds", "counter", "contents", ("level",), "Passed by reports."),
    Meaning("campaign_copies", "counter", "copies", ("family",), "Counted; late, short, ... not."),
    Meaning("campaigns", "counter", "campaigns", ("event",), "New, grown, ended, known_good, ..."),
    Meaning("campaign_banks", "counter", "banks", ("event",), "Published, taken back."),
    Meaning("media_uploads", "counter", "uploads", ("content_type",), "Media looked at."),
    Meaning("media_failures", "counter", "steps", ("step", "kind"), "Steps that gave nothing."),
    Meaning("media_sandbox_restarts", "counter", "times", (), "Decoding processes started anew."),
    Meaning("media_rescans", "counter", "uploads", ("fate",), "Taken, found, given_up, ..."),
    Meaning("batch_size", "histogram", "uploads", (), "Uploads in a batch."),
    Meaning("batch_time_ms", "histogram", "ms", (), "Time to moderate a batch."),
    Meaning("stage_time_us", "histogram", "us", ("stage",), "Time of a stage for a batch."),
    Meaning("latency_ms", "histogram", "ms", (), "From the upload's broker timestamp to decision."),
    Meaning(
        "evidence_wait_ms",
        "histogram",
        "ms",
        (),
        "From the upload's broker time to its evidence's.",
    ),
    Meaning(
        "case_latency_ms",
        "histogram",
        "ms",
        (),
        "As latency_ms, of decisions after the first.",
    ),
    Meaning("media_batch_size", "histogram", "uploads", (), "Media looked at together."),
    Meaning("media_stage_ms", "histogram", "ms", ("step",), "Time of a step for one upload."),
    Meaning("state_bytes", "histogram", "bytes", (), "Size of a user's keyed value when written."),
)

BOUNDS: Final[dict[str, tuple[float, ...]]] = {
    "batch_size": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "batch_time_ms": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
    "stage_time_us": (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 200_000),
    "latency_ms": (5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 5000, 60_000),
    "evidence_wait_ms": (100, 250, 500, 1000, 2500, 5000, 15_000, 60_000, 300_000, 3_600_000),
    "case_latency_ms": (100, 250, 500, 1000, 2500, 5000, 15_000, 60_000, 300_000, 3_600_000),
    "media_batch_size": (1, 2, 4, 8, 16, 32, 64),
    "media_stage_ms": (1, 5, 20, 50, 100, 250, 500, 1000, 2500, 10_000, 60_000),
    "state_bytes": (64, 128, 256, 512, 1024, 2048, 4096, 16_384),
}


_LABELS: Final = {meaning.name: meaning.labels for meaning in CATALOGUE}


class Family:
    """One counter by the values of its labels."""

    __slots__ = ("_labels", "_name", "values")

    def __init__(self, name: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._labels = labels
        self.values: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str) -> None:
        """Count one, under the values of the labels in their order."""
        self.values[labels] = self.values.get(labels, 0) + 1

    def series(self) -> dict[tuple[str, Labels], float]:
        """Present values under their full names."""
        names = self._labels
        return {
            (self._name, tuple(zip(names, labels, strict=True))): value
            for labels, value in self.values.items()
        }


class Histogram:
    """Observations of one quantity, by the bounds of `BOUNDS`."""

    __slots__ = ("_bounds", "_counts", "_labels", "_name", "total")

    def __init__(self, name: str, labels: Labels) -> None:
        self._name = name
        self._labels = labels
        self._bounds = BOUNDS[name]
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one observation."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.total += value

    def series(self) -> dict[tuple[str, Labels], float]:
        """Cumulative counts, as Prometheus reads them."""
        name, labels = self._name, self._labels
        found: dict[tuple[str, Labels], float] = {}
        running = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            running += count
            found[f"{name}_bucket", (*labels, ("le", bound))] = running
        found[f"{name}_sum", labels] = self.total
        found[f"{name}_count", labels] = running
        return found


class Metrics:
    """Counts since the start, and what has changed since the last `flush`."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._flushed: dict[tuple[str, Labels], float] = {}

    def counter(self, name: str) -> Family:
        """Give the counter of that name in `CATALOGUE`."""
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = Family(name, _LABELS[name])
        return family

    def histogram(self, name: str, **labels: str) -> Histogram:
        """Give the histogram of that name and these labels."""
        key = (name, tuple(labels.items()))
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = Histogram(*key)
        return histogram

    def value(self, name: str, **labels: str) -> float:
        """A series' present value; 0 where nothing was counted."""
        return self._series().get((name, tuple(labels.items())), 0)

    def flush(self, add: Callable[[str, Labels, int], None]) -> bool:
        """Hand on what has changed.

        Args:
            add: called with a metric's name, labels and the whole-numbered growth.

        Returns:
            Whether anything had changed.
        """
        changed = False
        for (name, labels), value in self._series().items():
            grown = int(value) - int(self._flushed.get((name, labels), 0))
            if grown:
                add(name, labels, grown)
                self._flushed[name, labels] = value
                changed = True
        return changed

    def _series(self) -> dict[tuple[str, Labels], float]:
        found: dict[tuple[str, Labels], float] = {}
        for family in self._families.values():
            found |= family.series()
        for histogram in self._histograms.values():
            found |= histogram.series()
        return found
