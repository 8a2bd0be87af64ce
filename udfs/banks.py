"""Exact banks: content that is known, by the SHA-256 of its normalised text.

Normalisation comes first, so that a copy with other capitals, spaces, look-alikes or invisible
characters is the same content. A content may be in several banks, good and bad: all matches
are given, and the policy weighs them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from schemas.banks import BankDelta, BankEntry, BanksDocument, BankSpec
from schemas.errors import ConfigError
from schemas.yaml_source import YamlSource
from udfs.contracts import BankMatch
from udfs.normalise import VERSION, normalise

COLUMNS: Final = ("hash", "id", "note")
MAX_LISTED: Final = 10
"""Most wrong lines of a CSV file that one error names."""

_HEX: Final = frozenset("0123456789abcdef")
_NO_MATCHES: Final[Sequence[BankMatch]] = ()
Entries = Mapping[bytes, str]
"""Digest to entry id."""


class _Text(Protocol):
    @property
    def text(self) -> str: ...


def content_hash(text: _Text) -> str:
    """SHA-256 (64 hex digits) of a normalised text, as banks and caches know it."""
    # Normalisation leaves no lone surrogates, which UTF-8 could not write.
    return hashlib.sha256(text.text.encode()).hexdigest()


def hash_text(text: str) -> str:
    """The hash of a text as it came: what to put into a bank."""
    return content_hash(normalise(text))


class ExactBanks:
    """Compiled banks. Immutable; make one by `load` or `parse`, change it by `with_delta`.

    Attributes:
        hash: first 16 hex digits of the SHA-256 of all banks with their entries.
        banks: what each bank says about itself, without its entries.
    """

    def __init__(self, banks: Sequence[tuple[BankSpec, Entries]], folder: Path) -> None:
        self._banks = list(banks)
        self._folder = folder
        self.banks = tuple(spec for spec, _ in banks)
        self.hash = _digest(self._banks)
        self._enabled = [bank for bank in self._banks if bank[0].enabled]

    def __len__(self) -> int:
        """Entries of all banks, disabled ones included."""
        return sum(len(entries) for _, entries in self._banks)

    @classmethod
    def load(cls, path: Path) -> ExactBanks:
        """Read a bank file and the CSV files that it names.

        Raises:
            ConfigError: naming file, line and field.
        """
        return cls._from(YamlSource.read(path), path.parent)

    @classmethod
    def parse(cls, text: str, file: str | None = None, folder: Path = Path()) -> ExactBanks:
        """Compile the text of a bank file.

        Args:
            text: the YAML document.
            file: name for error messages.
            folder: where the CSV files lie that it names.

        Raises:
            ConfigError: naming file, line and field.
        """
        return cls._from(YamlSource(text, file), folder)

    @classmethod
    def _from(cls, source: YamlSource, folder: Path) -> ExactBanks:
        banks: list[tuple[BankSpec, Entries]] = []
        document = source.validate(BanksDocument)
        _check_normalisation(document.normalisation, source)
        for index, spec in enumerate(document.banks):
            place = ("banks", index)
            entries: dict[bytes, str] = {}
            if spec.file is not None:
                entries.update(_read_csv(folder / spec.file, source, (*place, "file")))
            _add(entries, spec.entries, source, (*place, "entries"))
            banks.append((spec.model_copy(update={"entries": ()}), entries))
        return cls(banks, folder)

    def with_delta(self, text: str, file: str | None = None) -> ExactBanks:
        """The same banks after a change.

        Args:
            text: the YAML document of a `BankDelta`.
            file: name for error messages.

        Raises:
            ConfigError: naming file, line and field; this object has not changed.
        """
        source = YamlSource(text, file)
        delta = source.validate(BankDelta)
        _check_normalisation(delta.normalisation, source)
        banks = {spec.id: (spec, entries) for spec, entries in self._banks}
        spec, before = banks.get(delta.bank, (None, {}))
        changed = _changed(spec, delta, source)
        entries = dict(before)
        if delta.snapshot is not None:
            entries = self._snapshot(delta, source)
        gone = set(delta.remove)
        missing = gone - set(entries.values())
        if missing:
            raise source.error(f"bank {delta.bank} has no entry {min(missing)}", ("remove",))
        entries = {digest: entry for digest, entry in entries.items() if entry not in gone}
        _add(entries, delta.add, source, ("add",))
        banks[delta.bank] = (changed, entries)
        return ExactBanks(list(banks.values()), self._folder)

    def _snapshot(self, delta: BankDelta, source: YamlSource) -> dict[bytes, str]:
        path = self._folder / str(delta.snapshot)
        entries = _read_csv(path, source, ("snapshot",), delta.snapshot_sha256)
        return dict(entries)

    def match(self, sha256_hex: str) -> Sequence[BankMatch]:
        """Entries of enabled banks with this hash; what outweighs what is the policy's to say.

        Args:
            sha256_hex: as `content_hash` gives it; anything else matches nothing.
        """
        try:
            digest = bytes.fromhex(sha256_hex)
        except ValueError:
            return _NO_MATCHES
        found = [
            _match(spec, entries[digest]) for spec, entries in self._enabled if digest in entries
        ]
        return found or _NO_MATCHES


def _check_normalisation(version: int, source: YamlSource) -> None:
    if version != VERSION:
        raise source.error(
            f"the texts were hashed with normalisation {version}, this is {VERSION}: hash again",
            ("normalisation",),
        )


def _match(spec: BankSpec, entry: str) -> BankMatch:
    return BankMatch(
        bank=spec.id,
        entry=entry,
        category=spec.category,
        severity=spec.severity,
        polarity=spec.polarity,
        confidence=spec.confidence,
    )


def _changed(spec: BankSpec | None, delta: BankDelta, source: YamlSource) -> BankSpec:
    """What the bank says about itself after the delta."""
    given = {
        field: value
        for field in ("category", "severity", "polarity", "confidence", "enabled", "source")
        if (value := getattr(delta, field)) is not None
    }
    if spec is None and "category" not in given and given.get("polarity") != "good":
        raise source.error(f"bank {delta.bank} does not exist yet, so it needs one", ("category",))
    known = spec.model_dump() if spec else {"id": delta.bank, "category": ""}
    changed = {**known, **given}
    if changed.get("polarity", "bad") == "bad" and not changed["category"]:
        raise source.error("is required for known-bad content", ("category",))
    return BankSpec.model_validate(changed)


def _add(
    entries: dict[bytes, str],
    new: Iterable[BankEntry],
    source: YamlSource,
    place: tuple[str | int, ...],
) -> None:
    ids = set(entries.values())
    for index, entry in enumerate(new):
        digest = bytes.fromhex(entry.hash)
        if entry.id in ids and entries.get(digest) != entry.id:
            raise source.error(f"there are two entries {entry.id}", (*place, index, "id"))
        if entries.get(digest, entry.id) != entry.id:
            raise source.error(
                f"the same hash is entry {entries[digest]} already", (*place, index, "hash")
            )
        entries[digest] = entry.id
        ids.add(entry.id)


def _digest(banks: Sequence[tuple[BankSpec, Entries]]) -> str:
    total = hashlib.sha256()
    for spec, entries in sorted(banks, key=lambda bank: bank[0].id):
        about = spec.model_dump(mode="json", exclude={"entries", "file"})
        total.update(json.dumps(about, sort_keys=True).encode())
        for digest in sorted(entries):
            total.update(digest + entries[digest].encode() + b"\n")
    return total.hexdigest()[:16]


# --- CSV -------------------------------------------------------------------------------------


def _read_csv(
    path: Path, source: YamlSource, place: tuple[str | int, ...], sha256: str | None = None
) -> dict[bytes, str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise source.error(f"{path} cannot be read: {error.strerror}", place) from None
    if sha256 is not None and hashlib.sha256(raw).hexdigest() != sha256:
        raise source.error(f"{path} is another file: its SHA-256 differs", (f"{place[0]}_sha256",))
    return parse_csv(raw, str(path))


def parse_csv(raw: bytes, file: str) -> dict[bytes, str]:
    """Entries of a CSV file: a header `hash,id` or `hash,id,note`, then one entry a line.

    Returns:
        Digest (32 bytes) to entry id.

    Raises:
        ConfigError: naming the first wrong line, and the next ones in its message.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8", file=file) from None
    rows = csv.reader(io.StringIO(text), strict=True)
    header = next(rows, None) or []
    if tuple(header) not in {COLUMNS, COLUMNS[:2]}:
        raise ConfigError("the first line must be hash,id or hash,id,note", file=file, line=1)
    entries: dict[bytes, str] = {}
    faults = []
    ids: set[str] = set()
    try:
        for row in filter(None, rows):
            fault = _row_fault(row, len(header), entries, ids)
            if fault is None:
                entries[bytes.fromhex(row[0])] = row[1]
                ids.add(row[1])
            else:
                faults.append((rows.line_num, *fault))
                if len(faults) > MAX_LISTED:
                    break
    except csv.Error as error:
        raise ConfigError(f"not CSV: {error}", file=file, line=rows.line_num) from None
    if faults:
        line, field, message = faults[0]
        more = "".join(f"; line {at}: {where}: {what}" for at, where, what in faults[1:MAX_LISTED])
        more += "; and more" if len(faults) > MAX_LISTED else ""
        raise ConfigError(message + more, file=file, line=line, field=field)
    return entries


def _row_fault(
    row: Sequence[str], width: int, entries: Entries, ids: set[str]
) -> tuple[str, str] | None:
    """Field and message of the first mistake in a row."""
    if not 2 <= len(row) <= width:
        return "row", f"has {len(row)} columns, the header {width}"
    digest, entry = row[0], row[1]
    if len(digest) != 64 or not _HEX.issuperset(digest):
        return "hash", "must be 64 lower-case hex digits"
    if not 1 <= len(entry) <= 128:
        return "id", "must have 1 to 128 characters"
    if entry in ids:
        return "id", f"there are two entries {entry}"
    if bytes.fromhex(digest) in entries:
        return "hash", f"is entry {entries[bytes.fromhex(digest)]} already"
    return None
