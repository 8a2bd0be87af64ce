"""Banks of known pictures and videos, by exact and perceptual hash, while entries come and go.

`MediaBanks.put` takes the deltas that are in force, `match` asks every bank. A bank that only
gets more deltas is changed in place, within microseconds of a delta's size; where a delta is
taken back or its snapshot is another one, the bank is mapped anew and its deltas are laid over it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import ValidationError

from schemas.media_banks import (
    KINDS,
    HashKind,
    MediaBankDelta,
    MediaBanksDocument,
    MediaBankSpec,
    MediaEntry,
)
from schemas.yaml_source import FaultError, YamlSource
from udfs.bank_flood import FloodGuard
from udfs.bank_snapshot import MANIFEST, file_sha256, read_manifest, read_snapshot
from udfs.contracts import BankMatch
from udfs.image_hashes import PictureHashes
from udfs.live_index import Hit, LiveIndex

MOST_MATCHES: Final = 8
"""Entries of one bank that a match names; the nearest ones."""
_FRAME_HITS: Final = 64
DISPUTED: Final = "its entry is disputed"


class Frame(NamedTuple):
    """One frame of a video that is looked up."""

    pdq: bytes
    """32 bytes."""
    quality: int
    seconds: float = 0.0
    """Where it stands in the video."""


class MediaQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one upload's media."""

    cohort: str
    """Decides on banks with an enabled ratio: the content id, so that it is always the same."""
    sha256: bytes = b""
    """Of the file's bytes; 32 bytes, or none."""
    md5: bytes = b""
    """16 bytes, or none."""
    picture: PictureHashes | None = None
    """All variants are asked for."""
    frames: tuple[Frame, ...] = ()
    """Of a video. Its frames are looked up in banks of pictures, too."""


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
        self.applied: tuple[tuple[str, str], ...] = ()
        """Key and text of each delta."""
        self.guard = None if spec.flood is None else FloodGuard(spec.flood)

    @classmethod
    def load(cls, spec: MediaBankSpec, folder: Path, source: YamlSource, place: Any) -> MediaBank:
        """Map a bank's snapshot and add the entries that stand in place.

        Raises:
            ConfigError: naming file, line and field.
        """
        live, manifest = _mapped(spec, folder, source, place)
        bank = cls(spec, live, manifest)
        _add(bank, spec.entries)
        return bank

    def digest(self) -> str:
        """SHA-256 over spec, snapshot and deltas: the same on every worker that has the same."""
        about = self.spec.model_dump(mode="json", exclude={"snapshot"})
        total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        total.update(self.manifest.encode())
        for _, text in self.applied:
            total.update(hashlib.sha256(text.encode()).digest())
        return total.hexdigest()

    def asked(self, cohort: str) -> bool:
        """Whether the bank is asked about an upload: switched on, and the upload in its share."""
        spec = self.spec
        if not spec.enabled or spec.enabled_ratio >= 1.0:
            return spec.enabled
        drawn = hashlib.sha256(f"{spec.id}\0{spec.seed}\0{cohort}".encode()).digest()
        return int.from_bytes(drawn[:8]) < spec.enabled_ratio * 2**64


class MediaBanks:
    """All media banks of a worker.

    Args:
        banks: as loaded from a file.
        folder: where relative snapshots lie.
    """

    def __init__(self, banks: Sequence[MediaBank], folder: Path) -> None:
        self._started = {bank.spec.id: bank.spec for bank in banks}
        self._banks = {bank.spec.id: bank for bank in banks}
        self._folder = folder

    @classmethod
    def load(cls, path: Path) -> MediaBanks:
        """Read a bank file and map the snapshots that it names.

        Raises:
            ConfigError: naming file, line and field.
        """
        return cls._from(YamlSource.read(path), path.parent)

    @classmethod
    def parse(cls, text: str, file: str | None = None, folder: Path = Path()) -> MediaBanks:
        """Compile the text of a bank file; see `load`."""
        return cls._from(YamlSource(text, file), folder)

    @classmethod
    def _from(cls, source: YamlSource, folder: Path) -> MediaBanks:
        document = source.validate(MediaBanksDocument)
        banks = [
            MediaBank.load(spec, folder, source, ("banks", index, "snapshot"))
            for index, spec in enumerate(document.banks)
        ]
        return cls(banks, folder)

    @property
    def banks(self) -> tuple[MediaBank, ...]:
        """The banks in force."""
        return tuple(self._banks.values())

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over all banks."""
        total = hashlib.sha256()
        for name in sorted(self._banks):
            total.update(self._banks[name].digest().encode())
        return total.hexdigest()[:16]

    def __len__(self) -> int:
        """Hashes in force, disabled banks included."""
        return sum(len(bank.live) for bank in self._banks.values())

    def put(self, messages: Mapping[str, str]) -> None:
        """Put in force exactly these deltas over the file's banks, in the order of their keys.

        Args:
            messages: key to the YAML text of a `MediaBankDelta`.

        Raises:
            ConfigError: naming key, line and field; nothing has changed.
        """
        by_bank: dict[str, list[tuple[str, str, MediaBankDelta, YamlSource]]] = {}
        for key in sorted(messages):
            source = YamlSource(messages[key], key)
            delta = source.validate(MediaBankDelta)
            by_bank.setdefault(delta.media_bank, []).append((key, messages[key], delta, source))
        # Everything that can fail comes first: files are read, but nothing is changed.
        plans = [self._plan(name, by_bank.get(name, [])) for name in {**self._started, **by_bank}]
        for bank, spec, steps in plans:
            for delta in steps:
                _apply(bank, delta, spec)
            bank.spec = spec
            if bank.guard is None and spec.flood is not None:
                bank.guard = FloodGuard(spec.flood)
        applied = {
            name: tuple((key, text) for key, text, _, _ in deltas)
            for name, deltas in by_bank.items()
        }
        for bank, spec, _ in plans:
            bank.applied = applied.get(spec.id, ())
        self._banks = {spec.id: bank for bank, spec, _ in plans}

    def _plan(
        self, name: str, deltas: Sequence[tuple[str, str, MediaBankDelta, YamlSource]]
    ) -> tuple[MediaBank, MediaBankSpec, list[MediaBankDelta]]:
        """The bank to change, what it will say about itself, and the deltas still to lay over."""
        spec = self._started.get(name)
        start, snapshot = 0, None
        for place, (_, _, delta, source) in enumerate(deltas):
            try:
                spec = delta.changed(spec)
            except FaultError as fault:
                raise source.error(str(fault), fault.path) from None
            except ValidationError as error:
                cause = error.errors()[0].get("ctx", {}).get("error")
                path = cause.path if isinstance(cause, FaultError) else ()
                message = str(cause) if cause else error.errors()[0]["msg"]
                raise source.error(message, path) from None
            if delta.snapshot is not None:
                start, snapshot = place, source
        if spec is None:
            raise ValueError(f"bank {name} is neither in the file nor in a delta")
        now = self._banks.get(name)
        before = () if now is None else now.applied
        if now is not None and before == tuple((k, t) for k, t, _, _ in deltas[: len(before)]):
            fresh = deltas[len(before) :]
            if not any(delta.snapshot for _, _, delta, _ in fresh):
                return now, spec, [delta for _, _, delta, _ in fresh]
        about = YamlSource("{}", str(self._folder)) if snapshot is None else snapshot
        begin = spec if snapshot is not None or name not in self._started else self._started[name]
        bank = MediaBank.load(
            begin if snapshot is None else spec.model_copy(update={"entries": ()}),
            self._folder, about, ("snapshot",),
        )  # fmt: skip
        if now is not None:
            bank.guard = now.guard
        return bank, spec, [delta for _, _, delta, _ in deltas[start:]]

    def match(self, query: MediaQuery, now_ms: float) -> list[BankMatch]:
        """Entries that the media are, or are near; what outweighs what is the policy's to say.

        Args:
            query: hashes of one upload's media.
            now_ms: when, ms since the epoch; for the flood quarantine.

        Returns:
            Nearest first within each bank, banks in the order of their file.
        """
        found: list[BankMatch] = []
        for bank in self._banks.values():
            if not bank.asked(query.cohort):
                continue
            spec = bank.spec
            near = _videos(bank, query) if spec.kind == "video_pdq" else _pictures(bank, query)
            near.sort(key=lambda each: (-each.confidence, each.hit.distance, each.hit.name))
            for each in near[:MOST_MATCHES]:
                hold = DISPUTED if each.hit.disputed else ""
                if bank.guard is not None:
                    hold = bank.guard.observe(each.hit.name, now_ms) or hold
                found.append(
                    BankMatch(
                        bank=spec.id,
                        entry=each.hit.name,
                        category=spec.category,
                        severity=spec.severity,
                        polarity=spec.polarity,
                        confidence=spec.confidence * each.confidence,
                        distance=each.hit.distance,
                        hold=hold,
                    )
                )
        return found


class _Near(NamedTuple):
    hit: Hit
    confidence: float


def _pictures(bank: MediaBank, query: MediaQuery) -> list[_Near]:
    spec = bank.spec
    hashes = _asked(spec.kind, spec.min_quality, query)
    if not hashes:
        return []
    best: dict[str, Hit] = {}
    for hits in bank.live.search(b"".join(hashes), distance=spec.reach):
        for hit in hits:
            known = best.get(hit.name)
            if known is None or hit.distance < known.distance:
                best[hit.name] = hit
    return [_Near(hit, 1.0 - hit.distance / spec.bits) for hit in best.values()]


def _asked(kind: HashKind, min_quality: int, query: MediaQuery) -> Sequence[bytes]:
    """What a bank of that kind is asked for, each hash once."""
    picture = query.picture
    hashes: list[bytes] = []
    if kind == "sha256":
        hashes = [query.sha256] if query.sha256 else []
    elif kind == "md5":
        hashes = [query.md5] if query.md5 else []
    elif kind == "pdq":
        if picture is not None and picture.quality >= min_quality:
            hashes.extend(picture.pdq)
        hashes.extend(frame.pdq for frame in query.frames if frame.quality >= min_quality)
    elif picture is not None:
        hashes = list(picture.phash64 if kind == "phash64" else picture.phash256)
    return list(dict.fromkeys(hashes))


def _videos(bank: MediaBank, query: MediaQuery) -> list[_Near]:
    """Entries of which enough frames are seen: the share of the query's frames and of theirs."""
    spec = bank.spec
    frames = [frame.pdq for frame in query.frames if frame.quality >= spec.min_quality]
    if not frames:
        return []
    distinct = list(dict.fromkeys(frames))
    found = bank.live.search(b"".join(distinct), distance=spec.reach, limit=_FRAME_HITS)
    by_frame = dict(zip(distinct, found, strict=True))
    best: dict[str, list[Hit]] = {}
    rows: dict[str, set[int]] = {}
    for frame in frames:
        here: dict[str, Hit] = {}
        for hit in by_frame[frame]:
            rows.setdefault(hit.name, set()).add(hit.row)
            here.setdefault(hit.name, hit)
        for name, hit in here.items():
            best.setdefault(name, []).append(hit)
    near = []
    for name, hits in best.items():
        if len(hits) < spec.query_share * len(frames):
            continue
        if spec.bank_share and len(rows[name]) < spec.bank_share * bank.live.rows_of(name):
            continue
        mean = sum(hit.distance for hit in hits) / len(hits)
        near.append(_Near(min(hits), 1.0 - mean / spec.bits))
    return near


def _mapped(
    spec: MediaBankSpec, folder: Path, source: YamlSource, place: Any
) -> tuple[LiveIndex, str]:
    """A bank's snapshot, or nothing to begin with."""
    if spec.snapshot is None:
        none = LiveIndex.build(b"", [], bits=spec.bits, distance=KINDS[spec.kind].distance)
        return none, ""
    path = folder / spec.snapshot
    manifest = read_manifest(path)
    if file_sha256(path / MANIFEST) != spec.snapshot_sha256:
        raise source.error(f"{path} is another snapshot: its manifest's SHA-256 differs", place)
    if manifest.kind != spec.kind:
        raise source.error(f"{path} holds {manifest.kind} hashes, the bank {spec.kind}", place)
    live, _ = read_snapshot(path)
    return live, str(spec.snapshot_sha256)


def _apply(bank: MediaBank, delta: MediaBankDelta, spec: MediaBankSpec) -> None:
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
        b"".join(bytes.fromhex(entry.hash) for entry in entries), distance=0, limit=_FRAME_HITS
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
