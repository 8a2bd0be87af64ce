"""Disguises that a dictionary proves: `id!ot`, `l0$er`, `5+upid`, `idio.t`, `i_diot`, `idio👍t`.

The other steps undo what is plainly a disguise by its shape. These are no plain shapes: `end.the`
and `idio.t` look alike, `5+upid` might be arithmetic. What is read here must come out as a word of
the dictionary, and must not have been words before.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import ConfigError
from udfs.normalise_unicode import Edit

LEAST: Final = 4
"""Letters of a word that is looked for: shorter ones come about by accident."""
_MOST_CHARS: Final = 24
_MOST_READINGS: Final = 32
_SEPARATORS: Final = "._-*~+|/,·•"
_LETTERS: Final = {
    "0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a",
    "$": "s", "!": "il", "|": "li", "+": "t", "€": "e",
}  # fmt: skip
"""Letters that a sign may stand for."""
_SHORT: Final = frozenset(
    str.split(
        "a i an am as at be by do go he if in is it me my no of on or so to up us we all and "
        "any are ask bad big boy but can cat day did dog eat end far few for fun get god got "
        "guy had has her him his hot how its job kid let lie lot low man may men mom new non "
        "not now off old one our out own pay pen per pre put ran red run sad saw say see sea "
        "set she shy sir sit six son sub sun tax tea ten the too top try two use van via war "
        "was way wet who why win yes yet you re un de co ex x y e u r n"
    )
)
"""Parts of tokens that are words by themselves, or stand before them: what is made of such is left
alone."""
_UNITS: Final = re.compile(
    r"\d(?:in|am|pm|ft|ad|bc|lb|ml|mm|gb|tb|mb|kg|ha|hr|ed|er|ly)|1st|2nd|3rd|[04-9]th"
)
"""Figures with a unit, which might be read as short words."""
_SUFFIXES: Final = ("s", "es", "ed", "d", "er", "ers", "ing", "ly", "y")
_ADDRESS: Final = re.compile(
    r"(?:https?://|www\d?\.)|[\w.+\-]+@[\w\-]+\.|^@\w|^#|^[\w\-]+(?:\.[\w\-]+)*"
    r"\.(?:com|net|org|io|edu|gov|uk|de|fr|ru|tv|me|info|biz|co|us|ca|eu|js|py|txt|pdf|jpg|png|html?)"
    r"(?:/|$|[^\w])"
)
_EDGE_LEFT: Final = "\"'([{<*_~\u201c\u2018«.,;:-#"
_EDGE_RIGHT: Final = "\"')]}>*_~\u201d\u2019».,;:!?-…"
_PICTURE_INSIDE: Final = re.compile(r"[a-z][^\w\s\x00-\x7f]+[a-z]")
_SUSPECT: Final = re.compile(rb"lpp?l|gl|lg|xl")
_SIGN: Final = re.compile(r"[^a-z\s]")


def _shape(sign: str) -> str:
    """A letter l, a sign that may stand for one g, one that seldom does x, between letters p."""
    if "a" <= sign <= "z":
        return "l"
    if sign == "!":
        return "x"
    return "g" if sign in _LETTERS else "p" if sign in _SEPARATORS else " "


_SHAPES: Final = "".join(_shape(chr(code)) for code in range(256)).encode()


class Read(NamedTuple):
    """Edits, by the kind of disguise that each undoes."""

    spelled: list[Edit]
    leet: list[Edit]


_NOTHING: Final = Read([], [])


def may_hide(text: str) -> bool:
    """Whether a lower-case text has a sign beside letters: a cheap check, right when it says no."""
    plain = text.isascii()
    shape = text.encode("latin-1", "replace").translate(_SHAPES)
    if b"lpl" in shape or b"gl" in shape or b"lg" in shape or b"xl" in shape or b"lppl" in shape:
        return True
    return not plain and _PICTURE_INSIDE.search(text) is not None


def _suspects(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each token in which a sign stands beside letters."""
    shape = text.encode("latin-1", "replace").translate(_SHAPES)
    places = [m.start() for m in _SUSPECT.finditer(shape)]
    if not text.isascii():
        places += [m.start() for m in _PICTURE_INSIDE.finditer(text)]
        places.sort()
    return _tokens_at(text, places)


def _tokens_at(text: str, places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Start and end of each token at one of the places, which rise; once each."""
    seen = 0
    for place in places:
        if place >= seen:
            first = max(text.rfind(" ", 0, place) + 1, seen)
            seen = text.find(" ", place)
            if seen < 0:
                seen = len(text)
            yield first, seen


class Lexicon:
    """Reads disguised words by a dictionary.

    Args:
        words: lower case ASCII letters, the commonest first. Those shorter than `LEAST` are only
            looked for where a text is known to be disguised.
        keep: tokens that are left alone.
    """

    def __init__(self, words: Iterable[str], keep: frozenset[str] = frozenset()) -> None:
        self.rank = {word: place for place, word in enumerate(words)}
        """Place of each word by how common it is, from 0."""
        self._words = frozenset(word for word in self.rank if len(word) >= LEAST)
        self._keep = keep

    @classmethod
    def load(cls, path: Path, keep: frozenset[str] = frozenset()) -> Lexicon:
        """Read a file of one word a line; lines that begin with # are comments.

        Raises:
            ConfigError: naming the line of what is no word.
        """
        try:
            lines = path.read_text("utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
        words = []
        for number, line in enumerate(lines, start=1):
            if line and not line.startswith("#"):
                if not (line.isascii() and line.isalpha() and line.islower()):
                    raise ConfigError(
                        "is no word of lower-case ASCII letters", file=str(path), line=number
                    )
                words.append(line)
        return cls(words, keep)

    def __contains__(self, word: str) -> bool:
        """Whether it is a word, or an inflection of one."""
        if word in self._words:
            return True
        for suffix in _SUFFIXES:
            if word.endswith(suffix):
                stem = word[: -len(suffix)]
                if suffix == "d" and not stem.endswith("e"):
                    continue
                if stem in self._words or f"{stem}e" in self._words:
                    return True
        return False

    def edits(self, text: str, *, known: bool = False) -> Read:
        """Find disguised words in a lower-case text.

        Args:
            text: single spaces between words.
            known: the text is known to be disguised: short words are read too, and what might be
                a name, a number or two words elsewhere.
        """
        if known:
            places: Iterable[int] = [m.start() for m in _SIGN.finditer(text)]
            tokens = _tokens_at(text, places)
        elif may_hide(text):
            tokens = _suspects(text)
        else:
            return _NOTHING
        spelled: list[Edit] = []
        leet: list[Edit] = []
        for start, end in tokens:
            token = text[start:end]
            # Nobody puts a picture into a word for another reason.
            bold = known or (not token.isascii() and bool(_PICTURE_INSIDE.search(token)))
            if len(token) < LEAST - bold or len(token) > 2 * _MOST_CHARS or token.isalpha():
                continue
            found = self._read(token, bold=bold)
            if found is not None:
                first, last, word, signs = found
                (leet if signs else spelled).append((start + first, start + last, word))
        return Read(spelled, leet) if spelled or leet else _NOTHING

    def _read(self, token: str, *, bold: bool) -> tuple[int, int, str, bool] | None:
        """First and last place of a word in a token, the word, and whether signs stood for letters.

        The whole token first, then without what may be punctuation around it: in `$uch` the sign
        is a letter, in `($uch)` too, in `idiot!` it is none.
        """
        least = 1 if bold else 2
        if token in self._keep or sum(map(_is_letter, token)) < least:
            return None
        inner = token.lstrip(_EDGE_LEFT)
        first = len(token) - len(inner)
        core = inner.rstrip(_EDGE_RIGHT)
        last = first + len(core)
        if len(core) > _MOST_CHARS or core in self._keep:
            return None
        # In a disguised text `@nd` is no name, and `5@y5.` no address.
        if _ADDRESS.search(core.lstrip("@") if bold else token):
            return None
        if core.isalpha() and core.isascii():
            return None
        if bold:
            for word, signs in self._bold_readings(core):
                if len(word) >= LEAST - 1 and (word in self.rank or word in self):
                    return first, last, word, signs
            return None
        for word, signs in self._readings(core):
            if len(word) >= LEAST and word in self:
                return first, last, word, signs
        return None

    def _readings(self, core: str) -> Iterator[tuple[str, bool]]:
        """What a token may spell: without its separators, with signs as letters, or both."""
        joined, parts = _joined(core)
        apart = len(parts) > 1 and not all(self._is_word(part) for part in parts)
        if apart and _is_plain(joined):
            yield joined, False
        for base in (core, joined) if apart and joined != core else (core,):
            choices = [_LETTERS.get(sign, sign) for sign in base]
            if not _is_plain("".join(choice[0] for choice in choices)):
                continue
            letters = sum(map(_is_letter, base))
            if letters == len(base) or letters * 2 < len(base) + (base != core):
                continue
            # Names and numbers: `!enter`, `11am`, `raid5`, `html5`.
            if base[0] in "!1" and (len(base) < LEAST + 1 or self._is_word(base[1:])):
                continue
            if base[-1].isdigit() and self._is_word(base.rstrip("0123456789")):
                continue
            yield from _spelt(choices)

    def _bold_readings(self, core: str) -> Iterator[tuple[str, bool]]:
        joined, parts = _joined(core)
        if len(parts) > 1 and _is_plain(joined):
            yield joined, False
        if _UNITS.fullmatch(core):
            return
        for base in (core, joined) if joined != core else (core,):
            choices = [_LETTERS.get(sign, sign) for sign in base]
            if _is_plain("".join(choice[0] for choice in choices)) and not _is_plain(base):
                if base[-2:].isdigit() and self._is_word(base.rstrip("0123456789")):
                    continue
                yield from _spelt(choices)

    def _is_word(self, part: str) -> bool:
        return part in _SHORT or part in self


def _joined(core: str) -> tuple[str, list[str]]:
    """A token without what stands between its letters, and the parts that this had parted."""
    parts: list[str] = []
    part = ""
    for sign in core:
        if sign in _SEPARATORS or (not sign.isascii() and unicodedata.category(sign) == "So"):
            if part:
                parts.append(part)
            part = ""
        elif sign not in "\ufe0f\u200d":
            part += sign
    if part:
        parts.append(part)
    return "".join(parts), parts


def _spelt(choices: Sequence[str]) -> Iterator[tuple[str, bool]]:
    readings = itertools.islice(itertools.product(*choices), _MOST_READINGS)
    return (("".join(reading), True) for reading in readings)


def _is_letter(sign: str) -> bool:
    return "a" <= sign <= "z"


def _is_plain(word: str) -> bool:
    return word.isascii() and word.isalpha()
