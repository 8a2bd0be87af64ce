"""Search among binary hashes, compiled: multi-index hashing over sorted arrays, and a flat scan.

Hashes are rows of 64-bit words. Each of several disjoint chunks of bits has a table: the rows
ordered by their value of the chunk (`ids`), and where each value begins (`offsets`). Two hashes
at most `d` bits apart differ by at most `radius` bits in at least one chunk as long as the sum of
`radius + 1` over all chunks is above `d` (pigeonhole; Norouzi, Punjani and Fleet, "Fast exact
search in Hamming space with multi-index hashing", 2014), so it is enough to look into the
buckets that near in each chunk, and to count the bits of what lies there.

Every function releases the GIL.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from udfs.compiled import compiled

Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.uint8]

Int = Any
"""A machine integer: what numba makes of an `int` and of a numpy scalar alike."""

_BLOCK: Final = 2048
"""Candidates that are gathered before their rows are read."""

_I64, _U64, _U32 = numba.int64, numba.uint64, numba.uint32
_VECTOR = types.Array(numba.int64, 1, "C")
_FLAGS = types.Array(numba.uint8, 1, "C")
_MASKS = types.Array(numba.uint64, 1, "C")
_WORDS = types.Array(numba.uint64, 2, "C")
_IDS = types.Array(numba.uint32, 2, "C")
_FIXED_WORDS = types.Array(numba.uint64, 2, "C", readonly=True)
_FIXED_IDS = types.Array(numba.uint32, 2, "C", readonly=True)


def _emit_popcount(_typing: Any, _word: Any) -> Any:
    """Set bits of a 64-bit word: one machine instruction."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


_popcount: Any = intrinsic(_emit_popcount)


def _emit_prefetch(_typing: Any, array: Any, _row: Any) -> Any:
    """Ask for the cache line in which a row of a two-dimensional array begins."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = builder.extract_value(made.strides, 0)
        ir: Any = vars(cgutils)["ir"]  # numba's own llvmlite
        byte = ir.IntType(8).as_pointer()
        address = builder.gep(builder.bitcast(made.data, byte), [builder.mul(arguments[1], stride)])
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(function, [address, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


_prefetch: Any = intrinsic(_emit_prefetch)


@compiled(_U64(_FIXED_WORDS, _I64, _I64, _I64))
def _chunk(words: Words, row: Int, first: Int, width: Int) -> Any:
    """`width` bits of a row, from bit `first`."""
    word, shift = first >> 6, first & 63
    value = words[row, word] >> np.uint64(shift)
    if shift + width > 64:
        value |= words[row, word + 1] << np.uint64(64 - shift)
    return value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))


@compiled(numba.void(_FIXED_WORDS, _I64, _I64, _I64, _IDS, _IDS))
def build_chunk(words: Words, chunk: Int, first: Int, width: Int, offsets: Rows, ids: Rows) -> None:
    """Fill one chunk's table by a counting sort; rows of one bucket stay in their order.

    Args:
        words: all hashes, shape (rows, words).
        chunk: which row of `offsets` and `ids` to fill.
        first: its first bit.
        width: how many bits it has.
        offsets: zeros, shape (chunks, 2**width + 1).
        ids: shape (chunks, rows).
    """
    rows = words.shape[0]
    buckets = offsets.shape[1] - 1
    for row in range(rows):
        offsets[chunk, np.int64(_chunk(words, row, first, width))] += np.uint32(1)
    total: Int = np.uint32(0)
    for bucket in range(buckets):
        count = offsets[chunk, bucket]
        offsets[chunk, bucket] = total
        total += count
    for row in range(rows):
        place: Int = np.int64(_chunk(words, row, first, width))
        ids[chunk, np.int64(offsets[chunk, place])] = np.uint32(row)
        offsets[chunk, place] += np.uint32(1)
    # Each bucket's beginning has moved to its end, which is the next one's beginning.
    for bucket in range(buckets, 0, -1):
        offsets[chunk, bucket] = offsets[chunk, bucket - 1]
    offsets[chunk, 0] = np.uint32(0)


@compiled(_I64(_FIXED_WORDS, _I64, _FIXED_WORDS, _I64, _I64))
def _distance(queries: Words, query: Int, words: Words, row: Int, limit: Int) -> Int:
    """Differing bits of two hashes; anything above `limit` where they differ by more."""
    count = words.shape[1]
    half = (count + 1) >> 1
    bits: Int = np.int64(0)
    for word in range(half):
        bits += np.int64(_popcount(queries[query, word] ^ words[row, word]))
    if bits <= limit:
        for word in range(half, count):
            bits += np.int64(_popcount(queries[query, word] ^ words[row, word]))
    return bits


@compiled(_I64(_I64, _I64, _I64, _I64, _WORDS))
def _keep(query: Int, found: Int, row: Int, bits: Int, nearest: Words) -> Int:
    """Put one match into its place; the list holds the nearest, and of equals the first rows."""
    limit = nearest.shape[1]
    key = (np.uint64(bits) << np.uint64(48)) | np.uint64(row)
    if found == limit:
        if key >= nearest[query, limit - 1]:
            return found
        found -= 1
    place = found
    while place > 0 and nearest[query, place - 1] > key:
        nearest[query, place] = nearest[query, place - 1]
        place -= 1
    nearest[query, place] = key
    return found + 1


@compiled(
    _I64(
        _FIXED_WORDS, _I64, _FIXED_WORDS, _FLAGS, _VECTOR, _I64, _VECTOR, _VECTOR,
        _I64, _I64, _I64, _I64, _WORDS,
    )
)  # fmt: skip
def _check(
    queries: Words, query: Int, words: Words, dead: Flags, block: npt.NDArray[np.int64],
    filled: Int, firsts: npt.NDArray[np.int64], radii: npt.NDArray[np.int64],
    chunk: Int, width: Int, distance: Int, found: Int, nearest: Words,
) -> Int:  # fmt: skip
    """Keep what is near among the candidates of a chunk; gives how many are kept now."""
    for place in range(filled):
        row = block[place]
        bits = _distance(queries, query, words, row, distance)
        if bits > distance or dead[row]:
            continue
        # An earlier chunk that was near enough has found it already.
        seen = False
        for before in range(chunk):
            other = _chunk(words, row, firsts[before], width)
            mine = _chunk(queries, query, firsts[before], width)
            if np.int64(_popcount(other ^ mine)) <= radii[before]:
                seen = True
                break
        if not seen:
            found = _keep(query, found, row, bits, nearest)
    return found


@compiled(
    numba.void(
        _FIXED_WORDS, _FIXED_WORDS, _FLAGS, _FIXED_IDS, _FIXED_IDS,
        _VECTOR, _VECTOR, _VECTOR, _I64, _MASKS, _I64, _WORDS, _VECTOR,
    )
)  # fmt: skip
def search_chunks(
    queries: Words, words: Words, dead: Flags, offsets: Rows, ids: Rows,
    firsts: npt.NDArray[np.int64], radii: npt.NDArray[np.int64], probes: npt.NDArray[np.int64],
    width: Int, masks: Words, distance: Int, nearest: Words, counts: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """Rows within `distance` of each query, nearest first.

    Args:
        queries: shape (queries, words).
        words: all hashes, shape (rows, words).
        dead: shape (rows,); not zero where a row is withdrawn.
        offsets: where each bucket begins in `ids`, as `build_chunk` makes it.
        ids: rows by chunk and bucket, as `build_chunk` makes it.
        firsts: first bit of each chunk.
        radii: flips tried in each chunk.
        probes: how many of `masks` lie within the radius of each chunk.
        width: bits of each chunk.
        masks: bits to flip, ordered by how many they are.
        distance: greatest number of differing bits.
        nearest: filled with distance * 2**48 + row, shape (queries, limit).
        counts: filled with the number of matches kept, shape (queries,).
    """
    low = np.empty(masks.size, np.int64)
    high = np.empty(masks.size, np.int64)
    block = np.empty(_BLOCK, np.int64)
    for query in range(queries.shape[0]):
        found: Int = np.int64(0)
        for chunk in range(offsets.shape[0]):
            key = _chunk(queries, query, firsts[chunk], width)
            # Three passes, so that the loads of each do not wait for one another.
            for probe in range(probes[chunk]):
                bucket = np.int64(key ^ masks[probe])
                low[probe] = np.int64(offsets[chunk, bucket])
                high[probe] = np.int64(offsets[chunk, bucket + 1])
            filled = 0
            for probe in range(probes[chunk] + 1):
                # The turn after the last one only empties the block.
                start = low[probe] if probe < probes[chunk] else np.int64(0)
                end = high[probe] if probe < probes[chunk] else np.int64(0)
                last = probe == probes[chunk]
                while start < end or (last and filled > 0):
                    while start < end and filled < _BLOCK:
                        row = np.int64(ids[chunk, start])
                        _prefetch(words, row)
                        block[filled] = row
                        filled += 1
                        start += 1
                    if filled == _BLOCK or last:
                        found = _check(
                            queries, query, words, dead, block, filled, firsts, radii,
                            chunk, width, distance, found, nearest,
                        )  # fmt: skip
                        filled = 0
        counts[query] = found


@compiled(
    numba.void(
        _FIXED_WORDS, _FIXED_WORDS, _FLAGS, _FIXED_IDS, _FIXED_IDS, _I64, _I64, _WORDS, _VECTOR
    )
)
def search_equal(
    queries: Words, words: Words, dead: Flags, offsets: Rows, ids: Rows,
    first: Int, width: Int, nearest: Words, counts: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """Rows that equal each query: one bucket of the first chunk. As `search_chunks` fills."""
    for query in range(queries.shape[0]):
        found: Int = np.int64(0)
        bucket = np.int64(_chunk(queries, query, first, width))
        for place in range(np.int64(offsets[0, bucket]), np.int64(offsets[0, bucket + 1])):
            row = np.int64(ids[0, place])
            if _distance(queries, query, words, row, 0) == 0 and not dead[row]:
                found = _keep(query, found, row, 0, nearest)
        counts[query] = found


@compiled(numba.void(_FIXED_WORDS, _FIXED_WORDS, _FLAGS, _I64, _I64, _I64, _WORDS, _VECTOR))
def search_flat(
    queries: Words, words: Words, dead: Flags, rows: Int, base: Int, distance: Int,
    nearest: Words, counts: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """Add to the nearest of each query those of a short list, by reading all of it.

    Args:
        queries: shape (queries, words).
        words: the list, shape (capacity, words).
        dead: not zero where a row is withdrawn.
        rows: how many rows of the list count.
        base: number of the list's first row, as it is to be reported.
        distance: greatest number of differing bits.
        nearest: as `search_chunks` fills it; added to.
        counts: as `search_chunks` fills it; read and added to.
    """
    for query in range(queries.shape[0]):
        found = counts[query]
        for row in range(rows):
            bits = _distance(queries, query, words, row, distance)
            if bits <= distance and not dead[row]:
                found = _keep(query, found, base + row, bits, nearest)
        counts[query] = found


@compiled(
    numba.void(
        types.Array(numba.uint8, 1, "C", readonly=True),
        types.Array(numba.int64, 1, "C", readonly=True),
        _VECTOR,
        _I64,
    )
)
def hash_strings(
    blob: Flags, bounds: npt.NDArray[np.int64], out: npt.NDArray[np.int64], width: Int
) -> None:
    """Hash strings (FNV-1a, folded to `width` bits), for a table by name.

    Args:
        blob: UTF-8 of all strings, one after the other.
        bounds: where each begins, and the end of the last, shape (strings + 1,).
        out: filled, shape (strings,).
        width: bits of the result, at most 63.
    """
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    for place in range(out.size):
        value = np.uint64(0xCBF29CE484222325)
        for byte in range(bounds[place], bounds[place + 1]):
            value = (value ^ np.uint64(blob[byte])) * np.uint64(0x100000001B3)
        out[place] = np.int64((value ^ (value >> np.uint64(32))) & mask)
