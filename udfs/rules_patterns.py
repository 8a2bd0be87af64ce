"""Pattern rules: all of them at once through RE2, in time linear in the text.

One `Set` says which patterns occur at all; only those are then searched for their places.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import re2

MAX_SPANS: Final = 16
"""Most places that one pattern reports: each costs another walk over the text."""
MAX_MEMORY: Final = 64 << 20
"""Bytes that the compiled patterns together may take."""
MAX_INSTRUCTIONS: Final = 600_000
"""Size of all compiled patterns. The sixty default ones take 25,000; counted repetitions of
counted repetitions would keep a running job compiling for long."""

_PROBES: Final = ("", "a", " a ", "a1 b")
_CANARY: Final = "sluice\x01canary"
TOO_LARGE: Final = (
    "the patterns together are too large for RE2: shorten counted repetitions like {1,900}"
)

Hit = tuple[int, int, int]
"""Index of the rule, and a half-open range of the searched text."""


class PatternFaultError(ValueError):
    """A pattern that RE2 does not take.

    Args:
        message: what is wrong, with the position in the pattern.
        position: 1-based character position in the pattern.
    """

    def __init__(self, message: str, position: int) -> None:
        self.position = position
        super().__init__(message)


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    return options


def compile_pattern(pattern: str) -> Any:
    """Compile one pattern.

    Returns:
        An RE2 object, as the `re2` module makes it.

    Raises:
        PatternFaultError: for what RE2 refuses, and for a pattern that matches everything.
    """
    try:
        compiled = re2.compile(pattern, _options())
    except re2.error as error:
        reason = _reason(error)
        position = _position(pattern, reason)
        raise PatternFaultError(
            f"RE2 does not take this pattern: {reason} at position {position}{_advice(reason)}",
            position,
        ) from None
    if any((m := compiled.search(probe)) and m.start() == m.end() for probe in _PROBES):
        raise PatternFaultError("matches the empty text, so it would match everything", 1)
    return compiled


def _reason(error: Exception) -> str:
    first = error.args[0]
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def _position(pattern: str, reason: str) -> int:
    """Where the refused construct begins: it ends the first prefix that is refused likewise."""
    if reason.startswith("missing"):
        return len(pattern)
    fragment = reason.partition(": ")[2]
    for end in range(1, len(pattern) + 1):
        try:
            re2.compile(pattern[:end], _options())
        except re2.error as error:
            if _reason(error) == reason:
                return pattern.rfind(fragment, 0, end) + 1 or 1
    return 1


def _advice(reason: str) -> str:
    if "perl operator" in reason:
        return " (lookaround and other backtracking constructs are not available)"
    if "escape sequence" in reason:
        return " (backreferences are not available)"
    return ""


class PatternIndex:
    """All patterns of one view of the text.

    Args:
        patterns: index of the rule and its pattern, as `compile_pattern` made it; in any number.

    Raises:
        PatternFaultError: for patterns that together are too large for RE2.
    """

    def __init__(self, patterns: Iterable[tuple[int, Any]]) -> None:
        self._patterns = list(patterns)
        self._set = re2.Set.SearchSet(_options())
        if self._patterns:
            self._compile()

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def find(self, text: str) -> Sequence[Hit]:
        """Every place, at most `MAX_SPANS` for each pattern."""
        found = self._set.Match(text.encode("utf-8", "replace"))
        return list(self._places(text, found)) if found else ()

    def _places(self, text: str, found: Sequence[int]) -> Iterator[Hit]:
        for index in found:
            if index < len(self._patterns):  # the one beyond is the canary
                rule, compiled = self._patterns[index]
                for match in itertools.islice(compiled.finditer(text), MAX_SPANS):
                    if match.start() < match.end():
                        yield rule, match.start(), match.end()

    def _compile(self) -> None:
        try:
            for _, compiled in self._patterns:
                self._set.Add(compiled.pattern)
            self._set.Add(_CANARY)
            self._set.Compile()
        except re2.error:
            raise PatternFaultError(TOO_LARGE, 1) from None
        # A set that runs out of memory while matching matches nothing, silently.
        if not self._set.Match(f"- {_CANARY} -".encode()):
            raise PatternFaultError(TOO_LARGE, 1)
