"""Flink counters for what `operators.metrics` counts in Python."""

from __future__ import annotations

from typing import Any

from operators.metrics import Labels


class FlinkRegistry:
    """Flink counters by name and labels, made when first counted.

    Args:
        group: the operator's metric group.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._counters: dict[tuple[str, Labels], Any] = {}

    def add(self, name: str, labels: Labels, growth: int) -> None:
        """Add to a counter; `Metrics.flush` calls this."""
        counter = self._counters.get((name, labels))
        if counter is None:
            group = self._group
            for label, value in labels:
                group = group.add_group(label, value)
            counter = self._counters[name, labels] = group.counter(name)
        counter.inc(growth)
