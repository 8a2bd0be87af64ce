"""Features of a user at the moment of an upload: what state and stores hand to the cascade."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.policy_parts import Measure

WINDOWS_S: Final[tuple[int, ...]] = (10, 60, 3600, 86400)
"""Velocity windows, seconds."""
WINDOW_NAMES: Final[tuple[str, ...]] = ("10s", "1m", "1h", "1d")


class Window(msgspec.Struct, frozen=True, array_like=True):
    """What one user did within one window that ends with this upload (which counts)."""

    count: int
    """Uploads, exact to the bucket."""
    distinct_texts: int
    """Estimated by linear counting; exact while small."""
    distinct_communities: int
    mean_gap_s: float
    """Mean seconds between uploads, to the bucket's width; the window's length for one upload."""


_SINGLE: Final = tuple(Window(1, 1, 1, float(width)) for width in WINDOWS_S)


class Velocity(msgspec.Struct, frozen=True, array_like=True):
    """Four windows, in the order of `WINDOWS_S`. The default is a user's only upload."""

    windows: tuple[Window, Window, Window, Window] = _SINGLE  # type: ignore[assignment]  # a generator's length is not typed
    duplicate: bool = False
    """This content id was seen before: it did not count again."""


class Restriction(msgspec.Struct, frozen=True, kw_only=True):
    """What acts on a user's next upload, and why."""

    measure: Measure
    reason: str


class UserFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a user. Defaults are those of an unknown user."""

    reputation: float = 50.0
    """0 to 100."""
    violations: int = 0
    toxicity_rate: float = 0.0
    """Share of the user's past uploads that were rejected, 0 to 1."""
    report_rate: float = 0.0
    uploads: int = 0
    known: bool = False
    """False where nothing is known (or the store cannot be reached): treated as cold start."""
    strike_weight: float = 0.0
    """Strikes that have not lapsed, each with its weight."""
    label_names: tuple[str, ...] = ()
    """Labels that hold, in order."""
    restriction: Restriction | None = None


class ThreadContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the thread and the community look like around an upload. See docs/CONTEXT.md.

    Defaults are those of calm surroundings, or of unknown ones.
    """

    parent_toxicity: float | None = None
    """0 to 1 (`udfs.context.toxicity_of`); None where it is low or not known."""
    thread_heat: float = 0.0
    """The thread's hostile posts of a window, each with its toxicity, halved every half-life."""
    thread_posts: int = 0
    """Posts of the thread in that window."""
    community_baseline: float | None = None
    """Share of the community's uploads that were hostile, 0 to 1; None where there were few."""
    community_uploads: int = 0
    """Uploads that the share is of, estimated."""


SINGLE: Final = Velocity()
"""A user's only upload."""
