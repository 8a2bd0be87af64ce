"""A stretch of load, and what came of it."""

from __future__ import annotations

from typing import NamedTuple

from scripts.cli.bench.cpu import OTHERS
from scripts.cli.bench.send import Order, Sent
from scripts.cli.bench.topics import Pairs, by_second, latency_figures


class Phase(NamedTuple):
    """A stretch of load and what came of it."""

    order: Order
    sent: Sent
    pairs: Pairs
    """Of the uploads after the warm-up."""
    window_s: float
    """Seconds between the two CPU measurements."""
    cpu: dict[str, float]
    """CPU seconds in that window; see `cpu_between`."""
    uploads: int
    """Sent within that window."""
    counts: dict[str, float]
    """Growth of the operator's counters from the phase's begin to its end."""

    def latency(self) -> dict[str, float]:
        """P50, P99, P99.9, maximum."""
        return latency_figures(self.pairs.latency_ms)

    def cpu_per_1000(self) -> dict[str, float]:
        """CPU seconds for 1,000 uploads, by process and kind of thread."""
        return {
            name: round(seconds * 1000 / max(self.uploads, 1), 5)
            for name, seconds in self.cpu.items()
            if name != OTHERS
        }

    def busy(self) -> dict[str, float]:
        """Processors kept busy, on average: by what takes part, and by everything else."""
        ours = sum(s for n, s in self.cpu.items() if not n.startswith("job: ") and n != OTHERS)
        return {
            "ours": round(ours / self.window_s, 3),
            OTHERS: round(self.cpu.get(OTHERS, 0.0) / self.window_s, 3),
        }

    def mean_batch(self) -> float:
        """Uploads in a batch, on average."""
        batches = self.counts.get("batch_size_count", 0)
        return round(self.counts.get("batch_size_sum", 0) / batches, 2) if batches else 0.0

    def without_redis(self) -> float:
        """Share of the uploads that were decided without what Redis knows."""
        uploads = self.counts.get("batch_size_sum", 0)
        return round(self.counts.get("degraded[redis]", 0) / uploads, 5) if uploads else 0.0

    def seconds(self) -> list[dict[str, float]]:
        """Latency second by second."""
        return by_second(self.pairs)
