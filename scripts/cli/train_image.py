"""`scripts/train_image`: train a small pixel model on pictures that it draws itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from schemas.errors import SluiceError
from scripts.cli.deep import base
from scripts.cli.image import figures, gallery
from scripts.cli.train_text import sayer
from scripts.cli.training_model import today
from udfs import calibration
from udfs.calibration import Platt
from udfs.pixel_package import MODEL, Geometry, PixelManifest, PixelOutput, write_manifest
from udfs.pixels import PixelScorer, load, probe_picture, square

app = typer.Typer(add_completion=False, rich_markup_mode=None)

CARD: Final = "MODEL_CARD.md"
PRIOR: Final = 0.05
"""Share of spam among the pictures that people send for which the probabilities are calibrated."""


@app.command()
def train_image(
    out: Annotated[Path, typer.Option(help="Folder to write the package to.")],
    pictures: Annotated[int, typer.Option(min=40, help="Drawn to train on.")] = 6_000,
    held_out: Annotated[
        int, typer.Option(min=40, help="Drawn for each of calibration, test, unseen layouts.")
    ] = 1_000,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    side: Annotated[int, typer.Option(min=32, max=512, help="Of the square, pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Of pictures and weights.")] = 7,
    real: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures that are no spam: measured on, never trained on."),
    ] = None,
    real_about: Annotated[
        str, typer.Option(help="What they are, for the model card.")
    ] = "of a folder",
    threads: Annotated[int, typer.Option(help="0: all cores.")] = 0,
) -> None:
    """Draw pictures, train, calibrate, measure, and write a pixel package for `spam`.

    Needs the extra `train` (scripts/setup --extra train); the package holds model.onnx,
    manifest.json and MODEL_CARD.md, and serving it needs none of that.
    """
    base.require_torch()
    import torch  # noqa: PLC0415 - an extra

    from scripts.cli.image import network  # noqa: PLC0415 - it needs PyTorch

    if threads:
        torch.set_num_threads(threads)
    say = sayer(Console(stderr=True), time.monotonic())
    geometry = Geometry(fit="squash", resize=side, crop=side)
    say(f"drawing {pictures} pictures, and {held_out} for each of three other sets")
    drawn = {
        "train": gallery.pictures(pictures, "train", seed, geometry),
        "dev": gallery.pictures(held_out, "dev", seed, geometry),
        "test": gallery.pictures(held_out, "test", seed, geometry),
        "unseen": gallery.pictures(held_out, "unseen", seed, geometry),
    }
    model = network.train(drawn["train"], network.Plan(epochs=epochs, seed=seed), say)
    out.mkdir(parents=True, exist_ok=True)
    network.export(model, side, out / MODEL)
    dev = drawn["dev"]
    weights = calibration.prior_weights(dev.labels, PRIOR)
    platt = calibration.fit_platt(network.logits(model, dev.squares), dev.labels, weights)
    training: dict[str, Any] = {
        "date": today(),
        "command": f"scripts/train_image --pictures {pictures} --held-out {held_out}"
        f" --epochs {epochs} --side {side} --seed {seed}",
        "pictures": pictures,
        "calibration_rows": held_out,
        "prior": PRIOR,
        "epochs": epochs,
        "parameters": sum(each.numel() for each in model.parameters()),
        "torch": torch.__version__.partition("+")[0],
    }
    scorer = package(out, geometry, platt, training)
    metrics: dict[str, Any] = {"ms_a_picture": _cost(scorer, dev.squares[:32])}
    for split in ("test", "unseen"):
        own = drawn[split]
        metrics[split] = figures.quality(own, scorer.score(own.squares)[:, 0].astype(float),
                                         seed=seed)  # fmt: skip
        area, wrong = metrics[split]["roc_auc"], metrics[split]["false_positives_at_0.8"]
        say(f"{split}: ROC-AUC {area['value']:.4f}, wrong at 0.8 {wrong['value']:.4f}")
    if real is not None:
        metrics["real"] = {
            "about": real_about,
            **figures.harmless(scorer, figures.real_pictures(real, geometry)),
        }
        say(f"real pictures: {metrics['real']}")
    manifest = package(out, geometry, platt, training, metrics).manifest
    (out / CARD).write_text(figures.card(manifest), "utf-8")
    load(out)
    say(f"{out}: {manifest.name} {manifest.version}")


def package(
    folder: Path,
    geometry: Geometry,
    calibrator: Platt,
    training: dict[str, Any],
    metrics: dict[str, Any] | None = None,
) -> PixelScorer:
    """Write the manifest beside the model; gives the scorer.

    Args:
        folder: holds the model.
        geometry: that it sees pictures by.
        calibrator: of its logit.
        training: where it comes from.
        metrics: how good it is.
    """
    fields: dict[str, Any] = {
        "format": 1,
        "name": "image_spam",
        "version": "",
        "geometry": geometry,
        "mean": (0.5, 0.5, 0.5),
        "deviation": (0.25, 0.25, 0.25),
        "activation": "sigmoid",
        "outputs": (PixelOutput("spam", (0,), calibrator),),
        "files": {},
        "source": {
            "model": "a small MobileNet, trained on pictures that Sluice draws",
            "licence": "Apache-2.0",
            "labels": "one probability: laid out as an advertisement, or a QR code with a call",
            "training": training,
            "metrics": metrics or {},
        },
    }
    draft = PixelScorer(folder, write_manifest(folder, PixelManifest(**fields, probe=(0.0,))))
    (probe,) = draft.score(square(probe_picture(), geometry)[None])
    manifest = write_manifest(folder, PixelManifest(**fields, probe=tuple(map(float, probe))))
    return PixelScorer(folder, manifest)


def _cost(scorer: PixelScorer, squares: Any) -> float:
    """Milliseconds a picture in batches of eight: the best of ten."""
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        scorer.score(squares, 8)
        best = min(best, time.perf_counter() - began)
    return round(best * 1000 / len(squares), 2)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        sys.exit(f"train_image: {error}")


if __name__ == "__main__":
    main()
