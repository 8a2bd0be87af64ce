"""Names of persons, where the text itself says that something is one.

An introduction ("my name is ..."), a form of address ("Mr. ...") and a signature are followed by a
name; English and Portuguese, and capitals are required. There is no list of names and no model:
docs/FEEDBACK.md says what was tried, and what these patterns find. Names that a record tells in a
field of its own (`told_names`) are found wherever they stand in its text.

RE2 reads the patterns here, Java's engine the same ones in the tables job
(`operators.table_pii`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final

import re2

# Latin, Greek and Cyrillic. Classes over all of Unicode would make of these patterns automata
# beyond the memory that RE2 has.
UPPER: Final = "A-Z\u00c0-\u00d6\u00d8-\u00de\u0100-\u017f\u0391-\u03a9\u0401-\u042f"
_LOWER: Final = "a-z\u00df-\u00f6\u00f8-\u024f\u0300-\u036f\u03ac-\u03ce\u0430-\u045f\u1e00-\u1eff"
_APOSTROPHE: Final = "'\u2019"
_LETTER: Final = UPPER + _LOWER
_WORD: Final = (
    rf"[{UPPER}](?:[{_APOSTROPHE}]?[{UPPER}])?[{_LOWER}][{_LETTER}]*"
    rf"(?:[{_APOSTROPHE}\-][{_LETTER}]+){{0,2}}"
)
_FIRST: Final = rf"(?:(?:[{UPPER}]\. ?){{0,2}}{_WORD})"
_PARTICLES: Final = (
    r"(?:(?:d[aeiou]|d[ao]s|del|della|la|le|van|von|der|den|ter|bin|ibn|e|y|zu) |al-|el-){0,3}"
)
_NEXT: Final = rf"(?: {_PARTICLES}(?:{_WORD}|[{UPPER}]\.))"
ONE_WORD: Final = rf"{_FIRST}{_NEXT}?{_NEXT}?{_NEXT}?"
"""One to four capitalised words; initials and particles (da, van, bin) go with them."""
TWO_WORDS: Final = rf"{_FIRST}{_NEXT}{_NEXT}?{_NEXT}?"

TITLE: Final = (
    r"(?:(?:[Mm]r|[Mm]rs|[Mm]s|[Dd]r|[Dd]ra|[Pp]rof|[Ss]r|[Ss]ra|[Ss]rta)(?:\. ?| )"
    r"|[Dd]ona )"
)
_PRESENTED: Final = (
    rf"(?i:my (?:full |real |first |last )?name(?: is|[{_APOSTROPHE}]s)"
    r"|meu nome (?:é|eh|e)|me chamo|chamo-me)(?: |: )"
)
BEFORE_ONE: Final = rf"(?:{_PRESENTED}{TITLE}?|{TITLE})"
"""What one capitalised word is enough after."""
BEFORE_TWO: Final = rf"(?i:i[{_APOSTROPHE}]m|i am|eu sou) "
"""What nationalities and moods follow as well, so that a name has to have two words."""
_CLOSING: Final = (
    r"(?i:regards|sincerely|sincerely yours|yours (?:sincerely|truly|faithfully)|best wishes"
    r"|best|cheers|thanks|thank you|atenciosamente|cordialmente|sauda(?:çõ|co)es"
    r"|abra(?:ç|c)os?|obrigad[oa]|att)"
)


def before_signature(line_break: str) -> str:
    """Pattern of what stands before a name that a letter is signed with, on a line of its own.

    Args:
        line_break: pattern of the end of a line, as the text has it.
    """
    return (
        rf"{_CLOSING}[,.!]?[,.!]? ? ?(?:{line_break})(?:{line_break})?"
        " ? ? ?[-\u2013\u2014~]?[-~]? ?"
    )


_BREAK: Final = r"\r?\n"
BOUNDARY: Final = rf"(?:^|[^{_LETTER}0-9_])"
_INTRODUCED: Final = re2.compile(
    rf"{BOUNDARY}(?:{BEFORE_ONE}({ONE_WORD})|{BEFORE_TWO}({TWO_WORDS}))"
)
_SIGNED: Final = re2.compile(
    rf"{BOUNDARY}{before_signature(_BREAK)}({ONE_WORD}) *\.? *(?:{_BREAK}|$)"
)
_HINT: Final = re2.compile(
    r"(?i)name|nome|chamo|i['\x{2019}]m |i am |eu sou|(?:mrs?|ms|dra?|prof|sra?|srta)[. ]|dona "
)
_TITLES: Final = frozenset(["mr", "mrs", "ms", "dr", "dra", "prof", "sr", "sra", "srta", "dona"])
_CLOSES: Final = re2.compile(
    r"(?i)regards|sincerely|yours|best|cheers|thank|mente|sauda|abra|obrigad|att"
)


def find_names(text: str) -> Iterator[tuple[int, int]]:
    """Half-open ranges of names that are introduced, addressed or signed with, in any order."""
    if _HINT.search(text):
        for match in _INTRODUCED.finditer(text):
            start, end = match.span(1 if match.start(1) >= 0 else 2)
            # As in "my name is Dr. [name]", of which the rest is masked already.
            if text[start:end].lower() not in _TITLES:
                yield start, end
    if "\n" in text and _CLOSES.search(text):
        for match in _SIGNED.finditer(text):
            yield match.span(1)


_SHORTEST: Final = 3
_LONGEST: Final = 80
_MOST: Final = 32


def told_names(record: Any, fields: Sequence[str]) -> tuple[str, ...]:
    """Names that a record tells in fields of its own, the longest first.

    Args:
        record: an upload, as decoded from JSON.
        fields: top-level fields. Each holds a name, or an object or a list of objects (as of
            mentioned users) that have such fields themselves, or a list of names.
    """
    found: set[str] = set()
    if isinstance(record, dict):
        for field in fields:
            _gather(record.get(field), fields, found)
    return tuple(sorted(found, key=lambda name: (-len(name), name))[:_MOST])


def mask_told(text: str, names: Sequence[str]) -> str:
    """A text with names that were told replaced by `[name]`, in whatever case they are written.

    Args:
        text: as it was written.
        names: of `told_names`.
    """
    for name in names:
        text = _told(name).sub("[name]", text)
    return text


def _told(name: str) -> Any:
    # No letter or digit goes on; RE2 has no lookahead, but `re` is linear in a literal.
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


def _gather(value: Any, fields: Sequence[str], found: set[str]) -> None:
    if isinstance(value, str):
        name = " ".join(unicodedata.normalize("NFC", value).split())
        if _SHORTEST <= len(name) <= _LONGEST and any(map(str.isalpha, name)):
            found.add(name)
    elif isinstance(value, list):
        for each in value:
            if not isinstance(each, list):
                _gather(each, fields, found)
    elif isinstance(value, dict):
        for field in fields:
            inner = value.get(field)
            if isinstance(inner, str):
                _gather(inner, fields, found)
