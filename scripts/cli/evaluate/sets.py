"""Labelled texts to measure on: JSONL, Parquet of `scripts/build_dataset`, or a public set."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from scripts.cli import training_corpus, training_data, training_split
from scripts.cli.dataset.build import FILE
from scripts.cli.training_data import SOURCES
from udfs.normalise import normalise

FloatArray = npt.NDArray[np.float64]


class LabelledSet(msgspec.Struct):
    """Texts with what people said about them."""

    name: str
    texts: list[str]
    """As they came."""
    labels: FloatArray
    """1, 0, or NaN for unknown; shape (texts, TEXT_CATEGORIES)."""
    sources: list[str]
    groups: dict[str, npt.NDArray[np.bool_]]
    """Rows of each group that the set names; empty where it names none."""

    def thinned(self, limit: int) -> LabelledSet:
        """At most so many texts, spread evenly; 0 keeps all."""
        rows = list(range(len(self.texts)))
        if limit and len(rows) > limit:
            rows = np.unique(np.linspace(0, len(rows) - 1, limit).round().astype(int)).tolist()
        return LabelledSet(
            self.name,
            [self.texts[i] for i in rows],
            self.labels[rows],
            [self.sources[i] for i in rows],
            {name: own[rows] for name, own in self.groups.items()},
        )


class _Line(msgspec.Struct):
    text: str
    labels: dict[str, int | None]
    source: str = ""
    group: str | list[str] = []


_Row = tuple[str, dict[str, int | None], str, list[str]]
"""Text, labels, source, groups."""
_HATECHECK: Final = ("french", "german", "hindi")
_BIAS: Final = ("de", "nl")


def names() -> list[str]:
    """Public sets that can be named."""
    return [
        *(source.name for source in SOURCES),
        *(f"hatecheck_{language}" for language in _HATECHECK),
        *(f"bias_templates_{language}" for language in _BIAS),
    ]


def read(which: str, data: Path | None, *, split: str, held_out: bool) -> LabelledSet:
    """Read a set.

    Args:
        which: a .jsonl file of {"text", "labels": {category: 0 or 1}, "source"?, "group"?}, a
            .parquet file or folder of `scripts/build_dataset`, or one of `names()`.
        data: folder of the public sets, where one is named.
        split: of a data set.
        held_out: of a public set, the texts that our models were not trained on.

    Raises:
        ConfigError: it is not there, or not of its form.
    """
    path = Path(which)
    rows: Iterable[_Row]
    if path.suffix == ".jsonl":
        rows = _jsonl(path)
    elif path.suffix == ".parquet" or path.is_dir():
        rows = _parquet(path / FILE if path.is_dir() else path, split)
    elif which in names():
        if data is None:
            raise ConfigError(f"{which} is a public set: name their folder by --data")
        rows = _public(which, data)
        if held_out:
            rows = _unfitted(rows)
    else:
        there = ", ".join(names())
        raise ConfigError(f"{which} is no .jsonl, no .parquet, and none of {there}")
    return _set_of(path.stem if path.suffix else path.name, rows)


def _set_of(name: str, rows: Iterable[_Row]) -> LabelledSet:
    kept = [row for row in rows if row[0].strip()]
    if not kept:
        raise ConfigError(f"{name}: no texts")
    labels = np.full((len(kept), len(TEXT_CATEGORIES)), np.nan)
    groups: dict[str, npt.NDArray[np.bool_]] = {}
    for i, (_, own, _, named) in enumerate(kept):
        for category, label in own.items():
            if label is not None:
                labels[i, TEXT_CATEGORIES.index(category)] = label
        for group in named:
            groups.setdefault(group, np.zeros(len(kept), np.bool_))[i] = True
    return LabelledSet(
        name,
        [row[0] for row in kept],
        labels,
        [row[2] for row in kept],
        dict(sorted(groups.items())),
    )


def _jsonl(path: Path) -> Iterator[_Row]:
    decoder = msgspec.json.Decoder(_Line)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"is no labelled text: {error}", file=str(path), line=number
            ) from None
        for category, label in row.labels.items():
            if category not in TEXT_CATEGORIES or label not in {0, 1, None}:
                raise ConfigError(
                    f"must be 0, 1 or null for one of {', '.join(TEXT_CATEGORIES)}",
                    file=str(path), line=number, field=f"labels.{category}",
                )  # fmt: skip
        groups = [row.group] if isinstance(row.group, str) else row.group
        yield row.text, row.labels, row.source or path.stem, [group for group in groups if group]


def _parquet(path: Path, split: str) -> Iterator[_Row]:
    try:
        table = pq.read_table(path)
        columns = {name: table[name].to_pylist() for name in ("text", "source", "split", "kind")}
        labels = {name: table[f"label_{name}"].to_pylist() for name in TEXT_CATEGORIES}
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"is no data set of scripts/build_dataset: {error}", file=str(path)
        ) from None
    for i, text in enumerate(columns["text"]):
        if columns["split"][i] == split and columns["kind"][i] == "original":
            yield text, {name: own[i] for name, own in labels.items()}, columns["source"][i], []


def _public(which: str, data: Path) -> Iterator[_Row]:
    try:
        if which.startswith("hatecheck_"):
            yield from _hatecheck(which, data)
        elif which.startswith("bias_templates_"):
            yield from _bias(which, data)
        else:
            for example in training_data.read_all(data):
                if example.source == which:
                    yield example.text, dict(example.labels), example.source, []
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(error.filename)) from None


def _hatecheck(which: str, data: Path) -> Iterator[_Row]:
    language = which.removeprefix("hatecheck_")
    path = data / f"multilingual_hatecheck/hatecheck_cases_final_{language}.csv"
    for row in _csv(path):
        hateful = int(row["label_gold"] == "hateful")
        yield row["test_case"], {"hate_speech": hateful}, which, [row["target_ident"]]


def _bias(which: str, data: Path) -> Iterator[_Row]:
    path = data / f"bias_templates/{which[-2:]}_sentence_templates.csv"
    for row in _csv(path):
        yield row["phrase"], {"toxicity": int(row["toxicity"] == "toxic")}, which, []


def _csv(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _unfitted(rows: Iterable[_Row]) -> list[_Row]:
    """Texts on the test side of the split by content that every training of ours keeps to.

    A text whose near-duplicate stands in another set may have been moved to the other side: seen
    from one set that cannot be known.
    """
    kept = list(rows)
    texts = [normalise(row[0][: training_corpus.MOST_CHARS]).text for row in kept]
    matrix = training_corpus.hashed(texts)
    group = training_split.groups(training_split.minhashes(matrix), [""] * len(texts))
    part = training_split.split(texts, group)
    return [row for row, own in zip(kept, part, strict=True) if own == training_split.TEST]
