"""One bank of known pictures or videos: its snapshot, mapped into memory, and later changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from pydantic import ValidationError

from schemas.errors import ConfigError
from schemas.media_banks import KINDS, MediaBankDelta, MediaBankSpec, MediaEntry
from schemas.rescan import AwayBank
from schemas.yaml_source import FaultError, YamlSource
from udfs.bank_flood import FloodGuard
from udfs.bank_shelf import MANIFEST, file_sha256, is_there
from udfs.bank_snapshot import read_manifest, read_snapshot
from udfs.bank_terms import about
from udfs.live_index import LiveIndex
from udfs.media_query import FRAME_HITS

_VERIFIED: Final[set[tuple[str, str]]] = set()
"""Folder and manifest of the snapshots whose files this process has compared with their hashes."""


class Blame(Protocol):
    """The document in which a mistake stands."""

    def error(self, message: str, place: Sequence[str | int] = ()) -> ConfigError: ...


class DeltaText(NamedTuple):
    """A delta as it came; its lines are only counted where there is something to say about them."""

    key: str
    text: str

    def error(self, message: str, place: Sequence[str | int] = ()) -> ConfigError:
        """A mistake at a place of the delta."""
        return YamlSource(self.text, self.key).error(message, place)


class MediaBank:
    """One bank with the deltas that were laid over it.

    Args:
        spec: what it says about itself.
        live: its entries.
        manifest: SHA-256 of its snapshot's manifest; empty where it has none.
    """

    def __init__(self, spec: MediaBankSpec, live: LiveIndex, manifest: str) -> None:
        self.spec = spec
        self.live = live
        self.manifest = manifest
        self.applied: tuple[DeltaText, ...] = ()
        """The deltas that were laid over it, in their order."""
        self.guard = guard_of(spec)
        self.away = False
        """Whether its snapshot could not be read: it has the entries in place alone."""

    @classmethod
    def without(cls, spec: MediaBankSpec) -> MediaBank:
        """A bank whose snapshot cannot be read now."""
        bank = cls(spec, _nothing(spec), "")
        bank.away = True
        _add(bank, spec.entries)
        return bank

    @classmethod
    def load(
        cls, spec: MediaBankSpec, folder: Path, source: Blame, place: Sequence[str | int]
    ) -> MediaBank:
        """Map a bank's snapshot and add the entries that stand in place.

        Raises:
            ConfigError: naming file, line and field.
        """
        live, manifest = mapped(spec, folder, source, place)
        bank = cls(spec, live, manifest)
        _add(bank, spec.entries)
        return bank

    def digest(self) -> str:
        """SHA-256 over spec, snapshot and deltas: the same on every worker that has the same."""
        said = about(self.spec, exclude={"snapshot"})
        total = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        total.update(self.manifest.encode())
        for delta in self.applied:
            total.update(hashlib.sha256(delta.text.encode()).digest())
        return total.hexdigest()

    def asked(self, cohort: str) -> bool:
        """Whether the bank is asked about an upload: switched on, and the upload in its share."""
        spec = self.spec
        if not spec.enabled or spec.enabled_ratio >= 1.0:
            return spec.enabled
        drawn = hashlib.sha256(f"{spec.id}\0{spec.seed}\0{cohort}".encode()).digest()
        return int.from_bytes(drawn[:8]) < spec.enabled_ratio * 2**64


def guard_of(spec: MediaBankSpec) -> FloodGuard | None:
    """A bank that expires was made because there is a flood."""
    return None if spec.flood is None or spec.expires_at is not None else FloodGuard(spec.flood)


def spec_after(delta: MediaBankDelta, source: Blame, spec: MediaBankSpec | None) -> MediaBankSpec:
    """What a bank says about itself after a delta; a mistake is one of the delta's text."""
    try:
        return delta.changed(spec)
    except FaultError as fault:
        raise source.error(str(fault), fault.path) from None
    except ValidationError as error:
        cause = error.errors()[0].get("ctx", {}).get("error")
        path = cause.path if isinstance(cause, FaultError) else ()
        message = str(cause) if cause else error.errors()[0]["msg"]
        raise source.error(message, path) from None


def _nothing(spec: MediaBankSpec) -> LiveIndex:
    return LiveIndex.build(b"", [], bits=spec.bits, distance=KINDS[spec.kind].distance)


def mapped(
    spec: MediaBankSpec, folder: Path, source: Blame, place: Sequence[str | int]
) -> tuple[LiveIndex, str]:
    """A bank's snapshot, or nothing to begin with."""
    if spec.snapshot is None:
        return _nothing(spec), ""
    path = folder / spec.snapshot
    manifest = read_manifest(path)
    if file_sha256(path / MANIFEST) != spec.snapshot_sha256:
        raise source.error(f"{path} is another snapshot: its manifest's SHA-256 differs", place)
    if manifest.kind != spec.kind:
        raise source.error(f"{path} holds {manifest.kind} hashes, the bank {spec.kind}", place)
    # Hashing a gigabyte takes a second: once for each snapshot, whoever asks first.
    known = (str(path.resolve()), str(spec.snapshot_sha256))
    live, _ = read_snapshot(path, verify=known not in _VERIFIED)
    _VERIFIED.add(known)
    return live, known[1]


def lay_over(bank: MediaBank, delta: MediaBankDelta, spec: MediaBankSpec) -> None:
    for name in delta.withdraw:
        bank.live.withdraw(name)
    bank.spec = spec
    _add(bank, delta.add)
    for name in delta.dispute:
        bank.live.dispute(name)
    for name in delta.confirm:
        bank.live.dispute(name, disputed=False)


def _add(bank: MediaBank, entries: Sequence[MediaEntry]) -> None:
    """Add what is good enough and not there yet."""
    spec = bank.spec
    if KINDS[spec.kind].graded:
        entries = [entry for entry in entries if entry.quality >= spec.min_quality]
    there = bank.live.search(
        b"".join(bytes.fromhex(entry.hash) for entry in entries), distance=0, limit=FRAME_HITS
    )
    new = {
        (entry.hash, entry.id): entry
        for entry, hits in zip(entries, there, strict=True)
        if entry.id not in {hit.name for hit in hits}
    }
    hashes = b"".join(bytes.fromhex(digest) for digest, _ in new)
    bank.live.add(hashes, [name for _, name in new])
    for entry in entries:
        if entry.status == "disputed":
            bank.live.dispute(entry.id)


def can_be_mapped(away: AwayBank) -> bool:
    """Whether a snapshot that could not be read is there again and whole, in any thread."""
    folder = Path(away.snapshot)
    if not is_there(away):
        return False
    try:
        read_snapshot(folder)
    except ConfigError:
        return False
    _VERIFIED.add((str(folder.resolve()), away.snapshot_sha256))
    return True
