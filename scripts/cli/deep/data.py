"""A data set's rows as token ids and arrays, and the batches of an epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError, SluiceError
from scripts.cli.dataset.build import FILE
from udfs.normalise import normalise

FloatMatrix = npt.NDArray[np.float32]
MOST_CHARS: Final = 5_000
_RARE: Final = 150
"""Positives up to which a category keeps all of them."""
_POOL: Final = 50
"""Batches whose rows are sorted by length together."""


class Rows(msgspec.Struct):
    """One split, columns of `labels` and `weights` being `TEXT_CATEGORIES`."""

    texts: list[str]
    """Normalised."""
    sources: npt.NDArray[np.str_]
    labels: FloatMatrix
    """1, 0, or NaN for unknown."""
    weights: FloatMatrix
    """0 where unknown."""
    partner: npt.NDArray[np.int64]
    """For a counterfactual the row it was made of, else -1."""
    kinds: npt.NDArray[np.str_]
    patterns: list[str]


def read(folder: Path, splits: Sequence[str]) -> dict[str, Rows]:
    """Splits of a data set that `scripts/build_dataset` wrote.

    Raises:
        ConfigError: it is not there or of another form.
    """
    path = folder / FILE
    try:
        table = pq.read_table(path)
        columns = {name: table[name].to_pylist() for name in ("id", "text", "source", "split")}
        columns |= {name: table[name].to_pylist() for name in ("kind", "parent", "pattern")}
        labels = np.stack(
            [
                table[f"label_{category}"].cast("float32").fill_null(np.nan).to_numpy()
                for category in TEXT_CATEGORIES
            ],
            axis=1,
        )
        weights = np.stack(
            [table[f"weight_{category}"].to_numpy() for category in TEXT_CATEGORIES], axis=1
        )
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"is no data set of scripts/build_dataset: {error}", file=str(path)
        ) from None
    split_of = np.array(columns["split"])
    out = {}
    for split in splits:
        rows = np.flatnonzero(split_of == split)
        place = {columns["id"][i]: n for n, i in enumerate(rows.tolist())}
        kinds = [columns["kind"][i] for i in rows]
        partner = [
            place.get(columns["parent"][i], -1) if kind == "counterfactual" else -1
            for i, kind in zip(rows.tolist(), kinds, strict=True)
        ]
        out[split] = Rows(
            [normalise(columns["text"][i][:MOST_CHARS]).text for i in rows],
            np.array([columns["source"][i] for i in rows]),
            labels[rows].astype(np.float32),
            weights[rows].astype(np.float32),
            np.array(partner, np.int64),
            np.array(kinds),
            [columns["pattern"][i] for i in rows],
        )
    return out


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> list[npt.NDArray[np.int32]]:
    """Token ids of every text, without special ones, not cut."""
    out: list[npt.NDArray[np.int32]] = []
    for first in range(0, len(texts), 4096):
        batch = [text.encode("utf-8", "replace").decode() for text in texts[first : first + 4096]]
        found = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        out += [np.array(entry.ids, np.int32) for entry in found]
    return out


def positive_weights(rows: Rows, most: float) -> npt.NDArray[np.float32]:
    """What a positive weighs beside a negative: sqrt(negatives / positives), 1 to `most`.

    The root, because the full ratio would drown rare categories' few rows in noise.
    """
    up = np.where(rows.labels == 1, rows.weights, 0).sum(axis=0)
    down = np.where(rows.labels == 0, rows.weights, 0).sum(axis=0)
    ratio = np.sqrt(down / np.maximum(up, 1e-6))
    return np.asarray(np.clip(ratio, 1.0, most), np.float32)


class Batch(msgspec.Struct):
    """Rows that are learnt from together."""

    rows: list[int]
    pairs: list[tuple[int, int]]
    """Places in `rows` of a text and its counterfactual."""


def batches(
    lengths: Sequence[int], partner: npt.NDArray[np.int64], size: int, *, seed: int, epoch: int
) -> list[Batch]:
    """The batches of an epoch: texts of like length together, counterfactuals with their origin.

    Args:
        lengths: tokens of every row.
        partner: of `Rows`.
        size: rows a batch, at least; a pair is not parted.
        seed: with the epoch, decides everything.
        epoch: from 0.
    """
    rng = random.Random(f"{seed}:{epoch}")  # noqa: S311 - draws examples, guards nothing
    taken = set(partner[partner >= 0].tolist())
    origins: dict[int, list[int]] = {}
    for row, origin in enumerate(partner.tolist()):
        if origin >= 0:
            origins.setdefault(origin, []).append(row)
    units = [
        [row, *origins.get(row, [])]
        for row in range(len(lengths))
        if row in taken or partner[row] < 0
    ]
    rng.shuffle(units)
    out: list[Batch] = []
    for pool in _pools(units, size * _POOL):
        pool.sort(key=lambda unit: lengths[unit[0]])
        out += _batches_of(pool, size)
    rng.shuffle(out)
    return out


def _pools(units: list[list[int]], size: int) -> Iterator[list[list[int]]]:
    for first in range(0, len(units), size):
        yield units[first : first + size]


def _batches_of(units: list[list[int]], size: int) -> Iterator[Batch]:
    batch = Batch([], [])
    for unit in units:
        first = len(batch.rows)
        batch.rows += unit
        batch.pairs += [(first, first + i) for i in range(1, len(unit))]
        if len(batch.rows) >= size:
            yield batch
            batch = Batch([], [])
    if batch.rows:
        yield batch


def padded(
    ids: Sequence[npt.NDArray[np.int32]],
    before: Sequence[int],
    after: Sequence[int],
    most: int,
    pad: int,
    starts: Sequence[int] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids and mask of texts in one array each, special tokens around, `most` tokens at most.

    Args:
        ids: of `encode`.
        before: special tokens in front.
        after: special tokens behind.
        most: tokens of a row, special ones included.
        pad: id that fills up.
        starts: first token taken of each text; all 0 if not given.
    """
    body = most - len(before) - len(after)
    at = starts or [0] * len(ids)
    cut = [row[start : start + body] for row, start in zip(ids, at, strict=True)]
    longest = max(len(row) for row in cut) + len(before) + len(after)
    out = np.full((len(ids), longest), pad, np.int64)
    mask = np.zeros_like(out)
    for i, row in enumerate(cut):
        whole = [*before, *row.tolist(), *after]
        out[i, : len(whole)] = whole
        mask[i, : len(whole)] = 1
    return out, mask


def first(rows: Rows, most: int) -> Rows:
    """Every n-th row, at most `most` of them; counterfactuals stay with their origin or go."""
    if len(rows.texts) <= most:
        return rows
    return chosen(rows, _spread(np.arange(len(rows.texts)), most))


def fewer(rows: Rows, most: int, seed: int) -> Rows:
    """At most so many rows, drawn by chance; rare categories keep all of theirs.

    Args:
        rows: without counterfactuals.
        most: rows; more where rare categories alone have more.
        seed: of the draw.
    """
    if len(rows.texts) <= most:
        return rows
    positive = rows.labels == 1
    rare = positive[:, positive.sum(axis=0) <= _RARE].any(axis=1)
    others = np.flatnonzero(~rare).tolist()
    kept = min(len(others), max(0, most - int(rare.sum())))
    drawn = random.Random(seed).sample(others, kept)  # noqa: S311 - draws examples
    every = np.concatenate((np.flatnonzero(rare), np.array(drawn, np.int64)))
    return chosen(rows, np.sort(every))


def thinned(rows: Rows, most: Mapping[str, int]) -> Rows:
    """At most so many rows of a source, spread evenly; sources that are not named keep theirs.

    Raises:
        SluiceError: there is no such source.
    """
    there = set(rows.sources.tolist())
    if unknown := set(most) - there:
        raise SluiceError(
            f"no rows of {', '.join(sorted(unknown))}; there are: {', '.join(sorted(there))}"
        )
    kept = [
        _spread(np.flatnonzero(rows.sources == source), most.get(source, len(rows.texts)))
        for source in sorted(there)
    ]
    return chosen(rows, np.sort(np.concatenate(kept)))


def _spread(places: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    if len(places) <= most:
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, most).round().astype(np.int64))]


def chosen(rows: Rows, kept: npt.NDArray[np.int64]) -> Rows:
    """Some rows; a counterfactual whose origin is not among them stands alone."""
    place = {int(old): new for new, old in enumerate(kept)}
    partner = np.array([place.get(int(rows.partner[i]), -1) for i in kept], np.int64)
    return Rows(
        [rows.texts[i] for i in kept],
        rows.sources[kept],
        rows.labels[kept],
        rows.weights[kept],
        partner,
        rows.kinds[kept],
        [rows.patterns[i] for i in kept],
    )
