"""Measures the Hamming index at several sizes: what `scripts/banks bench` prints."""

from __future__ import annotations

import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from udfs.bank_names import PackedNames
from udfs.bank_snapshot import read_snapshot, write_snapshot
from udfs.hamming_index import HammingIndex
from udfs.live_index import LiveIndex

BITS: Final = 256
DISTANCE: Final = 31
_QUERIES: Final = 4000
_CHANGES: Final = 200
_CHUNK: Final = 1_000_000


def measure(rows: int, *, seed: int = 1, folder: Path | None = None) -> dict[str, Any]:
    """Build, write, map and search an index of random PDQ hashes.

    Half of the queries are entries with 31 flipped bits, half are strangers; all are different.

    Args:
        rows: how many hashes.
        seed: of the hashes and queries.
        folder: where the snapshot is written for the time. [default: the system's]

    Returns:
        Figures with their units in their names.
    """
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (rows, BITS // 64), dtype=np.uint64)
    started = time.perf_counter()
    index = HammingIndex.build(words, DISTANCE)
    build_s = time.perf_counter() - started
    chunks = index.chunks
    # Names as lists have them: about 12 bytes.
    names = PackedNames.join(
        [
            (PackedNames.pack(f"entry-{i:x}" for i in range(at, min(at + _CHUNK, rows))), _all(n))
            for at in range(0, rows, _CHUNK)
            if (n := min(_CHUNK, rows - at))
        ]
    )
    queries = _queries(rng, words)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        where = Path(place) / "bank"
        started = time.perf_counter()
        live = LiveIndex(index, names)
        write_snapshot(where, live, bank="bench", kind="pdq")
        write_s = time.perf_counter() - started
        size = sum(path.stat().st_size for path in where.iterdir())
        del words, index, names, live
        started = time.perf_counter()
        read_snapshot(where, verify=False)
        map_s = time.perf_counter() - started
        before = _resident()
        started = time.perf_counter()
        live, _ = read_snapshot(where)
        load_s = time.perf_counter() - started
        found, lookups = _searched(live, queries)
        memory = _resident() - before
        return {
            "rows": rows,
            "chunks": len(chunks.firsts),
            "chunk_bits": chunks.width,
            "build_s": round(build_s, 3),
            "write_snapshot_s": round(write_s, 3),
            "snapshot_bytes": size,
            "load_s": round(load_s, 3),
            "load_unverified_s": round(map_s, 4),
            "memory_bytes": memory,
            "lookups_per_s": round(lookups),
            "planted_found": found,
            **_delays(live, rng),
            "exact_lookups_per_s": round(_exact(live, queries)),
        }


def _all(rows: int) -> npt.NDArray[np.bool_]:
    return np.ones(rows, np.bool_)


def _queries(rng: np.random.Generator, words: npt.NDArray[np.uint64]) -> list[bytes]:
    queries = []
    for number in range(_QUERIES):
        if number % 2:
            queries.append(rng.bytes(BITS // 8))
            continue
        raw = np.unpackbits(words[rng.integers(len(words))].view(np.uint8))
        raw[rng.choice(BITS, DISTANCE, replace=False)] ^= 1
        queries.append(np.packbits(raw).tobytes())
    return queries


def _searched(live: LiveIndex, queries: list[bytes]) -> tuple[float, float]:
    """Share of planted matches that are found, and lookups a second of one core.

    By the processor time of this thread, which does all the work: what else the machine does
    then shows only in its caches.
    """
    for query in queries[: _QUERIES // 4]:
        live.search(query)
    started = time.thread_time()
    found = [bool(live.search(query)[0]) for query in queries[_QUERIES // 4 :]]
    took = time.thread_time() - started
    return sum(found[::2]) / len(found[::2]), len(found) / took


def _exact(live: LiveIndex, queries: list[bytes]) -> float:
    for number, query in enumerate(queries):
        live.add(query, [f"exact-{number}"])
    live.merge()
    started = time.thread_time()
    for query in queries:
        live.search(query)
    return len(queries) / (time.thread_time() - started)


def _delays(live: LiveIndex, rng: np.random.Generator) -> dict[str, float]:
    """Time from the call until a search in another thread's place sees the change, at most."""
    added, withdrawn = [], []
    for number in range(_CHANGES):
        query, name = rng.bytes(BITS // 8), f"new-{number}"
        started = time.perf_counter()
        live.add(query, [name])
        if not live.search(query)[0]:
            raise RuntimeError("an added hash was not found")
        added.append(time.perf_counter() - started)
        started = time.perf_counter()
        live.withdraw(name)
        if live.search(query)[0]:
            raise RuntimeError("a withdrawn hash was found")
        withdrawn.append(time.perf_counter() - started)
    merge = threading.Thread(target=live.merge)
    started = time.perf_counter()
    merge.start()
    slowest = 0.0
    while merge.is_alive():
        query = rng.bytes(BITS // 8)
        at = time.perf_counter()
        live.search(query)
        slowest = max(slowest, time.perf_counter() - at)
    return {
        "added_acts_ms_max": round(max(added) * 1e3, 3),
        "withdrawn_acts_ms_max": round(max(withdrawn) * 1e3, 3),
        "merge_s": round(time.perf_counter() - started, 3),
        "slowest_lookup_while_merging_ms": round(slowest * 1e3, 3),
    }


def _resident() -> int:
    """Memory of this process that is in use now, mapped files included, in bytes."""
    with Path("/proc/self/statm").open() as file:
        pages = int(file.read().split()[1])
    return pages * resource.getpagesize()
