"""What the media job counts, from the evidence that it makes."""

from __future__ import annotations

from collections.abc import Sequence

from operators.metrics import Metrics
from schemas.evidence import MediaEvidence


class MediaMetrics:
    """Counts records of evidence.

    Args:
        metrics: counts go here.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._uploads = metrics.counter("media_uploads")
        self._failures = metrics.counter("media_failures")
        self._restarts = metrics.counter("media_sandbox_restarts")
        self._batch = metrics.histogram("media_batch_size")
        self._seen = 0

    def looked(self, found: Sequence[MediaEvidence], restarts: int) -> None:
        """Count one batch.

        Args:
            found: its evidence.
            restarts: how often the decoding processes have been started anew so far.
        """
        if found:
            self._batch.observe(len(found))
        for evidence in found:
            self._uploads.add(evidence.content_type)
            for step, spent in evidence.stage_ms.items():
                self._metrics.histogram("media_stage_ms", step=step).observe(spent)
            for failure in evidence.errors:
                self._failures.add(failure.step, failure.kind)
        for _ in range(restarts - self._seen):
            self._restarts.add()
        self._seen = restarts
