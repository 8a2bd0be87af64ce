"""Names of ten million entries in two arrays, found by row and by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from udfs.hamming_kernels import Flags, hash_strings

_NAMES_A_BUCKET: Final = 4
_MAX_WIDTH: Final = 24


class PackedNames:
    """One string for each row, in the memory of its bytes. Nothing in it ever changes.

    Several rows may have the same name: the frames of a video do.

    Args:
        blob: UTF-8 of all names, one after the other.
        bounds: where each begins, and the end of the last, shape (rows + 1,), int64.
        offsets, rows: a table by hash, as `pack` makes it.
    """

    def __init__(
        self,
        blob: Flags,
        bounds: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.uint32],
        rows: npt.NDArray[np.uint32],
    ) -> None:
        self._blob, self._bounds = _fixed(blob), _fixed(bounds)
        self._offsets, self._rows = _fixed(offsets), _fixed(rows)
        self._width = (len(offsets) - 1).bit_length() - 1

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._bounds) - 1

    def __getitem__(self, row: int) -> str:
        """Name of a row."""
        return self._raw(row).decode()

    @classmethod
    def pack(cls, names: Iterable[str]) -> PackedNames:
        """Pack names, in the order of their rows."""
        raw = [name.encode() for name in names]
        bounds = np.zeros(len(raw) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, raw), np.int64, len(raw)), out=bounds[1:])
        return cls._index(np.frombuffer(b"".join(raw), np.uint8), bounds)

    @classmethod
    def join(cls, parts: Sequence[tuple[PackedNames, npt.NDArray[np.bool_]]]) -> PackedNames:
        """The names of some rows of several packs, in their order.

        Args:
            parts: packs, and for each which of its rows stay.
        """
        blobs, sizes = [], []
        for pack, stay in parts:
            length = np.diff(pack._bounds)
            blobs.append(pack._blob[np.repeat(stay, length)])
            sizes.append(length[stay])
        length = np.concatenate(sizes)
        bounds = np.zeros(len(length) + 1, np.int64)
        np.cumsum(length, out=bounds[1:])
        return cls._index(np.concatenate(blobs), bounds)

    @classmethod
    def _index(cls, blob: Flags, bounds: npt.NDArray[np.int64]) -> PackedNames:
        count = len(bounds) - 1
        width = min(_MAX_WIDTH, max(1, (count // _NAMES_A_BUCKET).bit_length()))
        keys = np.empty(count, np.int64)
        hash_strings(_fixed(blob), _fixed(bounds), keys, width)
        offsets = np.zeros((1 << width) + 1, np.uint32)
        np.cumsum(np.bincount(keys, minlength=1 << width), out=offsets[1:])
        return cls(blob, bounds, offsets, np.argsort(keys, kind="stable").astype(np.uint32))

    def rows_of(self, name: str) -> list[int]:
        """Rows of that name, in order; none where nothing is called so."""
        if not len(self):
            return []
        raw = name.encode()
        key = np.empty(1, np.int64)
        bounds = np.array([0, len(raw)], np.int64)
        hash_strings(np.frombuffer(raw, np.uint8), _fixed(bounds), key, self._width)
        start, end = self._offsets[key[0]], self._offsets[key[0] + 1]
        return [row for row in self._rows[start:end].tolist() if self._raw(row) == raw]

    def distinct(self) -> int:
        """How many different names there are."""
        keys = np.empty(len(self), np.int64)
        # 63 bits: the chance that two of ten million are taken for one is 5 in a million.
        hash_strings(self._blob, self._bounds, keys, 63)
        return len(np.unique(keys))

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """What a snapshot has to hold, by name: the arguments of the class."""
        return {
            "blob": self._blob,
            "bounds": self._bounds,
            "offsets": self._offsets,
            "rows": self._rows,
        }

    def _raw(self, row: int) -> bytes:
        return self._blob[self._bounds[row] : self._bounds[row + 1]].tobytes()


def _fixed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view: a snapshot's files cannot be written to either."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
