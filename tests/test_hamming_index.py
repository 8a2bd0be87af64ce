"""The Hamming index finds all that a scan finds, while entries come and go."""

# ruff: noqa: S311 - test data needs no cryptography

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.settings import ROOT
from udfs.bank_names import PackedNames
from udfs.bank_snapshot import MANIFEST, read_snapshot, write_snapshot
from udfs.hamming_index import FLAT_ROWS, Chunks, HammingIndex, to_words
from udfs.hamming_kernels import Words
from udfs.live_index import LiveIndex

SIZES = [(256, 31), (64, 10), (128, 0), (256, 0), (256, 12), (64, 3)]


def flipped(value: bytes, bits: list[int]) -> bytes:
    number = int.from_bytes(value, "little")
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(len(value), "little")


def scanned(words: Words, query: bytes, distance: int) -> list[tuple[int, int]]:
    """Distance and row of all that is near, by faiss's scan."""
    index = faiss.IndexBinaryFlat(8 * len(query))
    index.add(words.view(np.uint8).reshape(len(words), -1))
    _, far, rows = index.range_search(np.frombuffer(query, np.uint8).reshape(1, -1), distance + 1)
    return sorted(zip(map(int, far), map(int, rows), strict=True))


@pytest.mark.parametrize(("bits", "distance"), SIZES)
@pytest.mark.parametrize("rows", [1, 100, FLAT_ROWS + 1, 60_000])
def test_it_finds_what_a_scan_finds(bits: int, distance: int, rows: int) -> None:
    rng = random.Random(bits * distance + rows)
    hashes = [rng.randbytes(bits // 8) for _ in range(rows)]
    # Copies and near copies among the entries, and hashes that are all alike.
    for place in range(0, rows, 50):
        near = rng.sample(range(bits), rng.randint(0, distance))
        hashes[place] = flipped(hashes[rng.randrange(rows)], near)
    hashes[-1] = bytes(bits // 8)
    words = to_words(b"".join(hashes), bits)
    index = HammingIndex.build(words, distance)
    assert bool(index.chunks.firsts) is (rows > FLAT_ROWS)
    for turn in range(60):
        near = rng.sample(range(bits), min(bits, rng.randint(0, distance + 2)))
        query = flipped(rng.choice(hashes), near) if turn % 4 else rng.randbytes(bits // 8)
        found = [tuple(match) for match in index.find(query, limit=64)]
        assert found == scanned(words, query, distance)[:64]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_bits_may_differ_anywhere(data: st.DataObject) -> None:
    """Whichever bits are flipped, a hash within the distance is found, and none beyond it."""
    bits, distance = data.draw(st.sampled_from([(256, 31), (64, 10)]))
    index = FILLED[bits]
    row = data.draw(st.integers(0, len(index) - 1))
    flips = data.draw(st.sets(st.integers(0, bits - 1), max_size=distance + 1))
    query = flipped(index.words[row].tobytes(), sorted(flips))
    found = index.find(query, limit=8)
    assert ((len(flips), row) in found) is (len(flips) <= distance)


FILLED = {
    bits: HammingIndex.build(
        to_words(random.Random(bits).randbytes(bits // 8 * 20_000), bits), distance
    )
    for bits, distance in [(256, 31), (64, 10)]
}


@given(
    st.sampled_from([64, 128, 256]),
    st.integers(0, 40),
    st.integers(FLAT_ROWS + 1, 2**31 - 1),
)
def test_chunks_reach_far_enough(bits: int, distance: int, rows: int) -> None:
    distance = min(distance, 2 * bits // 8)
    chunks = Chunks.choose(bits, distance, rows)
    assert chunks.reach == distance
    ends = [first + chunks.width for first in chunks.firsts]
    assert ends[-1] <= bits
    assert all(end <= first for end, first in zip(ends, chunks.firsts[1:], strict=False))


def test_ten_million_hashes_take_the_chunks_that_were_measured() -> None:
    chunks = Chunks.choose(256, 31, 10_000_000)
    assert (chunks.width, len(chunks.firsts)) == (23, 11)
    assert sorted(chunks.radii) == [1, *[2] * 10]
    assert Chunks.choose(64, 10, 10_000_000).reach == 10


def test_of_many_matches_the_nearest_are_kept() -> None:
    base = bytes(32)
    hashes = [flipped(base, list(range(i % 31))) for i in range(6000)]
    index = HammingIndex.build(to_words(b"".join(hashes), 256), 31)
    found = index.find(base, limit=5)
    assert [tuple(match) for match in found] == [(0, 31 * i) for i in range(5)]


# --- names -----------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=6), max_size=40))
def test_names_are_found_by_row_and_by_name(names: list[str]) -> None:
    packed = PackedNames.pack(names)
    assert [packed[row] for row in range(len(packed))] == names
    for name in {*names, "nobody"}:
        assert packed.rows_of(name) == [row for row, other in enumerate(names) if other == name]
    assert packed.distinct() == len(set(names))


# --- changes ---------------------------------------------------------------------------------


def live(rows: int = 5000, *, merge_rows: int = 10**9) -> tuple[LiveIndex, list[bytes]]:
    rng = random.Random(rows)
    hashes = [rng.randbytes(32) for _ in range(rows)]
    names = [f"e{i}" for i in range(rows)]
    return LiveIndex.build(
        b"".join(hashes), names, bits=256, distance=31, merge_rows=merge_rows
    ), hashes


def found(index: LiveIndex, query: bytes, *, distance: int | None = None) -> list[tuple[int, str]]:
    return [(hit.distance, hit.name) for hit in index.search(query, distance=distance)[0]]


def test_an_added_hash_is_found_at_once_and_a_withdrawn_one_is_not() -> None:
    index, hashes = live()
    new = random.Random(1).randbytes(32)
    near = flipped(new, list(range(0, 62, 2)))
    assert found(index, near) == []
    started = time.perf_counter()
    index.add(new, ["new"])
    assert found(index, near) == [(31, "new")]
    assert time.perf_counter() - started < 0.01
    started = time.perf_counter()
    assert index.withdraw("new") == 1
    assert index.withdraw("e7") == 1
    assert found(index, near) == found(index, hashes[7]) == []
    assert time.perf_counter() - started < 0.01
    assert len(index) == 4999
    assert index.withdraw("new") == index.withdraw("nobody") == 0


def test_an_exact_copy_answers_alone_unless_it_is_disputed() -> None:
    index, hashes = live()
    index.add(flipped(hashes[3], [5]), ["near"])
    assert found(index, hashes[3]) == [(0, "e3")]
    assert index.dispute("e3") == 1
    assert found(index, hashes[3]) == [(0, "e3"), (1, "near")]
    assert [hit.disputed for hit in index.search(hashes[3])[0]] == [True, False]
    index.dispute("e3", disputed=False)
    assert found(index, hashes[3]) == [(0, "e3")]
    assert found(index, flipped(hashes[3], [9]), distance=1) == [(1, "e3")]
    assert found(index, flipped(hashes[3], [9]), distance=0) == []


def test_rows_of_one_name_come_and_go_together() -> None:
    index, _ = live()
    frames = [random.Random(i).randbytes(32) for i in range(40)]
    index.add(b"".join(frames), ["clip"] * 40)
    assert index.rows_of("clip") == 40
    assert [[hit.name for hit in hits] for hits in index.search(b"".join(frames))] == [
        ["clip"]
    ] * 40
    index.merge()
    assert index.withdraw("clip") == 40
    assert index.rows_of("clip") == 0
    assert not any(index.search(b"".join(frames)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aawdum"), st.integers(0, 30)), max_size=60))
def test_any_order_of_changes_gives_what_a_list_gives(steps: list[tuple[str, int]]) -> None:
    index, hashes = live(20)
    known = {f"e{i}": (value, False) for i, value in enumerate(hashes)}
    for step, (what, which) in enumerate(steps):
        name = f"e{which}"
        if what == "a" and name not in known:
            value = random.Random(f"added in step {step}").randbytes(32)
            index.add(value, [name])
            known[name] = (value, False)
        elif what == "w":
            assert index.withdraw(name) == (name in known)
            known.pop(name, None)
        elif what in "du" and name in known:
            index.dispute(name, disputed=what == "d")
            known[name] = (known[name][0], what == "d")
        elif what == "m":
            index.merge()
    assert len(index) == len(known)
    for name, (value, disputed) in known.items():
        assert [(h.name, h.disputed) for h in index.search(value)[0]] == [(name, disputed)]


def test_searches_and_changes_go_on_while_a_merge_runs() -> None:
    index, hashes = live(30_000, merge_rows=500)
    failures: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            if found(index, hashes[100]) != [(0, "e100")]:
                failures.append("an entry was missed")

    reader = threading.Thread(target=read)
    reader.start()
    rng = random.Random(9)
    added = [rng.randbytes(32) for _ in range(3000)]
    for i, value in enumerate(added):
        index.add(value, [f"n{i}"])
        if found(index, value) != [(0, f"n{i}")]:
            failures.append(f"addition {i} was not seen")
        if i % 10 == 0:
            index.withdraw(f"e{i}" if i != 100 else "e101")
    index.wait()
    stop.set()
    reader.join()
    assert not failures
    assert len(index) == 30_000 + 3000 - 300
    for i in range(0, 3000, 10):
        assert found(index, added[i]) == [(0, f"n{i}")]
        gone = i if i != 100 else 101
        assert found(index, hashes[gone]) == []


# --- snapshots -------------------------------------------------------------------------------


def test_a_snapshot_holds_every_change(tmp_path: Path) -> None:
    index, hashes = live()
    new = random.Random(2).randbytes(32)
    index.add(new + hashes[0], ["new", "again"])
    index.withdraw("e5")
    index.dispute("e6")
    manifest = write_snapshot(tmp_path / "pdq", index, bank="pdq", kind="pdq")
    assert (manifest.rows, manifest.entries, manifest.disputed) == (5001, 5001, 1)
    read, same = read_snapshot(tmp_path / "pdq")
    assert same == manifest
    assert len(read) == 5001
    assert found(read, new) == [(0, "new")]
    assert found(read, hashes[0]) == [(0, "e0"), (0, "again")]
    assert found(read, hashes[5]) == []
    assert read.search(hashes[6])[0][0].disputed
    # What was read can change as well, and be written over what it came from.
    read.withdraw("e6")
    read.add(hashes[5], ["e5"])
    write_snapshot(tmp_path / "pdq", read, bank="pdq", kind="pdq")
    again, _ = read_snapshot(tmp_path / "pdq")
    assert found(again, hashes[5]) == [(0, "e5")]
    assert found(again, hashes[6]) == []
    assert [path.name for path in tmp_path.iterdir()] == ["pdq"]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_small_snapshot_is_one(tmp_path: Path, rows: int) -> None:
    index = LiveIndex.build(bytes(32 * rows), ["one"] * rows, bits=256, distance=31)
    write_snapshot(tmp_path / "small", index, bank="small", kind="pdq")
    read, _ = read_snapshot(tmp_path / "small")
    assert found(read, bytes(32)) == [(0, "one")] * rows


def test_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    index, _ = live(10)
    folder = tmp_path / "s"
    write_snapshot(folder, index, bank="s", kind="pdq")
    path = folder / "index.words.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"words\.npy: is another file: its SHA-256 differs"):
        read_snapshot(folder)
    path.write_bytes(raw[:-9])
    with pytest.raises(ConfigError, match=r"words\.npy: cannot be read"):
        read_snapshot(folder, verify=False)
    path.unlink()
    with pytest.raises(ConfigError, match=r"words\.npy: cannot be read"):
        read_snapshot(folder)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(ConfigError, match=r"is not a snapshot's manifest"):
        read_snapshot(folder)
    with pytest.raises(ConfigError, match=r"manifest\.json: cannot be read: No such file"):
        read_snapshot(tmp_path / "nowhere")


# --- compiled code ---------------------------------------------------------------------------


def test_it_works_where_compiled_code_cannot_be_kept(tmp_path: Path) -> None:
    """A read-only tree and no home: the worker compiles for itself."""
    tree = tmp_path / "tree"
    (tree / "udfs").mkdir(parents=True)
    for name in ("__init__", "compiled", "hamming_kernels", "hamming_index"):
        source = ROOT / "udfs" / f"{name}.py"
        (tree / "udfs" / f"{name}.py").write_text(source.read_text())
    code = (
        "from udfs.hamming_index import HammingIndex, to_words\n"
        "index = HammingIndex.build(to_words(bytes(64), 256), 31)\n"
        "print(index.find(bytes(32)))\n"
    )
    # A file where the folder of compiled code would be, so that even root cannot write there.
    (tree / "udfs" / "__pycache__").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(tree), "HOME": "/dev/null"}
    environment |= {"XDG_CACHE_HOME": "/dev/null", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True,
        check=False, cwd=tree,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[Match(distance=0, row=0), Match(distance=0, row=1)]\n"
