"""The Flink shell of the rescan job: uploads that could not be fetched in, evidence out.

Keyed by the store that holds the media, in Flink's process mode: it fetches and decodes as the
media job does, and waits between tries by timers, so that checkpoints go on meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from operators.flink_counters import FlinkCounters
from operators.media_analyse import MediaAnalyser
from operators.media_metrics import MediaMetrics
from operators.metrics import Metrics
from operators.rescan_logic import Asked, RescanLogic, published, seen_before
from schemas.evidence import MediaEvidence
from schemas.media_job import MediaDocument
from schemas.rescan import decode_bank_wait, waits_for_banks
from schemas.settings import LimitSettings
from schemas.upload import Upload, decode_upload


class Rescan(KeyedProcessFunction):  # type: ignore[misc]  # pyflink ships no types
    """Payloads of uploads, with the time that they failed at, to records of evidence.

    Args:
        media: settings of the media job.
        limits: of an upload's payload, the same as there.
        topic: of evidence.
    """

    def __init__(self, media: MediaDocument, limits: LimitSettings, topic: str) -> None:
        self._media = media
        self._limits = limits
        self._topic = topic
        self._analyser: MediaAnalyser | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Start the processes that decode."""
        self._analyser = MediaAnalyser(self._media)
        self._metrics = Metrics()
        self._counters = FlinkCounters(runtime_context.get_metrics_group().add_group("sluice"))
        self._counts = MediaMetrics(self._metrics)
        self._logic = RescanLogic(
            self._media.rescan, self._look, self._decode, lambda: time.time() * 1000, self._metrics
        )
        # Types are made here: captured by the class they could not be pickled.
        value = Types.PICKLED_BYTE_ARRAY()
        self._state = _State(
            runtime_context.get_state(ValueStateDescriptor("queue", value)),
            runtime_context.get_map_state(MapStateDescriptor("waiting", Types.LONG(), value)),
            runtime_context.get_map_state(
                MapStateDescriptor("known", Types.STRING(), Types.BOOLEAN())
            ),
        )

    def close(self) -> None:
        """End them."""
        if self._analyser is not None:
            self._analyser.close()
            self._analyser = None

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Take one upload; what comes of it comes with the timer."""
        payload, failed_ms = value
        due_ms = self._logic.on_upload(self._state, bytes(payload or b""), failed_ms)
        if due_ms:
            ctx.timer_service().register_processing_time_timer(due_ms)
        self._metrics.flush(self._counters.add)
        yield from ()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:  # noqa: ARG002 - PyFlink's signature
        """Ask the store again."""
        found = self._logic.on_turn(self._state)
        for evidence in found.evidence:
            key, value = published(evidence)
            yield Row(self._topic, key, value)
        if found.due_ms:
            ctx.timer_service().register_processing_time_timer(found.due_ms)
        self._metrics.flush(self._counters.add)

    def _look(self, asked: Sequence[Asked]) -> list[MediaEvidence]:
        assert self._analyser is not None, "open comes first"  # noqa: S101 - for the type checker
        uploads = [each for each in asked if isinstance(each, Upload)]
        found = self._analyser.analyse(uploads) if uploads else []
        self._counts.looked(found, self._analyser.sandbox.restarts)
        rest = iter(found)
        return [next(rest) if isinstance(each, Upload) else seen_before(each) for each in asked]

    def _decode(self, payload: bytes) -> Asked:
        if waits_for_banks(payload):
            return decode_bank_wait(payload)
        limits = self._limits
        return decode_upload(
            payload, max_bytes=limits.max_bytes, max_text_chars=limits.max_text_chars
        )


class _State:
    """Flink's keyed state as the logic asks for it."""

    def __init__(self, queue: Any, waiting: Any, known: Any) -> None:
        self._queue = queue
        self._waiting = waiting
        self._known = known

    def head(self) -> bytes | None:
        value: bytes | None = self._queue.value()
        return value

    def put_head(self, value: bytes) -> None:
        self._queue.update(value)

    def entry(self, place: int) -> bytes | None:
        value: bytes | None = self._waiting.get(place)
        return value

    def put_entry(self, place: int, value: bytes) -> None:
        self._waiting.put(place, value)

    def drop_entry(self, place: int) -> None:
        self._waiting.remove(place)

    def known(self, key: str) -> bool:
        return bool(self._known.contains(key))

    def set_known(self, key: str, *, known: bool) -> None:
        if known:
            self._known.put(key, True)
        else:
            self._known.remove(key)
