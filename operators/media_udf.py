"""The Flink shell of the media job: one vectorised function, uploads in, evidence out.

It runs in a process of its own beside the JVM (process mode), where batches come in by Arrow: the
work is seconds an upload, so that what the way in and out costs does not matter, and what happens
to this process leaves the moderation job alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from pyflink.table import DataTypes, FunctionContext, ScalarFunction
from pyflink.table.udf import udf

from operators.flink_counters import FlinkCounters
from operators.logs import get_logger
from operators.media_analyse import MediaAnalyser
from operators.media_metrics import MediaMetrics
from operators.metrics import Metrics
from schemas.errors import InvalidUploadError
from schemas.evidence import MediaEvidence, encode_evidence
from schemas.media_job import MediaDocument
from schemas.settings import LimitSettings
from schemas.upload import Upload, decode_upload

_log = get_logger("sluice.media", keep=("content_id",))


class LookAtMedia(ScalarFunction):  # type: ignore[misc]  # pyflink ships no types
    """Payloads of uploads to payloads of evidence; None for what is no upload of media.

    Args:
        media: settings of the media job.
        limits: of an upload's payload, the same as in the moderation job.
    """

    def __init__(self, media: MediaDocument, limits: LimitSettings) -> None:
        self._media = media
        self._limits = limits
        self._analyser: MediaAnalyser | None = None

    def open(self, function_context: FunctionContext) -> None:
        """Start the processes that decode."""
        self._analyser = MediaAnalyser(self._media)
        self._metrics = Metrics()
        self._counters = FlinkCounters(function_context.get_metric_group().add_group("sluice"))
        self._counts = MediaMetrics(self._metrics)
        ready = self._analyser.ready
        _log.info(
            "media_ready",
            network_cut_by=ready.network,
            missing=ready.missing,
            pixels_scored_for=self._analyser.covered,
        )

    def close(self) -> None:
        """End them."""
        if self._analyser is not None:
            self._analyser.close()
            self._analyser = None

    def is_deterministic(self) -> bool:
        """False: the planner must not call it once more for a second mention of its result."""
        return False

    def eval(self, payloads: pd.Series[Any]) -> pd.Series[Any]:
        """One batch."""
        return pd.Series(self.look(payloads), dtype=object)

    def look(self, payloads: Iterable[bytes | None]) -> list[bytes | None]:
        """Evidence of each payload, in order."""
        assert self._analyser is not None, "open comes first"  # noqa: S101 - for the type checker
        uploads = [self._upload(payload) for payload in payloads]
        there = [upload for upload in uploads if upload is not None]
        evidence = self._analyser.analyse(there)
        # Flink takes the counts of a batch as its bundle ends: there is nothing to wait for.
        self._counts.looked(evidence, self._analyser.sandbox.restarts)
        self._metrics.flush(self._counters.add)
        found = iter(evidence)
        return [None if upload is None else encoded(next(found)) for upload in uploads]

    def _upload(self, payload: bytes | None) -> Upload | None:
        limits = self._limits
        try:
            upload = decode_upload(
                bytes(payload or b""),
                max_bytes=limits.max_bytes,
                max_text_chars=limits.max_text_chars,
            )
        except InvalidUploadError:
            return None  # the moderation job reads the same record, and makes it a dead letter
        return None if upload.content_type == "text" else upload


def encoded(evidence: MediaEvidence) -> bytes:
    """The record as it goes to Kafka; says at what it cost in the log."""
    for error in evidence.errors:
        if error.kind in {"internal", "crashed", "memory", "cpu_time", "wall_time"}:
            _log.warning(
                "media_failed",
                content_id=evidence.content_id,
                kind=error.kind,
                step=error.step,
                message=error.message,
            )
    return encode_evidence(evidence)


def look_at_media(media: MediaDocument, limits: LimitSettings) -> Any:
    """The function for `StreamTableEnvironment.create_temporary_function`."""
    return udf(LookAtMedia(media, limits), result_type=DataTypes.BYTES(), func_type="pandas")
