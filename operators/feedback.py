"""The Flink shell of the feedback job: a keyed function around `FeedbackLogic`.

Its second input is the broadcast control stream, of which erasures of users are obeyed and
answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from pyflink.common import Row, Time
from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, StateTtlConfig, ValueStateDescriptor

from operators.control_shell import ControlShell
from operators.feedback_logic import Arrival, FeedbackLogic, Step
from operators.flink_counters import FlinkCounters
from operators.metrics import Metrics
from operators.redis_store import NoLookups, RedisLookups
from schemas.features import UserFeatures
from schemas.feedback_job import FeedbackDocument
from schemas.settings import Settings
from udfs.contracts import Lookups

JOB: Final = "feedback"
"""In the job's answers to control messages."""
_MAX_TIME: Final = 2**63 - 1
_FLUSH_S: Final = 1.0
_TIMER_STEP_MS: Final = 100
"""Timers are rounded up to it, so that what comes together is looked at together."""


def erased_state() -> MapStateDescriptor:
    """Descriptor of the broadcast state: erasures in force by their key."""
    return MapStateDescriptor("erased", Types.STRING(), Types.PICKLED_BYTE_ARRAY())


class Join(KeyedBroadcastProcessFunction):  # type: ignore[misc]  # pyflink ships no types
    """Decisions, audit records and what people say in, rows of (topic, key, value) out.

    Args:
        settings: the job's settings.
        config: how long things wait and what they weigh.
        bounded: the input ends. Processing-time timers that are pending then are dropped by
            the engine, so an event-time timer at the end of time is registered as well.
    """

    def __init__(self, settings: Settings, config: FeedbackDocument, *, bounded: bool) -> None:
        self._settings = settings
        self._config = config
        self._bounded = bounded

    def open(self, runtime_context: RuntimeContext) -> None:
        """Declare state, connect to the feature store."""
        settings = self._settings
        self._metrics = Metrics()
        self._logic = FeedbackLogic(
            self._config,
            settings.topics,
            users=StoredUsers(RedisLookups(settings.redis) if settings.redis.enabled else None),
            now_ms=lambda: time.time() * 1000,
            metrics=self._metrics,
        )
        acks = settings.topics.control_acks
        self._control = ControlShell(
            self._logic.erased, acks, erased_state(), runtime_context, job=JOB
        )
        # The type is made here: captured by the class it could not be pickled.
        descriptor = ValueStateDescriptor("content", Types.PICKLED_BYTE_ARRAY())
        # An hour more than the logic's own: what is held until then is never taken away unread.
        seconds = int((self._config.join.remember_hours + 1) * 3600)
        descriptor.enable_time_to_live(
            StateTtlConfig.new_builder(Time.seconds(seconds))
            .set_update_type(StateTtlConfig.UpdateType.OnCreateAndWrite)
            .build()
        )
        self._state = runtime_context.get_state(descriptor)
        self._registry = FlinkCounters(runtime_context.get_metrics_group().add_group("sluice"))
        self._flush_at = time.monotonic()

    def process_element(
        self, value: Any, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Iterator[Row]:
        """Take one record."""
        if not self._control.restored:
            yield from self._control.restore(ctx)
        raw, topic, partition, offset, timestamp = value._values  # Row's own iterator is slower
        arrival = Arrival(raw or b"", topic, partition, offset, timestamp)
        step = self._logic.on_record(ctx.get_current_key(), arrival, self._state)
        yield from self._follow(step, ctx)

    def process_broadcast_element(
        self, value: Any, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Iterator[Row]:
        """Take one control message; the answer comes out."""
        if not self._control.restored:
            yield from self._control.restore(ctx)
        yield from self._control.take(value, ctx)

    def on_timer(
        self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext
    ) -> Iterator[Row]:
        """Join what has waited long enough."""
        if not self._control.restored:
            yield from self._control.restore(ctx)
        ended = timestamp == _MAX_TIME
        logic, state = self._logic, self._state
        yield from self._follow(logic.on_end(state) if ended else logic.on_timer(state), ctx)

    def close(self) -> None:
        """Hand on the last counts."""
        # A failed `open` is closed as well; an error here would take the whole process down.
        registry = getattr(self, "_registry", None)
        if registry is not None:
            self._metrics.flush(registry.add)

    def _follow(self, step: Step, ctx: Any) -> Iterator[Row]:
        for record in step.records:
            yield Row(*record)
        if step.timer_ms is not None:
            timers = ctx.timer_service()
            rounded = -(-step.timer_ms // _TIMER_STEP_MS) * _TIMER_STEP_MS
            timers.register_processing_time_timer(rounded)
            if self._bounded:
                timers.register_event_time_timer(_MAX_TIME)
        if time.monotonic() >= self._flush_at:
            self._metrics.flush(self._registry.add)
            self._flush_at = time.monotonic() + _FLUSH_S


class StoredUsers:
    """Reporters' features from the store that the moderation job reads.

    Args:
        lookups: the store; None: nobody is known.
    """

    def __init__(self, lookups: Lookups | None) -> None:
        self._lookups = lookups or NoLookups()

    def features(self, user_id: str) -> UserFeatures:
        """Of one user; the defaults of an unknown one where the store is away."""
        found = self._lookups.fetch((), (user_id,), ()).users
        return found.get(user_id) or UserFeatures()
