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
    Meaning("reviews", "counter", "items", ("why",), "Review items written."),
    Meaning("batches", "counter", "batches", (), "Batches scored."),
    Meaning("state_resets", "counter", "users", (), "Keyed values that could not be read."),
    Meaning("batch_size", "histogram", "uploads", (), "Uploads in a batch."),
    Meaning("batch_time_ms", "histogram", "ms", (), "Time to moderate a batch."),
    Meaning("stage_time_us", "histogram", "us", ("stage",), "Time of a stage for a batch."),
    Meaning("latency_ms", "histogram", "ms", (), "From the upload's broker timestamp to decision."),
    Meaning("state_bytes", "histogram", "bytes", (), "Size of a user's keyed value when written."),
)

BOUNDS: Final[dict[str, tuple[float, ...]]] = {
    "batch_size": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "batch_time_ms": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
    "stage_time_us": (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 200_000),
    "latency_ms": (5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 5000, 60_000),
    "state_bytes": (64, 128, 256, 512, 1024, 2048, 4096, 16_384),
}


class Metrics:
    """Counts since the start, and what has changed since the last `flush`."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Labels], float] = {}
        self._flushed: dict[tuple[str, Labels], float] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = (name, tuple(labels.items()))
        self._counts[key] = self._counts.get(key, 0) + amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one observation to a histogram of `BOUNDS`."""
        bounds = BOUNDS[name]
        at = bisect.bisect_left(bounds, value)
        le = str(bounds[at]) if at < len(bounds) else "+Inf"
        pairs = tuple(labels.items())
        counts = self._counts
        # Not cumulative yet: made so by `flush`, which is rare.
        bucket = (f"{name}_bucket", (*pairs, ("le", le)))
        counts[bucket] = counts.get(bucket, 0) + 1
        total = (f"{name}_sum", pairs)
        counts[total] = counts.get(total, 0) + value

    def value(self, name: str, **labels: str) -> float:
        """A counter's present value; 0 where nothing was counted."""
        return self._counts.get((name, tuple(labels.items())), 0)

    def flush(self, add: Callable[[str, Labels, int], None]) -> bool:
        """Hand on what has changed.

        Args:
            add: called with a metric's name, labels and the whole-numbered growth.

        Returns:
            Whether anything had changed.
        """
        changed = False
        for (name, labels), value in self._cumulative().items():
            grown = int(value) - int(self._flushed.get((name, labels), 0))
            if grown:
                add(name, labels, grown)
                self._flushed[name, labels] = value
                changed = True
        return changed

    def _cumulative(self) -> dict[tuple[str, Labels], float]:
        result: dict[tuple[str, Labels], float] = {}
        series: dict[tuple[str, Labels], dict[str, float]] = {}
        for (name, labels), value in self._counts.items():
            if name.endswith("_bucket"):
                series.setdefault((name, labels[:-1]), {})[labels[-1][1]] = value
            else:
                result[name, labels] = value
        for (name, labels), by_bound in series.items():
            total = 0.0
            for bound in (*map(str, BOUNDS[name.removesuffix("_bucket")]), "+Inf"):
                total += by_bound.get(bound, 0)
                result[name, (*labels, ("le", bound))] = total
            result[name.removesuffix("_bucket") + "_count", labels] = total
        return result
