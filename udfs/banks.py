"""Exact banks: content that is known, by the SHA-256 of its normalised text.

Normalisation comes first, so that a copy with other capitals, spaces, look-alikes or invisible
characters is the same content. A content may be in several banks, good and bad: all matches
are given, and the policy weighs them.

A bank may expire, by the time at which the broker took an upload and not by the clock, so that a
redelivery gets the same answer; and it may have entries that nearly equal copies match as well.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from schemas.banks import BankDelta, BankEntry, BanksDocument, BankSpec, NearEntry
from schemas.errors import ConfigError
from schemas.yaml_source import YamlSource
from udfs.bank_near import NearText, NearTexts, bank_match
from udfs.bank_terms import about, ends_ms
from udfs.campaign_sketch import sketch_of
from udfs.contracts import BankMatch
from udfs.normalise import VERSION, normalise

COLUMNS: Final = ("hash", "id", "note")
MAX_LISTED: Final = 10
"""Most wrong lines of a CSV file that one error names."""

_HEX: Final = frozenset("0123456789abcdef")
_NO_MATCHES: Final[Sequence[BankMatch]] = ()
Entries = Mapping[bytes, str]
"""Digest to entry id."""
_SHORT: Final = 16_384
"""Characters of a delta that is read once, however often banks are put together anew."""


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


class _Bank:
    """One bank: what it says about itself, its entries, and when it ends."""

    def __init__(self, spec: BankSpec, entries: Entries, near: Entries) -> None:
        self.spec = spec
        self.entries = entries
        self.near = near
        """Sketch to entry id."""
        self.ends_ms = ends_ms(spec.expires_at)

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 over all of it; only what is asked for is counted."""
        total = hashlib.sha256()
        said = about(self.spec, exclude={"entries", "near", "file"})
        total.update(json.dumps(said, sort_keys=True).encode())
        for entries in (self.entries, self.near):
            for digest in sorted(entries):
                total.update(digest + entries[digest].encode() + b"\n")
        return total.digest()


class ExactBanks:
    """Compiled banks. Immutable; make one by `load` or `parse`, change it by `with_delta`.

    Attributes:
        banks: what each bank says about itself, without its entries.
        has_near: whether any enabled known-bad bank has entries for nearly equal copies.
    """

    def __init__(self, banks: Sequence[_Bank], folder: Path) -> None:
        self._banks = list(banks)
        self._folder = folder
        self.banks = tuple(bank.spec for bank in banks)
        enabled = [bank for bank in self._banks if bank.spec.enabled]
        # Banks that expire are many and small: one look for all of them.
        self._lasting = [bank for bank in enabled if bank.spec.expires_at is None and bank.entries]
        self._passing: dict[bytes, list[tuple[_Bank, str]]] = {}
        for bank in enabled:
            if bank.spec.expires_at is not None:
                for digest, entry in bank.entries.items():
                    self._passing.setdefault(digest, []).append((bank, entry))
        near = [
            NearText(bank.spec, bank.ends_ms, sketch, entry)
            for bank in enabled
            for sketch, entry in bank.near.items()
        ]
        self._bad_near = NearTexts([each for each in near if each.spec.polarity == "bad"])
        self._good_near = NearTexts([each for each in near if each.spec.polarity == "good"])
        self.has_near = len(self._bad_near) > 0

    @functools.cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all banks with their entries."""
        total = hashlib.sha256()
        for bank in sorted(self._banks, key=lambda bank: bank.spec.id):
            total.update(bank.digest)
        return total.hexdigest()[:16]

    def __len__(self) -> int:
        """Entries of all banks, disabled ones included."""
        return sum(len(bank.entries) + len(bank.near) for bank in self._banks)

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
        banks: list[_Bank] = []
        document = source.validate(BanksDocument)
        _check_normalisation(document.normalisation, source)
        for index, spec in enumerate(document.banks):
            place = ("banks", index)
            entries: dict[bytes, str] = {}
            if spec.file is not None:
                entries.update(_read_csv(folder / spec.file, source, (*place, "file")))
            _add(entries, _exact(spec.entries), source, (*place, "entries"))
            near: dict[bytes, str] = {}
            _add(near, _sketches(spec.near), source, (*place, "near"))
            banks.append(_Bank(spec.model_copy(update={"entries": (), "near": ()}), entries, near))
        return cls(banks, folder)

    def with_delta(self, text: str, file: str | None = None) -> ExactBanks:
        """The same banks after a change.

        Args:
            text: the YAML document of a `BankDelta`.
            file: name for error messages.

        Raises:
            ConfigError: naming file, line and field; this object has not changed.
        """
        source, delta = (_read_once if len(text) <= _SHORT else _read)(text, file)
        _check_normalisation(delta.normalisation, source)
        banks = {bank.spec.id: bank for bank in self._banks}
        before = banks.get(delta.bank)
        changed = _changed(before.spec if before else None, delta, source)
        entries = dict(before.entries if before else {})
        near = dict(before.near if before else {})
        if delta.snapshot is not None:
            entries, near = self._snapshot(delta, source), {}
        gone = set(delta.remove)
        missing = gone - set(entries.values()) - set(near.values())
        if missing:
            raise source.error(f"bank {delta.bank} has no entry {min(missing)}", ("remove",))
        if gone:
            entries = {digest: entry for digest, entry in entries.items() if entry not in gone}
            near = {sketch: entry for sketch, entry in near.items() if entry not in gone}
        _add(entries, _exact(delta.add), source, ("add",))
        _add(near, _sketches(delta.add_near), source, ("add_near",))
        banks[delta.bank] = _Bank(changed, entries, near)
        return ExactBanks(list(banks.values()), self._folder)

    def _snapshot(self, delta: BankDelta, source: YamlSource) -> dict[bytes, str]:
        path = self._folder / str(delta.snapshot)
        entries = _read_csv(path, source, ("snapshot",), delta.snapshot_sha256)
        return dict(entries)

    def match(self, sha256_hex: str, uploaded_ms: float = 0.0) -> Sequence[BankMatch]:
        """Entries of enabled banks with this hash; what outweighs what is the policy's to say.

        Args:
            sha256_hex: as `content_hash` gives it; anything else matches nothing.
            uploaded_ms: when the broker took the upload, ms since the epoch. Banks that have
                expired by then do not match.
        """
        try:
            digest = bytes.fromhex(sha256_hex)
        except ValueError:
            return _NO_MATCHES
        found = [
            bank_match(bank.spec, bank.entries[digest])
            for bank in self._lasting
            if digest in bank.entries
        ]
        if self._passing:
            found += [
                bank_match(bank.spec, entry)
                for bank, entry in self._passing.get(digest, ())
                if uploaded_ms < bank.ends_ms
            ]
        return found or _NO_MATCHES

    def match_near(self, text: str, uploaded_ms: float = 0.0) -> Sequence[BankMatch]:
        """Entries of enabled known-bad banks that a text nearly is; ask where `has_near`.

        Args:
            text: normalised.
            uploaded_ms: as in `match`.

        Returns:
            Confidence is the bank's times the estimated share of common pieces, distance the
            number of places in which the sketches differ, of `udfs.campaign_sketch.SIZE`.
        """
        return self._bad_near.match(sketch_of(text), uploaded_ms)

    def good_near(self, sketch: bytes) -> Sequence[BankMatch]:
        """Entries of enabled known-good banks that a text nearly is; they vouch for nothing.

        Args:
            sketch: of the text.
        """
        return self._good_near.match(sketch, 0.0)


def _read(text: str, file: str | None) -> tuple[YamlSource, BankDelta]:
    source = YamlSource(text, file)
    return source, source.validate(BankDelta)


# A message that comes has all deltas laid over the files again, in the hot path.
_read_once: Final = functools.lru_cache(maxsize=1024)(_read)


def _check_normalisation(version: int, source: YamlSource) -> None:
    if version != VERSION:
        raise source.error(
            f"the texts were hashed with normalisation {version}, this is {VERSION}: hash again",
            ("normalisation",),
        )


def _changed(spec: BankSpec | None, delta: BankDelta, source: YamlSource) -> BankSpec:
    """What the bank says about itself after the delta."""
    given = {
        field: value
        for field in BankSpec.model_fields.keys() & BankDelta.model_fields.keys()
        if (value := getattr(delta, field)) is not None
    }
    if spec is None and "category" not in given and given.get("polarity") != "good":
        raise source.error(f"bank {delta.bank} does not exist yet, so it needs one", ("category",))
    known = spec.model_dump() if spec else {"id": delta.bank, "category": ""}
    changed = {**known, **given}
    if changed.get("polarity", "bad") == "bad" and not changed["category"]:
        raise source.error("is required for known-bad content", ("category",))
    return BankSpec.model_validate(changed)


def _exact(entries: Sequence[BankEntry]) -> Iterable[tuple[bytes, str]]:
    return ((bytes.fromhex(entry.hash), entry.id) for entry in entries)


def _sketches(entries: Sequence[NearEntry]) -> Iterable[tuple[bytes, str]]:
    return ((bytes.fromhex(entry.sketch.partition(":")[2]), entry.id) for entry in entries)


def _add(
    entries: dict[bytes, str],
    new: Iterable[tuple[bytes, str]],
    source: YamlSource,
    place: tuple[str | int, ...],
) -> None:
    ids = set(entries.values())
    for index, (digest, name) in enumerate(new):
        if name in ids and entries.get(digest) != name:
            raise source.error(f"there are two entries {name}", (*place, index, "id"))
        if entries.get(digest, name) != name:
            raise source.error(
                f"the same hash is entry {entries[digest]} already", (*place, index, "hash")
            )
        entries[digest] = name
        ids.add(name)


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
