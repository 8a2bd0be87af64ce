"""A text on its way through the steps of normalisation, with the map back if one is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from udfs import normalise_unicode as unicode
from udfs import normalise_words as words
from udfs.normalise_unicode import Edit, apply

DISGUISES: Final = ("leet", "spelled", "confusables", "zero_width", "marks")
"""Signals of tricks that hide words."""


class OffsetMap:
    """For each code point of the text, the range of the original that it came from.

    Args:
        length: code points of the original, which the map starts as.
    """

    __slots__ = ("ends", "starts")

    def __init__(self, length: int) -> None:
        self.starts = list(range(length))
        self.ends = list(range(1, length + 1))

    def edit(self, edits: Sequence[Edit]) -> None:
        """Follow the edits: a replacement of another length maps to all that it replaced."""
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        for start, end, new in edits:
            starts += self.starts[at:start]
            ends += self.ends[at:start]
            if len(new) == end - start:
                starts += self.starts[start:end]
                ends += self.ends[start:end]
            else:
                starts += [self.starts[start]] * len(new)
                ends += [self.ends[end - 1]] * len(new)
            at = end
        self.starts = starts + self.starts[at:]
        self.ends = ends + self.ends[at:]


class Work:
    """The text between two steps, and what the steps noticed.

    Args:
        text: the original.
        offsets: a map to keep along, where spans are wanted.
    """

    __slots__ = ("cased", "changed", "counts", "elongated", "offsets", "spelled", "text")

    def __init__(self, text: str, offsets: OffsetMap | None = None) -> None:
        self.text = text
        self.offsets = offsets
        self.cased = text
        """The text before it was lowered."""
        self.changed = False
        self.counts: dict[str, int] = {}
        """Signals that were seen, by the names of `EvasionSignals`."""
        self.elongated: list[int] = []
        self.spelled: list[tuple[int, int]] = []

    def count(self, signal: str, number: int) -> None:
        """Add to a signal."""
        if number:
            self.counts[signal] = self.counts.get(signal, 0) + number

    def is_disguised(self) -> bool:
        """Whether so much was undone that what is left is no accident either."""
        found = sum(self.counts.get(signal, 0) for signal in DISGUISES)
        return found > 0 and found * (12 if found > 1 else 7) > self.text.count(" ")

    def edit(self, edits: list[Edit], signal: str = "", number: int = 0) -> None:
        """Make edits, in the text, the map and the places noticed so far."""
        if not edits:
            return
        self.count(signal, number)
        self.changed = True
        self._replace(edits)

    def _replace(self, edits: list[Edit]) -> None:
        if self.elongated:
            self.elongated = moved(self.elongated, edits)
        if self.spelled:
            starts = moved([start for start, _ in self.spelled], edits)
            ends = moved([end for _, end in self.spelled], edits, ends=True)
            self.spelled = list(zip(starts, ends, strict=True))
        if self.offsets:
            self.offsets.edit(edits)
        self.text = apply(self.text, edits)

    def invisible(self) -> None:
        """Drop what cannot be seen; count what hid inside words."""
        edits = unicode.invisible(self.text)
        self.edit(edits, "zero_width", unicode.hidden_in_words(self.text, edits))

    def lower(self) -> None:
        """Lower case, code point for code point."""
        self.cased = self.text
        # The only letter whose lower case is two code points.
        self.text = self.text.replace("\u0130", "i").lower()

    def characters(self) -> None:
        """All steps about single characters, for a text that is not plain ASCII."""
        self.edit(unicode.long_marks(self.text), "marks", 1)
        if unicode.INVISIBLE.search(self.text):
            self.invisible()
        self._compose()
        self.lower()
        self._compose()
        if unicode.GENERIC_MARK.search(self.text):
            edits, decorated = unicode.marks(self.text)
            self.edit(edits, "marks", decorated)
        edits = unicode.plain_signs(self.text)
        if edits:
            self._replace(edits)
        if words.may_mix(self.text):
            edits = words.confusables(self.text)
            self.edit(edits, "confusables", len(edits))

    def _compose(self) -> None:
        new = unicode.compose(self.text)
        if new != self.text:
            self.changed = True
            self.count("styled", unicode.styled(self.text))
            if self.offsets:
                self._replace(unicode.compose_edits(self.text))
            else:
                self.text = new


def moved(places: Sequence[int], edits: Sequence[Edit], *, ends: bool = False) -> list[int]:
    """Where sorted places of a text stand after edits.

    Args:
        places: in the text before.
        edits: in order.
        ends: the places are ends of ranges: one inside an edit moves to the edit's end, and
            otherwise to its start. (An edit that keeps the length moves nothing.)
    """
    result = []
    shift = 0
    index = 0
    for place in places:
        while index < len(edits) and edits[index][1] <= place:
            start, end, new = edits[index]
            shift += len(new) - (end - start)
            index += 1
        moved_to = place + shift
        if index < len(edits) and edits[index][0] < place:
            start, end, new = edits[index]
            if len(new) != end - start:
                moved_to = start + shift + (len(new) if ends else 0)
        result.append(moved_to)
    return result
