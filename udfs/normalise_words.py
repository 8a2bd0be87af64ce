"""Normalisation of words: look-alikes, spelled-out words, short forms, repetition.

Like the steps of `udfs.normalise_unicode`, each goes from a text (lower case by now) to a
list of edits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import ahocorasick_rs

from udfs.confusables import (
    LOOKALIKES,
    SQUARED,
    STRICT,
    TO_CYRILLIC,
    TO_GREEK,
    TO_LATIN,
)
from udfs.normalise_leet import URL, leet_word, pronounceable
from udfs.normalise_unicode import ODD, Edit, character_class

# --- look-alikes -----------------------------------------------------------------------------

_FOREIGN: Final = (
    r"\u0370-\u03ff\u1f00-\u1fff\u0400-\u052f\u1c80-\u1c8f\u0531-\u058f\u13a0-\u13ff\uab70-\uabbf"
)
_LOOK: Final = character_class("".join(LOOKALIKES))
_SQUARE: Final = character_class("".join(SQUARED))
_FOREIGN_LETTER: Final = re.compile(f"[{_FOREIGN}]")
_OWN_LETTER: Final = re.compile(f"(?![{character_class(''.join(STRICT))}])[{_FOREIGN}]")
_MIXED_PAIR: Final = re.compile(f"[a-z][0-9@$]{{0,3}}[{_FOREIGN}]|[{_FOREIGN}][0-9@$]{{0,3}}[a-z]")
_LATIN_LETTER: Final = re.compile("[a-z]")
_CYRILLIC: Final = re.compile("[\u0400-\u052f]")
_WORD: Final = re.compile(f"(?:[^\\W_]|[{_SQUARE}$@])+")
_SUSPECT_WORD: Final = re.compile(f"[{_FOREIGN}{_LOOK}{_SQUARE}]")
_ALL_LATIN: Final = re.compile("[a-z0-9@$\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]+", re.IGNORECASE)
_ALL_CYRILLIC: Final = re.compile("[\u0400-\u052f0-9]+")
_ALL_GREEK: Final = re.compile("[\u0370-\u03ff\u1f00-\u1fff0-9]+")


_CYRILLIC_TWINS: Final = frozenset("aceopxyi")
_GREEK_TWINS: Final = frozenset("oapvikutx")


def may_mix(text: str) -> bool:
    """Whether `confusables` has anything to look at: a cheap check of a lower-case text."""
    return bool(ODD.search(text)) or mixes(text)


def mixes(text: str) -> bool:
    """Whether letters of two alphabets meet, or a Latin text has words of look-alikes only."""
    if not (_LATIN_LETTER.search(text) and _FOREIGN_LETTER.search(text)):
        return False
    return bool(_MIXED_PAIR.search(text)) or not _OWN_LETTER.search(text)


def confusables(text: str) -> list[Edit]:
    """Give every word one alphabet, where look-alikes made it two or hid it in another.

    A word that mixes alphabets takes the one that all of its letters can be read in. A word
    wholly of look-alikes is read as Latin only in a text that is otherwise Latin.
    """
    words = list(_WORD.finditer(text))
    latin = foreign = other = 0
    for m in words:
        word = m[0]
        if word.isascii():
            latin += len(word)
        elif _FOREIGN_LETTER.search(word) and not _LATIN_LETTER.search(word):
            foreign += len(word)
            other += not all(c in STRICT for c in word)
    is_latin = other == 0 and latin >= 2 and latin >= 2 * foreign
    edits = []
    for m in words:
        word = m[0]
        if _SUSPECT_WORD.search(word):
            new = _one_alphabet(word, is_latin)
            if new != word:
                edits.append((m.start(), m.end(), new))
    return edits


def _one_alphabet(word: str, text_is_latin: bool) -> str:
    latin = word.translate(TO_LATIN)
    latin_fits = bool(_ALL_LATIN.fullmatch(latin))
    if not _FOREIGN_LETTER.search(word):  # letter forms: small capitals, squares
        return latin if latin_fits and len(word) > 1 else word  # one alone is itself
    if not _LATIN_LETTER.search(word) and not ODD.search(word):
        return latin if text_is_latin and all(c in STRICT for c in word) else word
    letters = [c for c in word if c.isalpha()]
    cyrillic = bool(_CYRILLIC.search(word))
    if len(letters) < 3 and not (cyrillic and all(c in STRICT or c.isascii() for c in letters)):
        return word  # µm, Δt: a symbol, not a word
    if cyrillic:
        home, pattern, twins = word.translate(TO_CYRILLIC), _ALL_CYRILLIC, _CYRILLIC_TWINS
    else:
        home, pattern, twins = word.translate(TO_GREEK), _ALL_GREEK, _GREEK_TWINS
    if not pattern.fullmatch(home):
        return latin if latin_fits else word
    if not latin_fits:
        return home
    # Both can be read: the better likeness wins, then the majority.
    own = [c for c in letters if c.isascii()]
    latin_easy = all(c in STRICT for c in letters if not c.isascii())
    home_easy = all(c in twins for c in own)
    if latin_easy != home_easy:
        return latin if latin_easy else home
    return home if not text_is_latin and len(own) * 2 < len(letters) else latin


# --- spelled-out words -----------------------------------------------------------------------

_LETTER: Final = r"[a-z013457@$\u00df-\u00f6\u00f8-\u024f]"
_SPELLED: Final = re.compile(
    rf"(?<![^\W_])(?<![@$])(?<![a-z]'){_LETTER}"
    r"([ ._\-]{1,3}|[*/|~,+·•]{1,2}|[*/|~,+·•] | [*/|~,+·•\-] )"
    # What follows may be a word that is spelled out by another separator: `s u c h a_n`.
    rf"{_LETTER}(?:\1{_LETTER})+(?![^\W_])(?![@$])(?!(?!\1)[._\-*/|~,+·•]{{1,2}}{_LETTER})"
    r"|(?<![^\W_])[\u0400-\u04ff]([ ._\-]{1,3})[\u0400-\u04ff]"
    r"(?:\2[\u0400-\u04ff]){2,}(?![^\W_])"
)
_ONE_LETTER_WORDS: Final = frozenset("aeiouwyzàáâéèêíìîóòôöøúùûåæ")


class SpelledWords:
    """Joins `h a t e`, `h.a.t.e`, `h-a-t-e`, `h_a_t_e`.

    Three letters or more, one of them no one-letter word of some language; four or more with
    separators that also stand for "or" and "times". Cyrillic needs four: its prepositions
    are letters, but four of them never follow each other. In `i h a t e` the first letter is
    the pronoun, in `i d i o t` it is not.

    Args:
        keep: tokens that are no leet.
        i_words: words with a first letter that is not the pronoun.
        cuts: where the words of a run of letters end, but for the last; nothing for one word.
    """

    def __init__(
        self,
        keep: frozenset[str],
        i_words: frozenset[str],
        cuts: Callable[[str], tuple[int, ...]] = lambda _: (),
    ) -> None:
        self._keep = keep
        self._i_words = i_words
        self._cuts = cuts

    def edits(self, text: str, cased: str) -> tuple[list[Edit], list[tuple[int, int]], int]:
        """Find the words.

        Args:
            text: lower case.
            cased: the text before it was lowered, if it has the same length.

        Returns:
            Edits that drop the separators, the ranges in the edited text of what was joined
            without knowing where words end, and how many runs are disguises rather than
            abbreviations like `U.S.A.`.
        """
        edits: list[Edit] = []
        ranges: list[tuple[int, int]] = []
        disguised = 0
        if not may_spell(text):
            return edits, ranges, disguised
        shift = 0
        for m in _SPELLED.finditer(text):
            separator = m[1] or m[2]
            joined = m[0].replace(separator, "")
            if not self._is_word(joined, separator):
                continue
            start, width = m.start(), len(separator)
            if separator.isspace() and self._has_pronoun(joined):
                start, joined = start + 1 + width, joined[1:]
            ends = self._cuts(joined)
            edits += [
                (at, at + width, " " if place in ends else "")
                for place, at in enumerate(range(start + 1, m.end() - 1, width + 1), start=1)
            ]
            if not ends:
                ranges.append((start - shift, start - shift + len(joined)))
            capitals = len(cased) == len(text) and cased[start : m.end()].isupper()
            disguised += not (capitals and separator == ".")
            shift += width * (len(joined) - 1) - len(ends)
        return edits, ranges, disguised

    def _is_word(self, joined: str, separator: str) -> bool:
        letters = [c for c in joined if c.isalpha()]
        if all(c in _ONE_LETTER_WORDS for c in letters):
            return False
        if separator.strip(" ._-") and len(joined) < 4:
            return False
        return len(letters) == len(joined) or leet_word(joined, self._keep) is not None

    def _has_pronoun(self, joined: str) -> bool:
        if joined[0] != "i" or len(joined) < 4 or joined in self._i_words:
            return False
        return pronounceable(leet_word(joined[1:], self._keep) or joined[1:])


_TRIPLE: Final = re.compile(r"(.)\1\1", re.DOTALL)
_FOREIGN_TRIPLE: Final = re.compile(r"([^\x00-\x7f])\1\1")
# Three single letters in a row. Begins with what is rarer than letters.
_SINGLE: Final = rf"(?:{_LETTER}|[\u0400-\u04ff])"
_SINGLES: Final = re.compile(rf"[\W_](?:{_SINGLE}[ ._\-*/|~,+·•]{{1,3}}){{2}}{_SINGLE}(?![^\W_])")
# Everything is a letter or a separator.
_SHAPES: Final = bytes(
    ord("l") if (chr(code).isalnum() and code < 128) or chr(code) in "@$" else ord("s")
    for code in range(256)
)


def may_spell(text: str) -> bool:
    """Whether `SpelledWords` may find anything: a cheap check, right whenever it says no."""
    if not text.isascii():
        return bool(_SINGLES.search(f" {text}"))
    shape = b"s%bs" % text.encode().translate(_SHAPES)
    return b"slslsls" in shape or b"slsslssls" in shape or b"slssslsssls" in shape


def may_repeat_foreign(text: str) -> bool:
    """Whether a character outside ASCII stands three times."""
    return bool(_FOREIGN_TRIPLE.search(text))


_SPACES: Final = re.compile(r"\s+")


def spaces(text: str) -> list[Edit]:
    """One space between words, none at the ends."""
    if " ".join(text.split()) == text:
        return []
    return [
        (m.start(), m.end(), " " if m.start() > 0 and m.end() < len(text) else "")
        for m in _SPACES.finditer(text)
        if m[0] != " " or m.start() == 0 or m.end() == len(text)
    ]


# --- short forms -----------------------------------------------------------------------------


class ShortForms:
    """Expands a table of whole tokens.

    Args:
        table: short form to expansion, both as `normalise` leaves them.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self._expansions = list(table.values())
        self._automaton = ahocorasick_rs.AhoCorasick(
            list(table),
            matchkind=ahocorasick_rs.MatchKind.LeftmostLongest,
            implementation=ahocorasick_rs.Implementation.DFA,
        )

    def edits(self, text: str) -> list[Edit]:
        """Every short form that stands alone."""
        return [
            (start, end, self._expansions[index])
            for index, start, end in self._automaton.find_matches_as_indexes(text)
            if not _glued(text[start - 1 : start]) and not _glued(text[end : end + 1])
        ]


def _glued(neighbour: str) -> bool:
    return neighbour.isalnum() or (neighbour != "" and neighbour in "_@#$*&=/")


# --- repetition ------------------------------------------------------------------------------

_RUN: Final = re.compile(r"([^\W\d_])\1{2,}|([^\w\s]|_)\2{3,}")
_ADDRESS: Final = re.compile(URL)
_FARTHEST: Final = 256
"""Characters before a run in which an address may begin."""
_COMPOUND_LETTERS: Final = frozenset("fsltnpmrbgdke")


class Repeats:
    """Limits a letter to two in a row and other signs to three.

    Args:
        keep: tokens in which a letter stands three times and means it.
    """

    def __init__(self, keep: Iterable[str]) -> None:
        self._keep = frozenset(keep)
        self._longest = max(map(len, self._keep), default=0)

    def edits(self, text: str) -> tuple[list[Edit], list[int]]:
        """Edits, and where in the edited text the shortened letters stand."""
        edits: list[Edit] = []
        places: list[int] = []
        if not _TRIPLE.search(text):
            return edits, places
        shift = 0
        for m in _RUN.finditer(text):
            start, end = m.span()
            if self._means_it(text, start, end):
                continue
            if m[1]:
                places.append(start - shift)
                if end - start == 3 and _compound(text, start, end):
                    continue
                new = m[1] * 2
            else:
                new = m[2] * 3
            edits.append((start, end, new))
            shift += end - start - len(new)
        return edits, places

    def _means_it(self, text: str, start: int, end: int) -> bool:
        """Whether a run stands in an address, or is a word that is kept."""
        token = max(text.rfind(" ", 0, start) + 1, start - _FARTHEST)
        if _ADDRESS.search(text, token, end):
            return True
        first, last = start, end
        least, most = max(token, end - self._longest - 1), start + self._longest + 1
        while first > least and text[first - 1].isalnum():
            first -= 1
        while last < min(len(text), most) and text[last].isalnum():
            last += 1
        return text[first:last] in self._keep


def _compound(text: str, start: int, end: int) -> bool:
    """Whether three letters may be the seam of a German compound (Schifffahrt, Seeelefant)."""
    letter = text[start]
    if letter not in _COMPOUND_LETTERS:
        return False
    after = text[end : end + 4]
    if letter == "e":
        return len(after) == 4 and after.isalpha()
    return text[max(0, start - 2) : start].isalpha() and len(after) > 2 and after[:3].isalpha()
