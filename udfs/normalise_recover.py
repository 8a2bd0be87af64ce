"""Words read by how common they are: run together, split, misspelt, with pictures in between.

Three of these need proof that a text is disguised, since each would be wrong about some honest
text: a text that is mostly misspelt, a picture after every other word, or disguises that other
steps have undone already. The fourth, `variants`, knows some words that are worth a table.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator
from typing import Final

from udfs.normalise_lexicon import LEAST, Lexicon
from udfs.normalise_unicode import Edit

_LONGEST_WORD: Final = 18
_LONGEST_RUN: Final = 400
"""Letters of a run that is taken apart; a longer one is left."""
_SMOOTH: Final = 40.0
"""Zipf's law flattens at the top: the commonest words are not so much likelier than the next."""
_UNUSUAL: Final = 3.0
"""What a word costs beyond its rank for being an inflection that the dictionary lacks."""
_LETTERS: Final = "etaoinsrhldcumfpgwybvkxjqz"
_UNDOUBLED, _SWAPPED, _DROPPED = 0.0, 1.0, 1.5
"""What each way to misspell costs beyond the rank of the word."""
_PLAIN_WORD: Final = re.compile(r"(?<![\w@#/.'\-&])[a-z]{3,}(?![\w@/'\-]|\.\w)")
_PLAIN_TOKEN: Final = re.compile(r"(?<![^\s\"'(*])[a-z]+(?![^\s\"',.;:!?)*])")
_TRIPLE: Final = re.compile(r"(.)\1\1")
_PREFIXES: Final = frozenset({"re", "un", "de", "co", "ex", "ist"})
_ENGLISH: Final = frozenset(
    str.split(
        "the you that this are and is your what they have not of it she was with for my get got all"
        " can but just when who if his him them our out about there an or to"
    )
)
"""Short words that no misspelling changes: without them a text of unknown words is foreign."""
_SAMPLE: Final = 60
"""Words of a text by which it is told whether it is misspelt."""
_HARD: Final = 5
"""Letters of a word from which its misspelt forms are put into the table."""
_SIGNS: Final = "[\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff]\ufe0f?"
_PICTURE: Final = re.compile(rf"(?<=[^\W_] |[.,!?] ){_SIGNS}(?=[ .,!?;:'\"/)]|$)")
_PICTURE_INSIDE: Final = re.compile(rf"(?<=[a-z]){_SIGNS}(?=[a-z])")
_BROKEN: Final = re.compile(rf"[a-z]+(?:{_SIGNS}[a-z]+)+")
_LEAST_PICTURES: Final = 5


class Recovery:
    """Reads what other steps leave of disguised words.

    Args:
        lexicon: words by how common they are.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._rank = lexicon.rank
        self._known = frozenset(word for word in lexicon.rank if len(word) > 1 or word in "ai")
        self._corrected = functools.lru_cache(maxsize=20_000)(self._correct)

    # --- run together ------------------------------------------------------------------------

    def cuts(self, run: str) -> tuple[int, ...]:
        """Where the words of a run of letters end, but for the last: `youareanidiot` at 3, 6, 8.

        The most likely sequence of words, by Zipf's law (as Norvig 2009, chapter 14, by counts).

        Returns:
            Nothing where the run is one word, or no sequence of words.
        """
        if run in self._lexicon or len(run) < LEAST or len(run) > _LONGEST_RUN:
            return ()
        costs = [0.0]
        first = [0]
        for end in range(1, len(run) + 1):
            best, at = math.inf, 0
            for start in range(max(0, end - _LONGEST_WORD), end):
                cost = costs[start] + self._cost(run[start:end])
                if cost < best:
                    best, at = cost, start
            costs.append(best)
            first.append(at)
        if costs[-1] == math.inf:
            return ()
        out = []
        end = first[-1]
        while end > 0:
            out.append(end)
            end = first[end]
        return tuple(reversed(out))

    def _cost(self, word: str) -> float:
        rank = self._rank.get(word)
        if rank is None or (len(word) == 1 and word not in "ai"):
            return math.inf
        # A word each: what is one word is not read as two.
        return math.log(rank + _SMOOTH) + 4.0

    # --- split -------------------------------------------------------------------------------

    def joined(self, text: str) -> list[Edit]:
        """Neighbours that are a word together, and not both words by themselves: `st upid`.

        Args:
            text: known to be disguised.
        """
        tokens = list(_PLAIN_TOKEN.finditer(text))
        edits: list[Edit] = []
        at = 0
        while at + 1 < len(tokens):
            if self._belong(text, tokens, at) and not (
                # `to p ut`: the letter belongs to what follows.
                tokens[at][0] in self._known
                and at + 2 < len(tokens)
                and tokens[at + 2][0] not in self._known
                and self._belong(text, tokens, at + 1)
            ):
                edits.append((tokens[at].end(), tokens[at + 1].start(), ""))
                at += 1
            at += 1
        return edits

    def _belong(self, text: str, tokens: list[re.Match[str]], at: int) -> bool:
        """Whether a token and the next are one word."""
        first, second = tokens[at], tokens[at + 1]
        if text[first.end() : second.start()] != " ":
            return False
        if first[0] in self._known and second[0] in self._known:
            return False
        return self._is_word(first[0] + second[0])

    def _is_word(self, word: str) -> bool:
        return len(word) >= LEAST - 1 and (word in self._rank or word in self._lexicon)

    # --- misspelt ----------------------------------------------------------------------------

    def spelling(self, text: str) -> list[Edit]:
        """Put a text right that is mostly misspelt: a letter dropped, doubled, swapped.

        Only English, which its short words show, and only where much of it can be put right: a
        few unknown words are names.
        """
        tokens = text.split(" ", _SAMPLE)[:_SAMPLE]
        # Half of a misspelt text's words are too short to be misspelt: most texts end here.
        if len(tokens) < 3 or 2 * sum(map(self._known.__contains__, tokens)) > len(tokens):
            return []
        strange = [t for t in tokens if len(t) > 3 and t.isalpha() and t not in self._known]
        if len(strange) < 2 or 5 * len(strange) < len(tokens):
            return []
        english = len(_ENGLISH.intersection(tokens))
        if not english or 12 * english < len(tokens):
            return []
        words = 0
        edits: list[Edit] = []
        sure = set()
        for m in _PLAIN_WORD.finditer(text):
            word = m[0]
            known = self._is_word(word)
            words += len(word) >= LEAST or not known
            if not known:
                right = self._corrected(word)
                if right:
                    edits.append((m.start(), m.end(), right))
                    # Shorter words might be names, or slang.
                    if len(word) > LEAST or (len(word) == LEAST and len(right) <= LEAST):
                        sure.add(word)
        every = len(sure) > 1 and len(edits) == words
        if not every and (len(sure) < 3 or 5 * len(edits) < 2 * words):
            return []
        return edits

    def _correct(self, word: str) -> str:
        """The likeliest word that this one misspells; empty where there is none."""
        if len(word) > _LONGEST_WORD:
            return ""
        best, found = math.inf, ""
        for right, penalty in _sources(word):
            rank = self._rank.get(right)
            if rank is None:
                if penalty == _DROPPED or len(right) < LEAST or right not in self._lexicon:
                    continue
                cost = math.log(len(self._rank)) + _UNUSUAL
            else:
                cost = math.log(rank + _SMOOTH)
            if cost + penalty < best:
                best, found = cost + penalty, right
        return found

    # --- pictures ----------------------------------------------------------------------------

    def pictures(self, text: str) -> list[Edit]:
        """Drop single pictures that stand after every other word, or oftener, and those inside."""
        found = list(_PICTURE.finditer(text))
        if len(found) < _LEAST_PICTURES:
            return []
        words = sum(token[0].isalnum() for token in text.split(" ") if token)
        if 5 * len(found) < 2 * words:
            return []
        edits: list[Edit] = [(m.start() - 1, m.end(), "") for m in found]
        # `y💯ou`, too short for a dictionary's proof. A picture between two words may part them.
        for token in _BROKEN.finditer(text):
            parts = _PICTURE_INSIDE.split(token.group())
            if "".join(parts) in self._known or not all(part in self._known for part in parts):
                edits += [
                    (token.start() + m.start(), token.start() + m.end(), "")
                    for m in _PICTURE_INSIDE.finditer(token.group())
                ]
        return sorted(edits)


def _sources(word: str) -> Iterator[tuple[str, float]]:
    """Words of which this may be a misspelling, with what each way costs.

    The first letter is right, and so is the last but for a swap.
    """
    for i in range(len(word) - 1):
        if word[i] == word[i + 1]:
            yield word[:i] + word[i + 1 :], _UNDOUBLED
    for i in range(1, len(word) - 1):
        if word[i] != word[i + 1]:
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :], _SWAPPED
    for i in range(1, len(word)):
        for letter in _LETTERS:
            yield word[:i] + letter + word[i:], _DROPPED


def variants(words: Iterable[str], lexicon: Lexicon) -> dict[str, str]:
    """Misspelt and split forms of some words, to each its word.

    None of them is a word, nor two, nor the form of two of the words.

    Args:
        words: lower-case letters.
        lexicon: what is a word.
    """
    out: dict[str, str] = {}
    twice: set[str] = set()
    for word in words:
        forms = _misspelt(word) if len(word) >= _HARD else set()
        forms |= {
            f"{word[:i]} {word[i:]}"
            for i in range(1, len(word))
            if not (_stands(word[:i], lexicon) and _stands(word[i:], lexicon))
        }
        for form in forms:
            if form in out and out[form] != word:
                twice.add(form)
            elif form not in lexicon and form not in lexicon.rank:
                out[form] = word
    return {form: word for form, word in sorted(out.items()) if form not in twice}


def _misspelt(word: str) -> set[str]:
    inner = range(1, len(word) - 1)
    dropped = {word[:i] + word[i + 1 :] for i in inner}
    doubled = {word[:i] + word[i] + word[i:] for i in inner}
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner}
    # Letters three times are another step's.
    return {form for form in dropped | doubled | swapped if not _TRIPLE.search(form)} - {word}


def _stands(part: str, lexicon: Lexicon) -> bool:
    """Whether it is a word, a letter, or what may stand alone before a sign: `who re-elected`."""
    return len(part) == 1 or part in _PREFIXES or part in lexicon.rank or part in lexicon
