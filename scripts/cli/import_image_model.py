"""`scripts/import_image_model`: a local image classifier to a pixel package."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from schemas.errors import SluiceError
from scripts.cli.deep import base
from scripts.cli.image import label_map, onnx_file
from scripts.cli.train_text import sayer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def import_image_model(
    model: Annotated[
        Path, typer.Argument(help="Hugging Face image-classification folder, or an ONNX file.")
    ],
    labels: Annotated[
        Path,
        typer.Option(help="YAML: the model's labels to our categories; of an ONNX file also how "
                     "pictures are put in."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the package to.")],
    name: Annotated[str, typer.Option(help="Of the model, in records. [default: the source's]")]
    = "",
) -> None:  # fmt: skip
    """Turn a local image classifier into a pixel package, and prove that it scores the same.

    A folder needs the extra `train` (scripts/setup --extra train), an ONNX file does not; serving
    the package needs neither. Name the package in `pixels.models` of conf/media.yaml.
    """
    say = sayer(Console(stderr=True), time.monotonic())
    wanted = label_map.load(labels)
    called = name or model.stem
    if model.is_dir():
        base.require_torch()
        from scripts.cli.image import hugging_face  # noqa: PLC0415 - it needs PyTorch

        made = hugging_face.import_folder(model, wanted, labels, out, name=called)
        manifest = made.manifest
        say(f"at most {made.apart:.4f} apart from the folder's own code")
    elif model.is_file():
        manifest = onnx_file.import_file(model, wanted, labels, out, name=called)
        say("an ONNX file has nothing to compare with: try the package on pictures that you know")
    else:
        raise SluiceError(f"{model}: there is no such folder or file")
    say(f"{out}: {manifest.name} {manifest.version}, {', '.join(manifest.categories)}")


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        sys.exit(f"import_image_model: {error}")


if __name__ == "__main__":
    main()
