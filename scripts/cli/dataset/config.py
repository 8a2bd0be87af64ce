"""What goes into a data set: `conf/training/dataset.yaml` and `identities.yaml`, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.settings import CONF
from schemas.yaml_source import FaultError, YamlSource
from scripts.cli.training_data import SOURCES, TEMPLATES

PATH: Final = CONF / "training/dataset.yaml"
IDENTITIES: Final = CONF / "training/identities.yaml"
FEEDBACK: Final = "feedback"
"""Source name of rows that came from `moderation.feedback`."""
TRICKS: Final = ("leet", "look_alike", "zero_width", "spacing", "emoji", "misspelling")

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0)]
_Word = Annotated[str, StringConstraints(min_length=1, to_lower=True, strip_whitespace=True)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceConfig(_Part):
    """How the rows of one set are taken."""

    weight: Weight = 1.0
    """What a row weighs in the loss."""
    min_agreement: Share = 0.0
    """Least share of raters on the majority's side, or the label is unknown."""
    most: Annotated[int, Field(gt=0)] | None = None
    """Most rows, drawn by hash; null takes all."""


class HoldoutConfig(_Part):
    """Rows that only test, beside the fifth of all groups that does."""

    subsets: tuple[_Word, ...] = ()
    """`source/subset` (as `hatemoji/validation`), held out whole."""
    newest_share: dict[str, Share] = {}
    """By source whose rows have a time: share of the newest that is held out."""


class BalanceConfig(_Part):
    """How often clean and rare rows are shown."""

    clean_per_positive: Annotated[float, Field(gt=0)] = 10.0
    """Most clean training rows for one that has any category."""
    rare_share: Share = 0.03
    """Categories below this share of positive training rows get copies of them."""
    most_copies: Annotated[int, Field(ge=0)] = 3
    """Most copies of one row."""


class AugmentConfig(_Part):
    """Disguised copies of training rows; benign and abusive ones alike."""

    share: Share = 0.3
    word_share: Share = 0.5
    """Share of a text's longer words that is disguised."""
    weight: Weight = 0.5
    """What a copy weighs beside its original."""
    tricks: dict[
        Literal["leet", "look_alike", "zero_width", "spacing", "emoji", "misspelling"], Weight
    ]


class CounterfactualConfig(_Part):
    """Training rows with another identity in place of theirs."""

    most: Annotated[int, Field(ge=0)] = 8_000
    weight: Weight = 0.5


class DatasetConfig(_Part):
    """The whole file."""

    version: Literal[1]
    seed: int = 7
    sources: dict[str, SourceConfig]
    templates: tuple[Path, ...] = ()
    """Files of patterns, relative to `conf/`."""
    template_fills: Annotated[int, Field(gt=0)] = 12
    """Most sentences of a pattern."""
    holdout: HoldoutConfig = HoldoutConfig()
    balance: BalanceConfig = BalanceConfig()
    augment: AugmentConfig
    counterfactual: CounterfactualConfig = CounterfactualConfig()

    @model_validator(mode="after")
    def _known_sources(self) -> Self:
        known = {*(source.name for source in SOURCES), TEMPLATES.name, FEEDBACK}
        for field, names in (
            (("sources",), self.sources),
            (("holdout", "newest_share"), self.holdout.newest_share),
        ):
            for name in names:
                if name not in known:
                    there = ", ".join(sorted(known))
                    raise FaultError(f"unknown set; there are: {there}", *field, name)
        for i, subset in enumerate(self.holdout.subsets):
            if subset.partition("/")[0] not in known or "/" not in subset:
                raise FaultError("must read SET/SUBSET of a known set", "holdout", "subsets", i)
        return self


class SwapClass(_Part):
    """Words that can stand for each other in a sentence without making it ungrammatical."""

    name: _Word
    words: Annotated[tuple[_Word, ...], Field(min_length=2)]


class Identities(_Part):
    """`conf/training/identities.yaml`."""

    version: Literal[1]
    classes: tuple[SwapClass, ...]

    @model_validator(mode="after")
    def _one_class_a_word(self) -> Self:
        seen: dict[str, str] = {}
        for i, entry in enumerate(self.classes):
            for j, word in enumerate(entry.words):
                if word in seen:
                    raise FaultError(f"stands in {seen[word]} too", "classes", i, "words", j)
                seen[word] = entry.name
        return self


def load(path: Path = PATH) -> DatasetConfig:
    """Read and check what goes into a data set.

    Raises:
        ConfigError: naming file, line and field.
    """
    return YamlSource.read(path).validate(DatasetConfig)


def load_identities(path: Path = IDENTITIES) -> Identities:
    """Read and check the identities that are swapped.

    Raises:
        ConfigError: naming file, line and field.
    """
    return YamlSource.read(path).validate(Identities)
