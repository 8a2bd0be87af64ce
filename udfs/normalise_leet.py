"""Leet: letters written as digits and signs, in the canonical text and in the skeleton."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from udfs.confusables import FOLDS
from udfs.normalise_unicode import Edit, character_class

URL: Final = r"(?:https?://|www\d?\.)\S+"
"""Pattern of an address: none of its letters mean anything."""
_LATIN_LETTER: Final = re.compile("[a-z]")

_LEET: Final = str.maketrans(
    {
        "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s",
        "!": "i", "|": "l", "€": "e", "£": "l", "¢": "c", "¥": "y", "§": "s",
    }
)  # fmt: skip
SYMBOLS: Final = "@$€£¢¥§"
"""Signs that stand for letters."""
_SYMBOLS: Final = SYMBOLS
_WORD_OR_TAG: Final = (
    rf"(?P<tag>#)?(?P<word>[a-z0-9{_SYMBOLS}](?:[a-z0-9{_SYMBOLS}!|]*[a-z0-9{_SYMBOLS}])?)"
)
_TOKEN: Final = re.compile(rf"{URL}|{_WORD_OR_TAG}")
_TOKEN_OR_ADDRESS: Final = re.compile(
    # Taken whole and left alone: addresses, handles, domains. Lengths are bounded, so that a
    # failed attempt costs no more than that.
    rf"{URL}|(?<!\w)[\w.+\-]{{1,64}}@[\w\-]{{1,64}}(?:\.[\w\-]{{1,64}})+"
    rf"|(?<!\w)@\w[\w.]*|(?<!\w)\w{{1,64}}(?:\.\w{{1,64}})+|{_WORD_OR_TAG}"
)
# Begins with the rarer of the two, which makes the search fast.
_MIXTURE: Final = re.compile(rf"[0-9{_SYMBOLS}!|](?:(?=[a-z])|(?<=[a-z].))", re.DOTALL)
_READABLE: Final = re.compile(rf"[a-z0134570{_SYMBOLS}!|]+")
_INSIDE: Final = re.compile(r"[a-z][^a-z]{1,2}[a-z]|\$\$$")
_NUMBER: Final = re.compile(r"(\d)(?!\1)\d|\d{3}")
_VOWEL_BY_VOWEL: Final = re.compile(r"[aeiou][0134@€!]|0[aeio]|[14@!][aeiou]|[3€][eiou]")
_BETWEEN_WORDS: Final = re.compile(r"[aeiouy][a-z]*[!|][a-z]*[aeiouy]")
_PRONOUNCEABLE: Final = re.compile(
    r"(?!.*[bcdfghjklmnpqrstvwxz]{4})(?!.*[aeiou]{4})"
    r"(?:[bcdfghjklmnpqrstvwxyz]|[bcfgkps]l|[bcdfgkptw]r|[cgprstwz]h|[dst]w|[gks]n|ps|sc|sk|sm|sp"
    r"|st|qu|scr|shr|sch|spl|spr|squ|str|thr)?[aeiouy]"
)
_MODEL_NUMBER: Final = re.compile(r"[a-z]\d+|[a-z]+\d{2,}|\d{2,}[a-z]+|\d[a-z]{1,2}")
_L_FOR_ONE: Final = re.compile(r"(?<![aeiou][cfgps])(?<=[cfgps])1(?=[aeiou04])")


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
    lettered = _L_FOR_ONE.sub("l", token)
    if _NUMBER.search(token) or _VOWEL_BY_VOWEL.search(lettered) or _BETWEEN_WORDS.search(token):
        return None
    word = lettered.translate(_LEET)
    return word if pronounceable(word) else None


def pronounceable(word: str) -> bool:
    """Whether a word begins and runs like an English one."""
    return _PRONOUNCEABLE.match(word) is not None


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
    return text if text.isascii() else _FOLDABLE.sub(_bare_letter, text)


def _bare_letter(m: re.Match[str]) -> str:
    return FOLDS[m[0]]


def skeleton(text: str, keep: frozenset[str]) -> str:
    """The text as keyword matching reads it: letters bare, everything like leet decoded.

    Same length as `text`, character for character. Bolder than `leet`, since it is compared
    with given terms only: nothing that it makes of an honest token is one of them.
    """
    return decoded(bare(text), keep)


def decoded(text: str, keep: frozenset[str]) -> str:
    """The second half of `skeleton`."""
    parts: list[str] = []
    at = 0
    for start, end, _ in _leet_tokens(text):
        token = text[start:end]
        if token not in keep and not _MODEL_NUMBER.fullmatch(token):
            parts += (text[at:start], _decode(token))
            at = end
    return "".join(parts) + text[at:] if parts else text
