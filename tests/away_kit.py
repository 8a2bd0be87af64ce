"""Snapshots of banks on a shelf that can be away, and the rescan job's logic around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from operators.metrics import Metrics
from operators.rescan_logic import Asked, RescanLogic, seen_before
from schemas.evidence import MediaEvidence, encode_evidence
from schemas.media_job import RescanPart
from schemas.rescan import BankWait, decode_bank_wait
from tests.fakes import NOW_MS
from tests.test_media_case import evidence, hashes
from tests.test_rescan import Memory
from udfs.bank_snapshot import MANIFEST, file_sha256, write_snapshot
from udfs.live_index import LiveIndex

KNOWN, OTHER = "0f" * 32, "f0" * 32
PICTURE = evidence(hashes=hashes(sha256=KNOWN, pdq=KNOWN))


class Shelf:
    """A folder with snapshots, which can be away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shelf"
        self.folder.mkdir()
        self._hidden = folder / "hidden"
        self.sha256: dict[str, str] = {}
        self.file = folder / "banks.yaml"

    def write(self, name: str, *digests: str, kind: str = "sha256") -> str:
        """A snapshot; gives the lines of a bank or a delta that name it."""
        values = b"".join(map(bytes.fromhex, digests))
        names = [f"{name}-{place}" for place in range(len(digests))]
        distance = 0 if kind == "sha256" else 31
        live = LiveIndex.build(values, names, bits=256, distance=distance)
        write_snapshot(self.folder / name, live, bank=name, kind=kind)
        self.sha256[name] = file_sha256(self.folder / name / MANIFEST)
        return f"snapshot: {self.folder / name}\nsnapshot_sha256: '{self.sha256[name]}'\n"

    def away(self) -> None:
        self.folder.rename(self._hidden)

    def back(self) -> None:
        self._hidden.rename(self.folder)

    def bank_file(self, kind: str = "sha256", value: str = KNOWN) -> Path:
        """Two banks: one with a snapshot, one without."""
        self.write("known", value, kind=kind)
        self.file.write_text(
            "version: 1\nbanks:\n"
            f"  - {{id: known, kind: {kind}, category: csam, snapshot: {self.folder}/known,"
            f" snapshot_sha256: '{self.sha256['known']}',"
            f" entries: [{{hash: '{OTHER}', id: in-place}}]}}\n"
            "  - {id: more, kind: sha256, category: spam,"
            f" entries: [{{hash: '{KNOWN}', id: m}}]}}\n"
        )
        return self.file


class Rescan:
    """The rescan job's logic over the real check of snapshots."""

    def __init__(self) -> None:
        self.now = NOW_MS
        self.state = Memory()
        self.metrics = Metrics()
        part = RescanPart(first_s=10, most_s=100, batch=4, tries=1, keep_hours=10)
        self.logic = RescanLogic(part, look, decode_bank_wait, lambda: self.now, self.metrics)
        self.due = 0

    def take(self, raw: bytes) -> None:
        self.due = self.logic.on_upload(self.state, raw, int(self.now)) or self.due

    def run(self, seconds: float) -> list[MediaEvidence]:
        until, found = self.now + seconds * 1000, []
        while self.due and self.due <= until:
            self.now = self.due
            turn = self.logic.on_turn(self.state)
            found += turn.evidence
            self.due = turn.due_ms
        self.now = until
        return found


def look(asked: Sequence[Asked]) -> list[MediaEvidence]:
    return [seen_before(each) for each in asked if isinstance(each, BankWait)]


def wait_for(shelf: Shelf, number: int = 1, about: MediaEvidence = PICTURE) -> bytes:
    about = msgspec.structs.replace(about, content_id=f"c{number}")
    document = {
        "waits_for": "banks",
        "content_id": about.content_id,
        "user_id": "u1",
        "content_type": "image",
        "banks": [
            {
                "bank": "known",
                "snapshot": str(shelf.folder / "known"),
                "snapshot_sha256": shelf.sha256["known"],
            }
        ],
        "evidence": msgspec.Raw(encode_evidence(about)),
    }
    return msgspec.json.encode(document)
