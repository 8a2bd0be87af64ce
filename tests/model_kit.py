"""A fast text model that knows nothing: for tests in which rules, banks and policy decide."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from schemas.categories import TEXT_CATEGORIES
from udfs.calibration import Platt
from udfs.text_fast import (
    CLOSE_WINDOW,
    MANIFEST,
    WEIGHTS,
    WINDOW,
    FastTextManifest,
    FileEntry,
)
from udfs.text_features import BUCKETS, SCHEME


def write_model(folder: Path, *, probability: float = 0.001) -> Path:
    """Write a model that gives every text this probability in each category; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = len(TEXT_CATEGORIES)
    np.save(folder / WEIGHTS, np.zeros((BUCKETS, columns), np.int8))
    raw = (folder / WEIGHTS).read_bytes()
    bias = float(np.log(probability / (1 - probability)))
    manifest = FastTextManifest(
        format=1,
        name="fast_text",
        version="",
        scheme=SCHEME,
        window=WINDOW,
        close_window=CLOSE_WINDOW,
        categories=tuple(TEXT_CATEGORIES),
        scales=(1.0,) * columns,
        biases=(bias,) * columns,
        margins=(0.0,) * columns,
        calibrators=(Platt(1.0, 0.0),) * columns,
        priors=(0.01,) * columns,
        files={WEIGHTS: FileEntry(hashlib.sha256(raw).hexdigest(), len(raw))},
    )
    manifest = msgspec.structs.replace(manifest, version=manifest.content_hash())
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder
