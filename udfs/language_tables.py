"""Scripts and languages: what is written in what, and under which names it is declared."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from udfs.language_kernels import HAN, HANGUL, KANA

_NAMES: Final[Mapping[str, str]] = {
    "CJK": "Hani", "HIRAGANA": "Jpan", "KATAKANA": "Jpan", "HANGUL": "Hang", "LATIN": "Latn",
    "FULLWIDTH": "Latn", "MATHEMATICAL": "Latn", "CYRILLIC": "Cyrl", "ARABIC": "Arab",
    "DEVANAGARI": "Deva", "BENGALI": "Beng", "GREEK": "Grek", "HEBREW": "Hebr", "THAI": "Thai",
    "LAO": "Laoo", "KHMER": "Khmr", "MYANMAR": "Mymr", "GEORGIAN": "Geor", "ARMENIAN": "Armn",
    "ETHIOPIC": "Ethi", "TAMIL": "Taml", "TELUGU": "Telu", "KANNADA": "Knda",
    "MALAYALAM": "Mlym", "GUJARATI": "Gujr", "GURMUKHI": "Guru", "ORIYA": "Orya",
    "SINHALA": "Sinh", "TIBETAN": "Tibt", "HALFWIDTH": "Jpan",
}  # fmt: skip
"""First word of a letter's Unicode name to its script's ISO 15924 code."""
OTHER_SCRIPT: Final = "Zzzz"
"""A writing that is not listed here."""
SCRIPT_CODES: Final = (
    "Zyyy",
    *dict.fromkeys(_NAMES.values()),
    OTHER_SCRIPT,
)
"""ISO 15924 codes by number; the first stands for no letters at all."""
_NO_SCRIPT: Final = frozenset({"MODIFIER", "SUPERSCRIPT", "COMBINING", "MICRO", "FEMININE",
                               "MASCULINE", "VARIATION", "DOUBLE-STRUCK", "SCRIPT"})  # fmt: skip

LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "Latn": (
        "en", "es", "pt", "fr", "de", "it", "nl", "sv", "da", "no", "fi", "is", "et", "lv", "lt",
        "pl", "cs", "sk", "sl", "hr", "sr", "hu", "ro", "sq", "tr", "az", "uz", "id", "ms", "tl",
        "vi", "sw", "so", "ha", "yo", "ig", "zu", "af", "ca", "eu", "mt", "ku",
    ),
    "Cyrl": ("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn", "tg", "tt", "uz"),
    "Arab": ("ar", "fa", "ur", "ps", "ug", "ku"),
    "Deva": ("hi", "mr", "ne"),
    "Beng": ("bn", "as"),
    "Hani": ("zh", "ja"),
    "Jpan": ("ja",), "Hang": ("ko",), "Grek": ("el",), "Hebr": ("he",), "Thai": ("th",),
    "Laoo": ("lo",), "Khmr": ("km",), "Mymr": ("my",), "Geor": ("ka",), "Armn": ("hy",),
    "Ethi": ("am",), "Taml": ("ta",), "Telu": ("te",), "Knda": ("kn",), "Mlym": ("ml",),
    "Gujr": ("gu",), "Guru": ("pa",), "Orya": ("or",), "Sinh": ("si",), "Tibt": ("dz",),
}  # fmt: skip
"""Languages that are told apart, by the script they are written in; ISO 639-1 codes.

Left out is what py3langid knows beside these and few write in uploads (Latin, Volapuk, Old
Hebrew), or what takes short texts from a great neighbour (Galician from Portuguese, Welsh from
English): those are guessed as the neighbour, or not at all."""

FOLDED: Final[Mapping[str, tuple[str, ...]]] = {
    "ar": ("arz", "ary"), "zh": ("wuu", "yue"), "no": ("nn",), "ku": ("sdh",), "hr": ("bs",),
}  # fmt: skip
"""Further labels of the model that count for a language: varieties without an own code here."""

_DECLARED: Final[Mapping[str, str]] = {
    "nb": "no", "nn": "no", "iw": "he", "in": "id", "fil": "tl", "cmn": "zh", "yue": "zh",
    "arz": "ar", "ary": "ar", "bs": "hr", "ji": "yi", "mo": "ro", "sh": "sr", "ckb": "ku",
}  # fmt: skip
"""Older and narrower codes that producers declare."""
UNDETERMINED: Final = "und"


def primary(declared: str | None) -> str:
    """ISO 639 code of a declared BCP 47 tag (`pt-BR` is `pt`); `und` where nothing is told."""
    if not declared:
        return UNDETERMINED
    code = declared.replace("_", "-").partition("-")[0].strip().lower()
    code = _DECLARED.get(code, code)
    return code if code.isascii() and code.isalpha() and 2 <= len(code) <= 3 else UNDETERMINED


def script_numbers() -> npt.NDArray[np.uint8]:
    """Number of the script (a place in `SCRIPT_CODES`) of each code point below 0x20000."""
    assert SCRIPT_CODES.index("Hani") == HAN  # noqa: S101 - the compiled code knows these three
    assert SCRIPT_CODES.index("Jpan") == KANA  # noqa: S101 - likewise
    assert SCRIPT_CODES.index("Hang") == HANGUL  # noqa: S101 - likewise
    numbers = {name: SCRIPT_CODES.index(code) for name, code in _NAMES.items()}
    other = SCRIPT_CODES.index(OTHER_SCRIPT)
    out = np.zeros(0x20000, np.uint8)
    # The two great blocks by range: reading a hundred thousand names takes long.
    out[0x3400:0x4DC0] = out[0x4E00:0xA000] = HAN
    out[0xAC00:0xD7A4] = HANGUL
    for code in np.flatnonzero(out == 0).tolist():
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] == "L" or category in {"Mc", "Mn"}:
            name = unicodedata.name(character, "").partition(" ")[0]
            if name not in _NO_SCRIPT:
                out[code] = numbers.get(name, other if category[0] == "L" else 0)
    return out
