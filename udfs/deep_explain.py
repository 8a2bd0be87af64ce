"""Which words a score rests on, by hiding them (Zeiler and Fergus 2014), within a budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

_WORD: Final = re.compile(r"\S+")


class Word(NamedTuple):
    """A word of a window."""

    start: int
    """Characters of the text, half-open."""
    end: int
    tokens: range
    """Places of its tokens in the window's body."""


Lost = Callable[[Sequence[range]], list[float]]
"""Ranges of token places to what the score loses without each."""


def words_of(text: str, spans: Sequence[tuple[int, int]]) -> list[Word]:
    """Words that the tokens of a window belong to.

    Args:
        text: the whole text.
        spans: characters of each token, in order. Tokens that stand for no character of a word
            belong to none.
    """
    words: list[Word] = []
    found = list(_WORD.finditer(text, spans[0][0], spans[-1][1])) if spans else []
    at = 0
    for match in found:
        while at < len(spans) and spans[at][1] <= match.start():
            at += 1
        first = at
        while at < len(spans) and spans[at][0] < match.end():
            at += 1
        if at > first:
            words.append(Word(match.start(), match.end(), range(first, at)))
    return words


def strongest(
    words: Sequence[Word], lost: Lost, passes: int, limit: int
) -> list[tuple[int, int, float]]:
    """Words whose absence costs the score most, as (start, end, weight), strongest first.

    With more words than passes, half of the passes go to groups of neighbours and the rest to
    the words of the groups that cost most; what was not taken apart is not named.

    Args:
        words: in order.
        lost: measures; each range is one pass.
        passes: most ranges measured in all.
        limit: most words returned.
    """
    if not words or passes < 1:
        return []
    chosen = list(words)
    if len(words) > passes:
        groups = max(1, passes // 2)
        size = -(-len(words) // groups)
        parts = [words[i : i + size] for i in range(0, len(words), size)]
        drops = lost([range(part[0].tokens.start, part[-1].tokens.stop) for part in parts])
        left = passes - len(parts)
        chosen = []
        for i in sorted(range(len(parts)), key=lambda i: (-drops[i], i)):
            chosen += parts[i][: left - len(chosen)]
            if len(chosen) >= left:
                break
    if not chosen:
        return []
    weights = lost([word.tokens for word in chosen])
    order = sorted(range(len(chosen)), key=lambda i: (-weights[i], chosen[i].start))
    return [(chosen[i].start, chosen[i].end, weights[i]) for i in order[:limit] if weights[i] > 0]
