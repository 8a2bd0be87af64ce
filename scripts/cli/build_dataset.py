"""`scripts/build_dataset`: labelled texts to a split, balanced and checked training set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from schemas.errors import SluiceError
from scripts.cli.dataset import build, config
from scripts.cli.quality import gate

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def build_dataset(
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with one folder per public data set.")
    ] = None,
    feedback: Annotated[
        list[Path] | None,
        typer.Option(help="Rows of moderation.feedback, JSON lines or Parquet; may be repeated."),
    ] = None,
    settings: Annotated[Path, typer.Option("--config", help="What goes in and how.")] = config.PATH,
    identities: Annotated[
        Path, typer.Option(help="Identities that stand for each other.")
    ] = config.IDENTITIES,
    unchecked: Annotated[str | None, typer.Option(help=gate.UNCHECKED_HELP)] = None,
) -> None:
    """Build a training set: rows.parquet, manifest.json, DATA_CARD.md and quality.json.

    Labels of every set are mapped to the model's categories, unknown where it says nothing.
    Near-duplicates never stand in two splits. The same input and seed give the same rows.
    Feedback has to have passed its checks (scripts/quality); what is built is checked here.
    """
    console = Console(stderr=True)
    wanted = config.load(settings)
    swaps = config.load_identities(identities)
    quality = {
        path.name: gate.require(path, "feedback", unchecked=unchecked) for path in feedback or []
    }
    console.print("reading")
    examples, unless = build.examples_of(wanted, data, feedback or [])
    console.print(f"{len(examples)} labelled texts: splitting, balancing, checking")
    built = build.build(examples, unless, wanted, swaps)
    manifest = build.write(built, out, wanted, quality=quality)
    splits = {
        split: sum(own[split] for own in manifest["counts"]["by_source"].values())
        for split in ("train", "dev", "test")
    }
    console.print(f"{out}: " + ", ".join(f"{count} {split}" for split, count in splits.items()))
    if unchecked is not None:
        console.print(f"not checked: {unchecked}")
        return
    console.print("checking")
    record = gate.examine_file(out / build.FILE, "training")
    for check in record.faults:
        console.print(f"FAULT {check.check}: expected {check.expected}, found {check.observed}")
    if not record.passed:
        # The rows stay, to be looked at; no training takes them.
        raise typer.Exit(1)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        sys.exit(f"build_dataset: {error}")


if __name__ == "__main__":
    main()
