"""The evidence record: whole through its codec, and refused with a reason where it is none."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.errors import InvalidUploadError
from schemas.evidence import (
    Failure,
    FoundText,
    FrameHash,
    Hashes,
    MediaEvidence,
    MediaFacts,
    PixelScore,
    TextPart,
    decode_evidence,
    encode_evidence,
    evidence_id,
)
from scripts.cli.export_schemas import record_schema

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FULL = MediaEvidence(
    evidence_id=evidence_id("c1", 2),
    content_id="c1",
    user_id="u1",
    revision=2,
    content_type="video",
    facts=MediaFacts(bytes=9, format="mp4", width=4, height=3, frames=1, seconds=1.5,
                     notes=["cut_short"]),
    hashes=Hashes(
        sha256="0" * 64, md5="1" * 32, pdq=["2" * 64] * 8, quality=100, phash64=["3" * 16] * 8,
        phash256=["4" * 64] * 8,
        frames=[FrameHash(pdq="5" * 64, quality=49, seconds=0.5, why="cut")],
    ),
    texts=[
        FoundText(source="ocr", engine="rapidocr", text="hello", seconds=0.5,
                  parts=[TextPart(start=0, end=5, box=[0.0] * 8, confidence=0.5)]),
        FoundText(source="transcript", engine="pocketsphinx", text="a word",
                  parts=[TextPart(start=2, end=6, seconds=1.0)]),
    ],
    scores={"nudity": PixelScore(score=0.25, model="open_nsfw", seconds=0.5)},
    errors=[Failure(kind="wall_time", step="ocr", message="took too long",
                    limit="sandbox.wall_s = 20")],
    stage_ms={"ocr": 20000.0},
    versions={"rapidocr": "3"},
    made_at=NOW,
)  # fmt: skip


def changed(**fields: Any) -> bytes:
    document = json.loads(encode_evidence(FULL))
    return json.dumps({**document, **fields}).encode()


def test_a_record_comes_back_whole_and_fits_its_schema() -> None:
    raw = encode_evidence(FULL)
    assert decode_evidence(raw) == FULL
    Draft202012Validator(record_schema("evidence")).validate(json.loads(raw))
    assert json.loads(raw)["kind"] == "media"


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=3),
    score=st.floats(0, 1),
    revision=st.integers(0, 2**31),
)
def test_any_record_comes_back_whole(texts: list[str], score: float, revision: int) -> None:
    record = msgspec.structs.replace(
        FULL,
        revision=revision,
        scores={"gore": PixelScore(score=score, model="m")},
        texts=[
            FoundText(source="ocr", engine="e", text=text, parts=[TextPart(start=0, end=len(text))])
            for text in texts
        ],
    )
    assert decode_evidence(encode_evidence(record)) == record


def test_the_id_depends_on_content_revision_and_kind() -> None:
    ids = {evidence_id(*material) for material in [("c1", 0), ("c1", 1), ("c2", 0), ("c", 10)]}
    assert len(ids | {evidence_id("c1", 0, "opinion")}) == 5
    assert evidence_id("c1", 0) == evidence_id("c1", 0, "media")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "not_json"),
        (b'{"later":' + b"[" * 100_000, "not_json"),
        (b"null", "invalid_field"),
        (b'{"kind": "media"}', "invalid_field"),
        (b'{"kind": "\xff"}', "encoding"),
        (changed(kind="opinion"), "invalid_field"),
        (changed(content_id=""), "invalid_field"),
        (changed(scores={"gore": {"score": 1.5, "model": "m"}}), "invalid_field"),
        (changed(hashes={"sha256": "xyz"}), "invalid_field"),
        (changed(texts=[{"source": "ocr", "engine": "e", "text": "abc",
                         "parts": [{"start": 1, "end": 4}]}]), "invalid_field"),
        (changed(made_at="2026-01-01T00:00:00"), "invalid_field"),
        (changed(padding="x" * 4_200_000), "oversize"),
    ],
)  # fmt: skip
def test_what_is_no_evidence_is_refused_with_its_kind(raw: bytes, kind: str) -> None:
    with pytest.raises(InvalidUploadError) as caught:
        decode_evidence(raw)
    assert caught.value.kind == kind


def test_unknown_fields_of_a_later_version_are_passed_over() -> None:
    assert decode_evidence(changed(later="field")) == FULL
