"""`scripts/train_text`: fine-tune an encoder into a heavy text tier's model package."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console

from schemas.errors import SluiceError
from scripts.cli import training_model
from scripts.cli.code_version import code_version
from scripts.cli.dataset import build
from scripts.cli.deep import base, data
from scripts.cli.quality import gate
from udfs.deep_manifest import Precision
from udfs.model_package import MANIFEST

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train_text(
    base_model: Annotated[
        str,
        typer.Option(
            "--base", help="Hugging Face folder, or package:NAME for one in a Python package."
        ),
    ],
    data_folder: Annotated[
        Path, typer.Option("--data", help="Folder that scripts/build_dataset wrote.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the package to.")],
    layers: Annotated[
        int | None, typer.Option(help="Layers to keep, spread evenly; all if not given.")
    ] = None,
    vocabulary: Annotated[
        str, typer.Option(help="keep, or trim to what occurs in the data (WordPiece).")
    ] = "keep",
    fresh: Annotated[bool, typer.Option("--fresh", help="Random weights: from scratch.")] = False,
    teacher: Annotated[
        Path | None, typer.Option(help="Model package to learn from besides the labels.")
    ] = None,
    origin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Model package to train on from, or the folder of a training with its checkpoint; "
            "--base is what that one started from. Keeps its layers and vocabulary.",
        ),
    ] = None,
    epochs: Annotated[float, typer.Option(min=0.01)] = 2.0,
    batch: Annotated[int, typer.Option(min=2, help="Texts a step.")] = 48,
    tokens: Annotated[int, typer.Option(min=8, help="Of a text in training.")] = 96,
    max_tokens: Annotated[int, typer.Option(min=8, help="Of a window when serving.")] = 128,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 5e-5,
    consistency: Annotated[
        float, typer.Option(help="Weight of the distance between identity swaps.")
    ] = 0.5,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 7,
    max_minutes: Annotated[
        float, typer.Option(help="Cut training to as many steps as fit; 0 for all.")
    ] = 0.0,
    rows: Annotated[
        int | None, typer.Option(help="Training and test rows at most: to try, not to ship.")
    ] = None,
    most: Annotated[
        str,
        typer.Option(
            help="Most training rows of a source, as davidson=1000,edos=2000: another mixture, to "
            "go on --from a model with what it is weak at."
        ),
    ] = "",
    ship: Annotated[
        str, typer.Option(help="Precisions that the package gets, with commas between.")
    ] = "int8,fp16,fp32",
    threads: Annotated[int, typer.Option(help="0: all cores.")] = 0,
    unchecked: Annotated[str | None, typer.Option(help=gate.UNCHECKED_HELP)] = None,
) -> None:
    """Fine-tune, export to ONNX, calibrate, measure, and write a model package.

    Needs the extra `train` (scripts/setup --extra train). Interrupted training goes on with
    --resume. The package holds the model in ONNX, tokenizer.json, manifest.json, MODEL_CARD.md.
    """
    base.require_torch()
    from scripts.cli.deep import fit, train  # noqa: PLC0415 - they need PyTorch
    from scripts.cli.deep.finish import finish  # noqa: PLC0415

    console = Console(stderr=True)
    started = time.monotonic()
    say = sayer(console, started)
    if vocabulary not in {"keep", "trim"}:
        raise SluiceError("--vocabulary must be keep or trim")
    trimming: Literal["keep", "trim"] = "trim" if vocabulary == "trim" else "keep"
    if origin is not None and (fresh or layers is not None or vocabulary == "trim"):
        raise SluiceError("--from keeps layers and vocabulary: no --layers, --vocabulary, --fresh")
    precisions = precisions_of(ship)
    folder = base.resolve(base_model)
    quality = gate.require(data_folder / build.FILE, "training", unchecked=unchecked)
    say(f"reading {data_folder}")
    splits = data.read(data_folder, ("train", "dev", "test"))
    if rows is not None:
        splits = {
            name: own if name == "dev" else data.first(own, rows) for name, own in splits.items()
        }
    if most:
        splits["train"] = data.thinned(splits["train"], _mixture(most))
    exported, facts = train.train(
        train.Start(folder, layers, trimming, fresh, teacher, origin, threads),
        splits,
        fit.Plan(
            epochs=epochs,
            batch=batch,
            tokens=tokens,
            rate=rate,
            consistency=consistency,
            seed=seed,
            max_minutes=max_minutes,
        ),
        out,
        max_tokens=max_tokens,
        precisions=precisions,
        resume=resume,
        say=say,
    )
    facts = {
        "date": training_model.today(),
        "command": f"scripts/train_text --base {base_model} --seed {seed}"
        + (f" --from {origin.name}" if origin else "")
        + (f" --most {most}" if most else ""),
        **facts,
        **provenance(data_folder, origin or teacher),
        "quality": quality,
        "base": f"{base_model}: {facts['base']}",
    }
    manifest = finish(exported, splits, training=facts, seed=seed, say=say)
    (out / fit.CHECKPOINT).unlink(missing_ok=True)
    say(f"{out}: {manifest.name} {manifest.version}")


def provenance(data_folder: Path | None, parent: Path | None) -> dict[str, Any]:
    """What a package's manifest says about code, data and the package that it came of."""
    out: dict[str, Any] = {"code": code_version()}
    if data_folder is None:
        return out
    path = data_folder / build.MANIFEST
    if path.is_file():
        manifest = msgspec.json.decode(path.read_bytes())
        out["data"] = f"sha256 {manifest['files'][build.FILE]['sha256'][:16]}"
        out["data_rows"] = manifest["counts"]["by_source"]
        out["licences"] = manifest["licences"]
    if parent is not None and (parent / MANIFEST).is_file():
        out["parent"] = msgspec.json.decode((parent / MANIFEST).read_bytes())["version"]
    return out


def _mixture(text: str) -> dict[str, int]:
    out = {}
    for part in text.split(","):
        source, _, number = part.strip().partition("=")
        if not source or not number.isdigit() or int(number) < 1:
            raise SluiceError(f"--most reads SOURCE=ROWS, with commas between, not {part!r}")
        out[source] = int(number)
    return out


def precisions_of(text: str) -> tuple[Precision, ...]:
    """`int8,fp32` as precisions.

    Raises:
        SluiceError: one is not known, or none is given.
    """
    known: tuple[Precision, ...] = ("int8", "fp16", "fp32")
    names = {part.strip() for part in text.split(",") if part.strip()}
    if not names or names - set(known):
        raise SluiceError(f"precisions must be some of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def sayer(console: Console, started: float) -> Callable[[str], None]:
    """Shows progress under the minutes and seconds since `started` (monotonic)."""

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        console.print(f"{minutes:3d}:{seconds:02d} {text}", highlight=False)

    return say


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        sys.exit(f"train_text: {error}")


if __name__ == "__main__":
    main()
