"""Packages of pixel models: one ONNX file and a manifest that says how pictures are put in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from schemas.categories import PIXEL_CATEGORIES
from schemas.errors import ConfigError
from udfs.calibration import Calibrator
from udfs.model_package import MANIFEST, PackagedFile, entry_of

MODEL: Final = "model.onnx"
LARGEST_SIDE: Final = 1024


class Geometry(msgspec.Struct, frozen=True):
    """Which square of a picture a model sees."""

    fit: Literal["short_side", "squash"] = "short_side"
    """How it is brought to size: by its shorter side, or both sides without regard to shape."""
    resize: int = 256
    """Pixels of that side, or of both."""
    crop: int = 224
    """Pixels of the square in the centre."""
    jpeg: bool = False
    """Through a JPEG of quality 75 once more, as the model's training data were."""
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest", "box"] = "bilinear"
    """Pillow's filter that scales it."""


class PixelOutput(msgspec.Struct, frozen=True):
    """Where a category stands in the model's output."""

    category: str
    columns: tuple[int, ...]
    """Probabilities of these labels are added (softmax, none), or the highest counts (sigmoid)."""
    calibrator: Calibrator | None = None
    """From the sum's logit to a probability; None: taken as it is."""


class PixelManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to score with a pixel model, and how it came about."""

    format: int
    name: str
    version: str
    """First 12 hex digits of the SHA-256 over what decides the scores."""
    geometry: Geometry = Geometry()
    channels: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    scale: float = 1 / 255
    """What a byte is multiplied by; then `mean` is subtracted and `deviation` divided by, in the
    order of `channels`."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    """From the model's output to probabilities."""
    outputs: tuple[PixelOutput, ...]
    probe: tuple[float, ...]
    """Scores of the probe picture (`udfs.pixels.probe_picture`), one an output, which a loaded
    model must reproduce."""
    parity: float = 0.02
    """Most that a probe's score may differ."""
    files: dict[str, PackagedFile]
    source: dict[str, Any] = {}
    """Origin, licence, what the labels mean."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Pixel categories that the model scores."""
        return tuple(output.category for output in self.outputs)

    def content_hash(self) -> str:
        """What `version` must be."""
        geometry = msgspec.to_builtins(self.geometry)
        if self.geometry.resample == "bilinear":
            # Packages that were written before there was a choice keep their version.
            del geometry["resample"]
        decides = (
            geometry,
            self.channels,
            self.layout,
            self.scale,
            self.mean,
            self.deviation,
            self.activation,
            self.outputs,
            {name: entry.sha256 for name, entry in sorted(self.files.items())},
        )
        return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:12]


def check_manifest(manifest: PixelManifest, folder: Path) -> None:
    """Refuse a manifest that contradicts itself.

    Raises:
        ConfigError: saying what is wrong.
    """
    geometry = manifest.geometry
    problem = ""
    if manifest.format != 1:
        problem = f"format {manifest.format} is not known; this version reads format 1"
    elif not manifest.outputs or not set(manifest.categories) <= set(PIXEL_CATEGORIES):
        problem = f"outputs must be for some of {', '.join(PIXEL_CATEGORIES)}"
    elif len(set(manifest.categories)) < len(manifest.categories):
        problem = "outputs name a category twice"
    elif not all(output.columns and min(output.columns) >= 0 for output in manifest.outputs):
        problem = "every output needs columns, counted from 0"
    elif not 8 <= geometry.crop <= geometry.resize <= LARGEST_SIDE:
        problem = f"geometry needs 8 <= crop <= resize <= {LARGEST_SIDE}"
    elif not all(manifest.deviation):
        problem = "deviation must not be 0"
    elif len(manifest.probe) != len(manifest.outputs):
        problem = "probe needs one score an output"
    elif set(manifest.files) != {MODEL}:
        problem = f"files must name {MODEL}, and it alone"
    elif manifest.version != manifest.content_hash():
        problem = "version does not fit the content: the manifest was edited; export again"
    if problem:
        raise ConfigError(problem, file=str(folder / MANIFEST))


def write_manifest(folder: Path, manifest: PixelManifest) -> PixelManifest:
    """Write the manifest of a folder that holds `MODEL`; fills in file, version and format."""
    whole = msgspec.structs.replace(manifest, format=1, files={MODEL: entry_of(folder / MODEL)})
    whole = msgspec.structs.replace(whole, version=whole.content_hash())
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=2))
    return whole
