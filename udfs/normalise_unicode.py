"""Normalisation of characters, each step from a text to a list of edits.

A step never builds the text itself: it says which ranges become what. The same edits then
make the text and, when somebody asks, the map back to the original, so the two cannot differ.
Every pattern here is ours and linear on any input: runs are bounded or possessive by
construction (their parts cannot overlap).
"""

# ruff: noqa: RUF001 - look-alikes are this module's subject

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from udfs.confusables import FOLDS, LOOKALIKES, SQUARED

Edit = tuple[int, int, str]
"""Half-open range of the current text and what stands there afterwards."""

MAX_MARKS: Final = 30
"""Longest run of combining marks that is kept (the limit of Unicode's stream-safe format)."""


def character_class(characters: Iterator[str] | str) -> str:
    """A regex character class (without brackets) of these characters, as ranges."""
    codes = sorted({ord(c) for c in characters})
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{a:08x}" if a == b else f"\\U{a:08x}-\\U{b:08x}" for a, b in ranges)


def _marks(blocks: Iterable[range]) -> str:
    return character_class(
        chr(code) for block in blocks for code in block if unicodedata.category(chr(code))[0] == "M"
    )


# Apart, since a class of the first 64 Ki code points is a table and any other a list.
_MARK_BMP: Final = _marks([range(0x300, 0xFE30)])
_MARK: Final = _MARK_BMP + _marks([range(0x101FD, 0x1E94B), range(0xE0100, 0xE01F0)])
# Letters that join the character before them under NFKC although they are no marks: Hangul
# vowels and finals, half-width kana voicing marks and half-width Hangul.
_JOINING: Final = _MARK + r"\u1160-\u11ff\uff9e\uff9f\uffa0-\uffdc\u3164"
_GENERIC: Final = r"\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
# What NFKC would spoil: Korean letters that stand alone (laughter), Thai and Lao vowels, long
# Arabic ligatures, signs that would run into the word before them, and accents that stand
# alone (some write an apostrophe so).
_KEEP: Final = (
    "\u3131-\u3163\u3165-\u318e\u0e33\u0eb3\ufdfa\ufdfb\u2122\u2120"
    "\u00a8\u00af\u00b4\u00b8\u02d8-\u02dd"
)
_INVISIBLE: Final = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x90\x95\x98-\x9f\u00ad\u034f\u061c\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff"
)
_JOINED: Final = (  # scripts that write with joiners
    r"\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18af\ufb50-\ufdff\ufe70-\ufefe"
)
# Only what NFKC leaves alone.
_EMOJI: Final = r"\u2194-\u21aa\u231a-\u23ff\u25aa-\u27bf\u2934-\u2b55\U0001f1e6-\U0001faff"

_JOINERS: Final = r"\u200c\u200d"

INVISIBLE: Final = re.compile(f"[{_INVISIBLE}{_JOINERS}]")
GENERIC_MARK: Final = re.compile(f"[{_GENERIC}]")
_LONG_MARKS_BMP: Final = re.compile(f"[{_MARK_BMP}]{{{MAX_MARKS + 1},}}")
_LONG_MARKS: Final = re.compile(f"[{_MARK}]{{{MAX_MARKS + 1},}}")
_MAYBE_MARK: Final = re.compile("[\U000101fd-\U0001e94a\U000e0100-\U000e01ef]")
_STRIP: Final = re.compile(
    # Kept: joiners inside scripts and emoji that need them, the flags of England and others.
    f"(?<=[{_JOINED}])[\\u200c\\u200d](?=[{_JOINED}])"
    f"|(?<=[{_EMOJI}])\\u200d(?=[{_EMOJI}])|(?<=[{_EMOJI}]\\ufe0f)\\u200d(?=[{_EMOJI}])"
    "|\U0001f3f4[\U000e0061-\U000e007a]{1,6}\U000e007f"
    # A joiner beside another is never one of those.
    f"|([{_INVISIBLE}]+|[{_JOINERS}]+)"
)
_CLUSTER: Final = re.compile(f"[{_JOINING}]+|[^{_JOINING}][{_JOINING}]*")
_KEPT: Final = re.compile(f"[{_KEEP}]")
_COMPATIBLE: Final = re.compile(f"[^{_KEEP}]+")
_DECORATED: Final = re.compile(f"(.)?([{_GENERIC}]+)", re.DOTALL)
_TONES: Final = frozenset("\u0300\u0301\u0302\u0303\u0304\u030c")
_BARE_VOWELS: Final = frozenset("aeioumnаеиоуыэюя")
HARMLESS_LENGTH: Final = 512
"""Code points up to which sorting any run of marks takes no time to speak of."""
_HARMLESS: Final = frozenset("\u00ad\u0640")
_KEYCAP: Final = "\u20e3"
_ACCENTS: Final = {k: v for k, v in FOLDS.items() if k not in SQUARED}
# The first of each are what Windows-1252 becomes when it is read as Latin-1.
_PLAIN_SIGNS: Final = {
    "'": "\x91\x92’‘‛ʼ´′",
    '"': "\x93\x94“”„‟",
    "-": "\x96\x97‐–—‒−",
}
_SIGNS: Final = {sign: plain for plain, signs in _PLAIN_SIGNS.items() for sign in signs}
_SIGN: Final = re.compile(f"[{''.join(_SIGNS)}]")
_ODD: Final = character_class("".join((*LOOKALIKES, *SQUARED)))
ODD: Final = re.compile(f"[{_ODD}]")
"""Letter forms that stand for Latin letters."""
_UNPLAIN: Final = re.compile(f"[{_INVISIBLE}{_JOINERS}{_GENERIC}{_ODD}]")
_STYLED_LETTERS: Final = "\u2460-\u24ff\U0001d400-\U0001d7ff\U0001f130-\U0001f149"
_STYLED: Final = re.compile(f"[{_STYLED_LETTERS}]")
_FULL_WIDTH: Final = re.compile("[\uff21-\uff5a]")
_FANCY: Final = re.compile(f"[{_STYLED_LETTERS}\uff21-\uff5a]")
_EAST_ASIAN: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def apply(text: str, edits: list[Edit]) -> str:
    """`text` with the edits made. They are in order and do not overlap."""
    parts = []
    at = 0
    for start, end, new in edits:
        parts.append(text[at:start])
        parts.append(new)
        at = end
    parts.append(text[at:])
    return "".join(parts)


def long_marks(text: str) -> list[Edit]:
    """Cut runs of marks that no writing needs, before anything sorts them."""
    if not has_long_marks(text):
        return []
    return [(m.start() + MAX_MARKS, m.end(), "") for m in _LONG_MARKS.finditer(text)]


def has_long_marks(text: str) -> bool:
    """Whether marks stand in a run longer than `MAX_MARKS`, in a text where that may hurt."""
    if len(text) <= HARMLESS_LENGTH:
        return False
    if _MAYBE_MARK.search(text):
        return _LONG_MARKS.search(text) is not None
    return _LONG_MARKS_BMP.search(text) is not None


def invisible(text: str) -> list[Edit]:
    """Drop control, format and filler characters, Arabic stretching and lone surrogates."""
    return [(m.start(), m.end(), "") for m in _STRIP.finditer(text) if m.start(1) >= 0]


def compose(text: str) -> str:
    """NFKC, but for the characters that it would spoil."""
    if unicodedata.is_normalized("NFKC", text):
        return text
    if not _KEPT.search(text):
        return unicodedata.normalize("NFKC", text)
    return _COMPATIBLE.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)


def compose_edits(text: str, form: str = "NFKC") -> list[Edit]:
    """The same cluster by cluster, for the map."""
    edits = []
    for run in _COMPATIBLE.finditer(text):
        for m in _CLUSTER.finditer(text, run.start(), run.end()):
            new = unicodedata.normalize(form, m[0])  # type: ignore[arg-type]  # two literals
            if new != m[0]:
                edits.append((m.start(), m.end(), new))
    return edits


def marks(text: str) -> tuple[list[Edit], int]:
    """Drop marks that did not compose; bare the words that such marks decorate.

    Returns:
        Edits, and the number of words that were decorated rather than accented.
    """
    edits: list[Edit] = []
    count = 0
    for word in re.finditer(r"\S+", text):
        if GENERIC_MARK.search(text, word.start(), word.end()):
            clusters = [
                m
                for m in _DECORATED.finditer(text, word.start(), word.end())
                if not (m[2] == _KEYCAP and (m[1] or "-") in "0123456789#*")
            ]
            if all(_natural(m[1] or "", m[2]) for m in clusters):
                edits += [(m.start(), m.end(), m[1] or "") for m in clusters]
            else:
                count += 1
                edits += _bared(text, word, clusters)
    return edits, count


def _bared(text: str, word: re.Match[str], clusters: list[re.Match[str]]) -> list[Edit]:
    """Edits that drop the marks of a word and the accents of all of its letters."""
    edits = []
    at = word.start()
    for m in (*clusters, None):
        end = m.start() if m else word.end()
        edits += [(i, i + 1, _ACCENTS[text[i]]) for i in range(at, end) if text[i] in _ACCENTS]
        if m:
            base = m[1] or ""
            edits.append((m.start(), m.end(), _ACCENTS.get(base, base)))
            at = m.end()
    return edits


def _natural(base: str, run: str) -> bool:
    """Whether a language writes this: one tone or stress mark on a vowel."""
    if len(run) > 1 or run not in _TONES or not base:
        return False
    return unicodedata.normalize("NFD", base)[0] in _BARE_VOWELS


def plain_signs(text: str) -> list[Edit]:
    """Typographic quotes and dashes to their plain forms."""
    return [(m.start(), m.end(), _plain_sign(m)) for m in _SIGN.finditer(text)]


def _plain_sign(m: re.Match[str]) -> str:
    return _SIGNS[m[0]]


def hidden_in_words(text: str, edits: list[Edit]) -> int:
    """How many of the dropped ranges stood inside a word.

    Hints for hyphenation and Arabic stretching do not count.
    """
    return sum(
        start > 0
        and end < len(text)
        and text[start - 1].isalnum()
        and text[end].isalnum()
        and not _HARMLESS.issuperset(text[start:end])
        for start, end, _ in edits
    )


def styled(text: str) -> int:
    """Letters in fancy dress: mathematical, enclosed, or full width outside Chinese and kin."""
    if not _FANCY.search(text):
        return 0
    letters = len(_STYLED.findall(text))
    if not _EAST_ASIAN.search(text):
        letters += len(_FULL_WIDTH.findall(text))
    return letters


def plain(text: str) -> str | None:
    """Lower-case canonical characters, where no mark, look-alike or joiner is in the way.

    None where only the steps can tell. Does in a few passes what the steps do one by one.
    """
    if has_long_marks(text):
        return None
    composed = compose(text)
    if composed != text and styled(text):
        return None
    low = composed.lower()
    if _UNPLAIN.search(low):
        return None
    if not unicodedata.is_normalized("NFC", low):
        return None
    return _SIGN.sub(_plain_sign, low)
