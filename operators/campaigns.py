"""The Flink shells of the campaigns job: sign, count, register. Each around a logic of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pyflink.common import Row, Time
from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, StateTtlConfig, ValueStateDescriptor

from operators.campaign_count import CountLogic, encode_crossing
from operators.campaign_registry import RegistryLogic, Told
from operators.campaign_sign import SignLogic
from operators.campaign_state import decode_copy
from operators.feedback_logic import Arrival
from operators.flink_counters import FlinkCounters
from operators.metrics import Metrics
from schemas.campaign_job import CampaignsDocument
from schemas.settings import ROOT, Settings
from udfs.banks import ExactBanks
from udfs.campaign_good import KnownGood
from udfs.media_banks import MediaBanks

REGISTRY: Final = "registry"
"""The one key of the last operator."""
CROSSING: Final = b""
"""What stands for the key of a control message where it is none, but a crossing."""
_FLUSH_S: Final = 1.0
_SLACK_S: Final = 3_600
"""State is kept so much longer than it is read, by the clock: events may lag behind it."""


class _Counted(KeyedProcessFunction):  # type: ignore[misc]  # pyflink ships no types
    """What the three have in common: settings, figures, and counts that are handed on."""

    def __init__(self, settings: Settings, config: CampaignsDocument) -> None:
        self._settings = settings
        self._config = config

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make what counts."""
        self._metrics = Metrics()
        self._registry = FlinkCounters(runtime_context.get_metrics_group().add_group("sluice"))
        self._flush_at = time.monotonic()

    def close(self) -> None:
        """Hand on the last counts."""
        # A failed `open` is closed as well; an error here would take the whole process down.
        registry = getattr(self, "_registry", None)
        if registry is not None:
            self._metrics.flush(registry.add)

    def _flush(self) -> None:
        if time.monotonic() >= self._flush_at:
            self._metrics.flush(self._registry.add)
            self._flush_at = time.monotonic() + _FLUSH_S

    @staticmethod
    def _value(runtime_context: RuntimeContext, name: str, seconds: float) -> Any:
        # The type is made here: captured by the class it could not be pickled.
        descriptor = ValueStateDescriptor(name, Types.PICKLED_BYTE_ARRAY())
        descriptor.enable_time_to_live(
            StateTtlConfig.new_builder(Time.seconds(int(seconds) + _SLACK_S))
            .set_update_type(StateTtlConfig.UpdateType.OnCreateAndWrite)
            .build()
        )
        return runtime_context.get_state(descriptor)


class Sign(_Counted):
    """Uploads and evidence in, by content id; copies out, rows of (key, (family, copy))."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Declare state."""
        super().open(runtime_context)
        settings = self._settings
        self._logic = SignLogic(self._config, settings.topics, settings.limits, self._metrics)
        self._state = self._value(
            runtime_context, "media", self._config.pictures.wait_hours * 3_600
        )

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Take one record."""
        raw, topic, partition, offset, timestamp = value._values  # Row's own iterator is slower
        arrival = Arrival(raw or b"", topic, partition, offset, timestamp)
        for signed in self._logic.on_record(ctx.get_current_key(), arrival, self._state):
            yield Row(signed.key, Row(signed.family.encode(), signed.copy))
        self._flush()


class Count(_Counted):
    """Copies in, by their keys; groups that are too large out, for the registry."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Declare state."""
        super().open(runtime_context)
        self._logic = CountLogic(self._config, self._metrics)
        self._state = self._value(runtime_context, "group", self._config.window_ms / 1000)

    def process_element(
        self,
        value: Any,
        ctx: KeyedProcessFunction.Context,  # noqa: ARG002 - PyFlink's signature
    ) -> Iterator[Row]:
        """Count one copy."""
        family, raw = value._values
        told = self._logic.on_copy(family.decode(), decode_copy(raw), self._state)
        if told is not None:
            yield Row(REGISTRY, Row(CROSSING, encode_crossing(told)))
        self._flush()


class Register(_Counted):
    """Crossings and control messages in; rows of (topic, key, value) out."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the banks, declare state."""
        super().open(runtime_context)
        config, files = self._config, self._settings.cascade
        good = KnownGood(
            ExactBanks.load(_path(files.banks)),
            MediaBanks.load(_path(files.media_banks)),
            config.known_good,
            config.texts.similarity,
        )
        self._logic = RegistryLogic(
            config,
            self._settings.topics,
            good,
            now_ms=lambda: time.time() * 1000,
            metrics=self._metrics,
        )
        self._campaigns = _Kept(_map(runtime_context, "campaigns"))
        self._messages = _Kept(_map(runtime_context, "messages"))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Take what a group tells, or a control message."""
        key, raw = value._values
        kept = (self._campaigns, self._messages)
        if key == CROSSING and raw:
            told = self._logic.on_crossing(raw, *kept)
        else:
            told = self._logic.on_control((key or b"").decode("utf-8", "replace"), raw, *kept)
        yield from self._follow(told, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:  # noqa: ARG002 - PyFlink's signature
        """End what is over."""
        yield from self._follow(self._logic.on_timer(self._campaigns, self._messages), ctx)

    def _follow(self, told: Told, ctx: Any) -> Iterator[Row]:
        for topic, key, value in told.records:
            yield Row(topic, key, value or None)  # None: a tombstone
        if told.due_ms is not None:
            # Up to the next second, so that few timers are pending however often it is asked for.
            ctx.timer_service().register_processing_time_timer(-(-told.due_ms // 1000) * 1000)
        self._flush()


def _map(runtime_context: RuntimeContext, name: str) -> Any:
    descriptor = MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
    return runtime_context.get_map_state(descriptor)


def _path(path: Path) -> Path:
    return path if path.is_absolute() else ROOT / path


class _Kept:
    """Flink's map state as the logic asks for it."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def items(self) -> list[tuple[str, bytes]]:
        return list(self._state.items())

    def put(self, key: str, value: bytes) -> None:
        self._state.put(key, value)

    def remove(self, key: str) -> None:
        self._state.remove(key)
