"""What the documents for people say is there, is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel

from schemas.control import ControlAck, ControlMessage, decode_control
from schemas.dead_letter import DeadLetter
from schemas.decision import Audit, Decision, Enforcement, Feedback, ReviewItem
from schemas.quality import QualityRecord
from schemas.settings import ROOT, Settings
from schemas.topics import Topics, topics
from schemas.upload import Upload, decode_upload
from tests.help_kit import COMMANDS, help_of

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
RECORDS: dict[str, type[msgspec.Struct]] = {
    "decisions": Decision,
    "review": ReviewItem,
    "enforcement": Enforcement,
    "feedback": Feedback,
    "audit": Audit,
    "dead_letters": DeadLetter,
    "control": ControlMessage,
    "control_acks": ControlAck,
    "quality": QualityRecord,
}
"""Short topic name to its record; uploads apart."""
WITHOUT_EXAMPLE = {
    # An upload, once for all of them.
    "content_image", "content_video", "rescan",
    # Their pages have them: docs/MEDIA.md, docs/FEEDBACK.md and docs/TRUST.md.
    "evidence", "reports", "verdicts", "appeals", "campaigns", "user_events",
    # Nothing reads or writes it yet.
    "shadow",
}  # fmt: skip


def examples() -> Iterator[tuple[str, bytes]]:
    """Short topic name and record of each example: the topic that was named last before it."""
    for block in re.finditer(r"```json\n(.*?)```", README, re.DOTALL):
        before = README[: block.start()]
        record = block.group(1).encode()
        named = re.findall(r"^`moderation\.([a-z.-]+)`", before, re.MULTILINE)
        if b'"created_at"' in record and b"moderation_id" not in record:
            yield "content_text", record
        elif not named:
            yield "decisions", record
        else:
            yield named[-1].replace("-", "_"), record


EXAMPLES = dict(examples())


def test_the_table_names_every_topic_once() -> None:
    rows = re.findall(r"^\| `(moderation\.[a-z.-]+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(topics("moderation"))


def test_every_topic_in_use_has_an_example() -> None:
    assert len(EXAMPLES) == README.count("```json")
    assert set(EXAMPLES) == set(Topics._fields) - WITHOUT_EXAMPLE
    assert set(EXAMPLES) == {"content_text", *RECORDS}


@pytest.mark.parametrize("name", RECORDS)
def test_an_example_is_a_whole_record(name: str) -> None:
    record = EXAMPLES[name]
    kind = RECORDS[name]
    decoded = msgspec.json.decode(record, type=kind)
    fields = set(kind.__struct_encode_fields__)
    if kind.__struct_config__.omit_defaults:
        fields = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    assert set(msgspec.json.decode(record)) == fields
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == msgspec.json.decode(record)


def test_the_examples_belong_together() -> None:
    upload = decode_upload(EXAMPLES["content_text"])
    assert not upload.extra
    decision = msgspec.json.decode(EXAMPLES["decisions"], type=Decision)
    assert decision.content_id == upload.content_id
    for name in ("review", "enforcement", "feedback", "audit"):
        assert msgspec.json.decode(EXAMPLES[name])["moderation_id"] == decision.moderation_id
    audited = msgspec.json.decode(EXAMPLES["audit"], type=Audit).upload
    assert msgspec.json.decode(audited, type=Upload) == upload
    # The spans point into the text.
    for evidence in decision.evidence:
        assert all(0 <= start < end <= len(upload.text or "") for start, end in evidence.spans)
    message = decode_control("rules", EXAMPLES["control"])
    ack = msgspec.json.decode(EXAMPLES["control_acks"], type=ControlAck)
    assert (ack.key, ack.digest) == (message.key, message.digest)


def test_every_command_has_its_row_and_is_there() -> None:
    rows = re.findall(r"^\| `scripts/([a-z_]+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_files_that_are_named_are_there(document: Path) -> None:
    text = document.read_text("utf-8")
    for command in re.findall(r"scripts/([a-z_]+)(?![a-z_/.])", text):
        assert command in {*COMMANDS, "cli", "_run"}, f"{document.name} names scripts/{command}"
    for path in re.findall(
        r"`((?:schemas|udfs|operators|jobs|conf|tests|scripts/cli)/[\w./]+)`", text
    ):
        assert (ROOT / path).exists(), f"{document.name} names {path}"
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def said_by(*command: str) -> str:
    answer = help_of(*command)
    assert answer.status == 0, answer.wrong
    return answer.said


def command_lines() -> Iterator[str]:
    """Lines of code blocks that run a command of ours."""
    for document in DOCUMENTS:
        for block in re.findall(r"```\n(.*?)```", document.read_text("utf-8"), re.DOTALL):
            for line in block.splitlines():
                found = re.search(r"(?:^|\| )scripts/(.*?)(?:\s*#.*)?$", line)
                # Everything after scripts/test goes to pytest.
                if found and not found.group(1).startswith("test"):
                    yield found.group(1)


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_examples_use_options_that_there_are(line: str) -> None:
    words = line.split()
    said = said_by(words[0])
    if len(words) > 1 and re.search(rf"^  {re.escape(words[1])}\s", said, re.MULTILINE):
        said = said_by(words[0], words[1])
    for option in re.findall(r"(?<= )--[a-z-]+", line):
        assert option in said, f"scripts/{line}: no {option}"


def test_every_setting_is_listed_with_its_default() -> None:
    text = (ROOT / "docs" / "SETTINGS.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \|", text, re.MULTILINE))
    listed = {name: default.strip('"') for name, default in rows.items()}
    there = {}
    for section, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for name, setting in field.annotation.model_fields.items():
                default = setting.default
                shown = str(default).lower() if isinstance(default, bool) else str(default)
                there[f"{section}.{name}"] = shown
    assert listed == there
