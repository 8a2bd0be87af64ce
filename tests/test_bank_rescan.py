"""Contents that were decided before an entry was added, found by the hashes of their evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts.cli import banks as command
from scripts.cli.bank_rescan import Counts, Rescanner
from scripts.cli.consume import Record
from tests.media_kit import photo
from udfs.image_hashes import hash_picture
from udfs.media_banks import MediaBanks

KNOWN = photo(400, 300, seed=9)


def record(content_id: str, seed: int, at_ms: int = 1000) -> Record:
    """Evidence of a picture."""
    found = hash_picture(photo(400, 300, seed=seed))
    hashes = {
        "pdq": [each.hex() for each in found.pdq],
        "phash64": [each.hex() for each in found.phash64],
        "phash256": [each.hex() for each in found.phash256],
        "quality": found.quality,
    }
    value = {
        "kind": "media", "evidence_id": f"e-{content_id}", "content_id": content_id,
        "user_id": "u", "content_type": "image", "hashes": hashes,
        "made_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return Record("evidence", 0, 0, at_ms, b"u", json.dumps(value).encode())


def text(*names: str) -> str:
    digest = hash_picture(KNOWN).pdq[3].hex()  # as it is when it is turned
    return "version: 1\nbanks:\n" + "".join(
        f"  - {{id: {name}, kind: pdq, category: violence,"
        f" entries: [{{hash: '{digest}', id: new}}]}}\n"
        for name in names
    )


def test_what_matches_now_is_given_once() -> None:
    scan = Rescanner(MediaBanks.parse(text("late")))
    there = [record("other", 1), record("same", 9), record("same", 9), record("twin", 9)]
    (first, second) = scan.matches([*there, Record("e", 0, 0, 1000, None, b"{")])
    assert first == {
        "content_id": "same", "user_id": "u", "revision": 0, "content_type": "image",
        "bank": "late", "entry": "new", "category": "violence", "severity": "severe",
        "polarity": "bad", "distance": first["distance"], "confidence": first["confidence"],
        "hold": "",
    }  # fmt: skip
    assert first["distance"] <= 31
    assert second["content_id"] == "twin"
    assert scan.counts == Counts(3, 2, 1)


def test_only_the_named_banks_and_the_given_time_count() -> None:
    there = [record("old", 9, at_ms=10), record("new", 9, at_ms=50)]
    scan = Rescanner(MediaBanks.parse(text("a", "b")), ["b"], since_ms=20)
    assert [(row["content_id"], row["bank"]) for row in scan.matches(there)] == [("new", "b")]
    assert scan.counts == Counts(1, 1, 0)


def test_the_command_prints_a_line_a_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "banks.yaml").write_text(text("late"))
    asked: dict[str, Any] = {}

    def fake(settings: Any, names: list[str], **options: Any) -> list[Record]:
        asked.update(options, names=names)
        return [record("same", 9), record("other", 1)]

    monkeypatch.setattr(command, "records", fake)
    arguments = ["rescan", "late", "--banks", str(tmp_path / "banks.yaml")]
    done = CliRunner().invoke(command.app, arguments)
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["content_id"] == "same"
    assert "1 of 2 contents match" in done.stderr
    assert asked["names"] == ["moderation.evidence"]
    assert asked["from_beginning"]
    unknown = CliRunner().invoke(command.app, ["rescan", "none", *arguments[2:]])
    assert "no bank none" in str(unknown.exception)
