"""Which language a text is written in, with a probability.

Scripts come first: Greek letters are Greek, and a text of two scripts is of no one language.
Where a script serves several languages, py3langid's naive Bayes decides between those alone,
compiled (`udfs.language_kernels`) and a batch at a time. What a producer declares is taken for
what it is, a likely guess: it wins where the text says little, and loses where it says otherwise.

Give it normalised texts: disguises (look-alike letters, invisible characters) are undone there,
and would make foreign writing out of plain abuse.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from schemas.errors import ConfigError
from udfs.language_kernels import SCRIPTS, guess_all
from udfs.language_tables import (
    FOLDED,
    LANGUAGES,
    SCRIPT_CODES,
    UNDETERMINED,
    primary,
    script_numbers,
)

HEAT: Final = 0.5
"""Temperature of the softmax for a text of one byte; it grows with the root of their number, as
in py3langid. Its own 1.0 is for 142 languages: among ours, on beginnings of 8 to 300 characters
of English and Portuguese comments and tweets (those that models are trained on), the calibration
error is 0.11 with it and 0.01 with this."""
PRIOR: Final = 0.9
"""Probability that a declared language is right, before the text is looked at."""
MIN_CONFIDENCE: Final = 0.6
"""A guess below it is none."""
_LARGEST: Final = 32_767
_ADDRESS: Final = re.compile(r"(?:https?://|www\.)\S+|[@#]\w+")


class Guess(NamedTuple):
    """A text's language."""

    code: str
    """ISO 639; `und` where it cannot be told: too short, several scripts, unknown writing."""
    confidence: float
    """Probability that it is right, among the languages of its script; 0 for `und`."""
    scripts: tuple[str, ...] = ()
    """ISO 15924 codes of what it is written in, the main one first; none without letters."""
    letters: int = 0
    """How many there are, outside addresses; a Chinese character counts as two."""


NOTHING: Final = Guess(UNDETERMINED, 0.0)


class _Model(NamedTuple):
    """py3langid's model, cut to some languages, as the compiled code takes it."""

    labels: tuple[str, ...]
    """Language of each column."""
    told: dict[str, npt.NDArray[np.int64]]
    """Of each language its first column under each script, -1 where it has none."""
    script_of: npt.NDArray[np.uint8]
    firsts: npt.NDArray[np.int64]
    lasts: npt.NDArray[np.int64]
    same: npt.NDArray[np.int64]
    moves: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    outs: npt.NDArray[np.int32]
    table: npt.NDArray[np.int16]
    unit: float
    bias: npt.NDArray[np.float64]


class LanguageGuesser:
    """Guesses languages. All guessers of the same languages share one model (60 MB, 1.4 s to load).

    Args:
        languages: ISO 639-1 codes that may be guessed, of `known_languages()`; None takes all.
        min_confidence: a guess below it is `und`.

    Raises:
        ConfigError: a language is not known.
    """

    def __init__(
        self, languages: Collection[str] | None = None, *, min_confidence: float = MIN_CONFIDENCE
    ) -> None:
        wanted = known_languages() if languages is None else frozenset(languages)
        if unknown := wanted - known_languages():
            raise ConfigError(
                f"no such language: {', '.join(sorted(unknown))}; there are: "
                f"{', '.join(sorted(known_languages()))}",
                field="languages",
            )
        self.languages = wanted
        self._min_confidence = min_confidence
        self._model = _model(wanted)
        # Compiled code does not let go of the interpreter's lock, and leaves its scratch as it
        # found it: threads may share a guesser.
        self._times = np.zeros(len(self._model.table), np.int32)
        self._scores = np.zeros(len(self._model.labels) + 1)
        self._tuples: dict[tuple[int, int], tuple[str, ...]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # The other process loads the model for itself.
        return _made, (self.languages, self._min_confidence)

    def guess(self, texts: Sequence[str], declared: Sequence[str | None]) -> list[Guess]:
        """Guess a batch; each text by itself, whatever stands beside it.

        Args:
            texts: normalised.
            declared: BCP 47 tags that the producers gave, as many.

        Returns:
            One guess for each text, in order.
        """
        if not texts:
            return []
        parts = [_prepared(text) for text in texts]
        sizes = [len(part) for part in parts]
        count = len(parts)
        told = np.full((count, SCRIPTS), -1, np.int64)
        model = self._model
        codes = [primary(tag) if tag else UNDETERMINED for tag in declared]
        for i, code in enumerate(codes):
            if code in model.told:
                told[i] = model.told[code]
        columns = np.empty(count, np.int64)
        shares = np.empty(count)
        masks = np.empty(3 * count, np.int64)
        guess_all(
            np.frombuffer(b"".join(parts) or b"\x00", np.uint8),
            np.fromiter(accumulate(sizes), np.int64, count),
            told.ravel(), model.script_of, model.firsts, model.lasts, model.same,
            model.moves, model.rows, model.outs, model.table, model.unit, model.bias,
            HEAT, PRIOR, self._times, np.empty(max(sizes) + 1, np.int64),
            columns, shares, self._scores, masks,
        )  # fmt: skip
        rows = masks.reshape(count, 3).tolist()
        return [
            self._guess(column, share, row, code)
            for column, share, row, code in zip(
                columns.tolist(), shares.tolist(), rows, codes, strict=True
            )
        ]

    def _guess(self, column: int, share: float, row: list[int], declared: str) -> Guess:
        main, mask, letters = row
        scripts = self._tuples.get((main, mask))
        if scripts is None:
            scripts = self._tuples[main, mask] = _scripts(main, mask)
        if len(scripts) > 1:
            return Guess(UNDETERMINED, 0.0, scripts, letters)
        if column >= 0 and share >= self._min_confidence:
            return Guess(self._model.labels[column], round(share, 4), scripts, letters)
        # The text says nothing: what was declared stands, unless it is written differently.
        if declared != UNDETERMINED and (declared not in self._model.told or not scripts):
            return Guess(declared, PRIOR, scripts, letters)
        return Guess(UNDETERMINED, 0.0, scripts, letters)


def _made(languages: frozenset[str], min_confidence: float) -> LanguageGuesser:
    return LanguageGuesser(languages, min_confidence=min_confidence)


@functools.cache
def _model(languages: frozenset[str]) -> _Model:
    """Load py3langid's model and cut it to the columns of some languages, script by script."""
    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    firsts, lasts = np.zeros(SCRIPTS, np.int64), np.zeros(SCRIPTS, np.int64)
    labels: list[str] = []
    picked: list[int] = []
    same: list[int] = []
    told: dict[str, npt.NDArray[np.int64]] = {}
    for number, script in enumerate(SCRIPT_CODES):
        firsts[number] = len(labels)
        for code in LANGUAGES.get(script, ()):
            if code in languages:
                told.setdefault(code, np.full(SCRIPTS, -1, np.int64))[number] = len(labels)
                names = (code, *FOLDED.get(code, ()))
                own = [i for name in names for i, c in enumerate(model.nb_classes) if c == name]
                same += [len(labels)] * len(own)
                labels += [code] * len(own)
                picked += own
        lasts[number] = len(labels)
    values = model.nb_ptc[:, picked].astype(np.float32)
    unit = float(np.abs(values).max(initial=0.0)) / _LARGEST or 1.0
    return _Model(
        labels=tuple(labels),
        told=told,
        script_of=script_numbers(),
        firsts=firsts,
        lasts=lasts,
        same=np.array(same, np.int64),
        moves=np.frombuffer(model.tk_nextmove, np.uint32).view(np.int32),
        rows=np.array(model.tk_row, np.int32),
        outs=np.array(model.tk_output, np.int32),
        table=np.ascontiguousarray(np.rint(values / unit).astype(np.int16)),
        unit=unit,
        bias=model.nb_pc[picked].astype(np.float64),
    )


def known_languages() -> frozenset[str]:
    """ISO 639-1 codes that can be told apart."""
    return frozenset(code for codes in LANGUAGES.values() for code in codes)


def scripts_of(language: str) -> frozenset[str]:
    """ISO 15924 codes of the scripts that a language is written in; empty where unknown."""
    found = {script for script, codes in LANGUAGES.items() if language in codes}
    return frozenset(found)


def _prepared(text: str) -> bytes:
    """A text as the model was trained on it, in UTF-8."""
    if "://" in text or "@" in text or "#" in text or "www." in text:
        text = _ADDRESS.sub(" ", text)
    if text.isascii():
        return (text.lower() if text.isupper() else text).encode()
    if text.isupper():
        text = text.lower()
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def _scripts(main: int, mask: int) -> tuple[str, ...]:
    if not main:
        return ()
    others = [n for n in range(1, len(SCRIPT_CODES)) if mask >> n & 1 and n != main]
    return tuple(SCRIPT_CODES[n] for n in (main, *others))
