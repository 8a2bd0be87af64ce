"""The one Flink shell of the hot path: a keyed function around `ModerationLogic`.

Its second input is the broadcast control stream, handled by `ControlShell`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from pyflink.common import Row, Time
from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, StateTtlConfig, ValueStateDescriptor

from operators.brain import ConfigurableBrain
from operators.cases import may_be_deadline
from operators.control_shell import ControlShell
from operators.flink_counters import FlinkCounters
from operators.jit_priority import compilers_stand_back
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic, Record
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.features import SINGLE
from schemas.settings import ROOT, Settings
from schemas.trust import load_trust

_MAX_TIME: Final = 2**63 - 1
_FLUSH_S: Final = 1.0


def control_state() -> MapStateDescriptor:
    """Descriptor of the broadcast state: accepted control messages by their key."""
    return MapStateDescriptor("control", Types.STRING(), Types.PICKLED_BYTE_ARRAY())


class Moderate(KeyedBroadcastProcessFunction):  # type: ignore[misc]  # pyflink ships no types
    """Uploads and control messages in, rows of (topic, key, value) out.

    Args:
        settings: the job's settings.
        make_brain: composes the cascade; called once per subtask, in the worker.
        bounded: the input ends. Processing-time timers that are pending then are dropped by
            the engine, so an event-time timer at the end of time is registered as well.
    """

    def __init__(
        self,
        settings: Settings,
        make_brain: Callable[[Settings, Metrics], ConfigurableBrain],
        *,
        bounded: bool,
    ) -> None:
        self._settings = settings
        self._make_brain = make_brain
        self._bounded = bounded

    def open(self, runtime_context: RuntimeContext) -> None:
        """Compose the cascade and declare state."""
        settings = self._settings
        self._metrics = Metrics()
        trust = load_trust(ROOT / settings.cascade.trust)
        brain = self._make_brain(settings, self._metrics)
        self._logic = ModerationLogic(
            brain,
            settings.topics,
            velocity=VelocityConfig.of(settings.velocity),
            max_batch=settings.tick.max_batch,
            now_ms=_now_ms,
            metrics=self._metrics,
            cases=settings.cases,
            trust=trust,
        )
        self._control = ControlShell(
            brain, settings.topics.control_acks, control_state(), runtime_context
        )
        # The type is made here: captured by the class it could not be pickled.
        descriptor = ValueStateDescriptor("user", Types.PICKLED_BYTE_ARRAY())
        # Trust is remembered for longer than velocity, which lies in the same value.
        idle_hours = max(settings.velocity.idle_ttl_hours, trust.idle_days * 24)
        descriptor.enable_time_to_live(
            StateTtlConfig.new_builder(Time.hours(idle_hours))
            .set_update_type(StateTtlConfig.UpdateType.OnCreateAndWrite)
            .build()
        )
        self._state = runtime_context.get_state(descriptor)
        cases = MapStateDescriptor("cases", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        cases.enable_time_to_live(
            StateTtlConfig.new_builder(Time.hours(settings.cases.keep_hours))
            .set_update_type(StateTtlConfig.UpdateType.OnCreateAndWrite)
            .build()
        )
        self._cases = _Cases(runtime_context.get_map_state(cases))
        _spare_the_collector()
        compilers_stand_back()
        self._tick = settings.tick
        self._registry = FlinkCounters(runtime_context.get_metrics_group().add_group("sluice"))
        self._flush_at = time.monotonic()

    def process_element(
        self, value: Any, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Iterator[Row]:
        """Take one upload, or evidence about one; its decision comes with the tick."""
        if not self._control.restored:
            yield from self._control.restore(ctx)
        raw, topic, partition, offset, timestamp = value._values  # Row's own iterator is slower
        arrived = Arrived(raw or b"", topic, partition, offset, timestamp, SINGLE)
        timers = self._cases.timers = ctx.timer_service()
        records = self._logic.on_record(ctx.get_current_key(), arrived, self._state, self._cases)
        if records:
            yield from map(_row, records)
            return
        now, tick = int(time.time() * 1000), self._tick
        late = now - timestamp > tick.late_after_ms
        wait = tick.late_interval_ms if late else tick.interval_ms
        timers.register_processing_time_timer((now // wait + 1) * wait)
        if self._bounded:
            timers.register_event_time_timer(_MAX_TIME)

    def process_broadcast_element(
        self, value: Any, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Iterator[Row]:
        """Take one control message; the answers say what is in force."""
        if not self._control.restored:
            yield from self._control.restore(ctx)
        yield from self._control.take(value, ctx)

    def on_timer(
        self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext
    ) -> Iterator[Row]:
        """Emit what the key waits for."""
        if not self._control.restored:
            yield from self._control.restore(ctx)
        for records in self._logic.on_tick(ctx.get_current_key(), self._state, self._cases):
            yield from map(_row, records)
        if may_be_deadline(timestamp) or timestamp == _MAX_TIME:
            self._cases.timers = ctx.timer_service()
            ended = timestamp == _MAX_TIME
            key = ctx.get_current_key()
            for records in self._logic.on_deadline(key, self._state, self._cases, everything=ended):
                yield from map(_row, records)
        if time.monotonic() >= self._flush_at:
            self._flush(ctx, timestamp)

    def close(self) -> None:
        """Hand on the last counts."""
        # A failed `open` is closed as well; an error here would take the whole process down.
        registry = getattr(self, "_registry", None)
        if registry is not None:
            self._metrics.flush(registry.add)

    def _flush(self, ctx: Any, timestamp: int) -> None:
        grown = self._metrics.flush(self._registry.add)
        self._flush_at = time.monotonic() + _FLUSH_S
        if grown and timestamp != _MAX_TIME:
            # So that the last counts before a silence are handed on as well.
            later = int(time.time() * 1000 + _FLUSH_S * 1100)
            ctx.timer_service().register_processing_time_timer(later)


def _spare_the_collector() -> None:
    """Keep Python's cycle collector away from what lives as long as the worker.

    Nothing per upload holds cycles; with the default thresholds the collector would walk models,
    rules and caches again and again, for a fifth of the operator's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _now_ms() -> float:
    return time.time() * 1000


def _row(record: Record) -> Row:
    return Row(*record)


class _Cases:
    """The current key's map of cases, and its timers."""

    def __init__(self, state: Any) -> None:
        self.get = state.get
        self.put = state.put
        self.remove = state.remove
        self.items = state.items
        self.timers: Any = None

    def wake(self, at_ms: int) -> None:
        """See `operators.cases.CaseState`."""
        self.timers.register_processing_time_timer(at_ms)
