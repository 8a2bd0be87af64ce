"""Text in pictures: printed and drawn (RapidOCR or Tesseract), and in matrix codes (zxing-cpp)."""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import io
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageDraw

from schemas.evidence import FoundText, TextPart, TextSource
from schemas.media_job import OcrPart
from udfs.media_image import MediaError, fit

LEAST_SIDE: Final = 8
"""Pixels: a picture that is lower or narrower holds no letter."""
CODES: Final = (
    "QRCode",
    "MicroQRCode",
    "RMQRCode",
    "Aztec",
    "DataMatrix",
    "PDF417",
    "MaxiCode",
)
"""Codes that hold text. Bars on goods are left out: they are numbers, and seen where none are."""
_MODELS: Final = (
    ("Det", "PP-OCRv6_det_small.onnx"),
    ("Cls", "ch_ppocr_mobile_v2.0_cls_mobile.onnx"),
    ("Rec", "PP-OCRv6_rec_small.onnx"),
)
Corners = tuple[tuple[float, float], ...]


class Line(NamedTuple):
    """One line of text."""

    text: str
    box: Corners
    """Four corners in pixels, clockwise from the text's top left."""
    confidence: float


class Reader(Protocol):
    """An OCR engine."""

    name: str
    version: str

    def read(self, picture: Image.Image) -> list[Line]:
        """Lines in reading order."""
        ...


class RapidReader:
    """RapidOCR with the models of its wheel, on one thread.

    Args:
        side: longer side that lines are looked for at, pixels.
    """

    name = "rapidocr"

    def __init__(self, side: int = 512) -> None:
        package = importlib.import_module("rapidocr")
        self.version = importlib.metadata.version("rapidocr")
        models = Path(str(package.__file__)).parent / "models"
        for _, file in _MODELS:
            # It would try to fetch one that is missing.
            if not (models / file).is_file():
                raise FileNotFoundError(f"rapidocr's wheel has no {file}")
        self._engine: Any = package.RapidOCR(
            params={
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                # Its own way is to scale small pictures up: fifteen times the work for nothing.
                "Det.limit_type": "max",
                "Det.limit_side_len": side,
                **{f"{part}.model_path": str(models / file) for part, file in _MODELS},
            }
        )
        # Models are loaded when they are first needed: before there is a limit, and anything to
        # be afraid of.
        sample = Image.new("RGB", (160, 48), "white")
        ImageDraw.Draw(sample).text((8, 8), "ready", fill="black", font_size=28)
        self.read(sample)

    def read(self, picture: Image.Image) -> list[Line]:
        found = self._engine(np.ascontiguousarray(np.asarray(picture)[..., ::-1]))
        if found.boxes is None or found.txts is None or found.scores is None:
            return []
        return [
            Line(text, tuple((float(x), float(y)) for x, y in box), float(score))
            for text, box, score in zip(found.txts, found.boxes, found.scores, strict=True)
        ]


class TesseractReader:
    """The tesseract command, which runs within the limits of whoever starts it.

    Args:
        languages: as `eng+deu`.
    """

    name = "tesseract"

    def __init__(self, languages: str) -> None:
        command = shutil.which("tesseract")
        if command is None:
            raise FileNotFoundError("there is no command tesseract")
        self._command = [command, "stdin", "stdout", "-l", languages, "--psm", "3", "tsv"]
        said = subprocess.run(  # noqa: S603 - found in PATH
            [command, "--version"], capture_output=True, text=True, check=True
        ).stdout
        self.version = said.split("\n", 1)[0].removeprefix("tesseract ")

    def read(self, picture: Image.Image) -> list[Line]:
        buffer = io.BytesIO()
        picture.save(buffer, "PPM")
        done = subprocess.run(  # noqa: S603 - the command is ours, the picture comes on stdin
            self._command,
            input=buffer.getvalue(),
            capture_output=True,
            check=False,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )
        if done.returncode:
            raise MediaError("crashed", f"tesseract ended with status {done.returncode}")
        return _lines(done.stdout.decode("utf-8", "replace"))


def _lines(table: str) -> list[Line]:
    """Lines out of tesseract's table of words."""
    lines: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] == "5" and row["text"].strip():
            place = tuple(row[name] for name in ("page_num", "block_num", "par_num", "line_num"))
            lines.setdefault(place, []).append(row)
    found = []
    for words in lines.values():
        left = min(int(word["left"]) for word in words)
        top = min(int(word["top"]) for word in words)
        right = max(int(word["left"]) + int(word["width"]) for word in words)
        bottom = max(int(word["top"]) + int(word["height"]) for word in words)
        sure = sum(float(word["conf"]) for word in words) / len(words) / 100
        box = ((left, top), (right, top), (right, bottom), (left, bottom))
        found.append(Line(" ".join(word["text"] for word in words), box, min(1.0, max(0.0, sure))))
    return found


def make_reader(part: OcrPart) -> Reader | None:
    """The engine that the settings name; None where they name none.

    Raises:
        Exception: of whatever kind, where it is not installed or does not load.
    """
    if part.engine == "none":
        return None
    if part.engine == "rapidocr":
        return RapidReader(part.detect_side)
    return TesseractReader(part.languages)


def read_text(
    reader: Reader,
    picture: Image.Image,
    part: OcrPart,
    *,
    width: int,
    seconds: float | None = None,
) -> FoundText | None:
    """What stands in a picture, as one text of lines; None where nothing does.

    Args:
        reader: the engine.
        picture: RGB.
        part: settings.
        width: of the picture as it came, pixels: boxes are given in those.
        seconds: of the frame.
    """
    small = fit(picture, part.side)
    if min(small.size) < LEAST_SIDE:
        return None
    lines = [line for line in reader.read(small) if line.confidence >= part.confidence]
    scale = width / small.width
    return joined("ocr", reader.name, lines, scale=scale, seconds=seconds)


def joined(
    source: TextSource,
    engine: str,
    lines: Sequence[Line],
    *,
    scale: float = 1.0,
    seconds: float | None = None,
) -> FoundText | None:
    """Lines as one text, each with its place in it and in the picture."""
    parts: list[TextPart] = []
    texts: list[str] = []
    place = 0
    for line in lines:
        text = line.text.encode("utf-8", "replace").decode("utf-8").strip()
        if not text:
            continue
        box = [round(value * scale, 1) for corner in line.box for value in corner]
        sure = round(min(1.0, max(0.0, line.confidence)), 4)
        parts.append(TextPart(start=place, end=place + len(text), box=box, confidence=sure))
        texts.append(text)
        place += len(text) + 1
    if not texts:
        return None
    return FoundText(
        source=source, engine=engine, text="\n".join(texts), seconds=seconds, parts=parts
    )


class CodeReader:
    """Reads QR and other matrix codes."""

    name = "zxing-cpp"

    def __init__(self) -> None:
        self._zxing: Any = importlib.import_module("zxingcpp")
        self.version = importlib.metadata.version("zxing-cpp")
        formats = [getattr(self._zxing.BarcodeFormat, name) for name in CODES]
        self._formats = self._zxing.BarcodeFormats(formats)

    def read(self, picture: Image.Image, *, scale: float = 1.0,
             seconds: float | None = None) -> FoundText | None:  # fmt: skip
        """All codes of a picture, one a line.

        Args:
            picture: RGB.
            scale: pixels of the picture as it came for one of this one.
            seconds: of the frame.
        """
        if min(picture.size) < LEAST_SIDE:
            return None
        grey = np.asarray(picture.convert("L"))
        lines = []
        for code in self._zxing.read_barcodes(grey, formats=self._formats):
            at = code.position
            corners = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
            box = tuple((float(point.x), float(point.y)) for point in corners)
            # A line for each code: what would break it stands for nothing people can see.
            lines.append(Line(" ".join(code.text.split()), box, 1.0))
        return joined("qr", self.name, lines, scale=scale, seconds=seconds)


def shortened(texts: Iterable[FoundText], most: int) -> tuple[list[FoundText], bool]:
    """The first `most` characters of texts, and whether something was left out.

    A text that an earlier frame had already, word for word, is left out without a word.
    """
    kept: list[FoundText] = []
    seen: set[tuple[str, str]] = set()
    left = most
    for found in texts:
        if (found.source, found.text) in seen:
            continue
        seen.add((found.source, found.text))
        if len(found.text) > left:
            text = found.text[:left]
            parts = [part for part in found.parts if part.end <= left]
            if text:
                kept.append(
                    FoundText(source=found.source, engine=found.engine, text=text,
                              seconds=found.seconds, parts=parts)
                )  # fmt: skip
            return kept, True
        left -= len(found.text)
        kept.append(found)
    return kept, False
