"""The control stream within a keyed function: `ControlLogic` over the broadcast state of Flink."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.common import Row
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.brain import Configurable
from operators.control import ControlLogic
from schemas.control import MODERATION


class ControlShell:
    """Second input of a job's keyed function. Made when the function opens.

    Args:
        target: what is configured.
        acks_topic: where answers go.
        state: descriptor of the broadcast state, accepted messages by their key.
        runtime_context: of the function.
        job: that answers.
    """

    def __init__(
        self,
        target: Configurable,
        acks_topic: str,
        state: MapStateDescriptor,
        runtime_context: RuntimeContext,
        *,
        job: str = MODERATION,
    ) -> None:
        # The wrapper's own getters call methods that Flink 2 has moved into TaskInfo.
        task = runtime_context._runtime_context.getTaskInfo()
        self._logic = ControlLogic(
            target,
            acks_topic,
            subtask=task.getIndexOfThisSubtask(),
            subtasks=task.getNumberOfParallelSubtasks(),
            now_ms=lambda: time.time() * 1000,
            job=job,
        )
        self._state = state
        self.restored = False
        """Whether what the state holds is in force; before the first record `restore` it."""

    def restore(self, ctx: Any) -> Iterator[Row]:
        """Apply what the broadcast state holds: `open` cannot read it, the first call can."""
        self.restored = True
        held = list(ctx.get_broadcast_state(self._state).items())
        for ack in self._logic.restore(held):
            yield Row(*ack)

    def take(self, value: Any, ctx: Any) -> Iterator[Row]:
        """Take one control message, a row of key and value; the answers say what is in force."""
        raw_key, raw_value = value._values[:2]
        key = (raw_key or b"").decode("utf-8", "replace")
        for answer in self._logic.on_message(key, raw_value):
            if answer.keep:
                state = ctx.get_broadcast_state(self._state)
                if answer.value:
                    state.put(answer.key, answer.value)
                elif state.contains(answer.key):
                    state.remove(answer.key)
            yield Row(*answer.ack)
