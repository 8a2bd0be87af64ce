"""Measures what finds campaigns of pictures, on pictures of one's own.

`python -m scripts.cli.campaign_pictures FOLDER`: strangers (pictures of different things, how near
any two are) and versions that are made of each; with `--copies`: pictures that are edits of one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Annotated, Final

import typer
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from operators.campaign_count import CountLogic, Crossing
from operators.campaign_live import representative
from operators.campaign_state import Copy
from operators.metrics import Metrics
from schemas.campaign_job import CampaignsDocument, load_campaigns
from schemas.settings import CONF
from scripts.cli.campaign_measure import Cell, say
from udfs.campaign_copies import hash64, picture
from udfs.image_hashes import distance, pdq_hashes

app = typer.Typer(add_completion=False, help=__doc__)

Version = Callable[[Image.Image, random.Random], Image.Image]
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
_MINUTE: Final = 60_000
_COPIES: Final = 20
_LATER: Final = 5


def cropped(most: float) -> Version:
    """Up to that share of each side is cut off, at either end."""

    def crop(image: Image.Image, rng: random.Random) -> Image.Image:
        width, height = image.size
        across, down = (rng.uniform(most / 2, most) * side for side in image.size)
        left, top = rng.uniform(0, across), rng.uniform(0, down)
        return image.crop(
            (round(left), round(top), round(width - across + left), round(height - down + top))
        )

    return crop


def resized(image: Image.Image, rng: random.Random) -> Image.Image:
    """A fifth of the size to one and a half times it."""
    scale = rng.uniform(0.2, 1.5)
    return image.resize([max(round(scale * side), 64) for side in image.size])


def compressed(image: Image.Image, rng: random.Random) -> Image.Image:
    """JPEG of a quality from 10 to 90."""
    file = BytesIO()
    image.save(file, "JPEG", quality=rng.randint(10, 90))
    return Image.open(file).convert("RGB")


def captioned(image: Image.Image, rng: random.Random) -> Image.Image:
    """A line of text across a tenth of the height, above, below or in the middle."""
    made = image.copy()
    width, height = made.size
    band = max(height // 10, 8)
    top = rng.choice([0, (height - band) // 2, height - band])
    draw = ImageDraw.Draw(made)
    draw.rectangle((0, top, width, top + band), fill="black")
    text = "".join(rng.choice("ABCDEFGHIJKLMNOPRSTUVW ") for _ in range(40))
    draw.text((band // 4, top), text, fill="white", font=ImageFont.load_default(band * 0.8))
    return made


def coloured(image: Image.Image, rng: random.Random) -> Image.Image:
    """Brightness, contrast and saturation from six to fourteen tenths."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.6, 1.4))
    return image


def shared(image: Image.Image, rng: random.Random) -> Image.Image:
    """As it comes back from people: resized, recompressed, its colours a little different."""
    return compressed(coloured(resized(image, rng), rng), rng)


VERSIONS: Final[dict[str, Version]] = {
    "resized": resized,
    "compressed": compressed,
    "colours": coloured,
    "resized, colours, compressed": shared,
    "a line of text": captioned,
    "2 % cropped": cropped(0.02),
    "5 % cropped": cropped(0.05),
    "10 % cropped": cropped(0.1),
}


def told(hashes: Iterable[bytes], config: CampaignsDocument) -> Crossing | None:
    """The last that groups of copies tell, each picture of a new account, within a minute."""
    logic = CountLogic(config, Metrics())
    groups: dict[str, Cell] = {}
    last = None
    for number, pdq in enumerate(hashes):
        one = hash64(f"{number}")
        copy = Copy(one, one, 0, 1000, _MINUTE + number, f"c{number}", b"", pdq)
        for key in picture(pdq).keys:
            crossing = logic.on_copy("picture", copy, groups.setdefault(key, Cell()))
            if crossing is not None and representative(crossing, config) is not None:
                last = crossing
    return last


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Pictures; searched with all below it.")],
    *,
    copies: Annotated[bool, typer.Option("--copies", help="They are edits of one.")] = False,
    config_file: Annotated[Path, typer.Option("--config", help="As the job's.")] = CONF
    / "campaigns.yaml",
) -> None:
    """Print one line of JSON for each figure."""
    config = load_campaigns(config_file)
    images = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES:
            with Image.open(path) as opened:
                images[str(path.relative_to(folder))] = opened.convert("RGB")
    known = {name: _hash(image, config) for name, image in images.items()}
    good = {name: pdq for name, pdq in known.items() if pdq is not None}
    if copies:
        _copies(good, config)
        return
    bits = [distance(one, other) for one, other in itertools.combinations(good.values(), 2)]
    say(
        what="strangers",
        pictures=len(images),
        of_low_quality=len(images) - len(good),
        pairs=len(bits),
        nearest=min(bits, default=None),
        near=sum(each <= config.pictures.distance for each in bits),
    )
    rng = random.Random(11)  # noqa: S311 - draws examples, guards nothing
    for name, version in VERSIONS.items():
        _version(name, version, [images[each] for each in good], rng, config)


def _version(
    name: str,
    version: Version,
    images: list[Image.Image],
    rng: random.Random,
    config: CampaignsDocument,
) -> None:
    hits = later = hashed = 0
    for image in images:
        made = [_hash(version(image, rng), config) for _ in range(_COPIES)]
        crossing = told([pdq for pdq in made if pdq], config)
        best = representative(crossing, config) if crossing else None
        if best is not None:
            hits += 1
            new = [_hash(version(image, rng), config) for _ in range(_LATER)]
            hashed += len(new)
            near = (
                distance(best.copy.print, pdq) <= config.pictures.distance for pdq in new if pdq
            )
            later += sum(near)
    say(what=name, campaigns=len(images), told=hits, later_copies=hashed, known=later)


def _copies(good: dict[str, bytes], config: CampaignsDocument) -> None:
    """Which pictures are one campaign with the one that most are near to."""
    near = {
        name: [
            other for other, its in good.items() if distance(pdq, its) <= config.pictures.distance
        ]
        for name, pdq in good.items()
    }
    best = max(near, key=lambda name: len(near[name]))
    keys = set(picture(good[best]).keys)
    say(
        what="copies",
        pictures=len(good),
        represented_by=best,
        near=len(near[best]),
        in_a_group_with_it=sum(not keys.isdisjoint(picture(pdq).keys) for pdq in good.values()),
        far={
            name: distance(good[best], pdq) for name, pdq in good.items() if name not in near[best]
        },
    )


def _hash(image: Image.Image, config: CampaignsDocument) -> bytes | None:
    (pdq,), quality = pdq_hashes(image, variants=False)
    return pdq if quality >= config.pictures.min_quality else None


if __name__ == "__main__":
    app()
