"""The measurement of media runs and gives every figure that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.media_job import MediaDocument, OcrPart, PixelsPart, SpeechPart
from scripts.cli.bench_media import measure
from tests.media_kit import write_colours


@pytest.mark.slow
def test_every_stage_and_rate_is_measured(tmp_path: Path) -> None:
    document = MediaDocument(
        version=1,
        ocr=OcrPart(engine="none"),
        speech=SpeechPart(engine="none"),
        pixels=PixelsPart(models=(write_colours(tmp_path / "colours"),)),
    )
    media = tmp_path / "media"
    media.mkdir()
    result = measure(document, media, pictures=2, seconds=1, repeats=1)
    still = {"fetch", "decode", "hash", "qr", "pixels", "score"}
    assert set(result["plain"]) == set(result["text"]) == still
    assert set(result["clip"]) == still - {"decode"} | {"probe", "frames"}
    assert all(rate > 0 for rate in result["rates"].values())
    assert set(result["pixels"]) == {"colours"}
    assert set(result["pixels"]["colours"]) == {
        "batched", "one by one", "bare loop", "bare batch",
    }  # fmt: skip
