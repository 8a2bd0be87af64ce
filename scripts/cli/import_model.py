"""`scripts/import_model`: a Hugging Face classifier to a heavy text tier's model package."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from schemas.errors import SluiceError
from scripts.cli import training_model
from scripts.cli.dataset import build
from scripts.cli.deep import base, data, label_map
from scripts.cli.quality import gate
from scripts.cli.train_text import precisions_of, provenance, sayer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def import_model(
    folder: Annotated[Path, typer.Argument(help="Hugging Face sequence-classification folder.")],
    labels: Annotated[Path, typer.Option(help="YAML: the model's labels to our categories.")],
    out: Annotated[Path, typer.Option(help="Folder to write the package to.")],
    data_folder: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder that scripts/build_dataset wrote: calibrates and measures. Without it "
            "the model's own probabilities stand.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the scorer, in records.")] = "deep_text",
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 7,
    ship: Annotated[
        str, typer.Option(help="Precisions that the package gets, with commas between.")
    ] = "int8,fp16,fp32",
    unchecked: Annotated[str | None, typer.Option(help=gate.UNCHECKED_HELP)] = None,
) -> None:
    """Turn a local Hugging Face classifier into a model package, whatever its architecture.

    Needs the extra `train` (scripts/setup --extra train); serving the package does not.
    """
    base.require_torch()
    from scripts.cli.deep import imported  # noqa: PLC0415 - it needs PyTorch
    from scripts.cli.deep.finish import finish  # noqa: PLC0415

    say = sayer(Console(stderr=True), time.monotonic())
    wanted = label_map.load(labels)
    if data_folder is not None:
        rows = data_folder / build.FILE
        quality = {"quality": gate.require(rows, "training", unchecked=unchecked)}
    else:
        quality = {}
    exported, facts = imported.export_folder(
        base.resolve(str(folder)), wanted, labels, out, precisions=precisions_of(ship), name=name
    )
    splits = None if data_folder is None else data.read(data_folder, ("dev", "test"))
    facts = {**facts, **provenance(data_folder, None), **quality}
    manifest = finish(
        exported,
        splits,
        labels=wanted.model_dump(mode="json"),
        training={
            "date": training_model.today(),
            "command": f"scripts/import_model {folder.name} --labels {labels.name}",
            **facts,
        },
        seed=seed,
        say=say,
    )
    if splits is None:
        say("not calibrated: --data gives rows to calibrate on")
    say(f"{out}: {manifest.name} {manifest.version}, {', '.join(manifest.precisions)}")


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        sys.exit(f"import_model: {error}")


if __name__ == "__main__":
    main()
