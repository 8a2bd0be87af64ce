"""Which language a text is in, by py3langid (naive Bayes over bytes, Lui and Baldwin 2012).

A guess: of three words nobody can tell, and the confidence says so.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

from py3langid.langid import MODEL_FILE, LanguageIdentifier

UNDETERMINED: Final = "und"
"""ISO 639-2's code for a language that is not known."""
LEAST_CONFIDENCE: Final = 0.2
"""Below, the best guess among a hundred languages says nothing."""
MOST_CHARS: Final = 512
"""What lies behind tells no more and costs as much."""


class Language(NamedTuple):
    """An ISO 639 code, and how likely it is right."""

    code: str
    confidence: float


def identify(text: str) -> Language:
    """The language of a text; `und` where its letters do not tell.

    About half a microsecond a character. The model is read at the first call of a process (a
    second). Thread-safe: nothing is kept between calls.
    """
    text = text[:MOST_CHARS]
    if not any(map(str.isalpha, text)):
        return Language(UNDETERMINED, 0.0)
    code, confidence = _identifier().classify(text)
    if confidence < LEAST_CONFIDENCE:
        return Language(UNDETERMINED, confidence)
    return Language(code, confidence)


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
