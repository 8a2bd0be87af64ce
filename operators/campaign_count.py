"""Counts the copies under one key, and tells when they are too many. No engine, no clock.

Time is the broker's, of uploads. The window ends with the latest copy that came; what is older
than a window then changes nothing.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from operators.campaign_state import Copy, Group, decode_group, encode_group
from operators.metrics import Metrics
from operators.moderation_logic import ValueState
from schemas.campaign_job import CampaignsDocument
from schemas.kept import StateError

_THOUSAND: Final = 1000


class Crossing(msgspec.Struct, frozen=True, array_like=True):
    """A group of copies that passes the thresholds, as the registry gets it."""

    family: str
    """text or picture."""
    why: Literal["users", "communities"]
    users: int
    communities: int
    uploads: int
    estimated: bool
    weight: int
    """Of the users together, in thousandths."""
    first_ms: int
    last_ms: int
    examples: list[Copy]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Crossing)


def encode_crossing(crossing: Crossing) -> bytes:
    """A crossing on its way to the registry."""
    return _encoder.encode(crossing)


def decode_crossing(raw: bytes) -> Crossing:
    """The other way round."""
    return _decoder.decode(raw)


class CountLogic:
    """Keeps groups of copies.

    Args:
        config: window, thresholds and bounds.
        metrics: counts go here.
    """

    def __init__(self, config: CampaignsDocument, metrics: Metrics) -> None:
        self._config = config
        self._window_ms = config.window_ms
        self._copies = metrics.counter("campaign_copies")
        self._state_resets = metrics.counter("state_resets")

    def on_copy(self, family: str, copy: Copy, state: ValueState) -> Crossing | None:
        """Count one copy.

        Args:
            family: text or picture.
            copy: under the key whose state this is.
            state: the key's value.

        Returns:
            What to tell: the group has passed the thresholds, or has twice as many users or
            communities as when it was told last, or goes on since half a window.
        """
        try:
            group = decode_group(state.value())
        except StateError:
            # Counting anew is better than a job that fails for ever.
            self._state_resets.add()
            group = Group()
        if copy.at_ms <= group.last_ms - self._window_ms:
            self._copies.add("late")
            return None
        self._copies.add(family)
        count(group, copy, self._config)
        told = self._crossing(family, group)
        state.update(encode_group(group))
        return told

    def _crossing(self, family: str, group: Group) -> Crossing | None:
        found = passed(group, self._config)
        if found is None:
            return None
        why, level = found
        if level <= group.told_level and group.last_ms < group.told_ms + self._window_ms // 2:
            return None
        group.told_level = max(level, group.told_level)
        group.told_ms = group.last_ms
        tallies = (group.users, group.communities, group.uploads)
        return Crossing(
            family,
            why,
            group.users.count,
            group.communities.count,
            group.uploads.count,
            any(tally.halvings for tally in tallies),
            group.users.weight,
            group.first_ms,
            group.last_ms,
            group.examples,
        )


def count(group: Group, copy: Copy, config: CampaignsDocument) -> None:
    """Take a copy into a group that it is not too old for, and forget what is too old by now."""
    window, most = config.window_ms, config.bounds.counted
    if copy.at_ms > group.last_ms:
        if copy.at_ms - window >= group.last_ms:
            # Nothing of before is in the window: the group begins anew.
            fresh = Group()
            for name in Group.__struct_fields__:
                setattr(group, name, getattr(fresh, name))
        group.last_ms = copy.at_ms
        until = copy.at_ms - window
        for tally in (group.users, group.communities, group.uploads):
            tally.prune(until)
        group.examples = [each for each in group.examples if each.at_ms > until]
    group.first_ms = min(group.first_ms or copy.at_ms, copy.at_ms)
    group.users.add(copy.user, copy.at_ms, copy.weight, most)
    if copy.community:
        group.communities.add(copy.community, copy.at_ms, 0, most)
    group.uploads.add(copy.upload, copy.at_ms, 0, most)
    _exemplify(group, copy, config.bounds.examples)


def _exemplify(group: Group, copy: Copy, most: int) -> None:
    """Keep a copy among the examples where its hash is low enough."""
    known = {each.upload: each for each in group.examples}
    before = known.get(copy.upload)
    # Of an upload that came twice, or was edited, the later one; of two at once the greater.
    if before is None or _order(before) < _order(copy):
        known[copy.upload] = copy
    group.examples = [known[upload] for upload in sorted(known)[:most]]


def _order(copy: Copy) -> tuple[int, bytes, bytes]:
    return copy.at_ms, copy.digest, copy.print


def passed(
    group: Group, config: CampaignsDocument
) -> tuple[Literal["users", "communities"], int] | None:
    """Whether a group is a campaign: why, and how often its number doubles the threshold."""
    limits = config.thresholds
    users, communities = group.users.count, group.communities.count
    weight = group.users.weight
    if (
        users >= limits.users
        and weight >= limits.weight * _THOUSAND
        and weight >= limits.mean_weight * _THOUSAND * users
    ):
        return "users", (users // limits.users).bit_length() - 1
    if communities >= limits.communities and communities >= limits.communities_per_user * users:
        return "communities", (communities // limits.communities).bit_length() - 1
    return None
