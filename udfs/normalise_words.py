"""Normalisation of words: look-alikes, spelled-out and leet words, short forms, repetition.

Like the steps of `udfs.normalise_unicode`, each goes from a text (lower case by now) to a
list of edits.
"""

# ruff: noqa: RUF001 - look-alikes are this module's subject

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import ahocorasick_rs

from udfs.confusables import (
    FOLD,
    FOLDS,
    LOOKALIKES,
    SQUARED,
    STRICT,
    TO_CYRILLIC,
    TO_GREEK,
    TO_LATIN,
)
from udfs.normalise_unicode import Edit, character_class

# --- look-alikes -----------------------------------------------------------------------------

_FOREIGN: Final = (
    r"\u0370-\u03ff\u1f00-\u1fff\u0400-\u052f\u1c80-\u1c8f\u0531-\u058f\u13a0-\u13ff\uab70-\uabbf"
)
_LOOK: Final = character_class("".join(LOOKALIKES))
_SQUARE: Final = character_class("".join(SQUARED))
_ODD: Final = re.compile(f"[{_LOOK}{_SQUARE}]")
_FOREIGN_LETTER: Final = re.compile(f"[{_FOREIGN}]")
_OWN_LETTER: Final = re.compile(f"(?![{character_class(''.join(STRICT))}])[{_FOREIGN}]")
_MIXED_PAIR: Final = re.compile(f"[a-z][0-9@$]{{0,3}}[{_FOREIGN}]|[{_FOREIGN}][0-9@$]{{0,3}}[a-z]")
_LATIN_LETTER: Final = re.compile("[a-z]")
_CYRILLIC: Final = re.compile("[\u0400-\u052f]")
_GREEK: Final = re.compile("[\u0370-\u03ff]")
_WORD: Final = re.compile(f"(?:[^\\W_]|[{_SQUARE}$@])+")
_SUSPECT_WORD: Final = re.compile(f"[{_FOREIGN}{_LOOK}{_SQUARE}]")
_ALL_LATIN: Final = re.compile("[a-z0-9@$\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]+", re.IGNORECASE)
_ALL_CYRILLIC: Final = re.compile("[\u0400-\u052f0-9]+")
_ALL_GREEK: Final = re.compile("[\u0370-\u03ff\u1f00-\u1fff0-9]+")


def may_mix(text: str) -> bool:
    """Whether `confusables` has anything to look at: a cheap check of a lower-case text."""
    if _ODD.search(text):
        return True
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
    if not _FOREIGN_LETTER.search(word):  # letter forms: small capitals, squares
        whole = all(c in SQUARED for c in word)
        return latin if _ALL_LATIN.fullmatch(latin) and (len(word) > 1 or not whole) else word
    if not _LATIN_LETTER.search(word) and not _ODD.search(word):
        return latin if text_is_latin and all(c in STRICT for c in word) else word
    letters = sum(c.isalpha() for c in word)
    if letters < 3:  # µm, Δt: a symbol, not a word
        return word
    own = sum(bool(_LATIN_LETTER.match(c)) for c in word)
    if _CYRILLIC.search(word):
        home = word.translate(TO_CYRILLIC)
        whole = bool(_ALL_CYRILLIC.fullmatch(home))
    else:
        home = word.translate(TO_GREEK)
        whole = bool(_GREEK.search(word) and _ALL_GREEK.fullmatch(home))
    if whole and ((not text_is_latin and own * 2 < letters) or not _ALL_LATIN.fullmatch(latin)):
        return home
    return latin if _ALL_LATIN.fullmatch(latin) else word


# --- spelled-out words -----------------------------------------------------------------------

_SPELLED: Final = re.compile(
    r"(?<![^\W_])(?<![@$])[a-z013457@$]([ ._\-]{1,3}|[*/|~,+·•]{1,2}|[*/|~,+·•] | [*/|~,+·•\-] )"
    r"[a-z013457@$](?:\1[a-z013457@$])+(?![^\W_])(?![@$])"
    r"|(?<![^\W_])[\u0400-\u04ff]([ ._\-]{1,3})[\u0400-\u04ff]"
    r"(?:\2[\u0400-\u04ff]){2,}(?![^\W_])"
)
_ONE_LETTER_WORDS: Final = frozenset("aeiouwyzаивкосуяжб")


def spelled(
    text: str, keep: frozenset[str], cased: str
) -> tuple[list[Edit], list[tuple[int, int]], int]:
    """Join `h a t e`, `h.a.t.e`, `h-a-t-e`, `h_a_t_e`.

    Three letters or more, one of them no one-letter word of some language; four or more with
    separators that also stand for "or" and "times". Cyrillic needs four: its prepositions
    are letters.

    Args:
        text: lower case.
        keep: tokens that are no leet.
        cased: the text before it was lowered, if it has the same length.

    Returns:
        Edits that drop the separators, the ranges of the joined words in the edited text, and
        how many of them are disguises rather than abbreviations like `U.S.A.`.
    """
    if not may_spell(text):
        return [], [], 0
    edits: list[Edit] = []
    ranges = []
    disguised = 0
    shift = 0
    for m in _SPELLED.finditer(text):
        separator = m[1] or m[2]
        joined = m[0].replace(separator, "")
        letters = [c for c in joined if c.isalpha()]
        if all(c in _ONE_LETTER_WORDS for c in letters):
            continue
        if separator.strip(" ._-") and len(joined) < 4:
            continue
        if len(letters) < len(joined) and leet_word(joined, keep) is None:
            continue
        start, width = m.start(), len(separator)
        edits += [(at, at + width, "") for at in range(start + 1, m.end() - 1, width + 1)]
        ranges.append((start - shift, start - shift + len(joined)))
        capitals = len(cased) == len(text) and cased[start : m.end()].isupper()
        disguised += not (capitals and separator == ".")
        shift += width * (len(joined) - 1)
    return edits, ranges, disguised


_TRIPLE: Final = re.compile(r"(.)\1\1", re.DOTALL)
_FOREIGN_TRIPLE: Final = re.compile(r"([^\x00-\x7f])\1\1")
_CYRILLIC_SINGLES: Final = re.compile(r"[ ._\-](?:[\u0400-\u04ff][ ._\-]{1,3}){3}")
# Everything is a letter or a separator.
_SHAPES: Final = bytes(
    ord("l") if (chr(code).isalnum() and code < 128) or chr(code) in "@$" else ord("s")
    for code in range(256)
)


def may_spell(text: str) -> bool:
    """Whether `spelled` may find anything: a cheap check, right whenever it says no."""
    shape = b"s%bs" % text.encode("ascii", "replace").translate(_SHAPES)
    if b"slslsls" in shape or b"slsslssls" in shape or b"slssslsssls" in shape:
        return True
    return not text.isascii() and bool(_CYRILLIC_SINGLES.search(f" {text} "))


def may_repeat_foreign(text: str) -> bool:
    """Whether a character outside ASCII stands three times."""
    return bool(_FOREIGN_TRIPLE.search(text))


_SPACES: Final = re.compile(r"^\s+|\s+$|(?! (?!\s))\s+")


def spaces(text: str) -> list[Edit]:
    """One space between words, none at the ends."""
    if " ".join(text.split()) == text:
        return []
    return [
        (m.start(), m.end(), " " if m.start() > 0 and m.end() < len(text) else "")
        for m in _SPACES.finditer(text)
    ]


# --- leet ------------------------------------------------------------------------------------

_LEET: Final = str.maketrans(
    {
        "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s",
        "!": "i", "|": "l", "€": "e", "£": "l", "¢": "c", "¥": "y", "§": "s",
    }
)  # fmt: skip
SYMBOLS: Final = "@$€£¢¥§"
"""Signs that stand for letters."""
_SYMBOLS: Final = SYMBOLS
_URL: Final = r"(?:https?://|www\.)\S+"
_WORD_OR_TAG: Final = (
    rf"(?P<tag>#)?(?P<word>[a-z0-9{_SYMBOLS}](?:[a-z0-9{_SYMBOLS}!|]*[a-z0-9{_SYMBOLS}])?)"
)
_TOKEN: Final = re.compile(rf"{_URL}|{_WORD_OR_TAG}")
_TOKEN_OR_ADDRESS: Final = re.compile(
    # Taken whole and left alone: addresses, handles, domains. Lengths are bounded, so that a
    # failed attempt costs no more than that.
    rf"{_URL}|(?<!\w)[\w.+\-]{{1,64}}@[\w\-]{{1,64}}(?:\.[\w\-]{{1,64}})+"
    rf"|(?<!\w)@\w[\w.]*|(?<!\w)\w{{1,64}}(?:\.\w{{1,64}})+|{_WORD_OR_TAG}"
)
_MIXTURE: Final = re.compile(rf"[a-z][0-9{_SYMBOLS}!|]|[0-9{_SYMBOLS}!|][a-z]")
_READABLE: Final = re.compile(rf"[a-z0134570{_SYMBOLS}!|]+")
_INSIDE: Final = re.compile(r"[a-z][^a-z]{1,2}[a-z]|^\$[a-z]|\$\$$")
_NUMBER: Final = re.compile(r"(\d)(?!\1)\d|\d{3}")
_VOWEL_BY_VOWEL: Final = re.compile(r"[aeiou][0134@€!]|[0134@€!][aeiou]")
_BETWEEN_WORDS: Final = re.compile(r"[aeiouy][a-z]*[!|][a-z]*[aeiouy]")
_PRONOUNCEABLE: Final = re.compile(
    r"(?!.*[bcdfghjklmnpqrstvwxz]{4})(?!.*[aeiou]{4})"
    r"(?:[bcdfghjklmnpqrstvwxyz]|[bcfgkps]l|[bcdfgkptw]r|[cgprstwz]h|[dst]w|[gks]n|ps|sc|sk|sm|sp"
    r"|st|qu|scr|shr|sch|spl|spr|squ|str|thr)?[aeiouy]"
)
_MODEL_NUMBER: Final = re.compile(r"[a-z]\d+|[a-z]+\d{2,}|\d{2,}[a-z]+|\d[a-z]{1,2}")
_L_FOR_ONE: Final = re.compile(r"(?<=[cfgps])1(?=[aeiou04])")


def _decode(token: str) -> str:
    return _L_FOR_ONE.sub("l", token).translate(_LEET)


def leet_word(token: str, keep: frozenset[str]) -> str | None:
    """The word that a leet token disguises, or None where it may well be no disguise.

    A disguise replaces letters inside a word: `h4t3`, `$h1t`, `pu$$y`. Names and numbers
    (`covid19`, `mp3`, `b2b`, `4x4`, `3pm`, `2nd`, `h5n1`) have their digits at an end, have
    other digits, or cannot be pronounced when decoded.
    """
    if len(token) < 4 or token in keep or not _READABLE.fullmatch(token):
        return None
    letters = sum(c.isalpha() for c in token)
    if letters < 2 or letters * 2 < len(token) or not _INSIDE.search(token):
        return None
    if _NUMBER.search(token) or _VOWEL_BY_VOWEL.search(token) or _BETWEEN_WORDS.search(token):
        return None
    word = _decode(token)
    return word if _PRONOUNCEABLE.match(word) else None


def _leet_tokens(text: str) -> Iterator[tuple[int, int, bool]]:
    """Tokens that mix letters with digits or signs: start, end, whether it is a tag.

    Only the words around such a mixture are looked at. Words are separated by spaces.
    """
    seen = 0
    for mixture in _MIXTURE.finditer(text):
        if mixture.start() < seen:
            continue
        first = text.rfind(" ", 0, mixture.start()) + 1
        seen = text.find(" ", mixture.end())
        if seen < 0:
            seen = len(text)
        plain = text.find("@", first, seen) < 0 and text.find(".", first, seen) < 0
        pattern = _TOKEN if plain else _TOKEN_OR_ADDRESS
        for m in pattern.finditer(text, first, seen):
            token = m["word"]
            if token and not token.isalpha() and _LATIN_LETTER.search(token):
                yield m.start("word"), m.end(), m["tag"] is not None


def leet(text: str, keep: frozenset[str]) -> list[Edit]:
    """Undo leet where it is plain that it is one."""
    edits = []
    for start, end, tag in _leet_tokens(text):
        if not tag:
            word = leet_word(text[start:end], keep)
            if word is not None:
                edits.append((start, end, word))
    return edits


_FOLDABLE: Final = re.compile(f"[{character_class(''.join(FOLDS))}]")


def bare(text: str) -> str:
    """Accents off Latin letters, flags and squares to letters. Same length."""
    if text.isascii() or not _FOLDABLE.search(text):
        return text
    return text.translate(FOLD)


def skeleton(text: str, keep: frozenset[str]) -> str:
    """The text as keyword matching reads it: letters bare, everything like leet decoded.

    Same length as `text`, character for character. Bolder than `leet`, since it is compared
    with given terms only: nothing that it makes of an honest token is one of them.
    """
    text = bare(text)
    parts: list[str] = []
    at = 0
    for start, end, _ in _leet_tokens(text):
        token = text[start:end]
        if token not in keep and not _MODEL_NUMBER.fullmatch(token):
            parts += (text[at:start], _decode(token))
            at = end
    return "".join(parts) + text[at:] if parts else text


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

_COMPOUND_LETTERS: Final = frozenset("fsltnpmrbgdke")


class Repeats:
    """Limits a letter to two in a row and other signs to three.

    Args:
        keep: tokens in which a letter stands three times and means it.
    """

    def __init__(self, keep: Iterable[str]) -> None:
        kept = "|".join(re.escape(token) for token in sorted(keep, key=lambda t: (-len(t), t)))
        self._pattern = re.compile(
            rf"{_URL}|(?<![^\W_])(?:{kept})(?![^\W_])|([^\W\d_])\1{{2,}}|([^\w\s]|_)\2{{3,}}"
        )

    def edits(self, text: str) -> tuple[list[Edit], list[int]]:
        """Edits, and where in the edited text the shortened letters stand."""
        edits: list[Edit] = []
        places: list[int] = []
        if not _TRIPLE.search(text):
            return edits, places
        shift = 0
        for m in self._pattern.finditer(text):
            start, end = m.span()
            if m[1]:
                places.append(start - shift)
                if end - start == 3 and _compound(text, start, end):
                    continue
                new = m[1] * 2
            elif m[2]:
                new = m[2] * 3
            else:
                continue
            edits.append((start, end, new))
            shift += end - start - len(new)
        return edits, places


def _compound(text: str, start: int, end: int) -> bool:
    """Whether three letters may be the seam of a German compound (Schifffahrt, Seeelefant)."""
    letter = text[start]
    if letter not in _COMPOUND_LETTERS:
        return False
    after = text[end : end + 4]
    if letter == "e":
        return len(after) == 4 and after.isalpha()
    return text[max(0, start - 2) : start].isalpha() and len(after) > 2 and after[:3].isalpha()
