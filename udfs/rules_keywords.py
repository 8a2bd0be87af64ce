"""Keyword rules: all terms of all rules in one walk over the text.

Terms and texts are normalised alike. Three readings of a text are searched:

* its canonical form, in one Aho-Corasick automaton; that is all for an honest text;
* its skeleton, where that differs: accents off, everything like leet decoded;
* where letters were drawn out (`fuuuck`), both with every run of a letter as one letter. A
  find counts if each run fits the term: drawn out in the original, or as long as in the term.

Letters that English hardly ever doubles are also known doubled (`fuuck`), so that a text
without drawn-out letters needs no second look. `penne` is not found by `pene`, nor `rapping`
by `raping`: a double letter that languages write does not count as drawn out.
"""

from __future__ import annotations

import bisect
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import ahocorasick_rs

from udfs.normalise import Normalised, normalise

Hit = tuple[int, int, int]
"""Number of the entry, and a half-open range of the normalised text."""
Span = tuple[int, int]

SEPARATORS: Final = (" ", "", "-", "_")
"""What may stand between the words of a phrase."""
MIN_BOLD: Final = 4
"""Letters of the shortest term that is found with its accents changed or inside a spelled-out
word: shorter ones are too often a word of some language."""

_RARELY_DOUBLE: Final = frozenset("aiuhjkqvwxy")
# In a word with drawn-out letters a double vowel is one, too.
_DRAWN_OUT: Final = _RARELY_DOUBLE | {"e", "o"}
_MAX_DOUBLED: Final = 4
_RUN: Final = re.compile(r"(.)\1*", re.DOTALL)
_LATIN: Final = re.compile(r"[a-z',. \-]+")


class Entry(NamedTuple):
    """A term as it is searched for."""

    text: str
    """Normalised."""
    whole_word: bool


def term_text(term: str) -> str:
    """A term as the texts are: normalised. Empty where nothing is left of it."""
    return normalise(term).text


class KeywordIndex:
    """The automata over all terms.

    Args:
        entries: normalised terms; a hit names its entry by number.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._bold = [
            entry.text.isascii() and sum(c.isalpha() for c in entry.text) >= MIN_BOLD
            for entry in entries
        ]
        self._ascii = [entry.text.isascii() for entry in entries]
        exact: dict[str, list[int]] = {}
        collapsed: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
        for number, entry in enumerate(entries):
            for form in _forms(entry.text):
                exact.setdefault(form, []).append(number)
            for form in {entry.text, entry.text.replace(" ", "")}:
                letters, runs = _collapse(form)
                collapsed.setdefault(letters, []).append((number, runs))
        self._exact = list(exact.values())
        self._automaton = _automaton(exact)
        self._collapsed = list(collapsed.values())
        self._collapsed_automaton = _automaton(collapsed)

    def find(self, text: Normalised) -> set[Hit]:
        """Every place of every term, in code points of `text.text`."""
        view = text.text
        found = self._automaton.find_matches_as_indexes(view, overlapping=True)
        bold = text.skeleton is not view
        if not found and not bold and not text.elongated:
            return _NOTHING
        hits: set[Hit] = set()
        for pattern, start, end in found:
            self._keep(hits, self._exact[pattern], view, (start, end), text.spelled)
        if bold:
            self._find_bold(hits, text)
        if text.elongated:
            self._find_drawn_out(hits, text, view)
            if bold:
                self._find_drawn_out(hits, text, text.skeleton)
        return hits

    def _keep(
        self, hits: set[Hit], entries: Iterable[int], view: str, span: Span, spelled: Sequence[Span]
    ) -> None:
        """Add those of the entries that may stand at `span` of `view`."""
        whole = _stands_alone(view, *span)
        for number in entries:
            if (
                whole
                or not self._entries[number].whole_word
                or (self._bold[number] and _inside(span, spelled))
            ):
                hits.add((number, *span))

    def _find_bold(self, hits: set[Hit], text: Normalised) -> None:
        view, skeleton = text.text, text.skeleton
        for pattern, start, end in self._automaton.find_matches_as_indexes(
            skeleton, overlapping=True
        ):
            written = view[start:end]
            if written == skeleton[start:end]:
                continue  # found already
            able = self._ascii if written.isascii() else self._bold
            entries = [number for number in self._exact[pattern] if able[number]]
            self._keep(hits, entries, skeleton, (start, end), text.spelled)

    def _find_drawn_out(self, hits: set[Hit], text: Normalised, view: str) -> None:
        letters, runs = _collapse(view)
        found = self._collapsed_automaton.find_matches_as_indexes(letters, overlapping=True)
        if not found:
            return
        starts = [0, *itertools.accumulate(runs)]
        elongated = set(text.elongated)
        for pattern, first, last in found:
            start, end = starts[first], starts[last]
            if elongated.isdisjoint(range(start, end)):
                continue
            entries = [
                number
                for number, wanted in self._collapsed[pattern]
                if all(
                    run == want
                    or not elongated.isdisjoint(range(at, at + run))
                    or (run > want and view[at] in _DRAWN_OUT)
                    for run, want, at in zip(
                        runs[first:last], wanted, starts[first:last], strict=True
                    )
                )
            ]
            self._keep(hits, entries, view, (start, end), text.spelled)


_NOTHING: Final[set[Hit]] = set()


def _automaton(patterns: Iterable[str]) -> ahocorasick_rs.AhoCorasick:
    return ahocorasick_rs.AhoCorasick(list(patterns), store_patterns=False)


def _forms(term: str) -> list[str]:
    """The term with each separator, and with letters doubled that hardly ever are."""
    forms = {term: None}
    if " " in term:
        forms.update((term.replace(" ", separator), None) for separator in SEPARATORS)
    if not _LATIN.fullmatch(term):
        return list(forms)
    single = [m.start() for m in _RUN.finditer(term) if len(m[0]) == 1 and m[1] in _RARELY_DOUBLE]
    most = len(single) if len(single) <= _MAX_DOUBLED and " " not in term else 1
    for count in range(1, most + 1):
        for places in itertools.combinations(single, count):
            doubled = "".join(c * 2 if i in places else c for i, c in enumerate(term))
            forms.update((doubled.replace(" ", s), None) for s in (" ", ""))
    return list(forms)


def _collapse(text: str) -> tuple[str, tuple[int, ...]]:
    """Every run of a character as one, and the lengths of the runs."""
    letters = []
    runs = []
    for m in _RUN.finditer(text):
        letters.append(m[1])
        runs.append(len(m[0]))
    return "".join(letters), tuple(runs)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no letter, digit or vowel sign touches the range (where it has letters itself)."""
    if start and _joins(text[start - 1]) and _joins(text[start]):
        return False
    return end == len(text) or not (_joins(text[end]) and _joins(text[end - 1]))


def _joins(character: str) -> bool:
    if character.isascii():
        return character.isalnum()
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def _inside(span: Span, ranges: Sequence[Span]) -> bool:
    """Whether one of the sorted, disjoint ranges holds the span."""
    index = bisect.bisect_right(ranges, span[0], key=lambda r: r[0]) - 1
    return index >= 0 and span[1] <= ranges[index][1]
