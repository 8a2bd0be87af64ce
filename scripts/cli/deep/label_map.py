"""How a foreign model's labels are read as our categories: the YAML file of `import_model`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.categories import TEXT_CATEGORIES
from schemas.yaml_source import FaultError, YamlSource
from scripts.cli.label_columns import label_columns


class LabelMap(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    activation: Literal["sigmoid", "softmax"]
    """sigmoid: every label for itself; softmax: one label a text."""
    languages: Annotated[tuple[str, ...], Field(min_length=1)] = ("en",)
    max_tokens: Annotated[int, Field(ge=8)] = 256
    labels: dict[str, str]
    """The model's label to a category. Several may share one: the highest counts (sigmoid), or
    their probabilities are added up (softmax). Labels that are left out say nothing."""

    @model_validator(mode="after")
    def _known_categories(self) -> Self:
        for label, category in self.labels.items():
            if category not in TEXT_CATEGORIES:
                there = ", ".join(TEXT_CATEGORIES)
                raise FaultError(f"unknown category; there are: {there}", "labels", label)
        if not self.labels:
            raise FaultError("must name a label", "labels")
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
        return tuple(name for name in TEXT_CATEGORIES if name in self.labels.values())


def load(path: Path) -> LabelMap:
    """Read and check the file.

    Raises:
        ConfigError: naming file, line and field.
    """
    return YamlSource.read(path).validate(LabelMap)
