"""Banks of known pictures and videos, by exact and perceptual hash, while entries come and go.

`MediaBanks.put` takes the deltas that are in force, `match` asks every bank. A bank that only
gets more deltas is changed in place, within microseconds of a delta's size; where a delta is
taken back or its snapshot is another one, the bank is mapped anew and its deltas are laid over it.
Where a snapshot cannot be read the others go on, `away` names it, and `put` tries again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from schemas.errors import UnreadableError
from schemas.media_banks import MediaBankDelta, MediaBanksDocument, MediaBankSpec
from schemas.rescan import AwayBank
from schemas.yaml_source import YamlSource
from udfs.bank_terms import ends_ms
from udfs.contracts import BankMatch
from udfs.media_bank import (
    Blame,
    DeltaText,
    MediaBank,
    can_be_mapped,
    guard_of,
    lay_over,
    mapped,
    spec_after,
)
from udfs.media_query import MediaQuery, near_pictures, near_videos

MOST_MATCHES: Final = 8
"""Entries of one bank that a match names; the nearest ones."""
DISPUTED: Final = "its entry is disputed"


class _NotThereError(Exception):
    """A delta names a snapshot that cannot be read."""

    def __init__(self, key: str, spec: MediaBankSpec, cause: UnreadableError) -> None:
        self.key = key
        self.spec = spec
        self.cause = cause


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
        self._waiting: dict[str, AwayBank] = {}
        """Keys of deltas that are not in force, for want of what they build on."""
        self._read: dict[DeltaText, MediaBankDelta] = {}
        """Deltas that were parsed before."""

    @classmethod
    def load(cls, path: Path, *, patient: bool = False) -> MediaBanks:
        """Read a bank file and map the snapshots that it names.

        Args:
            path: of the file.
            patient: go on without snapshots that cannot be read; see `away`.

        Raises:
            ConfigError: naming file, line and field.
        """
        return cls._from(YamlSource.read(path), path.parent, patient=patient)

    @classmethod
    def parse(cls, text: str, file: str | None = None, folder: Path = Path()) -> MediaBanks:
        """Compile the text of a bank file; see `load`."""
        return cls._from(YamlSource(text, file), folder)

    @classmethod
    def _from(cls, source: YamlSource, folder: Path, *, patient: bool = False) -> MediaBanks:
        document = source.validate(MediaBanksDocument)
        banks = []
        for index, spec in enumerate(document.banks):
            try:
                banks.append(MediaBank.load(spec, folder, source, ("banks", index, "snapshot")))
            except UnreadableError:
                if not patient:
                    raise
                banks.append(MediaBank.without(spec))
        return cls(banks, folder)

    @property
    def banks(self) -> tuple[MediaBank, ...]:
        """The banks in force."""
        return tuple(self._banks.values())

    @property
    def away(self) -> tuple[AwayBank, ...]:
        """Banks whose snapshot cannot be read: of the file, and of deltas that wait for it."""
        of_file = [
            self._absent(self._started[name])
            for name, bank in self._banks.items()
            if bank.away and name in self._started
        ]
        return tuple(dict.fromkeys([*of_file, *self._waiting.values()]))

    @property
    def waiting(self) -> frozenset[str]:
        """Keys of deltas that were put and are not in force, for want of a snapshot."""
        return frozenset(self._waiting)

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
                after = spec_after(delta, source, now.spec if spec is None and now else spec)
                mapped(after, self._folder, source, ("snapshot",))

    def any_back(self, away: Sequence[AwayBank]) -> bool:
        """Whether a snapshot can be read again; it is verified here, in any thread."""
        return any(can_be_mapped(each) for each in away)

    def put(self, messages: Mapping[str, str], *, patient: bool = False) -> None:
        """Put in force exactly these deltas over the file's banks, in the order of their keys.

        Args:
            messages: key to the YAML text of a `MediaBankDelta`.
            patient: leave out deltas whose snapshot cannot be read; they are then `waiting`.

        Raises:
            ConfigError: naming key, line and field; nothing has changed.
        """
        waiting: dict[str, AwayBank] = {}
        while True:
            by_bank: dict[str, list[tuple[DeltaText, MediaBankDelta]]] = {}
            for source in _ordered({k: text for k, text in messages.items() if k not in waiting}):
                delta = self._parsed(source)
                by_bank.setdefault(delta.media_bank, []).append((source, delta))
            names = {**self._started, **by_bank}
            try:
                # Everything that can fail comes first: files are read, but nothing is changed.
                plans = [self._plan(name, by_bank.get(name, [])) for name in names]
                break
            except _NotThereError as error:
                if not patient:
                    raise error.cause from None
                waiting[error.key] = self._absent(error.spec)
                # What changes a bank that is only made by a delta waits with it.
                made = by_bank[error.spec.id]
                others = [own for source, own in made if source.key != error.key]
                if error.spec.id not in self._started and not any(own.kind for own in others):
                    waiting |= {
                        source.key: waiting[error.key] for source, own in made if own.kind is None
                    }
        self._waiting = waiting
        for bank, spec, steps in plans:
            for delta in steps:
                lay_over(bank, delta, spec)
            bank.spec = spec
            if bank.guard is None:
                bank.guard = guard_of(spec)
        for bank, spec, _ in plans:
            bank.applied = tuple(source for source, _ in by_bank.get(spec.id, ()))
        self._banks = {spec.id: bank for bank, spec, _ in plans}
        self._read = {source: self._read[source] for source in _ordered(messages)}

    def _absent(self, spec: MediaBankSpec) -> AwayBank:
        folder = (self._folder / str(spec.snapshot)).absolute()
        return AwayBank(
            bank=spec.id, snapshot=str(folder), snapshot_sha256=str(spec.snapshot_sha256)
        )

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
            spec = spec_after(delta, source, spec)
            if delta.snapshot is not None:
                start, snapshot = place, source
        if spec is None:
            raise ValueError(f"bank {name} is neither in the file nor in a delta")
        now = self._banks.get(name)
        if now is not None:
            count = len(now.applied)
            fresh = [delta for _, delta in deltas[count:]]
            same = now.applied == tuple(source for source, _ in deltas[:count])
            if same and not now.away and not any(delta.snapshot for delta in fresh):
                return now, spec, fresh
        begin = self._started.get(name, spec)
        if snapshot is not None:
            begin = spec.model_copy(update={"entries": ()})
        blame: Blame = snapshot or YamlSource("{}", str(self._folder))
        try:
            bank = MediaBank.load(begin, self._folder, blame, ("snapshot",))
        except UnreadableError as error:
            if snapshot is not None:
                raise _NotThereError(snapshot.key, begin, error) from None
            bank = MediaBank.without(begin)
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


def _ordered(messages: Mapping[str, str]) -> list[DeltaText]:
    return [DeltaText(key, messages[key]) for key in sorted(messages)]
