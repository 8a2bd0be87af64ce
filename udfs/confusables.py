"""Characters that look like Latin letters, and accented letters with their bare forms.

The tables are a hand-picked part of Unicode TR 39 (confusables): only pairs that a reader
takes for each other in running text, in lower case, one code point to one code point.
"""

# ruff: noqa: RUF001 - look-alikes are this module's subject

from __future__ import annotations

import unicodedata
from typing import Final

STRICT: Final[dict[str, str]] = {
    # Cyrillic
    "а": "a", "с": "c", "е": "e", "о": "o", "р": "p", "х": "x", "у": "y", "ѕ": "s", "і": "i",
    "ј": "j", "һ": "h", "ԁ": "d", "ԛ": "q", "ԝ": "w", "ѵ": "v", "ӏ": "l", "ү": "y",
    "ҽ": "e",
    # Greek
    "ο": "o", "α": "a", "ρ": "p", "ν": "v", "ι": "i", "υ": "u", "κ": "k", "τ": "t", "χ": "x",
    # Armenian
    "օ": "o", "ս": "u", "ո": "n", "հ": "h", "ց": "g", "յ": "j", "զ": "q", "ք": "p",
}  # fmt: skip
"""Letters of other alphabets that nobody can tell from the Latin letter."""

WEAK: Final[dict[str, str]] = {
    # Cyrillic: alike as capitals or in many fonts
    "к": "k", "м": "m", "т": "t", "в": "b", "н": "h", "п": "n", "г": "r", "и": "u", "я": "r",
    "ь": "b", "з": "3", "б": "6", "ғ": "f", "ҳ": "x", "қ": "k", "ң": "h", "є": "e", "э": "e",
    "л": "n", "ш": "w", "щ": "w", "ц": "u", "ч": "4", "й": "u",
    "ё": "e", "ї": "i", "ѐ": "e", "ӓ": "a", "ӧ": "o", "ӱ": "y",
    # Greek
    "ε": "e", "έ": "e", "η": "n", "ή": "n", "ω": "w", "ώ": "w", "γ": "y", "σ": "o", "β": "b",
    "ζ": "z", "μ": "u", "ς": "c", "θ": "o", "δ": "d", "λ": "l",
    "ό": "o", "ά": "a", "ί": "i", "ϊ": "i", "ύ": "u", "ϋ": "u", "ϳ": "j",
}  # fmt: skip
"""Likeness that only a disguised word relies on: used in words that mix scripts."""

_CHEROKEE: Final = dict(zip("ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᎾᏢᎡᏚᎢᏙᎳᏃᎩᎽ", "abcdeghijklmoprstvwzyy", strict=True))
_SMALL_CAPITALS: Final = dict(
    zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)
)
_LOOSE: Final[dict[str, str]] = {
    "ɑ": "a", "ɡ": "g", "ɩ": "i", "ǝ": "e",
    "ɾ": "r", "ʜ": "h", "ɴ": "n", "ʀ": "r", "ꭰ": "d",
    "∂": "a", "ƨ": "s",
}  # fmt: skip


def _squared() -> dict[str, str]:
    """Negative circled and squared letters, which NFKC leaves alone."""
    table = {}
    for first in (0x1F150, 0x1F170):
        table.update({chr(first + i): chr(0x61 + i) for i in range(26)})
    return table


SQUARED: Final[dict[str, str]] = _squared()
LOOKALIKES: Final[dict[str, str]] = {
    **{k.lower(): v for k, v in _CHEROKEE.items()},
    **_SMALL_CAPITALS,
    **_LOOSE,
}
"""Letter forms that no ordinary writing of Latin-script languages uses."""

TO_LATIN: Final[dict[int, str]] = str.maketrans({**WEAK, **STRICT, **LOOKALIKES, **SQUARED})
TO_CYRILLIC: Final[dict[int, str]] = str.maketrans(
    {
        "a": "а", "c": "с", "e": "е", "o": "о", "p": "р", "x": "х", "y": "у", "k": "к", "m": "м",
        "t": "т", "h": "н", "b": "в", "i": "і", "3": "з",
        "6": "б", "0": "о", "4": "ч",
    }
)  # fmt: skip
TO_GREEK: Final[dict[int, str]] = str.maketrans(
    {
        "o": "ο", "a": "α", "p": "ρ", "v": "ν", "i": "ι", "u": "υ", "k": "κ", "t": "τ", "x": "χ",
        "e": "ε", "n": "η", "w": "ω", "y": "γ", "b": "β",
    }
)  # fmt: skip


def _folds() -> dict[str, str]:
    """Accented and barred Latin letters to their bare letter, where that is one letter."""
    table = {
        "đ": "d", "ø": "o", "ł": "l", "ħ": "h", "ŧ": "t", "ƀ": "b", "ı": "i", "ɨ": "i", "ʉ": "u",
        "ð": "d", "ŋ": "n", "ĸ": "k", "ƙ": "k", "ɓ": "b", "ɗ": "d", "ƭ": "t", "ɇ": "e", "ɉ": "j",
        "ʋ": "u", "ɛ": "e", "ɔ": "o", "ƒ": "f", "ɖ": "d",
    }  # fmt: skip
    for first, last in ((0xC0, 0x24F), (0x1E00, 0x1EFF)):
        for code in range(first, last + 1):
            letter = chr(code)
            base = unicodedata.normalize("NFD", letter)[0]
            if letter == letter.lower() and base != letter and base.isascii():
                table[letter] = base
    # Flags spell words too.
    table.update({chr(0x1F1E6 + i): chr(0x61 + i) for i in range(26)})
    table.update(SQUARED)
    return table


FOLDS: Final[dict[str, str]] = _folds()
FOLD: Final[dict[int, str]] = str.maketrans(FOLDS)
