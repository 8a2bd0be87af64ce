"""Pictures, sounds and pixel models for tests of the media job, all of them generated."""

from __future__ import annotations

import io
import struct
import subprocess
import wave
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zxingcpp
from PIL import Image, ImageDraw

from schemas.media_job import FetchPart, MediaDocument, PixelsPart, SpeechPart
from schemas.upload import Upload, decode_upload
from tests.deep_kit import _field, _node, _number, _tensor, _value
from tests.fakes import payload
from udfs.pixel_package import MODEL, PixelManifest, PixelOutput, write_manifest
from udfs.pixels import PixelScorer, probe_picture, square


def photo(width: int = 320, height: int = 240, seed: int = 1) -> Image.Image:
    """Something with structure: soft blobs, so that hashes have a quality."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (9, 12, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def lettering(text: str, width: int = 640, height: int = 120) -> Image.Image:
    """Black letters on white."""
    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).text((24, 24), text, fill="black", font_size=44)
    return picture


def qr(text: str) -> Image.Image:
    """A QR code with a margin."""
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode)
    picture = Image.fromarray(np.asarray(code.to_image(scale=4))).convert("RGB")
    framed = Image.new("RGB", (picture.width + 80, picture.height + 80), "white")
    framed.paste(picture, (40, 40))
    return framed


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel that is tiny as a file and as large as it says when decoded."""
    rows = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    body = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def animation(frames: Iterable[Image.Image], ms: int = 100) -> bytes:
    """An endless GIF."""
    first, *rest = frames
    return saved(first, "GIF", save_all=True, append_images=rest, duration=ms, loop=0)


def sound(seconds: float = 0.5) -> bytes:
    """A WAV file of a tone, 16 kHz."""
    t = np.arange(int(16_000 * seconds)) / 16_000
    samples = (8000 * np.sin(2 * np.pi * 440 * t)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def clip(pictures: Iterable[Image.Image], rate: int = 10, *, tone: bool = False) -> bytes:
    """An MP4 (MPEG-4 part 2) of pictures of one size, with a tone where wanted."""
    raw = b""
    size = (0, 0)
    count = 0
    for picture in pictures:
        raw += picture.tobytes()
        size = picture.size
        count += 1
    tones = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={count / rate}"] if tone else []
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
         "-s", f"{size[0]}x{size[1]}", "-r", str(rate), "-i", "pipe:0", *tones,
         "-c:v", "mpeg4", "-q:v", "3", "-movflags", "frag_keyframe+empty_moov+default_base_moof",
         "-f", "mp4", "pipe:1"],
        input=raw, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout


def upload(content_id: str, uri: str, kind: str = "image", **fields: Any) -> Upload:
    """An upload of media."""
    raw = payload(content_id, f"user-{content_id}", text=None, content_type=kind, media_uri=uri,
                  **fields)  # fmt: skip
    return decode_upload(raw)


def settings(folder: Path, *models: Path, **parts: Any) -> MediaDocument:
    """Settings that allow files of one folder; speech only where a test asks for it."""
    fields: dict[str, Any] = {
        "version": 1,
        "fetch": FetchPart(folders=(folder,)),
        "speech": SpeechPart(engine="none"),
        "pixels": PixelsPart(models=models),
        **parts,
    }
    return MediaDocument(**fields)


def colour_model(weights: Any, batch: str | int = "batch") -> bytes:
    """An ONNX model from pixels (NCHW) to logits: mean of each colour times `weights`.

    Args:
        weights: shape (3, labels).
        batch: name of its first axis, or the only size that it takes.
    """
    matrix = np.asarray(weights, np.float32)
    nodes = [
        _node("GlobalAveragePool", ["pixels"], "pooled"),
        _node("Flatten", ["pooled"], "flat"),
        _node("MatMul", ["flat", "weights"], "logits"),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"colour")
    graph += _field(5, _tensor("weights", 1, matrix.shape, matrix.tobytes()))
    graph += _field(11, _value("pixels", 1, (batch, 3, "height", "width")))
    graph += _field(12, _value("logits", 1, (batch, matrix.shape[1])))
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 17))


def write_colours(folder: Path, **changes: Any) -> Path:
    """A package whose `nudity` is how red a picture is, and `gore` how blue; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = [[8.0, 0.0, -8.0], [-8.0, 0.0, -8.0], [-8.0, 0.0, 8.0]]
    (folder / MODEL).write_bytes(colour_model(weights))
    fields: dict[str, Any] = {
        "format": 1,
        "name": "colours",
        "version": "",
        "mean": (0.5, 0.5, 0.5),
        "deviation": (0.5, 0.5, 0.5),
        "outputs": (PixelOutput("nudity", (0,)), PixelOutput("gore", (2,))),
        "probe": (0.0, 0.0),
        "files": {},
        **changes,
    }
    manifest = write_manifest(folder, PixelManifest(**fields))
    if "probe" not in changes:
        scorer = PixelScorer(folder, manifest)
        scores = scorer.score(square(probe_picture(), manifest.geometry)[None])[0]
        write_manifest(folder, PixelManifest(**{**fields, "probe": tuple(map(float, scores))}))
    return folder
