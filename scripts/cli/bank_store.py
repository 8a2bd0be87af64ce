"""Media banks on disk: the bank file, the snapshots that it names, and lists that come in."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from schemas.errors import ConfigError
from schemas.media_banks import KINDS, EntryStatus, HashKind, MediaBanksDocument, MediaBankSpec
from schemas.yaml_source import YamlSource
from scripts.cli.bank_files import Format, Row, read_rows, tell_format
from udfs.bank_snapshot import MANIFEST, Manifest, file_sha256, read_snapshot, write_snapshot
from udfs.live_index import LiveIndex
from udfs.media_bank import MediaBank

KEPT: Final = 3
"""Snapshots of a bank that stay: a job may have been started on the one before."""
HEADER: Final = (
    "# Banks of known pictures and videos. Schema: conf/schemas/media_banks.schema.json.\n"
    "# scripts/banks writes this file; what it names is in media_banks/ beside it.\n"
)


class Fault(NamedTuple):
    """A row that was left out."""

    line: int
    message: str


class Loaded(NamedTuple):
    """What came of reading a list."""

    hashes: bytes
    names: list[str]
    disputed: list[str]
    """Ids of entries that people disagree about."""
    faults: list[Fault]
    skipped: dict[str, int]
    """Why rows without a fault were left out, and how many."""


def load_list(path: Path, kind: HashKind, form: Format | None, min_quality: int) -> Loaded:
    """Read a list of hashes; what is wrong in it is named, the rest is loaded.

    Raises:
        ConfigError: the file cannot be read at all.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8", file=str(path)) from None
    rows = read_rows(text, kind, form or tell_format(path.name, text), path.stem)
    return sort_rows(rows, kind, min_quality)


def sort_rows(rows: Iterable[Row], kind: HashKind, min_quality: int) -> Loaded:
    """Tell entries from mistakes, and leave out what a bank does not want."""
    found = Loaded(b"", [], [], [], {})
    hashes: list[bytes] = []
    seen: set[object] = set()
    ids: set[str] = set()
    video = kind == "video_pdq"

    def skip(why: str) -> None:
        found.skipped[why] = found.skipped.get(why, 0) + 1

    for row in rows:
        if row.fault:
            found.faults.append(Fault(row.line, row.fault))
        elif row.deleted:
            skip("withdrawn in the list")
        elif not row.hash:
            skip("other kinds of hash")
        elif KINDS[kind].graded and row.quality < min_quality:
            skip(f"quality below {min_quality}")
        else:
            digest = bytes.fromhex(row.hash)
            # Videos may share frames, pictures are told apart by their hash.
            content: object = (row.id, digest) if video else digest
            if content in seen:
                skip("the same hash again")
            elif not video and row.id in ids:
                found.faults.append(Fault(row.line, f"id: there are two entries {row.id}"))
            else:
                seen.add(content)
                ids.add(row.id)
                hashes.append(digest)
                found.names.append(row.id)
                if row.status == "disputed":
                    found.disputed.append(row.id)
    return found._replace(hashes=b"".join(hashes))


class BankStore:
    """The bank file of a job.

    Args:
        path: the file; one without banks where it is not there.

    Raises:
        ConfigError: naming file, line and field.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._source = (
            YamlSource.read(path) if path.exists() else YamlSource("version: 1", str(path))
        )
        self.specs = {bank.id: bank for bank in self._source.validate(MediaBanksDocument).banks}

    def spec(self, name: str) -> MediaBankSpec:
        """What a bank says about itself.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.specs:
            there = ", ".join(sorted(self.specs)) or "none"
            raise ConfigError(f"no bank {name}; there are: {there}", file=str(self.path))
        return self.specs[name]

    def load(self, name: str) -> LiveIndex:
        """A bank's entries.

        Raises:
            ConfigError: its snapshot is not there, or another one.
        """
        spec = self.spec(name)
        return MediaBank.load(spec, self.path.parent, self._source, ("banks",)).live

    def write(self, spec: MediaBankSpec, live: LiveIndex) -> tuple[MediaBankSpec, Manifest]:
        """Write a bank's snapshot, and name it in the file."""
        stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S%f")
        place = Path("media_banks") / spec.id / stamp
        folder = self.path.parent / place
        manifest = write_snapshot(folder, live, bank=spec.id, kind=spec.kind)
        changed = spec.model_copy(
            update={
                "snapshot": str(place),
                "snapshot_sha256": file_sha256(folder / MANIFEST),
                "entries": (),
            }
        )
        self.save(changed)
        for old in sorted(folder.parent.glob("[0-9]*T*"))[:-KEPT]:
            shutil.rmtree(old)
        return changed, manifest

    def save(self, spec: MediaBankSpec) -> None:
        """Put one bank into the file."""
        self.specs[spec.id] = spec
        banks = [
            spec.model_dump(mode="json", exclude_defaults=True) for spec in self.specs.values()
        ]
        document = {"version": 1, "banks": banks}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        work = self.path.with_name(f".{self.path.name}.new")
        work.write_text(HEADER + yaml.safe_dump(document, sort_keys=False, width=100), "utf-8")
        os.replace(work, self.path)  # noqa: PTH105 - a reader sees the old file or the new one
        self._source = YamlSource.read(self.path)


def entries_of(live: LiveIndex) -> Iterator[Row]:
    """Every entry, in the order of its row."""
    index, names, disputed = live.settled()
    for row in range(len(index)):
        status: EntryStatus = "disputed" if disputed[row] else "confirmed"
        yield Row(row, names[row], index.words[row].tobytes().hex(), status=status)


def check_bank(folder: Path, sample: int = 1000) -> tuple[Manifest, list[str]]:
    """Compare a snapshot's files with their hashes, and look up a sample of its own entries.

    Returns:
        The manifest, and what is wrong.

    Raises:
        ConfigError: it cannot be read, or a file is another one.
    """
    live, manifest = read_snapshot(folder)
    index, names, _ = live.settled()
    step = max(1, len(index) // sample)
    wrong = []
    for row in range(0, len(index), step):
        hits = live.search(index.words[row].tobytes(), distance=0, limit=1024)[0]
        if not any(hit.name == names[row] for hit in hits):
            wrong.append(f"row {row} ({names[row]}) is not found by its own hash")
        if row not in names.rows_of(names[row]):
            wrong.append(f"row {row} is not found by its name {names[row]}")
    return manifest, wrong


def delta_text(body: dict[str, Any]) -> str:
    """A delta as the YAML text that a control message carries."""
    return yaml.safe_dump({"version": 1, **body}, sort_keys=False, width=100)


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(manifest)
    return data
