"""An ONNX image classifier as a pixel package: what the file says of itself and what it does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime as ort

from schemas.errors import ConfigError, SluiceError
from schemas.yaml_source import YamlSource
from scripts.cli.image.label_map import ImageLabelMap, Preprocessing
from udfs.model_package import sha256_of
from udfs.pixel_package import (
    MODEL,
    Geometry,
    PixelManifest,
    PixelOutput,
    check_manifest,
    write_manifest,
)
from udfs.pixels import PixelScorer, load, probe_picture, square

_SURE = 1e-3
"""How far a sum of probabilities may be from one."""
_APART = 1e-3
"""Most that a picture's score may depend on the others of its batch."""


class Signature(NamedTuple):
    """What an ONNX file says about its first input and output."""

    layout: Literal["NCHW", "NHWC"]
    side: int | None
    """Pixels; None where any size goes."""
    labels: int | None
    """None where it does not say."""


def signature(path: Path) -> Signature:
    """Read the shapes of a model.

    Raises:
        ConfigError: it is no image classifier, or cannot be loaded.
    """
    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(f"cannot be loaded: {error}", file=str(path)) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise ConfigError(f"has {len(inputs)} inputs ({names}), not one", file=str(path))
    shape, kind = inputs[0].shape, inputs[0].type
    if kind != "tensor(float)" or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ConfigError(
            f"its input is {kind} of shape {shape}, not float pixels (n, 3, height, width) or"
            " (n, height, width, 3)",
            file=str(path),
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ConfigError(
            f"takes batches of exactly {shape[0]}; export it with a dynamic batch axis",
            file=str(path),
        )
    layout: Literal["NCHW", "NHWC"] = "NCHW" if shape[1] == 3 else "NHWC"
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    if isinstance(height, int) and isinstance(width, int) and height != width:
        raise ConfigError(f"wants {width} x {height} pixels, not a square", file=str(path))
    side = next((each for each in (height, width) if isinstance(each, int)), None)
    out = outputs[0].shape
    if len(out) != 2:
        raise ConfigError(f"its output has the shape {out}, not (n, labels)", file=str(path))
    return Signature(layout, side, out[1] if isinstance(out[1], int) else None)


def import_file(
    path: Path, labels: ImageLabelMap, labels_file: Path, out: Path, *, name: str
) -> PixelManifest:
    """Make a package out of an ONNX file and prove that it loads and scores.

    Raises:
        ConfigError: the file or the map is wrong, or they contradict each other.
        SluiceError: what the model gives are no probabilities, or depend on the batch.
    """
    source = YamlSource.read(labels_file)
    said = signature(path)
    if not labels.names:
        raise source.error("an ONNX file does not say its labels: give them", ("names",))
    if said.labels is not None and said.labels != len(labels.names):
        raise source.error(f"the model has {said.labels} outputs", ("names",))
    if path.with_name(f"{path.name}.data").exists():
        raise ConfigError("keeps its weights in a second file; save it as one", file=str(path))
    own = labels.preprocessing
    if own is None:
        raise source.error("an ONNX file does not say how pictures are put in", ("preprocessing",))
    if said.side is not None and said.side != own.crop:
        raise source.error(f"the model wants {said.side} pixels", ("preprocessing", "crop"))
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, out / MODEL)
    return write(
        out, own, labels, labels.columns(labels.names, source), layout=said.layout, name=name,
        source={"model": f"{path.name} (sha256 {sha256_of(path)[:16]})"},
    )  # fmt: skip


def write(
    folder: Path,
    own: Preprocessing,
    labels: ImageLabelMap,
    places: list[tuple[int, ...]],
    *,
    layout: Literal["NCHW", "NHWC"],
    name: str,
    source: dict[str, Any],
) -> PixelManifest:
    """Write and prove the manifest of a folder that holds the model.

    Args:
        folder: of the package.
        own: how pictures are put in.
        labels: the map.
        places: columns of each of its categories.
        layout: of the model's input.
        name: of the model, in records.
        source: where it comes from.

    Raises:
        ConfigError: the package does not load.
        SluiceError: what the model gives are no probabilities, or depend on the batch.
    """
    geometry = Geometry(fit=own.fit, resize=own.resize, crop=own.crop, resample=own.resample)
    about = {"licence": labels.licence, "about": labels.about, "labels": dict(labels.labels)}
    outputs = tuple(
        PixelOutput(category, place)
        for category, place in zip(labels.categories, places, strict=True)
    )
    draft = PixelManifest(
        format=1,
        name=name,
        version="",
        geometry=geometry,
        channels=own.channels,
        layout=layout,
        scale=own.scale,
        mean=own.mean,
        deviation=own.deviation,
        activation=labels.activation,
        outputs=outputs,
        probe=(0.0,) * len(outputs),
        files={},
        source={**source, **{key: value for key, value in about.items() if value}},
    )
    scorer = PixelScorer(folder, write_manifest(folder, draft))
    check_manifest(scorer.manifest, folder)
    probe = square(probe_picture(), geometry)
    _prove(scorer, probe, labels)
    (scores,) = scorer.score(probe[None])
    fields = {**_fields(draft), "probe": tuple(map(float, scores))}
    manifest = write_manifest(folder, PixelManifest(**fields))
    load(folder)
    return manifest


def _fields(manifest: PixelManifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in manifest.__struct_fields__}


def _prove(scorer: PixelScorer, probe: Any, labels: ImageLabelMap) -> None:
    """What can be seen of a model without knowing it."""
    pictures = np.stack([probe, probe[::-1], 255 - probe, np.zeros_like(probe)])
    raw = np.concatenate([scorer.raw(each[None]) for each in pictures])
    if not np.isfinite(raw).all():
        raise SluiceError("the model gives no finite numbers; is the preprocessing its own?")
    if labels.activation == "none":
        low, high, sums = raw.min(), raw.max(), raw.sum(1)
        if low < -_SURE or high > 1 + _SURE:
            raise SluiceError(
                f"the model gives {low:.3g} to {high:.3g}, which are no probabilities:"
                " activation must be softmax or sigmoid"
            )
        if len(labels.names) > 1 and np.abs(sums - 1).max() > _SURE:
            raise SluiceError(
                "the model's outputs do not add up to one: each stands for itself; give the map"
                " no two labels of one category, or export the model without its activation"
            )
    elif labels.activation == "softmax" and _adds_up(raw):
        raise SluiceError("the model gives probabilities already: activation must be none")
    together, alone = scorer.score(pictures, 4), scorer.score(pictures, 1)
    apart = float(np.abs(together - alone).max())
    if not apart <= _APART:
        raise SluiceError(f"a picture's score depends on its batch, by {apart:.2g}")


def _adds_up(raw: Any) -> bool:
    return bool(raw.min() >= 0 and raw.shape[1] > 1 and np.abs(raw.sum(1) - 1).max() < _SURE)
