"""How much time the heavy tier may take, so that the thread that it shares keeps up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

_MEMORY_S: Final = 1.0
"""Time constant of the average over what else the thread does."""
_MOST_S: Final = 0.03
"""What is saved up at most: a burst may take so much more than its share."""


class Allowance:
    """A token bucket, filled with the time that the thread has to spare.

    What else the thread does is known by its processor time: that of decoding, rules, the fast
    tier, state and records, all of which come first. Up to `busy_most` of the time is left to the
    heavy tier. So it gives way before a queue builds up, not after.

    Args:
        busy_most: share of the time, 0 to 1, that the thread may be busy; 0: no limit.
        wall: seconds.
        cpu: processor time of the calling thread, seconds.
    """

    def __init__(
        self,
        busy_most: float,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._busy_most = busy_most
        self._wall = wall
        self._cpu = cpu
        self._at: tuple[float, float] | None = None
        self._own_cpu = 0.0
        self._others = 0.0
        self._saved = _MOST_S

    def refill(self) -> None:
        """Take into account what happened since the last call. Once a batch."""
        if not self._busy_most:
            return
        now = self._wall(), self._cpu()
        if self._at is not None:
            passed = now[0] - self._at[0]
            if passed <= 0:
                return
            used = max(now[1] - self._at[1] - self._own_cpu, 0.0)
            keeps = math.exp(-passed / _MEMORY_S)
            self._others = self._others * keeps + min(used / passed, 1.0) * (1 - keeps)
            spare = max(self._busy_most - self._others, 0.0)
            self._saved = min(self._saved + spare * passed, _MOST_S)
        self._at = now
        self._own_cpu = 0.0

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self._busy_most > 0 and self._saved <= 0

    def spend(self, work: Callable[[], None]) -> None:
        """Do some of the heavy tier's work."""
        if not self._busy_most:
            work()
            return
        began, cpu = self._wall(), self._cpu()
        work()
        self._saved -= self._wall() - began
        self._own_cpu += self._cpu() - cpu
