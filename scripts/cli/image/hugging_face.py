"""A Hugging Face image classifier as a pixel package: preprocessing read, network exported."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification

from schemas.errors import ConfigError, SluiceError
from schemas.yaml_source import YamlSource
from scripts.cli.deep import base
from scripts.cli.image import onnx_file
from scripts.cli.image.brush import Brush
from scripts.cli.image.label_map import ImageLabelMap, Preprocessing
from scripts.cli.image.network import OPSET, verify
from udfs.pixel_package import MODEL, PixelManifest
from udfs.pixels import PixelScorer, probe_picture, square

PROCESSOR: Final = "preprocessor_config.json"
APART: Final = 0.02
"""Most that a probability may differ from the one of the folder's own code."""
_FILTERS: Final[dict[int, Literal["bilinear", "bicubic", "lanczos", "nearest", "box"]]] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
}
_WHOLE: Final = 384
"""ConvNeXT's processor cuts nothing off from this size on."""


class Imported(NamedTuple):
    """A package, and how far it is from the folder's own code."""

    manifest: PixelManifest
    apart: float
    """Largest difference of a category's probability over the test pictures."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that is no image classifier.

    Raises:
        SluiceError: saying what is missing.
    """
    for file in ("config.json", PROCESSOR):
        if not (folder / file).is_file():
            raise SluiceError(f"{folder}: holds no {file}, so no Hugging Face image classifier")
    if not any((folder / name).is_file() for name in base.WEIGHTS):
        raise SluiceError(f"{folder}: holds none of {', '.join(base.WEIGHTS)}")


def preprocessing(processor: Any, folder: Path) -> Preprocessing:
    """What a folder's processor does to a picture, in our terms.

    Args:
        processor: Hugging Face's.
        folder: that it came from, for errors.

    Raises:
        ConfigError: it does something that has no such terms.
    """
    said: dict[str, Any] = processor.to_dict()

    def refuse(what: str) -> ConfigError:
        return ConfigError(f"{what}; export the model to ONNX and say its preprocessing in the map",
                           file=str(folder / PROCESSOR))  # fmt: skip

    if not said.get("do_resize", True):
        raise refuse("does not resize")
    if said.get("rescale_offset") or said.get("do_pad"):
        raise refuse("shifts or pads pixels")
    size = dict(said.get("size") or {})
    fit: Literal["short_side", "squash"]
    if size.get("shortest_edge"):
        fit, resize = "short_side", int(size["shortest_edge"])
        crop = _crop(said, resize)
        if said.get("crop_pct"):
            # ConvNeXT, ResNet and their like: scaled up by it, then cut to the size.
            if resize < _WHOLE:
                resize, crop = int(resize / float(said["crop_pct"])), resize
            else:
                fit, crop = "squash", resize
    elif size.get("height") and size.get("height") == size.get("width"):
        fit, resize = "squash", int(size["height"])
        crop = _crop(said, resize)
    else:
        raise refuse(f"resizes to {size}, which is no square and no shorter side")
    if fit == "short_side" and crop > resize:
        raise refuse(f"cuts {crop} pixels out of {resize}")
    how = _FILTERS.get(int(said.get("resample", 2)))
    if how is None:
        raise refuse(f"resamples by filter {said.get('resample')}")
    normalised = said.get("do_normalize", True)
    return Preprocessing(
        fit=fit,
        resize=resize,
        crop=crop,
        resample=how,
        scale=float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0,
        mean=_triple(said["image_mean"]) if normalised else (0.0, 0.0, 0.0),
        deviation=_triple(said["image_std"]) if normalised else (1.0, 1.0, 1.0),
    )


def _crop(said: dict[str, Any], otherwise: int) -> int:
    if not said.get("do_center_crop"):
        return otherwise
    crop = dict(said.get("crop_size") or {})
    return int(crop.get("height", otherwise))


def _triple(numbers: Any) -> tuple[float, float, float]:
    if isinstance(numbers, int | float):
        numbers = [numbers] * 3
    red, green, blue = map(float, numbers)
    return red, green, blue


class _Logits(nn.Module):  # type: ignore[misc]  # the checks do not look PyTorch up
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Any) -> Any:
        return self.model(pixel_values=pixel_values).logits.float()


def import_folder(
    folder: Path, labels: ImageLabelMap, labels_file: Path, out: Path, *, name: str
) -> Imported:
    """Export a folder and compare the package with the folder's own code.

    Raises:
        ConfigError: the map or the preprocessing cannot be carried over.
        SluiceError: the package scores pictures otherwise than the folder's own code does.
    """
    check_folder(folder)
    source = YamlSource.read(labels_file)
    for field in ("names", "preprocessing"):
        if field in labels.model_fields_set:
            raise source.error("a Hugging Face folder says this itself: leave it out", (field,))
    if labels.activation == "none":
        raise source.error("a Hugging Face model gives logits: softmax or sigmoid", ("activation",))
    # Pillow's side of it: what crops and scales in the job is Pillow as well.
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    model = AutoModelForImageClassification.from_pretrained(
        folder, local_files_only=True, attn_implementation="eager"
    ).eval()
    names = tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))
    places = labels.columns(names, source)
    own = preprocessing(processor, folder)
    out.mkdir(parents=True, exist_ok=True)
    # The exporter puts back the mode of the outermost module, and with it that of all others.
    _export(_Logits(model).eval(), own.crop, out / MODEL)
    manifest = onnx_file.write(
        out, own, labels, places, layout="NCHW", name=name,
        source={
            "model": f"{model.config.model_type}: {base.origin(folder)}",
            "architecture": model.config.model_type,
        },
    )  # fmt: skip
    apart = _compare(PixelScorer(out, manifest), processor, model, labels, places)
    if not apart <= APART:
        raise SluiceError(
            f"the package scores pictures up to {apart:.3f} otherwise than the folder's own code:"
            " its preprocessing does something that was not understood"
        )
    return Imported(manifest, apart)


def _export(model: Any, side: int, path: Path) -> None:
    pixels = torch.from_numpy(
        np.random.default_rng(0).normal(0, 1, (3, 3, side, side)).astype(np.float32)
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (pixels[:2],),
            str(path),
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_axes={"pixel_values": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    verify(path, pixels.numpy(), model)


def _compare(
    scorer: PixelScorer, processor: Any, model: Any, labels: ImageLabelMap,
    places: list[tuple[int, ...]],
) -> float:  # fmt: skip
    """Largest difference to the folder's own code, over pictures of many shapes."""
    pictures = [probe_picture(), *(Brush((1, n)).scene(*size) for n, size in enumerate(_SHAPES))]
    worst = 0.0
    for picture in pictures:
        (got,) = scorer.score(square(picture, scorer.geometry)[None])
        own = processor(_whole(picture), return_tensors="pt")
        with torch.no_grad():
            logits = model(**own).logits[0].double()
        if labels.activation == "sigmoid":
            there = torch.sigmoid(logits).numpy()
            wanted = [there[list(place)].max() for place in places]
        else:
            there = torch.softmax(logits, 0).numpy()
            wanted = [there[list(place)].sum() for place in places]
        worst = max(worst, float(np.abs(got - np.asarray(wanted)).max()))
    return worst


_SHAPES: Final = ((640, 480), (333, 500), (1024, 300), (224, 224), (97, 131))


def _whole(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB")
