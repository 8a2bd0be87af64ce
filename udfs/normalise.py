"""Text normalisation: one canonical text for models, hashes and rules, and the way back.

`normalise(text)` gives two views of a text. `text` is canonical: lower case, composed, without
invisible characters, disguises undone where they are plain; models and hashes take it.
`skeleton` has the same length and is bolder (accents bared, everything like leet decoded);
keyword matching reads both. `original_span` maps ranges of either back to the original.

Most texts are plain: one automaton and two cheap checks prove that no step would change them
(the fast path). The rest goes through the steps, again until nothing changes, which makes
normalisation idempotent.
"""

from __future__ import annotations

import functools
import math
import string
from pathlib import Path
from typing import Any, Final

import ahocorasick_rs
import msgspec

from schemas.normalise import NormaliseConfig
from schemas.settings import CONF
from schemas.yaml_source import YamlSource
from udfs import normalise_leet as leet
from udfs import normalise_unicode as unicode
from udfs import normalise_words as words
from udfs.normalise_lexicon import Lexicon
from udfs.normalise_recover import Recovery, variants
from udfs.normalise_work import OffsetMap, Work

VERSION: Final = 1
"""Counts up whenever the steps give some text another canonical form: content hashes made before
are worth nothing then, and bank files say which version made theirs."""
MAX_ROUNDS: Final = 8
"""Rounds of steps after which a text counts as settled. Two are usual."""


class EvasionSignals(msgspec.Struct, frozen=True):
    """What normalisation had to remove, as counts."""

    zero_width: int = 0
    """Runs of invisible characters inside words."""
    styled: int = 0
    """Mathematical, full-width or enclosed letters in place of plain ones."""
    marks: int = 0
    """Words under marks that no language writes."""
    confusables: int = 0
    """Words with letters of another alphabet."""
    spelled: int = 0
    """Words with separators between their letters."""
    leet: int = 0
    """Words with digits or signs for letters, masked ones included."""
    repeats: int = 0
    """Letters drawn out to three or more."""

    def score(self) -> float:
        """0 to 1: 1 - exp(-weighted count), so that every further trick counts less."""
        total = (
            0.35 * self.zero_width
            + 0.03 * self.styled
            + 0.3 * self.marks
            + 0.5 * self.confusables
            + 0.45 * self.spelled
            + 0.35 * self.leet
            + 0.08 * self.repeats
        )
        return 1.0 - math.exp(-total)


_NO_SIGNALS: Final = EvasionSignals()


class Normalised(msgspec.Struct, frozen=True):
    """A text and its canonical forms."""

    original: str
    text: str
    """Canonical text: matched, hashed and given to models."""
    skeleton: str
    """As keyword matching reads it; the very same object as `text` where nothing differs."""
    elongated: tuple[int, ...] = ()
    """Places in `text` of letters that stood three times or more in the original."""
    spelled: tuple[tuple[int, int], ...] = ()
    """Ranges of `text` that were put together from single letters: no word boundaries known."""
    evasion: float = 0.0
    """0 to 1: how much disguise was removed."""
    signals: EvasionSignals = _NO_SIGNALS
    normaliser: Any = None
    """The `Normaliser` that made this (untyped: msgspec would look into it)."""

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Code points of the original that `text[start:end]` came from.

        Args:
            start: first code point in `text` (or `skeleton`).
            end: one past the last; equal to `start` for an empty range.

        Raises:
            ValueError: where the range is not within `text`.
        """
        return self.original_spans(((start, end),))[0]

    def original_spans(self, ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """`original_span` for several ranges at the price of one."""
        if not all(0 <= start <= end <= len(self.text) for start, end in ranges):
            raise ValueError(f"ranges must lie within 0 and {len(self.text)}: {ranges}")
        if len(self.original) == len(self.text) and self.text == self.original.lower():
            return tuple(ranges)
        starts, ends = (self.normaliser or default_normaliser()).trace(self.original)
        starts.append(len(self.original))  # where an empty range at the end stands
        return tuple(
            (starts[start], ends[end - 1] if end > start else starts[start])
            for start, end in ranges
        )


# Neighbours that only the steps can judge: letters beside digits and beside signs that stand
# for letters, letters three times, signs four times.
_TRIGGERS: Final = (
    [c * 3 for c in string.ascii_lowercase]
    + [c * 4 for c in string.punctuation]
    + [a + d for a in string.ascii_lowercase for d in string.digits + leet.SYMBOLS]
    + [d + a for a in string.ascii_lowercase for d in string.digits + leet.SYMBOLS]
    + [s + c for s in "!|" for c in string.ascii_lowercase + string.digits + leet.SYMBOLS]
)


class Normaliser:
    """The steps of normalisation with their tables.

    Args:
        config: the tables; matched as they are, so lower case.
        lexicon: proves disguises that have no plain shape; None to leave them.
    """

    def __init__(self, config: NormaliseConfig, lexicon: Lexicon | None = None) -> None:
        self._keep = frozenset(config.keep)
        self._lexicon = lexicon or Lexicon(())
        self._recovery = Recovery(self._lexicon)
        self._spelled = words.SpelledWords(
            self._keep, frozenset(config.i_words), self._recovery.cuts
        )
        forms = {**variants(config.guarded, self._lexicon), **config.abbreviations}
        self._short_forms = words.ShortForms(forms)
        self._repeats = words.Repeats(config.keep_repeats)
        self._triggers = ahocorasick_rs.AhoCorasick(
            sorted({*_TRIGGERS, *forms}),
            implementation=ahocorasick_rs.Implementation.DFA,
        )

    def normalise(self, text: str) -> Normalised:
        """Normalise one text. Never fails, whatever the text holds."""
        quick = self._quick(text)
        if quick is not None:
            skeleton = leet.bare(quick)
            if skeleton is not quick:
                # Bared letters may stand beside digits, which the quick look could not see.
                skeleton = leet.decoded(skeleton, self._keep)
            return Normalised(text, quick, skeleton, normaliser=self)
        work = self._settle(Work(text))
        signals = EvasionSignals(**work.counts) if work.counts else _NO_SIGNALS
        return Normalised(
            text,
            work.text,
            leet.skeleton(work.text, self._keep),
            tuple(work.elongated),
            tuple(work.spelled),
            signals.score() if work.counts else 0.0,
            signals,
            self,
        )

    def trace(self, text: str) -> tuple[list[int], list[int]]:
        """The map: for each code point of the normalised text, the range it came from.

        Returns:
            First code points and ends (exclusive) in the original, each as long as the
            normalised text.
        """
        offsets = OffsetMap(len(text))
        if text.isascii() and self._quick(text) is not None:
            offsets.edit(words.spaces(text.lower()))  # all that the fast path changes
        else:
            self._settle(Work(text, offsets))
        return offsets.starts, offsets.ends

    def _quick(self, text: str) -> str | None:
        """The canonical text where it is provably what the steps would make; else None."""
        if text.isascii():
            low = text.lower()
        else:
            composed = unicode.plain(text)
            if composed is None:
                return None
            low = composed
            if words.mixes(low) or words.may_repeat_foreign(low):
                return None
        if not low.isprintable() or "  " in low or low[:1] == " " or low[-1:] == " ":
            low = " ".join(low.split())
            if low.isascii() and not low.isprintable():
                return None
        if self._triggers.find_matches_as_indexes(low) or words.may_spell(low):
            return None
        if any(self._lexicon.edits(low)):
            return None
        if self._recovery.spelling(low) or (not low.isascii() and self._recovery.pictures(low)):
            return None
        return low

    def _settle(self, work: Work) -> Work:
        """Go through the steps until they change nothing more."""
        for _ in range(MAX_ROUNDS):
            work.changed = False
            self._once(work)
            if not work.changed or self._quick(work.text) == work.text:
                break
        return work

    def _once(self, work: Work) -> None:
        if work.text.isascii():
            if not work.text.isprintable() and unicode.INVISIBLE.search(work.text):
                work.invisible()
            work.lower()
        else:
            work.characters()
        edits, ranges, disguised = self._spelled.edits(work.text, work.cased)
        work.edit(edits, "spelled", disguised)
        work.spelled = sorted(work.spelled + ranges)
        work.edit(words.spaces(work.text))
        edits = leet.leet(work.text, self._keep)
        work.edit(edits, "leet", len(edits))
        edits = self._short_forms.edits(work.text)
        masked = sum(not work.text[start:end].replace(" ", "").isalpha() for start, end, _ in edits)
        work.edit(edits, "leet", masked)
        self._read(work)
        if not work.text.isascii():
            work.edit(self._recovery.pictures(work.text))
        if work.is_disguised():
            self._read(work, known=True)
            edits = self._recovery.joined(work.text)
            work.edit(edits, "spelled", len(edits))
        work.edit(self._recovery.spelling(work.text))
        edits, places = self._repeats.edits(work.text)
        work.edit(edits, "repeats", len(places) if edits else 0)
        work.elongated = sorted({*work.elongated, *places})

    def _read(self, work: Work, *, known: bool = False) -> None:
        # Separators and letters are read in one go: places in the text are of before.
        read = self._lexicon.edits(work.text, known=known)
        work.count("spelled", len(read.spelled))
        work.edit(sorted(read.spelled + read.leet), "leet", len(read.leet))


def load_normaliser(path: Path = CONF / "normalise.yaml") -> Normaliser:
    """Read the tables and make a normaliser of them.

    Raises:
        ConfigError: naming file, line and field.
    """
    source = YamlSource.read(path)
    config = source.validate(NormaliseConfig)
    lexicon = None
    if config.lexicon:
        lexicon = Lexicon.load(path.parent / config.lexicon, frozenset(config.keep))
    normaliser = Normaliser(config, lexicon)
    for key, expansion in config.abbreviations.items():
        settled = normaliser.normalise(expansion).text
        if settled != expansion:
            raise source.error(
                f"the expansion must be final, and this one becomes {settled!r}",
                ("abbreviations", key),
            )
    return normaliser


@functools.cache
def default_normaliser() -> Normaliser:
    """The normaliser of `conf/normalise.yaml`, made once."""
    return load_normaliser()


def normalise(text: str) -> Normalised:
    """Normalise one text with the tables of `conf/normalise.yaml`. Never fails."""
    return default_normaliser().normalise(text)
