"""Pixel scores: squares as models want them, and packages that prove themselves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from schemas.errors import ConfigError
from schemas.settings import ROOT
from tests.media_kit import photo, saved, write_colours
from udfs.calibration import Platt
from udfs.model_package import MANIFEST
from udfs.pixel_package import MODEL, Geometry, PixelManifest, PixelOutput
from udfs.pixels import PixelScorer, highest, load, probe_picture, square

OPEN_NSFW = ROOT / ".build" / "models" / "open_nsfw"
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("colours"))


def one(colour: str, scorer: PixelScorer) -> dict[str, float]:
    picture = Image.new("RGB", (300, 200), COLOURS[colour])
    scores = scorer.score(square(picture, scorer.geometry)[None])[0]
    return dict(zip(scorer.categories, map(float, scores), strict=True))


def test_a_model_scores_what_it_sees(package: Path) -> None:
    scorer = load(package)
    assert scorer.categories == ("nudity", "gore")
    assert one("red", scorer) == {
        "nudity": pytest.approx(1, abs=0.01),
        "gore": pytest.approx(0, abs=0.01),
    }
    assert one("blue", scorer) == {
        "nudity": pytest.approx(0, abs=0.01),
        "gore": pytest.approx(1, abs=0.01),
    }


def test_a_batch_gives_what_each_gives_alone(package: Path) -> None:
    scorer = load(package)
    squares = np.stack([square(photo(seed=seed), scorer.geometry) for seed in range(7)])
    together = scorer.score(squares, batch=3)
    alone = np.concatenate([scorer.score(each[None]) for each in squares])
    assert together.shape == (7, 2)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert scorer.score(squares[:0]).shape == (0, 2)
    with pytest.raises(ValueError, match="shape"):
        scorer.score(squares[:, :100])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"channels": "BGR"}, "gore"),
        ({"layout": "NHWC"}, None),
        ({"activation": "sigmoid"}, "nudity"),
        ({"outputs": (PixelOutput("violence", (1, 2)), PixelOutput("gore", (0,)))}, "gore"),
        ({"outputs": (PixelOutput("nudity", (0,), Platt(1.0, 0.0)),)}, "nudity"),
    ],
)
def test_the_manifest_says_how_to_put_pixels_in(
    tmp_path: Path, changes: dict[str, Any], expected: str | None
) -> None:
    if expected is None:  # the model wants the other layout: it cannot even be tried
        write_colours(tmp_path, probe=(0.0, 0.0), **changes)
        with pytest.raises(ConfigError):
            load(tmp_path)
        return
    scores = one("red", load(write_colours(tmp_path, **changes)))
    assert max(scores, key=lambda name: scores[name]) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 2"),
        ({"outputs": ()}, "outputs must be"),
        ({"outputs": (PixelOutput("kittens", (0,)),), "probe": (0.0,)}, "outputs must be"),
        ({"outputs": (PixelOutput("gore", (0,)), PixelOutput("gore", (1,)))}, "twice"),
        ({"outputs": (PixelOutput("gore", ()),), "probe": (0.0,)}, "columns"),
        ({"geometry": Geometry(resize=100, crop=224)}, "geometry"),
        ({"deviation": (0.0, 1.0, 1.0)}, "deviation"),
        ({"probe": (0.5,)}, "probe needs"),
        ({"scale": 0.5}, "version does not fit"),
        ({"files": {}}, "files must name"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    package: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    manifest = msgspec.json.decode((package / MANIFEST).read_bytes(), type=PixelManifest)
    (tmp_path / MODEL).write_bytes((package / MODEL).read_bytes())
    changed = msgspec.structs.replace(manifest, **change)
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(changed))
    with pytest.raises(ConfigError, match=words):
        load(tmp_path)


def test_a_package_must_score_its_probe_and_be_whole(tmp_path: Path) -> None:
    write_colours(tmp_path, probe=(0.5, 0.5))
    with pytest.raises(ConfigError, match="probe picture"):
        load(tmp_path)
    write_colours(tmp_path, outputs=(PixelOutput("gore", (7,)),), probe=(0.0,))
    with pytest.raises(ConfigError, match="shape"):
        load(tmp_path)
    write_colours(tmp_path)
    (tmp_path / MODEL).write_bytes(b"no model")
    with pytest.raises(ConfigError, match="sha256"):
        load(tmp_path)
    with pytest.raises(ConfigError):
        load(tmp_path / "none")


def test_squares_by_the_shorter_side_keep_the_shape_and_the_middle() -> None:
    picture = Image.new("RGB", (600, 300), "black")
    picture.paste((255, 255, 255), (225, 75, 375, 225))
    cut = square(picture, Geometry())
    assert cut.shape == (224, 224, 3)
    white = (cut[..., 0] > 128).mean()
    # A quarter of 300 x 300, and the crop takes 224 of 256.
    assert white == pytest.approx(0.25 * (256 / 224) ** 2, abs=0.01)
    squashed = square(picture, Geometry(fit="squash"))
    assert (squashed[..., 0] > 128).mean() == pytest.approx(0.125 * (256 / 224) ** 2, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(["short_side", "squash"]))
def test_every_shape_gives_a_square(width: int, height: int, how: Any) -> None:
    picture = Image.new("RGB", (width, height), (10, 20, 30))
    cut = square(picture, Geometry(fit=how, resize=40, crop=32))
    assert cut.shape == (32, 32, 3)
    assert (cut == (10, 20, 30)).all()


def test_the_highest_frame_counts_and_is_named() -> None:
    rows = np.array([[0.1, 0.9], [0.7, 0.2], [0.7, 0.3]], np.float32)
    found = highest(rows, ("nudity", "gore"))
    assert {name: at for name, (_, at) in found.items()} == {"nudity": 1, "gore": 0}
    assert [score for score, _ in found.values()] == pytest.approx([0.7, 0.9])


@pytest.mark.skipif(not OPEN_NSFW.is_dir(), reason="needs the extra: scripts/setup --extra pixels")
def test_open_nsfw_gets_what_it_was_trained_on() -> None:
    """By Yahoo's reference: both sides to 256, a JPEG in between, BGR less the means."""
    scorer = load(OPEN_NSFW)
    assert scorer.categories == ("nudity", "sexual")
    picture = photo(500, 300)
    scaled = picture.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    values = np.asarray(Image.open(io.BytesIO(saved(scaled, "JPEG"))), np.float32)[..., ::-1]
    wanted = values - np.array([104, 117, 123], np.float32)
    session = scorer._session
    (out,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(wanted[None])})
    scores = scorer.score(square(picture, scorer.geometry)[None])[0]
    np.testing.assert_allclose(scores, [out[0][1]] * 2, atol=1e-6)
    assert scores.max() < 0.5
    assert probe_picture().size == (320, 240)
