"""`manifest.json` of a heavy text tier's package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from udfs.calibration import Calibrator
from udfs.model_package import MANIFEST, PackagedFile

TOKENIZER: Final = "tokenizer.json"
Precision = Literal["int8", "fp16", "fp32"]
LEAST_TOKENS: Final = 8


def model_file(precision: str) -> str:
    """Name of the ONNX file of that precision."""
    return f"model.{precision}.onnx"


class DeepTextManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to score with a transformer, and how it came about."""

    format: int
    name: str
    version: str
    """First 12 hex digits of the SHA-256 over what decides the scores."""
    architecture: str
    """Hugging Face's name of it, as `bert` or `distilbert`."""
    categories: tuple[str, ...]
    languages: tuple[str, ...]
    """ISO 639-1 codes that the model was trained on."""
    max_tokens: int
    """Most tokens of a window, special ones included."""
    pad_id: int
    hide_id: int
    """The token that stands for a hidden word when a score is explained."""
    calibrators: tuple[Calibrator, ...]
    """From logits to probabilities, one a category."""
    priors: tuple[float, ...]
    """Share of positives in traffic that the probabilities are calibrated for, a category."""
    blend: dict[str, tuple[float, float, float]] = {}
    """By category, how the fast tier's word is joined with this one's: weights of the log-odds of
    the fast tier's and of this tier's probability, and an offset. A category that is not here is
    this tier's alone."""
    thresholds: dict[str, dict[str, float]] = {}
    """By category: probabilities that reach what the name says on the calibration rows."""
    probes: tuple[str, ...]
    """Normalised texts whose scores a loaded model must reproduce."""
    probe_logits: tuple[tuple[float, ...], ...]
    """Logits of the probes in fp32, shape (probes, categories)."""
    parity: float
    """Most that a probe's probability, before calibration, may differ from fp32's."""
    files: dict[str, PackagedFile]
    labels: dict[str, Any] = {}
    """How an imported model's own labels were read; empty for models trained here."""
    training: dict[str, Any] = {}
    """Data, licences, parent, seed, versions."""
    metrics: dict[str, Any] = {}

    def content_hash(self) -> str:
        """What `version` must be."""
        decides: tuple[Any, ...] = (
            self.categories,
            self.max_tokens,
            self.calibrators,
            {name: entry.sha256 for name, entry in sorted(self.files.items())},
        )
        if self.blend:
            decides = (*decides, dict(sorted(self.blend.items())))
        return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:12]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions that the package has a file of."""
        every: tuple[Precision, ...] = ("int8", "fp16", "fp32")
        return tuple(name for name in every if model_file(name) in self.files)


def check_manifest(manifest: DeepTextManifest, folder: Path) -> None:
    """Refuse a manifest that contradicts itself.

    Raises:
        ConfigError: saying what is wrong.
    """
    columns = len(manifest.categories)
    places = [
        TEXT_CATEGORIES.index(name) if name in TEXT_CATEGORIES else -1
        for name in manifest.categories
    ]
    problem = ""
    if manifest.format != 1:
        problem = f"format {manifest.format} is not known; this version reads format 1"
    elif not places or -1 in places or places != sorted(set(places)):
        problem = f"categories must be some of {', '.join(TEXT_CATEGORIES)}, in that order"
    elif manifest.max_tokens < LEAST_TOKENS:
        problem = f"max_tokens must be {LEAST_TOKENS} or more"
    elif len(manifest.calibrators) != columns or len(manifest.priors) != columns:
        problem = "calibrators and priors need one entry a category"
    elif not manifest.probes or len(manifest.probe_logits) != len(manifest.probes):
        problem = "probes and probe_logits must be there, and be as many"
    elif any(len(row) != columns for row in manifest.probe_logits):
        problem = "probe_logits need one entry a category"
    elif TOKENIZER not in manifest.files or not manifest.precisions:
        problem = f"files must name {TOKENIZER} and a model"
    elif not set(manifest.blend) <= set(manifest.categories) or any(
        min(fast, own) < 0 for fast, own, _ in manifest.blend.values()
    ):
        problem = "blend must name categories of the model, with weights of 0 or more"
    elif manifest.version != manifest.content_hash():
        problem = "version does not fit the content: the manifest was edited; export again"
    if problem:
        raise ConfigError(problem, file=str(folder / MANIFEST))
