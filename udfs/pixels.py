"""Pixel scores: a picture to a square, squares to probabilities by an ONNX model, in batches.

The square is cut where the picture is decoded (in the limited process); what crosses over is
pixels of a fixed size, which no decoder has to look at again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image

from schemas.errors import ConfigError
from udfs.model_package import MANIFEST, check_files, read_manifest
from udfs.pixel_package import MODEL, Geometry, PixelManifest, check_manifest

Squares = npt.NDArray[np.uint8]
"""RGB, shape (pictures, side, side, 3)."""
PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_FILTERS: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
}
_LONGEST: Final = 4
"""Times the shorter side: beyond that only the middle of the longer one is scaled, as no more of
it can reach the square."""
_NEVER: Final = 1e-6


def square(image: Image.Image, geometry: Geometry) -> Squares:
    """What a model sees of an RGB picture, shape (crop, crop, 3).

    By the shorter side as torchvision's Resize and CenterCrop do, or squashed.
    """
    size, crop = geometry.resize, geometry.crop
    width, height = image.size
    how = _FILTERS[geometry.resample]
    if geometry.fit == "squash":
        scaled = image.resize((size, size), how)
    else:
        short = min(width, height)
        if max(width, height) > _LONGEST * short:
            half = _LONGEST * short // 2
            x, y = width // 2, height // 2
            image = image.crop(
                (max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half))
            )
            width, height = image.size
        scaled = image.resize(
            (max(size, size * width // short), max(size, size * height // short)), how
        )
    left, top = round((scaled.width - crop) / 2), round((scaled.height - crop) / 2)
    cut = scaled.crop((left, top, left + crop, top + crop))
    if geometry.jpeg:
        buffer = io.BytesIO()
        cut.save(buffer, "JPEG")
        cut = Image.open(buffer, formats=["JPEG"])
    return np.asarray(cut.convert("RGB"), np.uint8)


def probe_picture() -> Image.Image:
    """A picture that is the same everywhere: waves of three colours, 320 x 240."""
    y, x = np.mgrid[0:240, 0:320]
    waves = [np.sin(x / 23) + np.cos(y / 17), np.sin((x + y) / 31), np.cos((x - 2 * y) / 13)]
    levels = [np.round(127.5 + 60 * wave).clip(0, 255) for wave in waves]
    return Image.fromarray(np.stack(levels, -1).astype(np.uint8))


class PixelScorer:
    """One model. Make it by `load`.

    Args:
        folder: a package, already checked.
        manifest: its manifest.
        threads: of the processor, for one batch.
        provider: what it runs on.

    Raises:
        ConfigError: the model cannot be loaded, or its output is not what the manifest says.
    """

    def __init__(
        self, folder: Path, manifest: PixelManifest, *, threads: int = 1, provider: str = "cpu"
    ) -> None:
        self.manifest = manifest
        self._file = folder / MODEL
        self._session = _session(self._file, threads, provider)
        first = self._session.get_inputs()[0]
        self._input = first.name
        # A file that was exported for one picture at a time takes them one by one.
        self._alone = bool(first.shape) and first.shape[0] == 1
        deviation = np.asarray(manifest.deviation, np.float32)
        self._factor = np.float32(manifest.scale) / deviation
        self._shift = np.asarray(manifest.mean, np.float32) / deviation

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def categories(self) -> tuple[str, ...]:
        return self.manifest.categories

    @property
    def geometry(self) -> Geometry:
        return self.manifest.geometry

    def score(self, squares: Squares, batch: int = 8) -> npt.NDArray[np.float32]:
        """Probabilities, shape (pictures, categories), in [0, 1].

        Args:
            squares: as `square` cut them by this model's geometry.
            batch: pictures that run together.
        """
        side = self.geometry.crop
        if squares.shape[1:] != (side, side, 3):
            raise ValueError(f"squares have the shape {squares.shape}, not (n, {side}, {side}, 3)")
        batch = 1 if self._alone else batch
        rows = [
            self._scores(self.raw(squares[first : first + batch]))
            for first in range(0, len(squares), batch)
        ]
        return np.concatenate(rows) if rows else np.empty((0, len(self.categories)), np.float32)

    def raw(self, squares: Squares) -> npt.NDArray[np.float64]:
        """The model's output before its activation, shape (pictures, labels)."""
        (out, *_) = self._session.run(None, {self._input: self._values(squares)})
        out = np.asarray(out, np.float64)
        needed = 1 + max(max(output.columns) for output in self.manifest.outputs)
        if out.ndim != 2 or out.shape[0] != len(squares) or out.shape[1] < needed:
            raise ConfigError(
                f"the output has the shape {out.shape}, not ({len(squares)}, {needed} or more)",
                file=str(self._file),
            )
        return out

    def _values(self, squares: Squares) -> npt.NDArray[np.float32]:
        """Pixels as the model wants them: a channel at a time, a third of the time of all."""
        count, height, width, _ = squares.shape
        planar = self.manifest.layout == "NCHW"
        shape = (count, 3, height, width) if planar else squares.shape
        values = np.empty(shape, np.float32)
        for place, colour in enumerate((0, 1, 2) if self.manifest.channels == "RGB" else (2, 1, 0)):
            channel = values[:, place] if planar else values[..., place]
            np.multiply(squares[..., colour], self._factor[place], out=channel)
            channel -= self._shift[place]
        return values

    def _scores(self, out: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        kind = self.manifest.activation
        if kind == "softmax":
            out = np.exp(out - out.max(1, keepdims=True))
            out /= out.sum(1, keepdims=True)
        elif kind == "sigmoid":
            out = 1 / (1 + np.exp(-out.clip(-60, 60)))
        columns = []
        for output in self.manifest.outputs:
            chosen = out[:, list(output.columns)]
            probability = chosen.max(1) if kind == "sigmoid" else chosen.sum(1)
            if output.calibrator is not None:
                sure = probability.clip(_NEVER, 1 - _NEVER)
                probability = output.calibrator(np.log(sure / (1 - sure)))
            columns.append(probability.clip(0, 1))
        return np.asarray(np.stack(columns, 1), np.float32)

    def deviation(self) -> float:
        """Most that a score of the probe picture differs from the manifest's; inf for NaN."""
        found = self.score(square(probe_picture(), self.geometry)[None])[0]
        most = float(np.abs(found - np.asarray(self.manifest.probe)).max())
        return most if math.isfinite(most) else math.inf


def load(folder: Path, *, threads: int = 1, provider: str = "cpu") -> PixelScorer:
    """Load and prove a package.

    Raises:
        ConfigError: it is missing or changed, does not load, or does not score its probe as its
            manifest says.
    """
    manifest = read_manifest(folder, PixelManifest)
    check_manifest(manifest, folder)
    check_files(folder, manifest.files)
    scorer = PixelScorer(folder, manifest, threads=threads, provider=provider)
    try:
        deviation = scorer.deviation()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"does not run: {error}", file=str(folder / MODEL)) from error
    if deviation > manifest.parity:
        raise ConfigError(
            f"scores its probe picture {deviation:.3f} off, at most {manifest.parity} is right:"
            " this processor computes it wrongly, or the preprocessing is not the model's",
            file=str(folder / MANIFEST),
        )
    return scorer


def highest(
    scores: npt.NDArray[np.float32], categories: Sequence[str]
) -> dict[str, tuple[float, int]]:
    """By category the maximum over frames, and the first frame that has it.

    Args:
        scores: shape (frames, categories), at least one frame.
        categories: of the columns.
    """
    at = scores.argmax(0)
    return {
        category: (float(scores[at[column], column]), int(at[column]))
        for column, category in enumerate(categories)
    }


def _session(path: Path, threads: int, provider: str) -> Any:
    name = PROVIDERS[provider]
    if name not in ort.get_available_providers():
        raise ConfigError(
            f"provider {provider} is not in this onnxruntime; there are: "
            f"{', '.join(ort.get_available_providers())}",
            file=str(path),
        )
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # A waiting thread that spins takes the core from whoever has work.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider != "cpu":
        ort.preload_dlls()  # CUDA's libraries, where they came as Python packages
    chain = [name] if provider == "cpu" else [name, PROVIDERS["cpu"]]
    try:
        return ort.InferenceSession(str(path), settings, providers=chain)
    except Exception as error:
        raise ConfigError(f"cannot be loaded: {error}", file=str(path)) from error
