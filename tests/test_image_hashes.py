"""Perceptual hashes: the known values of real pictures, and what edits do to generated ones."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable

import imagehash
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from schemas.settings import ROOT
from udfs.image_hashes import VARIANTS, distance, hash_picture, pdq_hashes, phashes

DATA = ROOT.parent / "shared" / "data" / "pdq_images"
TOLERANCE = 12
"""Two right implementations of PDQ differ by up to this on the pictures of `DATA`."""


def drawn(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A picture of gradients and shapes: enough structure for a good hash."""
    rng = random.Random(seed)  # noqa: S311 - a test picture
    small = Image.new("RGB", (6, 5))
    small.putdata([tuple(rng.randrange(256) for _ in range(3)) for _ in range(30)])
    picture = small.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        box = (x, y, x + rng.randrange(20, 200), y + rng.randrange(20, 200))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(box, fill=tuple(rng.randrange(256) for _ in range(3)))
    return picture


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda picture: jpeg(picture, 40),
    "small": lambda picture: picture.resize((200, 150)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(2)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_near_and_another_picture_is_not(edit: str) -> None:
    picture = drawn(1)
    known, copy = hash_picture(picture), hash_picture(EDITS[edit](picture))
    other = hash_picture(drawn(2))
    assert min(known.quality, copy.quality) >= 50
    assert distance(copy.pdq[0], known.pdq[0]) <= 31 < distance(other.pdq[0], known.pdq[0])
    for kind, most in (("phash64", 10), ("phash256", 31)):
        mine, yours, theirs = (getattr(each, kind)[0] for each in (known, copy, other))
        assert distance(mine, yours) <= most < distance(mine, theirs)


@pytest.mark.parametrize("how", list(Image.Transpose))
def test_a_turned_copy_is_one_of_the_eight(how: Image.Transpose) -> None:
    picture = drawn(3)
    known, turned = hash_picture(picture), hash_picture(picture.transpose(how))
    assert distance(turned.pdq[0], known.pdq[0]) > 31
    for kind, most in (("pdq", 31), ("phash64", 2), ("phash256", 8)):
        variants = getattr(turned, kind)
        assert len(variants) == VARIANTS
        assert min(distance(each, getattr(known, kind)[0]) for each in variants) <= most


def test_without_variants_there_is_one() -> None:
    one, all_ = hash_picture(drawn(4), variants=False), hash_picture(drawn(4))
    assert (one.pdq, one.phash64, one.phash256) == (
        all_.pdq[:1], all_.phash64[:1], all_.phash256[:1],
    )  # fmt: skip
    assert [len(each[0]) for each in (one.pdq, one.phash64, one.phash256)] == [32, 8, 32]


def test_phash_is_imagehashs() -> None:
    for picture in (drawn(5), drawn(6, (99, 301)).convert("L"), drawn(7).convert("CMYK")):
        assert phashes(picture, 8)[0].hex() == str(imagehash.phash(picture))
        assert phashes(picture, 16)[0].hex() == str(imagehash.phash(picture, hash_size=16))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode_is_hashed(mode: str) -> None:
    picture = drawn(8)
    hashes = hash_picture(
        picture.convert("L").convert(mode) if mode in "IF" else picture.convert(mode)
    )
    assert distance(hashes.pdq[0], hash_picture(picture).pdq[0]) <= 31


def test_transparent_parts_are_white() -> None:
    picture = drawn(9).convert("RGBA")
    hole = Image.new("L", picture.size, 255)
    ImageDraw.Draw(hole).rectangle((0, 0, 320, 480), fill=0)
    picture.putalpha(hole)
    seen = Image.new("RGB", picture.size, "white")
    seen.paste(picture, mask=hole)
    assert hash_picture(picture).pdq == hash_picture(seen).pdq


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2), (5000, 4)])
def test_odd_sizes_are_hashed(size: tuple[int, int]) -> None:
    hashes = hash_picture(Image.new("RGB", size, "red"))
    assert hashes.quality < 50
    assert len(hashes.pdq) == len(hashes.phash64) == VARIANTS


def test_hashes_of_two_kinds_have_no_distance() -> None:
    with pytest.raises(ValueError, match="of 8 and 32 bytes"):
        distance(bytes(8), bytes(32))


def test_known_pictures_have_their_known_hashes() -> None:
    if not DATA.is_dir():
        pytest.skip("the PDQ reference pictures are not on this machine")
    with (DATA / "expected_pdq.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 25
    for row in rows:
        with Image.open(DATA / row["file"]) as picture:
            (found, *_), quality = pdq_hashes(picture, variants=False)
        for column in ("pdq_pdqhash_lib", "upstream_expected_pdq_python_readme"):
            if row[column]:
                far = distance(found, bytes.fromhex(row[column]))
                assert far <= TOLERANCE, (row["file"], column, far)
        assert abs(quality - int(row["quality"])) <= 1, row["file"]
