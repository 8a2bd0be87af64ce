"""From uploads to evidence: what is found, and what hostile media cost."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from operators.media_analyse import MediaAnalyser
from schemas.categories import PIXEL_CATEGORIES
from schemas.evidence import VOLATILE_FIELDS, MediaEvidence, decode_evidence, encode_evidence
from schemas.media_job import OcrPart, PicturePart, SandboxPart, VideoPart
from schemas.upload import Upload
from tests.media_faults import fault
from tests.media_kit import (
    animation,
    clip,
    lettering,
    photo,
    png_bomb,
    qr,
    saved,
    settings,
    sound,
    upload,
    write_colours,
)
from udfs.image_hashes import hash_picture
from udfs.media_banks import MediaBanks
from udfs.media_evidence import bank_query, not_looked_for, unseen
from udfs.pixels import square

PNG = saved(photo())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def analyser(folder: Path) -> Iterator[MediaAnalyser]:
    document = settings(
        folder,
        write_colours(folder / "colours"),
        Path("models/there_is_none"),
        sandbox=SandboxPart(image_wall_s=4, video_wall_s=20, image_cpu_s=3, memory_mb=512),
        picture=PicturePart(max_pixels=4_000_000),
        video=VideoPart(even_frames=4, frames=7),
        ocr=OcrPart(frames=2),
    )
    with MediaAnalyser(document, work="tests.media_faults:make_partly_faulty") as one:
        yield one


def uploaded(folder: Path, name: str, data: bytes, kind: str = "image") -> Upload:
    (folder / name).write_bytes(data)
    return upload(name, f"file://{folder / name}", kind)


def stable(evidence: MediaEvidence) -> dict[str, object]:
    fields = msgspec.structs.asdict(evidence)
    return {name: value for name, value in fields.items() if name not in VOLATILE_FIELDS}


def test_a_picture_with_text_and_a_code_is_read(analyser: MediaAnalyser, folder: Path) -> None:
    picture = Image.new("RGB", (640, 420), "red")
    picture.paste(lettering("HELLO WORLD"), (0, 0))
    picture.paste(qr("https://example.org/spam"), (20, 140))
    (found,) = analyser.analyse([uploaded(folder, "meme.png", saved(picture))])
    assert decode_evidence(encode_evidence(found)) == found
    assert (found.facts.format, found.facts.width, found.facts.height) == ("png", 640, 420)
    texts = {text.source: text for text in found.texts}
    assert texts["ocr"].text.split("\n")[0] == "HELLO WORLD"
    assert texts["ocr"].engine == "rapidocr"
    first = texts["ocr"].parts[0]
    assert texts["ocr"].text[first.start : first.end] == "HELLO WORLD"
    assert first.box is not None
    left, top, right, *_ = first.box
    assert 10 < left < 40
    assert 10 < top < 60
    assert 250 < right < 450
    assert texts["qr"].text == "https://example.org/spam"
    box = texts["qr"].parts[0].box
    assert box is not None
    assert 20 < box[0] < 100
    assert 150 < box[1] < 220
    expected = hash_picture(picture)
    assert found.hashes.pdq == [each.hex() for each in expected.pdq]
    assert len(found.hashes.phash64) == len(found.hashes.phash256) == 8
    assert found.scores["nudity"].score > 0.5
    assert found.scores["nudity"].model == "colours"
    # What no model looks at is not there, and the model that is missing is named.
    assert set(found.scores) == set(analyser.covered) == {"nudity", "gore"}
    assert [(error.kind, error.step) for error in found.errors] == [("missing", "pixels")]
    assert {"rapidocr", "colours", "pillow", "sandbox_network"} <= set(found.versions)
    assert {"fetch", "decode", "hash", "qr", "ocr", "pixels", "score"} == set(found.stage_ms)


def test_a_batch_gives_what_each_gives_alone(analyser: MediaAnalyser, folder: Path) -> None:
    batch = [
        uploaded(folder, "one.png", PNG),
        uploaded(folder, "red.png", saved(Image.new("RGB", (64, 64), "red"))),
        uploaded(folder, "none.png", b""),
        uploaded(folder, "film.gif", animation([photo(80, 60, 1), photo(80, 60, 2)])),
    ]
    together = analyser.analyse(batch)
    alone = [analyser.analyse([each])[0] for each in batch]
    assert [stable(each) for each in together] == [stable(each) for each in alone]
    assert analyser.analyse([]) == []
    again = analyser.analyse([batch[0]])[0]
    assert again.evidence_id == together[0].evidence_id != together[1].evidence_id


def test_a_video_is_looked_at_by_frame(analyser: MediaAnalyser, folder: Path) -> None:
    calm = [photo(160, 120, 1)] * 20
    shock = [Image.new("RGB", (160, 120), "red")] * 20
    film = clip([*calm, *shock, *calm], tone=True)
    (found,) = analyser.analyse([uploaded(folder, "film.mp4", film, "video")])
    assert (found.facts.format, found.facts.width, found.facts.height) == ("mp4", 160, 120)
    cuts = [frame.seconds for frame in found.hashes.frames if frame.why == "cut"]
    assert cuts == [pytest.approx(2.0, abs=0.11), pytest.approx(4.0, abs=0.11)]
    assert len(found.hashes.frames) == found.facts.frames == 6
    # The highest score of any frame, and when.
    worst = found.scores["nudity"]
    assert worst.score > 0.9
    assert worst.seconds is not None
    assert 1.9 <= worst.seconds < 4.0
    assert not found.hashes.pdq
    assert [error.kind for error in found.errors] == ["missing"]


def hostile() -> dict[str, tuple[bytes, str, str, str]]:
    """Name to bytes, content type, and the kind and step of the first failure (empty: none)."""
    truncated = saved(photo(640, 480), "JPEG")
    noise = np.random.default_rng(5).bytes(2000)
    frames = [Image.new("L", (4, 4), i % 256) for i in range(250)]
    return {
        "empty.png": (b"", "image", "empty", "fetch"),
        "text.png": (b"this is no picture" * 50, "image", "unsupported_type", "identify"),
        "page.jpg": (b"<html><script>alert(1)</script>", "image", "unsupported_type", "identify"),
        "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "video",
                         "unsupported_type", "identify"),
        "concat.mp4": (b"ffconcat version 1.0\nfile /etc/passwd\n", "video",
                       "unsupported_type", "identify"),
        "bomb.png": (png_bomb(30_000, 3_000), "image", "pixel_limit", "decode"),
        "header.png": (PNG[:40], "image", "malformed", "decode"),
        "noise.png": (PNG[:60] + noise, "image", "", ""),
        "noise.mp4": (b"\0\0\0\x18ftypisom" + bytes(3000), "video", "malformed", "probe"),
        "bad.wav": (sound()[:20] + b"\xff" * 60, "video", "malformed", "probe"),
        "segfault.png": (PNG + fault("segfault"), "image", "crashed", "decode"),
        # Which of the two comes first, a busy machine decides.
        "spin.png": (PNG + fault("spin"), "image", "cpu_time or wall_time", "decode"),
        "sleep.png": (PNG + fault("sleep"), "image", "wall_time", "decode"),
        "hoard.png": (PNG + fault("hoard"), "image", "memory or wall_time", "decode"),
        "flood.png": (PNG + fault("flood"), "image", "output_limit", "decode"),
        "garbage.png": (PNG + fault("garbage"), "image", "", ""),
        # What can be looked at all the same.
        "truncated.jpg": (truncated[: len(truncated) // 2], "image", "", ""),
        "line.png": (png_bomb(100_000, 1), "image", "", ""),
        "endless.gif": (animation(frames), "image", "", ""),
        "polyglot.gif": (saved(photo(), "GIF") + b"PK\x03\x04" + bytes(90), "image", "", ""),
        "wrong.jpg": (PNG, "image", "", ""),
        "film.png": (clip([photo(64, 48)] * 5), "image", "", ""),
        "still.mp4": (PNG, "video", "", ""),
        "sound.wav": (sound(), "video", "", ""),
    }  # fmt: skip


def test_hostile_media_end_as_evidence_with_the_reason(
    analyser: MediaAnalyser, folder: Path
) -> None:
    items = hostile()
    uploads = [uploaded(folder, name, data, kind) for name, (data, kind, _, _) in items.items()]
    began = time.monotonic()
    found = dict(zip(items, analyser.analyse(uploads), strict=True))
    assert time.monotonic() - began < 60
    for name, (data, _, kind, step) in items.items():
        evidence = found[name]
        assert decode_evidence(encode_evidence(evidence)) == evidence
        failures = [error for error in evidence.errors if error.kind != "missing"]
        assert bool(failures) == bool(kind), (name, failures)
        if kind:
            assert failures[0].kind in kind.split(" or "), (name, failures)
            assert failures[0].step == step, (name, failures)
        # The file's own hashes survive whatever its decoder did.
        if data:
            assert evidence.hashes.sha256, name
        if kind.endswith(("_limit", "_time", "memory")):
            assert "=" in failures[0].limit, name
    notes = {name: set(evidence.facts.notes) for name, evidence in found.items()}
    for name in ("truncated.jpg", "noise.png"):
        assert "truncated" in notes[name]
    assert "frames_left_out" in notes["endless.gif"]
    assert "trailing_data" in notes["polyglot.gif"]
    for name in ("wrong.jpg", "film.png", "still.mp4"):
        assert "extension_differs" in notes[name]
    assert found["film.png"].facts.format == "mp4"
    assert found["line.png"].facts.width == 100_000
    # And everything works as before.
    (after,) = analyser.analyse([uploaded(folder, "after.png", PNG)])
    assert after.hashes.pdq
    assert analyser.sandbox.restarts == 0


def test_when_all_decoding_processes_die_others_take_over(
    analyser: MediaAnalyser, folder: Path
) -> None:
    one = uploaded(folder, "one.png", PNG)
    before = analyser.analyse([one])[0]
    os.kill(analyser.sandbox.nursery_pid, signal.SIGKILL)
    assert stable(analyser.analyse([one])[0]) == stable(before)


def test_what_cannot_be_fetched_is_evidence_too(analyser: MediaAnalyser, folder: Path) -> None:
    inline = "data:image/png;base64," + base64.b64encode(saved(photo(24, 16))).decode()
    addresses = {
        inline: None,
        f"file://{folder}/absent.png": "not_found",
        "file:///etc/passwd": "refused",
        "http://127.0.0.1/a.png": "refused",
        "http://169.254.169.254/latest/meta-data/": "refused",
        "s3://bucket/a.png": "refused",
        "gopher://x": "refused",
    }
    uploads = [upload(f"c{i}", address) for i, address in enumerate(addresses)]
    for evidence, kind in zip(analyser.analyse(uploads), addresses.values(), strict=True):
        failures = [error for error in evidence.errors if error.kind != "missing"]
        assert [(error.kind, error.step) for error in failures] == (
            [(kind, "fetch")] if kind else []
        )
        assert (evidence.hashes.sha256 is None) == (kind is not None)


def test_pixels_are_scored_as_a_bare_loop_would(analyser: MediaAnalyser, folder: Path) -> None:
    (scorer,) = analyser.scorers
    evidence = analyser.analyse([uploaded(folder, "one.png", PNG)])[0]
    bare = scorer.score(square(photo(), scorer.geometry)[None])[0]
    found = [evidence.scores[name].score for name in scorer.categories]
    np.testing.assert_allclose(found, bare, atol=1e-5)


def test_evidence_finds_known_media_in_banks(analyser: MediaAnalyser, folder: Path) -> None:
    original = photo(400, 300, seed=9)
    frame = hash_picture(photo(160, 120, seed=3)).pdq[0]
    known = MediaBanks.parse(
        "version: 1\nbanks:\n"
        "  - {id: pictures, kind: pdq, category: violence,"
        f" entries: [{{hash: '{hash_picture(original).pdq[0].hex()}', id: e1}}]}}\n"
        "  - {id: files, kind: md5, category: violence,"
        f" entries: [{{hash: '{hashlib.md5(PNG, usedforsecurity=False).hexdigest()}', id: e2}}]}}\n"
        "  - {id: clips, kind: video_pdq, category: violence,"
        f" entries: [{{hash: '{frame.hex()}', id: e3}}]}}\n",
        "media.yaml",
    )
    mirrored = original.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((320, 240))
    found = analyser.analyse(
        [
            uploaded(folder, "mirrored.jpg", saved(mirrored, "JPEG")),
            uploaded(folder, "same.png", PNG),
            uploaded(folder, "clip.mp4", clip([photo(160, 120, seed=3)] * 12), "video"),
            uploaded(folder, "other.png", saved(photo(seed=77))),
            uploaded(folder, "nothing.png", b"nothing"),
        ]
    )
    matches = [[match.entry for match in known.match(bank_query(each), 0.0)] for each in found]
    assert matches == [["e1"], ["e2"], ["e3"], [], []]
    assert [bool(unseen(each)) for each in found] == [False, False, False, False, True]
    assert not_looked_for(found[0]) == ("sexual", "violence", "self_harm", "spam")
    assert not_looked_for(found[-1]) == PIXEL_CATEGORIES
