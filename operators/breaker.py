"""A circuit breaker: a dependency that fails is left alone for a while, then tried once."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Closed, open, half open (M. Nygard, *Release It!*, "Circuit Breaker").

    Args:
        failures: consecutive failures that open it.
        open_s: seconds for which it then stays open; after that one call is let through.
        monotonic: clock, seconds.
    """

    def __init__(self, failures: int, open_s: float, monotonic: Callable[[], float]) -> None:
        self._limit = failures
        self._open_s = open_s
        self._monotonic = monotonic
        self._failures = 0
        self._opened_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the dependency is being left alone."""
        return self._opened_at is not None

    def allows(self) -> bool:
        """Whether a call may be made now."""
        if self._opened_at is None:
            return True
        if self._monotonic() - self._opened_at < self._open_s:
            return False
        # Half open: this call decides. The next one waits for a full period if it fails.
        self._opened_at = self._monotonic()
        return True

    def succeeded(self) -> None:
        """Close it."""
        self._failures = 0
        self._opened_at = None

    def failed(self) -> None:
        """Count a failure; the limit opens it."""
        self._failures += 1
        if self._failures >= self._limit:
            self._opened_at = self._monotonic()
