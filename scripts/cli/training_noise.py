"""Typing noise: what the normaliser does not undo (letters dropped, doubled or swapped)."""

from __future__ import annotations

import random
import re
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]{4,}")


def misspell(text: str, rng: random.Random, *, share: float) -> str:
    """The text with about `share` of its words of four letters or more misspelt once.

    Args:
        text: normalised.
        rng: decides which words and how.
        share: within [0, 1].
    """

    def slip(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() >= share:
            return word
        at = rng.randrange(1, len(word) - 1)
        kind = rng.randrange(3)
        if kind == 0:
            return word[:at] + word[at + 1 :]
        if kind == 1:
            return word[:at] + word[at] + word[at:]
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return _WORD.sub(slip, text)
