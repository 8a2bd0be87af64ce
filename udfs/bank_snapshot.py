"""Snapshots of built banks: folders that are mapped into memory, not read.

A folder holds one `.npy` file for each array and `manifest.json`, which names them with their
SHA-256, and says what the bank is. It is written beside its place and renamed, so that a folder
that is there is whole.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError, UnreadableError
from udfs.bank_names import PackedNames
from udfs.bank_shelf import MANIFEST, file_sha256
from udfs.hamming_index import Chunks, HammingIndex
from udfs.live_index import LiveIndex

__all__ = ["MANIFEST", "file_sha256", "read_manifest", "read_snapshot", "write_snapshot"]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds."""

    version: Literal[1] = 1
    bank: str
    kind: str
    """Kind of hash, see `schemas.media_banks`."""
    bits: int
    distance: int
    """The index is exact to this."""
    rows: int
    entries: int
    """Names; fewer than rows where videos have several frames."""
    disputed: int
    width: int
    firsts: tuple[int, ...]
    radii: tuple[int, ...]
    files: dict[str, str]
    """File to the SHA-256 of its bytes."""


def write_snapshot(folder: Path, live: LiveIndex, *, bank: str, kind: str) -> Manifest:
    """Write an index with all its changes built in; an earlier snapshot in its place goes.

    Args:
        folder: its place; the folder around it is made where it is not there.
        live: the bank's hashes.
        bank: the bank's id.
        kind: kind of hash.

    Raises:
        ConfigError: the folder cannot be written.
    """
    index, names, disputed = live.settled()
    arrays = {f"index.{name}": array for name, array in index.arrays().items()}
    arrays |= {f"names.{name}": array for name, array in names.arrays().items()}
    arrays["disputed"] = disputed
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            files = {}
            for name, array in arrays.items():
                path = work / f"{name}.npy"
                np.save(path, array)
                files[path.name] = file_sha256(path)
            manifest = Manifest(
                bank=bank,
                kind=kind,
                bits=index.bits,
                distance=index.distance,
                rows=len(index),
                entries=names.distinct(),
                disputed=int(disputed.sum()),
                width=index.chunks.width,
                firsts=index.chunks.firsts,
                radii=index.chunks.radii,
                files=files,
            )
            raw = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
            (work / MANIFEST).write_bytes(raw + b"\n")
            work.chmod(0o755)
            if folder.exists():
                old = work.with_name(f"{work.name}.old")
                folder.rename(old)
                work.rename(folder)
                shutil.rmtree(old)
            else:
                work.rename(folder)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", file=str(folder)) from None
    return manifest


def read_snapshot(folder: Path, *, verify: bool = True) -> tuple[LiveIndex, Manifest]:
    """Map a snapshot into memory.

    Args:
        folder: as `write_snapshot` left it.
        verify: compare every file with its SHA-256; without, only sizes and shapes are checked.

    Raises:
        UnreadableError: naming the file that cannot be read.
        ConfigError: naming the file that is another one.
    """
    manifest = read_manifest(folder)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, sha256 in manifest.files.items():
        path = folder / name
        try:
            if verify and file_sha256(path) != sha256:
                raise ConfigError("is another file: its SHA-256 differs", file=str(path))
            loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}", file=str(path)) from None
        except ValueError as error:
            raise ConfigError(f"cannot be read: {error}", file=str(path)) from None
        arrays[name.removesuffix(".npy")] = np.asarray(loaded)
    try:
        chunks = Chunks(manifest.width, manifest.firsts, manifest.radii)
        index = HammingIndex(**_of(arrays, "index"), distance=manifest.distance, chunks=chunks)
        names = PackedNames(**_of(arrays, "names"))
        disputed = arrays["disputed"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"is not a whole snapshot: {error}", file=str(folder)) from None
    if not len(index) == len(names) == len(disputed) == manifest.rows:
        raise ConfigError("is not a whole snapshot: lengths differ", file=str(folder))
    return LiveIndex(index, names, disputed), manifest


def read_manifest(folder: Path) -> Manifest:
    """Read what a snapshot says about itself.

    Raises:
        UnreadableError: there is none that can be read.
        ConfigError: it is not one of ours.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"is not a snapshot's manifest: {error}", file=str(path)) from None


def _of(arrays: Mapping[str, npt.NDArray[Any]], part: str) -> dict[str, npt.NDArray[Any]]:
    return {
        name.removeprefix(f"{part}."): array
        for name, array in arrays.items()
        if name.startswith(f"{part}.")
    }
