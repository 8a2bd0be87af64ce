"""Batching by tick: uploads wait a few milliseconds and are scored together.

The first key whose timer fires scores every waiting upload as one batch; the answers are
kept, and each key's own timer takes its own. State and output then change in one key context,
so that a restart neither loses nor repeats. What waits here is a copy of what the keyed state
holds as pending: after a restart the copy is empty and is filled again from state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

I = TypeVar("I")  # noqa: E741 - the item's type; the conventional name of a type variable
O = TypeVar("O")  # noqa: E741 - the outcome's type


class TickBatch(Generic[I, O]):
    """Waiting items by key, scored together.

    Args:
        score: takes a batch of items, gives one outcome each, in order. Must not raise.
        max_batch: a batch this full is scored at once, without waiting for the tick.
    """

    def __init__(self, score: Callable[[Sequence[I]], Sequence[O]], max_batch: int) -> None:
        self._score = score
        self._max_batch = max_batch
        self._waiting: dict[str, list[_Slot[I, O]]] = {}
        self._unscored: list[_Slot[I, O]] = []

    def __contains__(self, key: str) -> bool:
        """Whether anything of this key waits here."""
        return key in self._waiting

    def __len__(self) -> int:
        """Keys that wait."""
        return len(self._waiting)

    def add(self, key: str, item: I) -> None:
        """Let one item wait under its key."""
        slot: _Slot[I, O] = _Slot(item)
        self._waiting.setdefault(key, []).append(slot)
        self._unscored.append(slot)
        if len(self._unscored) >= self._max_batch:
            self._score_waiting()

    def items(self, key: str) -> list[I]:
        """What waits under a key, oldest first."""
        return [slot.item for slot in self._waiting.get(key, ())]

    def take(self, key: str) -> list[tuple[I, O]]:
        """Take a key's items with their outcomes, scoring all that wait if need be."""
        slots = self._waiting.pop(key, None)
        if not slots:
            return []
        if any(slot.outcome is None for slot in slots):
            self._score_waiting()
        return [(slot.item, slot.outcome) for slot in slots if slot.outcome is not None]

    def _score_waiting(self) -> None:
        slots, self._unscored = self._unscored, []
        outcomes = self._score([slot.item for slot in slots])
        for slot, outcome in zip(slots, outcomes, strict=True):
            slot.outcome = outcome


class _Slot(Generic[I, O]):
    __slots__ = ("item", "outcome")

    def __init__(self, item: I) -> None:
        self.item = item
        self.outcome: O | None = None
