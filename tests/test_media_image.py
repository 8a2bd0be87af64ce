"""Pictures that nobody vouches for, decoded: upright, in RGB, and within limits."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from schemas.evidence import MediaFacts
from schemas.media_job import PicturePart
from tests.media_kit import animation, chunk, clip, photo, png_bomb, saved, sound
from udfs.image_hashes import distance, hash_picture
from udfs.media_formats import HEAD, extension_differs, identify
from udfs.media_image import Decoded, MediaError, decode, fit

PART = PicturePart()


def decoded(data: bytes, part: PicturePart = PART) -> Decoded:
    found = identify(data[:HEAD])
    assert found is not None
    return decode(data, found, part)


def facts(data: bytes, part: PicturePart = PART) -> MediaFacts:
    return decoded(data, part).facts


def refused(data: bytes, part: PicturePart = PART) -> MediaError:
    with pytest.raises(MediaError) as caught:
        decoded(data, part)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("PNG", {}, "png"), ("JPEG", {}, "jpeg"), ("GIF", {}, "gif"), ("BMP", {}, "bmp"),
        ("WEBP", {"lossless": True}, "webp"), ("TIFF", {}, "tiff"), ("PPM", {}, "ppm"),
        ("AVIF", {}, "avif"),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_picture(kind: str, options: dict[str, Any], name: str) -> None:
    original = photo()
    found = decoded(saved(original, kind, **options))
    (picture,) = found.pictures
    assert (found.facts.format, found.facts.width, found.facts.height) == (name, 320, 240)
    assert found.facts.notes == []
    assert (picture.image.mode, picture.seconds) == ("RGB", None)
    assert np.abs(np.asarray(picture.image, int) - np.asarray(original, int)).mean() < 12
    one, other = hash_picture(picture.image, variants=False), hash_picture(original, variants=False)
    # A palette of 256 colours makes steps of what was smooth.
    assert distance(one.pdq[0], other.pdq[0]) <= (40 if kind == "GIF" else 16)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    original = photo().convert("L")
    if mode == "I;16":
        wide = np.asarray(original, np.uint16) * 257
        data = saved(Image.fromarray(wide))
    elif mode == "PA":
        data = saved(original.convert("RGBA").quantize(64), "PNG")
    else:
        data = saved(original.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    (picture,) = decoded(data).pictures
    assert picture.image.mode == "RGB"
    limit = 130 if mode == "1" else 12
    assert np.abs(np.asarray(picture.image.convert("L"), int) - original).mean() < limit


def test_transparent_parts_are_white_whatever_lies_beneath() -> None:
    hidden = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    found = decoded(saved(hidden))
    assert found.facts.notes == ["transparent"]
    assert np.asarray(found.pictures[0].image).min() == 255
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([9, 9, 9])
    assert np.asarray(decoded(saved(palette, transparency=0)).pictures[0].image).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_lies_on_its_side_is_turned(orientation: int) -> None:
    original = photo(96, 64)
    # What a camera stores when it is held so: the inverse of what is shown.
    stored = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    camera = original if stored is None else original.transpose(Image.Transpose(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decoded(saved(camera, "PNG", exif=exif.tobytes()))
    assert found.pictures[0].image.tobytes() == original.tobytes()
    assert (found.facts.width, found.facts.height) == (96, 64)
    assert ("turned" in found.facts.notes) == (orientation != 1)


def test_metadata_that_are_broken_turn_nothing() -> None:
    data = saved(photo(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert facts(data).notes == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_gives_what_is_there_or_a_reason(kind: str, share: float) -> None:
    data = saved(photo(640, 480), kind)
    cut = data[: int(len(data) * share)]
    try:
        found = decoded(cut)
    except MediaError as error:
        assert error.kind == "malformed"
    else:
        assert "truncated" in found.facts.notes
        assert found.pictures[0].image.size == (640, 480)


def test_half_a_jpeg_is_still_looked_at() -> None:
    data = saved(photo(640, 480), "JPEG", quality=95)
    assert "truncated" in facts(data[: len(data) // 2]).notes


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"BM" + b"\0" * 60,
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"II*\0" + b"\xff" * 100,
        b"P6\n-1 4\n255\n",
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)),
        saved(photo())[:40] + b"\xff" * 500,
    ],
)
def test_what_is_no_picture_says_so_and_quotes_nothing(data: bytes) -> None:
    error = refused(data)
    assert error.kind == "malformed"
    assert len(error.message) < 80


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = png_bomb(30_000, 3_000)
    assert len(bomb) < 20_000
    error = refused(bomb)
    assert (error.kind, error.limit) == ("pixel_limit", "picture.max_pixels = 50000000")
    assert "30000 x 3000" in error.message
    assert refused(saved(photo()), PicturePart(max_pixels=1000)).kind == "pixel_limit"


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000), (1, 1), (3000, 2)])
def test_extreme_shapes_are_decoded_and_hashed(size: tuple[int, int]) -> None:
    found = decoded(png_bomb(*size))
    assert (found.facts.width, found.facts.height) == size
    image = found.pictures[0].image
    assert hash_picture(image).quality < 50
    assert max(fit(image, 640).size) <= 640


def test_an_animation_is_looked_at_all_along() -> None:
    colours = ["red", "lime", "blue", "white"]
    pictures = [Image.new("RGB", (16, 16), colours[i // 10]) for i in range(40)]
    # Equal frames are joined as a file is made: a dot makes each another.
    for i, picture in enumerate(pictures):
        picture.putpixel((i % 16, i // 16), (1, 2, 3))
    found = decoded(animation(pictures))
    assert found.facts.notes == ["animated", "frames_left_out"]
    assert len(found.pictures) == found.facts.frames <= PART.frames
    seen = {picture.image.getpixel((15, 15)) for picture in found.pictures}
    assert len(seen) == 4
    times = [picture.seconds for picture in found.pictures]
    assert times[0] == 0
    assert times == sorted(times, key=lambda each: each or 0)
    assert (times[-1] or 0) > 2.4


def test_an_animation_without_end_is_left_at_its_limit() -> None:
    pictures = [Image.new("L", (8, 8), i % 256) for i in range(300)]
    part = PicturePart(decoded_frames=50, frames=4)
    found = decoded(animation(pictures), part)
    assert "frames_left_out" in found.facts.notes
    assert len(found.pictures) <= 4
    assert (found.pictures[-1].seconds or 0) < 5.0
    # Large frames use the limit up sooner.
    few = decoded(animation(pictures), PicturePart(max_pixels=64, frames=100))
    assert len(few.pictures) <= 4


def test_an_animation_that_breaks_off_gives_the_frames_before() -> None:
    data = animation(photo(200, 150, seed) for seed in range(6))
    found = decoded(data[: len(data) // 2])
    assert {"animated", "truncated"} <= set(found.facts.notes)
    assert 1 <= len(found.pictures) < 6


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_what_hangs_behind_a_picture_is_noted(kind: str) -> None:
    data = saved(photo(), kind)
    assert facts(data + b"\0" * 64).notes == []
    assert facts(data + b"PK\x03\x04 a second file").notes == ["trailing_data"]


def test_formats_are_told_by_their_first_bytes() -> None:
    made = {
        "png": saved(photo()), "jpeg": saved(photo(), "JPEG"), "wav": sound(0.1),
        "mp4": clip([photo(64, 48)]), "avif": saved(photo(), "AVIF"),
    }  # fmt: skip
    for name, data in made.items():
        found = identify(data[:HEAD])
        assert found is not None
        assert found.name == name
    for data in (b"", b"GIF", b"<html>", b"PK\x03\x04", b"%PDF-1.7", b"#EXTM3U\n", b"ffconcat",
                 b"\0\0\0\x18ftypheic", b"MZ" + b"\0" * 100, b"\x7fELF"):  # fmt: skip
        assert identify(data) is None, data


@pytest.mark.parametrize(
    ("address", "declared", "differs"),
    [
        ("https://x/a.png", "", False),
        ("https://x/a.jpg?b=.png", "", True),
        ("https://x/a.PNG", "image/png", False),
        ("https://x/a", "image/jpeg", True),
        ("https://x/a", "text/html; charset=utf-8", True),
        ("https://x/a", "application/octet-stream", False),
        ("https://x/a.v2", "image/x-unheard-of", False),
        ("file:///a.mp4", "", True),
        ("", "", False),
    ],
)
def test_names_and_types_are_compared_with_the_bytes(
    address: str, declared: str, differs: bool
) -> None:
    found = identify(saved(photo())[:HEAD])
    assert found is not None
    assert extension_differs(found, address, declared) is differs


def test_decoding_does_the_same_every_time() -> None:
    data = saved(photo(), "JPEG")
    one, other = decoded(data), decoded(data)
    assert one.facts == other.facts
    assert one.pictures[0].image.tobytes() == other.pictures[0].image.tobytes()


def test_a_large_jpeg_is_decoded_smaller_and_keeps_its_size_in_the_facts() -> None:
    found = decoded(saved(photo(4000, 3000), "JPEG"))
    assert (found.facts.width, found.facts.height) == (4000, 3000)
    assert found.pictures[0].image.size == (2000, 1500)


def test_only_the_named_decoder_tries() -> None:
    found = identify(saved(photo())[:HEAD])
    assert found is not None
    with pytest.raises(MediaError, match="png decoder"):
        decode(saved(photo(), "JPEG"), found, PART)


@settings(max_examples=150, deadline=None)
@given(
    magic=st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF....WEBP",
         b"P6\n2 2\n", b"II*\0", b"\0\0\0\x18ftypavif"]
    ),
    body=st.binary(max_size=300),
)  # fmt: skip
def test_any_bytes_give_a_picture_or_a_reason(magic: bytes, body: bytes) -> None:
    data = magic + body
    found = identify(data[:HEAD])
    if found is None or found.kind != "image":
        return
    try:
        known = decode(data, found, PicturePart(max_pixels=100_000))
    except MediaError as error:
        assert error.kind in {"malformed", "pixel_limit"}
    else:
        assert all(picture.image.mode == "RGB" for picture in known.pictures)
