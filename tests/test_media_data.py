"""The media job on real pictures, clips and speech, where the data sets are at hand."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operators.media_analyse import MediaAnalyser
from schemas.evidence import MediaEvidence
from schemas.media_job import OcrPart, PixelsPart, SpeechPart
from schemas.settings import ROOT
from tests.media_kit import settings, upload
from udfs.image_hashes import distance

DATA = Path(os.environ.get("SLUICE_DATA") or ROOT.parent / "shared/data")
PDQ_TOLERANCE = 12
"""Two right implementations of PDQ differ by up to this on these pictures."""
MATCH = 31
GOOD = 50

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "pdq_images").is_dir(),
        reason=f"the data sets are not under {DATA} (set SLUICE_DATA to their folder)",
    ),
]


@pytest.fixture(scope="module")
def hasher() -> Iterator[MediaAnalyser]:
    """Frames and hashes alone."""
    document = settings(DATA, pixels=PixelsPart(models=()), ocr=OcrPart(engine="none"))
    with MediaAnalyser(document) as one:
        yield one


@pytest.fixture(scope="module")
def reader() -> Iterator[MediaAnalyser]:
    """Text and speech as well."""
    document = settings(DATA, pixels=PixelsPart(models=()), speech=SpeechPart())
    with MediaAnalyser(document) as one:
        yield one


def look(analyser: MediaAnalyser, *names: str, kind: str = "image") -> list[MediaEvidence]:
    return analyser.analyse([upload(name, f"file://{DATA / name}", kind) for name in names])


def text_of(evidence: MediaEvidence, source: str = "ocr") -> str:
    return " ".join(found.text for found in evidence.texts if found.source == source)


def test_pdq_of_every_picture_is_what_is_known(hasher: MediaAnalyser) -> None:
    with (DATA / "pdq_images" / "expected_pdq.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = look(hasher, *(f"pdq_images/{row['file']}" for row in rows))
    for row, evidence in zip(rows, found, strict=True):
        assert not evidence.errors, (row["file"], evidence.errors)
        assert (evidence.facts.width, evidence.facts.height) == (
            int(row["width"]), int(row["height"]),
        )  # fmt: skip
        off = distance(bytes.fromhex(evidence.hashes.pdq[0]), bytes.fromhex(row["pdq_pdqhash_lib"]))
        # What has no structure to tell it by hashes to anything.
        assert off <= PDQ_TOLERANCE or int(row["quality"]) < GOOD, row["file"]


def known_frames(clip: str) -> list[tuple[float, int, bytes]]:
    """Time, quality and hash of each frame."""
    lines = (DATA / "vpdq_videos" / "sample-hashes" / f"{clip}.txt").read_text().split()
    rows = [line.split(",") for line in lines]
    return [(float(row[3]), int(row[1]), bytes.fromhex(row[2])) for row in rows]


def test_frames_of_a_clip_match_its_known_frames(
    hasher: MediaAnalyser, record_property: Callable[[str, object], None]
) -> None:
    clips = ["chair-22-sd-grey-bar", "doorknob-hd-no-bar"]
    found = look(hasher, *(f"vpdq_videos/{clip}.mp4" for clip in clips), kind="video")
    known = {clip: known_frames(clip) for clip in clips}
    for clip, evidence in zip(clips, found, strict=True):
        assert 10 <= len(evidence.hashes.frames) <= 20
        good = [frame for frame in evidence.hashes.frames if frame.quality >= GOOD]
        shares = {}
        for other, frames in known.items():
            hits = [
                min(distance(bytes.fromhex(frame.pdq), each) for _, quality, each in frames
                    if quality >= GOOD) <= MATCH
                for frame in good
            ]  # fmt: skip
            shares[other] = sum(hits) / len(good)
        record_property(f"share of frames that match, {clip}", shares)
        assert shares.pop(clip) >= 0.9
        assert max(shares.values()) < 0.1
        # Frames are where they are said to be.
        for frame in good:
            near = [each for at, _, each in known[clip] if abs(at - frame.seconds) < 0.11]
            assert min(distance(bytes.fromhex(frame.pdq), each) for each in near) <= MATCH


def test_scene_cuts_are_those_of_the_content_detector(hasher: MediaAnalyser) -> None:
    for clip in ("counter.mp4", "fades.mp4"):
        golden = DATA / "scene_videos" / "goldens" / f"{clip}.ContentDetector.t30.json"
        (evidence,) = look(hasher, f"scene_videos/{clip}", kind="video")
        cuts = [frame for frame in evidence.hashes.frames if frame.why == "cut"]
        assert len(cuts) == len(json.loads(golden.read_text())["cuts"])
        assert len(evidence.hashes.frames) == 10


def test_text_is_read_in_every_format_and_direction(reader: MediaAnalyser) -> None:
    simple = [f"ocr_images/simple{end}" for end in
              (".png", ".gif", ".pbm", "-90.jpg", "-270.jpg")]  # fmt: skip
    found = look(reader, *simple, "ocr_images/testocr.png", "ocr_images/chinese.png")
    assert [text_of(each) for each in found[:5]] == ["Tesseract.js"] * 5
    page = text_of(found[5]).replace("\n", " ")
    assert page.startswith(
        "This is a lot of 12 point text to test the ocr code and see if it works"
    )
    assert "繁體中文" in text_of(found[6])


def test_tesseract_reads_as_well() -> None:
    document = settings(
        DATA, pixels=PixelsPart(models=()), ocr=OcrPart(engine="tesseract", languages="eng")
    )
    with MediaAnalyser(document) as analyser:
        (page,) = look(analyser, "ocr_images/testocr.png")
    assert text_of(page).startswith("This is a lot of 12 point text to test the\nocr code")
    assert page.texts[0].engine == "tesseract"
    box = page.texts[0].parts[0].box
    assert box is not None
    assert box[0] < box[2]


def test_speech_is_heard(
    reader: MediaAnalyser, record_property: Callable[[str, object], None]
) -> None:
    cards = (DATA / "speech_wav" / "cards" / "transcription").read_text().splitlines()
    books = (DATA / "speech_wav" / "librivox" / "transcription").read_text().splitlines()
    names: list[str] = []
    wanted: list[list[str]] = []
    for folder, lines in (("cards", cards), ("librivox", books[1:2])):
        for line in lines:
            words, _, name = line.rpartition(" (")
            names.append(f"speech_wav/{folder}/{name.rstrip(') ')}.wav")
            wanted.append(words.replace("<s>", "").replace("</s>", "").split())
    right = total = 0
    for spoken, evidence in zip(wanted, look(reader, *names, kind="video"), strict=True):
        assert not evidence.errors
        heard = text_of(evidence, "transcript").split()
        right += sum(word in heard for word in spoken)
        total += len(spoken)
        parts = evidence.texts[0].parts
        times = [part.seconds or 0.0 for part in parts]
        assert times == sorted(times)
        assert times[-1] <= (evidence.facts.seconds or 0.0)
    record_property("words heard", f"{right} of {total}")
    assert right / total > 0.6


def test_malformed_sound_ends_as_evidence(reader: MediaAnalyser) -> None:
    files = sorted((DATA / "speech_wav" / "malformed").iterdir())
    found = look(reader, *(f"speech_wav/malformed/{file.name}" for file in files), kind="video")
    assert len(found) == 4
    for evidence in found:
        assert evidence.errors or not evidence.hashes.frames
        assert {error.kind for error in evidence.errors} <= {
            "malformed", "empty", "unsupported_type",
        }  # fmt: skip
