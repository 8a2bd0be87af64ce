"""Draws the pictures and clips that the sample uploads name, by `conf/samples/media.yaml`."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import zxingcpp
from PIL import Image, ImageDraw
from pydantic import Field

from schemas.policy_parts import Part
from schemas.settings import CONF, ROOT
from schemas.yaml_source import YamlSource

SOURCE: Final = CONF / "samples/media.yaml"
_KNOWN_SEED: Final = 77
_SIZE: Final = (480, 320)
_CLIP: Final = (240, 160)
_FRAMES: Final = 20
_RATE: Final = 10


class Drawing(Part):
    """One file."""

    uri: Annotated[str, Field(pattern=r"^(images|videos)/\d{4}\.(jpg|png|webp|mp4|webm)$")]
    """Its path under `samples.MEDIA_URIS`."""
    draw: Literal["scene", "words", "code", "known", "turned", "cut"]
    words: tuple[str, ...] = ()


class DrawingsDocument(Part):
    """All of them."""

    media: tuple[Drawing, ...]


def drawings() -> tuple[Drawing, ...]:
    """What there is to draw."""
    return YamlSource.read(SOURCE).validate(DrawingsDocument).media


def draw_all(folder: Path) -> None:
    """Write every file under `folder`; the same files each time."""
    for seed, drawing in enumerate(drawings()):
        path = folder / drawing.uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_file(drawing, seed))


def media_config(folder: Path, media: Path, base: Path) -> Path:
    """Write a configuration of the media job that may read the drawings, and little more.

    Args:
        folder: where to write it.
        media: where the drawings are.
        base: the configuration that it is made from.
    """
    document: dict[str, Any] = dict(YamlSource.read(ROOT / base).document)
    fetch = dict(document.get("fetch") or {})
    fetch["folders"] = [*fetch.get("folders", ()), str(media)]
    # One process: the demo's own two cores have a broker and two jobs already.
    sandbox = {**(document.get("sandbox") or {}), "processes": 1}
    path = folder / "media.yaml"
    # JSON is YAML.
    path.write_text(json.dumps({**document, "fetch": fetch, "sandbox": sandbox}), "utf-8")
    return path


def known_picture() -> Image.Image:
    """The picture that the sample bank knows."""
    return _scene(_KNOWN_SEED, _SIZE)


def _file(drawing: Drawing, seed: int) -> bytes:
    kind = drawing.uri.rpartition(".")[2]
    made = (
        _clip(drawing, seed, kind)
        if drawing.uri.startswith("videos/")
        else _picture(drawing, seed, kind)
    )
    return made[: len(made) // 3] if drawing.draw == "cut" else made


def _picture(drawing: Drawing, seed: int, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture = _drawn(drawing, seed, _SIZE)
    picture.save(buffer, {"jpg": "JPEG"}.get(kind, kind.upper()), quality=90)
    return buffer.getvalue()


def _drawn(drawing: Drawing, seed: int, size: tuple[int, int]) -> Image.Image:
    if drawing.draw == "words":
        return _words(drawing.words, seed, size)
    if drawing.draw == "code":
        return _code(drawing.words[0], seed, size)
    if drawing.draw in {"known", "turned"}:
        known = known_picture().resize(size)
        return known.transpose(Image.Transpose.ROTATE_90) if drawing.draw == "turned" else known
    return _scene(seed, size)


def _scene(seed: int, size: tuple[int, int]) -> Image.Image:
    """Soft shapes under a sky: something with structure, so that its hash has a quality."""
    rng = np.random.default_rng(seed)
    sky = rng.integers(40, 255, (6, 9, 3), np.uint8)
    picture = Image.fromarray(sky).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y = (int(rng.integers(0, limit)) for limit in size)
        reach = int(rng.integers(size[1] // 10, size[1] // 3))
        colour = tuple(int(part) for part in rng.integers(0, 255, 3))
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    return picture


def _words(lines: tuple[str, ...], seed: int, size: tuple[int, int]) -> Image.Image:
    picture = Image.blend(_scene(seed, size), Image.new("RGB", size, "white"), 0.9)
    draw = ImageDraw.Draw(picture)
    letter = size[1] // 11
    for row, text in enumerate(lines):
        draw.text((size[0] // 20, letter + row * 2 * letter), text, "black", font_size=letter)
    return picture


def _code(text: str, seed: int, size: tuple[int, int]) -> Image.Image:
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode)
    drawn = Image.fromarray(np.asarray(code.to_image(scale=5))).convert("RGB")
    picture = _scene(seed, size)
    picture.paste(drawn, ((size[0] - drawn.width) // 2, (size[1] - drawn.height) // 2))
    return picture


def _clip(drawing: Drawing, seed: int, kind: str) -> bytes:
    """Two seconds; a scene changes in the middle."""
    frames = [
        _drawn(drawing, seed + (100 if drawing.draw == "scene" and half else 0), _CLIP)
        for half in (0, 1)
    ]
    raw = b"".join(frames[number * 2 // _FRAMES].tobytes() for number in range(_FRAMES))
    form = {
        "mp4": ["-c:v", "mpeg4", "-q:v", "3", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4"],
        "webm": ["-c:v", "libvpx", "-b:v", "1M", "-deadline", "realtime", "-f", "webm"],
    }[kind]
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
         f"{_CLIP[0]}x{_CLIP[1]}", "-r", str(_RATE), "-i", "pipe:0", *form, "pipe:1"],
        input=raw, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout
