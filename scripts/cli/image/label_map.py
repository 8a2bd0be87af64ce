"""How a foreign image model is read: the YAML file of `import_image_model`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.categories import PIXEL_CATEGORIES
from schemas.yaml_source import FaultError, YamlSource
from scripts.cli.label_columns import label_columns

Triple = tuple[float, float, float]


class Preprocessing(BaseModel):
    """What an ONNX file does not say about itself: how a picture becomes its input.

    A Hugging Face folder says so in `preprocessor_config.json`; then this part is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: Literal["short_side", "squash"] = "short_side"
    """By the shorter side, then the middle is cut out; or both sides without regard to shape."""
    resize: Annotated[int, Field(ge=8, le=1024)] = 256
    crop: Annotated[int, Field(ge=8, le=1024)] = 224
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest", "box"] = "bilinear"
    channels: Literal["RGB", "BGR"] = "RGB"
    scale: Annotated[float, Field(gt=0)] = 1 / 255
    """What a byte is multiplied by; then `mean` is subtracted and `deviation` divided by."""
    mean: Triple = (0.485, 0.456, 0.406)
    deviation: Triple = (0.229, 0.224, 0.225)


class ImageLabelMap(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    activation: Literal["softmax", "sigmoid", "none"]
    """softmax: one label a picture; sigmoid: every label for itself; none: the model's output is
    probabilities already."""
    labels: dict[str, str]
    """The model's label to a category. Several may share one: their probabilities are added up
    (softmax, none), or the highest counts (sigmoid). Labels that are left out say nothing."""
    names: tuple[str, ...] = ()
    """The model's labels in the order of its output; a Hugging Face folder says them itself."""
    preprocessing: Preprocessing | None = None
    licence: str = ""
    """Of the weights, for the manifest."""
    about: str = ""
    """What the model is, and what it was trained on."""

    @model_validator(mode="after")
    def _known_categories(self) -> Self:
        for label, category in self.labels.items():
            if category not in PIXEL_CATEGORIES:
                there = ", ".join(PIXEL_CATEGORIES)
                raise FaultError(f"unknown category; there are: {there}", "labels", label)
        if not self.labels:
            raise FaultError("must name a label", "labels")
        if len(set(self.names)) < len(self.names):
            raise FaultError("a label stands there twice", "names")
        own = self.preprocessing
        if own is not None and own.crop > own.resize:
            raise FaultError("must not be larger than resize", "preprocessing", "crop")
        if own is not None and not all(own.deviation):
            raise FaultError("must not be 0", "preprocessing", "deviation")
        return self

    def columns(self, names: Sequence[str], source: YamlSource) -> list[tuple[int, ...]]:
        """For each of `categories` the model's outputs that stand for it; see `label_columns`.

        Args:
            names: the model's own labels, by output.
            source: the map's file, for errors.
        """
        exclusive = self.activation != "sigmoid"
        return label_columns(self.labels, self.categories, names, source, exclusive=exclusive)

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories that some label stands for, in our order."""
        return tuple(name for name in PIXEL_CATEGORIES if name in self.labels.values())


def load(path: Path) -> ImageLabelMap:
    """Read and check the file.

    Raises:
        ConfigError: naming file, line and field.
    """
    return YamlSource.read(path).validate(ImageLabelMap)
