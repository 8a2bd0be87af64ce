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
from typing import Final, NamedTuple, Protocol

from pydantic import ValidationError

from schemas.errors import ConfigError
from schemas.media_banks import (
    KINDS,
    MediaBankDelta,
    MediaBanksDocument,
    MediaBankSpec,
    MediaEntry,
)
from schemas.yaml_source import FaultError, YamlSource
from udfs.bank_flood import FloodGuard
from udfs.bank_snapshot import MANIFEST, file_sha256, read_manifest, read_snapshot
from udfs.bank_terms import about, ends_ms
from udfs.contracts import BankMatch
from udfs.live_index import LiveIndex
from udfs.media_query import FRAME_HITS, MediaQuery, near_pictures, near_videos

MOST_MATCHES: Final = 8
"""Entries of one bank that a match names; the nearest ones."""
DISPUTED: Final = "its entry is disputed"
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
        self.guard = _guard(spec)

    @classmethod
    def load(
        cls, spec: MediaBankSpec, folder: Path, source: Blame, place: Sequence[str | int]
    ) -> MediaBank:
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
        self._read: dict[DeltaText, MediaBankDelta] = {}
        """Deltas that were parsed before."""

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

    def prepare(self, messages: Mapping[str, str]) -> None:
        """Read ahead what `put` will need, in any thread: large snapshots are verified here.

        Raises:
            ConfigError: naming key, line and field; `put` would raise it, too.
        """
        for source in _ordered(messages):
            delta = self._parsed(source)
            if delta.snapshot is not None:
                spec = self._started.get(delta.media_bank)
                now = self._banks.get(delta.media_bank)
                after = _spec_after(delta, source, now.spec if spec is None and now else spec)
                _mapped(after, self._folder, source, ("snapshot",))

    def put(self, messages: Mapping[str, str]) -> None:
        """Put in force exactly these deltas over the file's banks, in the order of their keys.

        Args:
            messages: key to the YAML text of a `MediaBankDelta`.

        Raises:
            ConfigError: naming key, line and field; nothing has changed.
        """
        by_bank: dict[str, list[tuple[DeltaText, MediaBankDelta]]] = {}
        for source in _ordered(messages):
            delta = self._parsed(source)
            by_bank.setdefault(delta.media_bank, []).append((source, delta))
        # Everything that can fail comes first: files are read, but nothing is changed.
        plans = [self._plan(name, by_bank.get(name, [])) for name in {**self._started, **by_bank}]
        for bank, spec, steps in plans:
            for delta in steps:
                _apply(bank, delta, spec)
            bank.spec = spec
            if bank.guard is None:
                bank.guard = _guard(spec)
        for bank, spec, _ in plans:
            bank.applied = tuple(source for source, _ in by_bank.get(spec.id, ()))
        self._banks = {spec.id: bank for bank, spec, _ in plans}
        self._read = {source: self._read[source] for source in _ordered(messages)}

    def _parsed(self, source: DeltaText) -> MediaBankDelta:
        if source not in self._read:
            self._read[source] = YamlSource(source.text, source.key).validate(MediaBankDelta)
        return self._read[source]

    def _plan(
        self, name: str, deltas: Sequence[tuple[DeltaText, MediaBankDelta]]
    ) -> tuple[MediaBank, MediaBankSpec, list[MediaBankDelta]]:
        """The bank to change, what it will say about itself, and the deltas still to lay over."""
        spec = self._started.get(name)
        start, snapshot = 0, None
        for place, (source, delta) in enumerate(deltas):
            spec = _spec_after(delta, source, spec)
            if delta.snapshot is not None:
                start, snapshot = place, source
        if spec is None:
            raise ValueError(f"bank {name} is neither in the file nor in a delta")
        now = self._banks.get(name)
        if now is not None:
            count = len(now.applied)
            fresh = [delta for _, delta in deltas[count:]]
            same = now.applied == tuple(source for source, _ in deltas[:count])
            if same and not any(delta.snapshot for delta in fresh):
                return now, spec, fresh
        begin = self._started.get(name, spec)
        if snapshot is not None:
            begin = spec.model_copy(update={"entries": ()})
        blame: Blame = snapshot or YamlSource("{}", str(self._folder))
        bank = MediaBank.load(begin, self._folder, blame, ("snapshot",))
        if now is not None:
            bank.guard = now.guard
        return bank, spec, [delta for _, delta in deltas[start:]]

    def match(
        self, query: MediaQuery, now_ms: float, uploaded_ms: float | None = None
    ) -> list[BankMatch]:
        """Entries that the media are, or are near; what outweighs what is the policy's to say.

        Args:
            query: hashes of one upload's media.
            now_ms: when, ms since the epoch; for the flood quarantine.
            uploaded_ms: when the broker took the upload, ms since the epoch: banks that have
                expired by then do not match. `now_ms` without it.

        Returns:
            Nearest first within each bank, banks in the order of their file.
        """
        found: list[BankMatch] = []
        then = now_ms if uploaded_ms is None else uploaded_ms
        for bank in self._banks.values():
            spec = bank.spec
            if then >= ends_ms(spec.expires_at) or not bank.asked(query.cohort):
                continue
            look_up = near_videos if spec.kind == "video_pdq" else near_pictures
            near = look_up(spec, bank.live, query)
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
                        observe_only=spec.observe_only,
                    )
                )
        return found


def _guard(spec: MediaBankSpec) -> FloodGuard | None:
    """A bank that expires was made because there is a flood."""
    return None if spec.flood is None or spec.expires_at is not None else FloodGuard(spec.flood)


def _ordered(messages: Mapping[str, str]) -> list[DeltaText]:
    return [DeltaText(key, messages[key]) for key in sorted(messages)]


def _spec_after(delta: MediaBankDelta, source: Blame, spec: MediaBankSpec | None) -> MediaBankSpec:
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


def _mapped(
    spec: MediaBankSpec, folder: Path, source: Blame, place: Sequence[str | int]
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
    # Hashing a gigabyte takes a second: once for each snapshot, whoever asks first.
    known = (str(path.resolve()), str(spec.snapshot_sha256))
    live, _ = read_snapshot(path, verify=known not in _VERIFIED)
    _VERIFIED.add(known)
    return live, known[1]


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
