"""`scripts/train_fusion`: grow the fusion by boosted trees and write its package with a card."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import lightgbm
import msgspec
import numpy as np
import typer
from rich.console import Console

from schemas.errors import SluiceError
from schemas.settings import CONF
from scripts.cli.dataset.build import FILE
from scripts.cli.evaluate import sets
from scripts.cli.fusion_training import card, grow
from scripts.cli.fusion_training.simulate import Population, joined
from scripts.cli.quality import gate
from scripts.cli.training_model import today
from udfs.contracts import Fusion, Scorer, Signals
from udfs.fusion import LinearFusion
from udfs.fusion_lightgbm import (
    FALLING,
    FEATURES,
    FOREST,
    RISING,
    FusionManifest,
    LightGbmFusion,
    columns_of,
    rows_of,
)
from udfs.model_package import MANIFEST, PackagedFile, entry_of
from udfs.rules import RuleSet
from udfs.text_fast import FastTextScorer

COPIES: Final = 3
PARITY: Final = 1e-9
_ROUNDS: Final = 15
_MEASURED: Final = 1024

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train_fusion(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Data set of scripts/build_dataset: its dev split is fitted, test measured."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the package to.")] = (
        CONF / "models/fusion"
    ),
    copies: Annotated[int, typer.Option(min=1, help="Simulated authors of each text.")] = COPIES,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 7,
    unchecked: Annotated[str | None, typer.Option(help=gate.UNCHECKED_HELP)] = None,
) -> None:
    """Train the fusion by boosted trees on real texts of simulated authors, in half a minute.

    Writes forest.npz, manifest.json and MODEL_CARD.md. The card says what is assumed.
    """
    console = Console(stderr=True)
    path = Path(dataset)
    rows = path / FILE if path.is_dir() else path
    quality = gate.require(rows, "training", unchecked=unchecked)
    fitted = sets.read(dataset, None, split="dev", held_out=False)
    measured = sets.read(dataset, None, split="test", held_out=False)
    fusion = train(
        fitted,
        measured,
        out,
        scorer=FastTextScorer.load(CONF / "models/fast_text"),
        rules=RuleSet.load(CONF / "rules.yaml"),
        linear=LinearFusion.load(CONF / "fusion.yaml"),
        copies=copies,
        seed=seed,
        console=console,
        quality=quality,
    )
    console.print(f"{out}: {fusion.manifest.version}, {fusion.manifest.trees} trees")


def train(
    fitted: sets.LabelledSet,
    measured: sets.LabelledSet,
    out: Path,
    *,
    scorer: Scorer,
    rules: RuleSet,
    linear: Fusion,
    copies: int,
    seed: int,
    console: Console,
    quality: Mapping[str, Any] | None = None,
) -> LightGbmFusion:
    """Grow, check, measure, write, and load what was written.

    Args:
        fitted: texts that the scorer was not fitted on.
        measured: other texts.
        out: folder to write.
        scorer: gives the scores.
        rules: are matched.
        linear: what it is compared with, and what fuses categories that no model scores.
        copies: authors of each text.
        seed: of every draw.
        console: for progress.
        quality: what the checks of the texts said, for the manifest.

    Raises:
        SluiceError: labels of both kinds are missing, or the compiled trees give other
            probabilities than LightGBM.
    """
    started = time.monotonic()
    population = Population()
    console.print(f"joining {len(fitted.texts)} texts with {copies} authors each")
    signals = joined(
        fitted.texts, fitted.labels, scorer, rules, population, copies=copies, seed=seed
    )
    rows = grow.known_rows(fitted.labels, fitted.sources, copies)
    forest, booster = grow.grow(signals, rows, len(fitted.texts), seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / FOREST).write_bytes(grow.forest_bytes(forest))
    manifest = _manifest(out, len(forest["value"]))
    fusion = LightGbmFusion(manifest, forest, linear)
    distance = parity(fusion, booster, signals[:_MEASURED])
    if not distance <= PARITY:
        raise SluiceError(f"the compiled trees differ from LightGBM's by {distance}")
    console.print("measuring")
    metrics: dict[str, Any] = {}
    truth = grow.known_rows(measured.labels, measured.sources, 1)
    fusions = {"linear": linear, "scores": None, "lightgbm": fusion}
    for name, authors in (
        ("usual", population),
        ("uninformative", Population(informative=False)),
    ):
        own = joined(
            measured.texts, measured.labels, scorer, rules, authors, copies=1, seed=seed + 1
        )
        metrics[name] = grow.compared(fusions, own, truth)
        metrics["speed"] = speed({"linear": linear, "lightgbm": fusion}, own[:_MEASURED])
    metrics["importance"] = _importance(booster)
    training = {
        "date": today(),
        "seed": seed,
        "copies": copies,
        "texts": {"fitted": len(fitted.texts), "measured": len(measured.texts)},
        "sources": {name: fitted.sources.count(name) for name in sorted(set(fitted.sources))},
        "scorer": f"{scorer.name} {scorer.version}",
        "population": msgspec.to_builtins(population),
        **({"quality": dict(quality)} if quality else {}),
        "versions": {"lightgbm": lightgbm.__version__, "numpy": np.__version__},
    }
    manifest = msgspec.structs.replace(
        manifest, training=msgspec.to_builtins(training), metrics=metrics
    )
    document = msgspec.json.encode(manifest)
    (out / MANIFEST).write_bytes(msgspec.json.format(document, indent=1) + b"\n")
    (out / "MODEL_CARD.md").write_text(card.render(msgspec.json.decode(document)), "utf-8")
    console.print(f"took {time.monotonic() - started:.0f} s")
    return LightGbmFusion.load(out, linear)


def parity(fusion: LightGbmFusion, booster: Any, signals: Sequence[Signals]) -> float:
    """Largest distance of a compiled probability from LightGBM's own."""
    rows = rows_of(columns_of(signals))
    odds = rows[:, 0] + booster.predict(rows, raw_score=True, num_iteration=booster.best_iteration)
    distance = np.abs(fusion.probabilities(signals).ravel() - 1 / (1 + np.exp(-odds)))
    return float(distance.max())


def speed(fusions: dict[str, Fusion], signals: Sequence[Signals]) -> dict[str, dict[str, float]]:
    """Microseconds an upload by batch size: the best of some rounds."""
    out: dict[str, dict[str, float]] = {}
    for size in (1, 8, 32, 256):
        batches = [signals[i : i + size] for i in range(0, len(signals), size)]
        out[str(size)] = {
            name: round(
                min(_seconds(fusion, batches) for _ in range(_ROUNDS)) / len(signals) * 1e6, 1
            )
            for name, fusion in fusions.items()
        }
    return out


def _seconds(fusion: Fusion, batches: Sequence[Sequence[Signals]]) -> float:
    started = time.perf_counter()
    for batch in batches:
        fusion.fuse(batch)
    return time.perf_counter() - started


def _importance(booster: Any) -> dict[str, float]:
    gains = booster.feature_importance("gain", iteration=booster.best_iteration)
    shares = zip(FEATURES, (gains / max(gains.sum(), 1e-12)).tolist(), strict=True)
    return dict(sorted(((n, round(s, 4)) for n, s in shares if s > 0), key=lambda item: -item[1]))


def _manifest(out: Path, trees: int) -> FusionManifest:
    files: dict[str, PackagedFile] = {FOREST: entry_of(out / FOREST)}
    manifest = FusionManifest(
        format=1, name="fusion", version="", features=FEATURES,
        rising=tuple(name for name in FEATURES if name in RISING),
        falling=tuple(name for name in FEATURES if name in FALLING),
        trees=trees, files=files,
    )  # fmt: skip
    return msgspec.structs.replace(manifest, version=manifest.content_hash())


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        sys.exit(f"train_fusion: {error}")


if __name__ == "__main__":
    main()
