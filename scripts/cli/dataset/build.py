"""The whole way from labelled texts to a data set in a folder."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq
from msgspec.structs import replace

from schemas.errors import ConfigError, SluiceError
from schemas.settings import CONF
from scripts.cli import training_data, training_model, training_templates
from scripts.cli.dataset import agreement, balance, card, feedback, partition
from scripts.cli.dataset.config import FEEDBACK, DatasetConfig, Identities
from scripts.cli.dataset.identity import Swapper
from scripts.cli.dataset.rows import SPLITS, Row, counts, table
from scripts.cli.training_data import Example

FILE: Final = "rows.parquet"
MANIFEST: Final = "manifest.json"
CARD: Final = "DATA_CARD.md"


class Built(msgspec.Struct):
    """A data set and what is to be said about it."""

    rows: list[Row]
    facts: dict[str, Any]


def examples_of(
    config: DatasetConfig, data: Path | None, feedback_files: Sequence[Path]
) -> tuple[list[Example], dict[str, tuple[str, ...]]]:
    """All labelled texts that the configuration asks for, with the weights it gives them.

    Args:
        config: which sets.
        data: folder of the public sets; None reads none of them.
        feedback_files: of `moderation.feedback` rows.

    Returns:
        The examples, and the words that make a presumed absence unknown, by category.

    Raises:
        ConfigError: a file is wrong.
        SluiceError: a set is not there.
    """
    found: list[Example] = []
    if data is not None:
        absent = [name for name in training_data.missing(data) if name in config.sources]
        if absent:
            raise SluiceError(f"not under {data}: {', '.join(absent)}")
        found += [e for e in training_data.read_all(data) if e.source in config.sources]
    unless: dict[str, tuple[str, ...]] = {}
    for path in config.templates:
        templates = training_templates.load(CONF / path)
        for category, words in templates.presumed_clean_unless.items():
            unless[category] = (*unless.get(category, ()), *words)
        if training_data.TEMPLATES.name in config.sources:
            families = tuple(
                family.model_copy(update={"fills": min(family.fills, config.template_fills)})
                for family in templates.families
            )
            fewer = templates.model_copy(update={"families": families})
            found += training_templates.fill(fewer, seed=config.seed)
    for path in feedback_files:
        if FEEDBACK not in config.sources:
            raise ConfigError(f"{path} is given, but sources does not name {FEEDBACK}")
        found += feedback.read(path, config.sources[FEEDBACK].weight)
    found = partition.fewer(found, {name: own.most for name, own in config.sources.items()})
    return [_weighed(example, config) for example in found], unless


def _weighed(example: Example, config: DatasetConfig) -> Example:
    own = config.sources[example.source]
    return replace(agreement.agreed(example, own.min_agreement), weight=own.weight)


def build(
    examples: Iterable[Example],
    unless: dict[str, tuple[str, ...]],
    config: DatasetConfig,
    identities: Identities,
) -> Built:
    """Split, balance, augment and check.

    Raises:
        SluiceError: nothing to build from, or a text leaks from one split into another.
    """
    found = list(examples)
    if not found:
        raise SluiceError("no labelled texts: give --data or --feedback")
    rows, dropped = partition.rows_of(found, unless, config.holdout)
    rng = random.Random(config.seed)  # noqa: S311 - draws examples, guards nothing
    before = len(rows)
    rows = balance.downsampled(rows, config.balance, rng)
    facts: dict[str, Any] = {
        "near_duplicates_dropped": dropped,
        "clean_dropped": before - len(rows),
    }
    made = balance.upsampled(rows, config.balance, config.augment, rng)
    made += balance.disguised(rows, config.augment, rng)
    swapper = Swapper(identities)
    made += balance.counterfactuals(rows, swapper, config.counterfactual, rng)
    made, facts["made_of_held_out_text"] = partition.apart(made, rows)
    first = max((row.id for row in rows), default=-1) + 1
    for number, row in enumerate(made, start=first):
        row.id = number
    rows += made
    leaks = partition.leaks(rows)
    if any(leaks.values()):
        found_leaks = ", ".join(f"{name} {count}" for name, count in leaks.items() if count)
        raise SluiceError(f"texts leak from one split into another: {found_leaks}")
    facts["leaks"] = leaks
    facts["agreement"] = agreement.by_source(found)
    facts["counts"] = _counts(rows)
    return Built(rows, facts)


def write(
    built: Built, out: Path, config: DatasetConfig, quality: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the rows, the manifest and the data card; gives the manifest.

    Args:
        built: what to write.
        out: folder.
        config: that it was built by.
        quality: by file of feedback, what its checks said.
    """
    out.mkdir(parents=True, exist_ok=True)
    part = out / f".{FILE}.part"
    pq.write_table(table(built.rows), part, compression="zstd")
    part.replace(out / FILE)
    licences = {s.name: s.licence for s in (*training_data.SOURCES, training_data.TEMPLATES)}
    sources = sorted({row.source for row in built.rows})
    data = (out / FILE).read_bytes()
    manifest = {
        "format": 1,
        "date": training_model.today(),
        "seed": config.seed,
        "files": {FILE: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}},
        "rows": len(built.rows),
        "licences": {name: licences.get(name, "the platform's own") for name in sources},
        **built.facts,
        **({"quality": dict(quality)} if quality else {}),
        "config": config.model_dump(mode="json"),
    }
    text = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    (out / MANIFEST).write_bytes(text)
    (out / CARD).write_text(card.render(manifest), "utf-8")
    return manifest


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    sources: dict[str, dict[str, int]] = {}
    kinds: dict[str, int] = {}
    for row in rows:
        own = sources.setdefault(row.source, dict.fromkeys(SPLITS, 0))
        own[row.split] += 1
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    return {
        "by_source": dict(sorted(sources.items())),
        "by_kind": dict(sorted(kinds.items())),
        "by_split": {split: counts(r for r in rows if r.split == split) for split in SPLITS},
    }
