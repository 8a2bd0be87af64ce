"""`scripts/produce --topic`: what people say, published as it stands under its content's id."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.settings import Settings, load_settings
from scripts.cli.consume import records
from scripts.cli.produce_said import prepared, publish_said
from tests.feedback_kit import appeal, report, verdict


@pytest.mark.parametrize(
    ("topic", "line", "key", "valid"),
    [
        ("verdicts", verdict()[1], b"c1", True),
        ("reports", report(1, content_id="ü")[1], "ü".encode(), True),
        ("appeals", appeal()[1], b"c1", True),
        ("appeals", verdict()[1], b"c1", False),
        ("verdicts", b'{"content_id": "c9"}', b"c9", False),
        ("verdicts", b'{"content_id": 9}', None, False),
        ("reports", b"\xff{", None, False),
    ],
)
def test_records_are_keyed_by_content(
    topic: str, line: bytes, key: bytes | None, valid: bool
) -> None:
    settings = load_settings("dev")
    record, fine = prepared(topic, settings, line)
    assert (record.key, record.value, fine) == (key, line, valid)
    assert record.topic == f"moderation.{topic}"


@pytest.mark.stack
def test_a_file_is_published(stack_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    lines = [verdict(f"v{i}", content_id=f"c{i}")[1] for i in range(20)] + [b"{}"]
    path.write_bytes(b"\n".join(lines) + b"\n\n")
    counts, failures = publish_said(str(path), "verdicts", stack_settings)
    assert (counts, failures) == ({"verdicts": 20, "malformed": 1}, [])
    topic = stack_settings.topics.verdicts
    read = list(records(stack_settings, [topic], from_beginning=True, timeout_s=2))
    assert sorted(record.value for record in read) == sorted(lines)
    assert {record.key for record in read} == {*(f"c{i}".encode() for i in range(20)), None}
