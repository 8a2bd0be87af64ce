"""A Hamming index that entries join and leave while it is searched.

New entries go to a short list that is scanned beside the built index, withdrawn ones are
marked; both act on the next search. When the list has grown, a new index is built in the
background, without the GIL, and takes the old one's place.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.bank_names import PackedNames
from udfs.hamming_index import HammingIndex, to_words
from udfs.hamming_kernels import Flags, Words, search_flat

MERGE_ROWS: Final = 8192
"""Additions from which a merge is worth its while; a 64th of the index where that is more."""
MOST_ROWS: Final = 65_536
"""Additions from which it is worth its while however large the index."""
_FIRST_ROOM: Final = 64
WITHDRAWN: Final = 1
Counts = npt.NDArray[np.int64]


class Hit(NamedTuple):
    """An entry near a query."""

    distance: int
    """Differing bits."""
    name: str
    row: int
    """Row of the index now; another one after a merge."""
    disputed: bool


class _State(NamedTuple):
    """All that a search reads; replaced as a whole."""

    built: HammingIndex
    names: PackedNames
    dead: Flags
    disputed: Flags
    added: Words
    """Room for additions; `filled` of them are there."""
    added_names: list[str]
    added_rows: dict[str, list[int]]
    """Places of each name among the additions."""
    added_dead: Flags
    added_disputed: Flags
    filled: int


class LiveIndex:
    """Named hashes, searched by one or more threads while another one changes them.

    Args:
        index: what is built.
        names: one for each row of it; rows of a video share theirs.
        disputed: shape (rows,); not zero where people disagree about an entry.
        merge_rows: additions from which a merge is worth its while.
    """

    def __init__(
        self,
        index: HammingIndex,
        names: PackedNames,
        disputed: Flags | None = None,
        *,
        merge_rows: int = MERGE_ROWS,
    ) -> None:
        rows = len(index)
        self.bits, self.distance = index.bits, index.distance
        self._merge_rows = merge_rows
        self._change = threading.Lock()
        self._merge = threading.Lock()
        self._merging: threading.Thread | None = None
        self._state = _State(
            index,
            names,
            np.zeros(rows, np.uint8),
            np.zeros(rows, np.uint8) if disputed is None else np.array(disputed, np.uint8),
            np.empty((0, self.bits // 64), np.uint64),
            [],
            {},
            np.zeros(0, np.uint8),
            np.zeros(0, np.uint8),
            0,
        )

    def __len__(self) -> int:
        """Rows that are in force."""
        state = self._state
        gone = int(state.dead.sum()) + int(state.added_dead[: state.filled].sum())
        return len(state.built) + state.filled - gone

    @classmethod
    def build(
        cls,
        hashes: bytes,
        names: Sequence[str],
        *,
        bits: int,
        distance: int,
        merge_rows: int = MERGE_ROWS,
    ) -> LiveIndex:
        """Index hashes that lie one after the other, with a name for each."""
        index = HammingIndex.build(to_words(hashes, bits), distance)
        return cls(index, PackedNames.pack(names), merge_rows=merge_rows)

    def search(
        self, queries: bytes, *, distance: int | None = None, limit: int = 16
    ) -> list[list[Hit]]:
        """Entries near each query, nearest first. Exact copies that are undisputed end a search.

        Args:
            queries: hashes, one after the other.
            distance: greatest number of differing bits. [default: that of the index]
            limit: most entries for each; of equals those that came first.
        """
        state = self._state
        words = to_words(queries, self.bits)
        near = self.distance if distance is None else min(distance, self.distance)
        nearest, counts = np.empty((len(words), limit), np.uint64), np.zeros(len(words), np.int64)
        state.built.search_equal(words, state.dead, nearest, counts)
        _scan(state, words, 0, nearest, counts)
        found = [_hits(state, row, count) for row, count in zip(nearest, counts, strict=True)]
        open_ = [i for i, hits in enumerate(found) if all(hit.disputed for hit in hits)]
        if near == 0 or not open_:
            return found
        rest = np.ascontiguousarray(words[open_])
        rest.flags.writeable = False
        nearest, counts = nearest[: len(rest)], counts[: len(rest)]
        state.built.search(rest, state.dead, near, nearest, counts)
        _scan(state, rest, near, nearest, counts)
        for i, row, count in zip(open_, nearest, counts, strict=True):
            found[i] = _hits(state, row, count)
        return found

    def add(self, hashes: bytes, names: Sequence[str]) -> None:
        """Put entries in force; the next search finds them.

        Args:
            hashes: one after the other.
            names: one for each.
        """
        words = to_words(hashes, self.bits)
        if len(words) != len(names):
            raise ValueError(f"{len(words)} hashes and {len(names)} names")
        with self._change:
            state = self._state
            end = state.filled + len(words)
            if end > len(state.added):
                room = self._room(max(_FIRST_ROOM, end, 2 * len(state.added)))
                state = _moved(state, room, 0, state.filled)
            # Searches that have the state from before do not look beyond its count.
            state.added[state.filled : end] = words
            state.added_names.extend(names)
            for place, name in enumerate(names, state.filled):
                state.added_rows.setdefault(name, []).append(place)
            self._state = state._replace(filled=end)
            self._merge_if_due()

    def withdraw(self, name: str) -> int:
        """Take an entry out of force; gives how many of its rows were in it."""
        with self._change:
            state = self._state
            rows = [row for row in self._rows(state, name) if not _flag(state, row, "dead")]
            for row in rows:
                _set(state, row, "dead", WITHDRAWN)
            return len(rows)

    def dispute(self, name: str, *, disputed: bool = True) -> int:
        """Mark an entry as disputed, or as confirmed; gives how many rows it has."""
        with self._change:
            state = self._state
            rows = [row for row in self._rows(state, name) if not _flag(state, row, "dead")]
            for row in rows:
                _set(state, row, "disputed", int(disputed))
            return len(rows)

    def rows_of(self, name: str) -> int:
        """How many rows of that name are in force: of a video, its frames."""
        state = self._state
        return sum(not _flag(state, row, "dead") for row in self._rows(state, name))

    def merge(self) -> None:
        """Build additions in and withdrawn entries out, now; searches go on meanwhile."""
        with self._merge:
            self._merge_now()

    def _merge_now(self) -> None:
        before = self._state
        count = before.filled
        stay = before.dead == 0
        stay_added = before.added_dead[:count] == 0
        added = PackedNames.pack(before.added_names[:count])
        names = PackedNames.join([(before.names, stay), (added, stay_added)])
        words = np.concatenate([before.built.words[stay], before.added[:count][stay_added]])
        index = HammingIndex.build(words, self.distance)
        with self._change:
            now = self._state
            # What was withdrawn or disputed while the index was built is so in the new one.
            dead, disputed = (
                np.concatenate([old[stay], new[:count][stay_added]])
                for old, new in (
                    (now.dead, now.added_dead),
                    (now.disputed, now.added_disputed),
                )
            )
            late = now.filled - count
            room = self._room(max(_FIRST_ROOM, late))
            moved = _moved(now, room, count, late)
            self._state = moved._replace(built=index, names=names, dead=dead, disputed=disputed)

    def wait(self) -> None:
        """Return when no merge is under way."""
        thread = self._merging
        if thread is not None:
            thread.join()

    def settled(self) -> tuple[HammingIndex, PackedNames, Flags]:
        """Index, names and disputed rows with every change built in, for a snapshot."""
        self.wait()
        state = self._state
        if state.filled or state.dead.any():
            self.merge()
            state = self._state
        return state.built, state.names, state.disputed

    def _merge_if_due(self) -> None:
        state = self._state
        due = min(max(self._merge_rows, len(state.built) // 64), MOST_ROWS)
        if state.filled >= due and (self._merging is None or not self._merging.is_alive()):
            self._merging = threading.Thread(target=self.merge, name="bank-merge", daemon=True)
            self._merging.start()

    def _room(self, rows: int) -> tuple[Words, Flags, Flags]:
        return (
            np.empty((rows, self.bits // 64), np.uint64),
            np.zeros(rows, np.uint8),
            np.zeros(rows, np.uint8),
        )

    @staticmethod
    def _rows(state: _State, name: str) -> list[int]:
        base = len(state.built)
        return state.names.rows_of(name) + [base + at for at in state.added_rows.get(name, ())]


def _moved(state: _State, room: tuple[Words, Flags, Flags], start: int, count: int) -> _State:
    """The state with `count` additions, from `start` on, in new room."""
    end = start + count
    words, dead, disputed = room
    for new, old in (
        (words, state.added),
        (dead, state.added_dead),
        (disputed, state.added_disputed),
    ):
        new[:count] = old[start:end]
    names = state.added_names[start:end]
    rows: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        rows.setdefault(name, []).append(place)
    return state._replace(
        added=words,
        added_names=names,
        added_rows=rows,
        added_dead=dead,
        added_disputed=disputed,
        filled=count,
    )


def _scan(state: _State, words: Words, distance: int, nearest: Words, counts: Counts) -> None:
    """Add the nearest of the additions."""
    if state.filled:
        search_flat(
            words, _read_only(state.added), state.added_dead, state.filled, len(state.built),
            distance, nearest, counts,
        )  # fmt: skip


def _read_only(words: Words) -> Words:
    view = words.view()
    view.flags.writeable = False
    return view


def _hits(state: _State, nearest: Words, count: int) -> list[Hit]:
    hits = []
    for key in nearest[:count].tolist():
        row = key & 0xFFFF_FFFF_FFFF
        base = len(state.built)
        name = state.names[row] if row < base else state.added_names[row - base]
        hits.append(Hit(key >> 48, name, row, bool(_flag(state, row, "disputed"))))
    return hits


def _flag(state: _State, row: int, kind: str) -> int:
    base = len(state.built)
    flags = getattr(state, kind) if row < base else getattr(state, f"added_{kind}")
    return int(flags[row if row < base else row - base])


def _set(state: _State, row: int, kind: str, value: int) -> None:
    base = len(state.built)
    flags = getattr(state, kind) if row < base else getattr(state, f"added_{kind}")
    flags[row if row < base else row - base] = value
