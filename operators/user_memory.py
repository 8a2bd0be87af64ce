"""What is remembered of one user, in memory while any of their uploads wait; and their trust.

An upload reads trust as of a while before it came (`udfs.trust.at_upload`), so that it reads the
same whenever and in whatever batch it is decided. Uploads of one user that lie further apart than
that, and yet meet in one batch, are decided one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from operators.metrics import Metrics
from operators.user_state import Arrived, UserValue, decode_state, encode_state
from operators.velocity import Event, VelocityConfig, VelocityRing, fingerprint
from schemas.features import Velocity
from schemas.kept import StateError
from schemas.trust import Labelled, Overturned, TrustDocument, UserRow
from udfs.contracts import Item, Outcome
from udfs.trust import apply, at_upload, features, row, worth_telling
from udfs.trust_events import labels_of, of_decision, of_reports
from udfs.trust_state import TrustState, decode_trust, encode_trust

_NOBODY: Final = TrustState()


class UserMemory:
    """Velocity and trust of one user."""

    __slots__ = ("_trust", "_trust_bytes", "ring")

    def __init__(self, ring: VelocityRing, trust: TrustState, trust_bytes: bytes = b"") -> None:
        self.ring = ring
        self._trust = trust
        self._trust_bytes = trust_bytes

    @property
    def trust(self) -> TrustState:
        """Everything that their trust is read from."""
        return self._trust

    @trust.setter
    def trust(self, trust: TrustState) -> None:
        self._trust = trust
        self._trust_bytes = b"" if trust == _NOBODY else encode_trust(trust)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not self._trust_bytes and self.ring.empty

    def observe(self, item: Item) -> Velocity:
        """Count an upload."""
        upload = item.upload
        return self.ring.observe(
            Event(
                content_key=f"{upload.content_id}\x00{upload.revision}",
                created_ms=int(upload.created_at.timestamp() * 1000),
                broker_ms=item.broker_ms,
                text_hash=_content_fingerprint(item),
                community=upload.community_id or "",
            )
        )

    def forget(self, velocity: VelocityConfig) -> None:
        """Start from zero."""
        self.ring = VelocityRing(None, velocity)
        self.trust = _NOBODY

    def encode(self, waiting: Sequence[Arrived]) -> bytes:
        """The value that is kept."""
        return encode_state(self.ring.encode(), self._trust_bytes, waiting)


def _content_fingerprint(item: Item) -> int:
    if item.content_hash:
        return int(item.content_hash[:16], 16)
    return fingerprint(item.upload.media_uri or "")


def decode_memory(
    value: bytes | None, velocity: VelocityConfig
) -> tuple[UserMemory, Sequence[Arrived]]:
    """Read a kept value: what is remembered, and what waits.

    Raises:
        StateError: it cannot be read.
    """
    kept: UserValue = decode_state(value)
    try:
        ring = VelocityRing(kept.velocity, velocity)
        trust = _NOBODY if kept.trust is None else decode_trust(kept.trust)
    except ValueError as error:
        raise StateError(str(error)) from None
    return UserMemory(ring, trust, kept.trust or b""), kept.waiting


class TrustKeeper:
    """Reads users' trust for their uploads, and takes in what their decisions say.

    Args:
        config: the trust's.
        tell: hands a user's row on to its readers.
        metrics: counts go here.
    """

    def __init__(
        self, config: TrustDocument, tell: Callable[[str, UserRow], None], metrics: Metrics
    ) -> None:
        self._config = config
        self._tell = tell
        self._events = metrics.counter("user_events")

    def informed(self, memory: UserMemory, item: Item) -> Item:
        """An upload with what the cascade shall know of its author, and when it first came."""
        state, at_ms = at_upload(memory.trust, item.upload, item.broker_ms, self._config)
        return item.with_user(features(state, at_ms, self._config), at_ms)

    def decided(self, memory: UserMemory, item: Item, outcome: Outcome) -> None:
        """Take in a decision."""
        decision = outcome.decision
        before = state = memory.trust
        if item.reports is not None:
            state = apply(state, of_reports(item.reports), self._config)
        event = of_decision(decision, item.upload.account, item.asked_ms)
        if event is not None:
            state = apply(state, event, self._config)
            if self._config.labels and (decision.evidence or decision.action != "allow"):
                for label in labels_of(decision, item.asked_ms, self._config):
                    state = apply(state, label, self._config)
        self._changed(memory, decision.user_id, before, state, item.asked_ms)

    def told(self, memory: UserMemory, user_id: str, event: Labelled | Overturned) -> None:
        """Take in what people say about a user, or about their upload."""
        self._events.add("label" if isinstance(event, Labelled) else "overturned")
        before = memory.trust
        after = apply(before, event, self._config)
        self._changed(memory, user_id, before, after, event.at_ms)

    def erased(self) -> None:
        """Count an erasure."""
        self._events.add("erase")

    def _changed(
        self, memory: UserMemory, user_id: str, before: TrustState, after: TrustState, at_ms: int
    ) -> None:
        if after is before:
            return
        memory.trust = after
        if worth_telling(before, after):
            self._tell(user_id, row(after, at_ms, self._config))

    def rounds(self, batch: Sequence[tuple[UserMemory, Item]]) -> list[list[int]]:
        """Which uploads of a batch can be decided together: places in it, by round.

        An upload waits for an earlier round of its user's where that is old enough to count for
        it, and a content that came before for the first one, as of which it is decided. Nearly
        every batch is one round.
        """
        if len({id(memory) for memory, _ in batch}) == len(batch):
            return [list(range(len(batch)))] if batch else []
        rounds: list[list[int]] = []
        # Of each user the round of their newest upload, and when the first of it was asked.
        last: dict[int, tuple[int, int]] = {}
        came: dict[tuple[int, str], int] = {}
        for place, (memory, item) in enumerate(batch):
            number, first_ms = last.get(id(memory), (0, item.asked_ms))
            if item.broker_ms - self._config.settle_ms >= first_ms:
                number, first_ms = number + 1, item.asked_ms
            content = (id(memory), item.upload.content_id)
            if content in came:
                number = max(number, came[content] + 1)
            else:
                came[content] = number
            last[id(memory)] = (number, min(first_ms, item.asked_ms))
            while len(rounds) <= number:
                rounds.append([])
            rounds[number].append(place)
        return rounds
