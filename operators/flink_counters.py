"""Flink's counters by name and labels, made when first counted: where `Metrics.flush` leads."""

from __future__ import annotations

from typing import Any

from operators.metrics import Labels


class FlinkCounters:
    """Counters of one metric group.

    Args:
        group: Flink's.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._counters: dict[tuple[str, Labels], Any] = {}

    def add(self, name: str, labels: Labels, growth: int) -> None:
        """Count on."""
        counter = self._counters.get((name, labels))
        if counter is None:
            group = self._group
            for label, value in labels:
                group = group.add_group(label, value)
            counter = self._counters[name, labels] = group.counter(name)
        counter.inc(growth)
