"""Decoding of pictures that nobody vouches for. Runs in a limited process only.

A picture comes out upright and in RGB, transparent parts on white. What the header promises is
checked before anything is decoded; a file whose end is missing gives what is there, and says so.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps

from schemas.errors import SluiceError
from schemas.evidence import FailureKind, MediaFacts, Note
from schemas.media_job import PicturePart
from udfs.media_formats import Format, remarks

DRAFT_SIDE: Final = 1600
"""A JPEG is decoded at half, a quarter or an eighth of its size while it stays larger than this:
hashes, text and models all look at less."""
_ORIENTATION: Final = 0x0112


class MediaError(SluiceError):
    """Media of which a step cannot make anything.

    Args:
        kind: why, for machines.
        message: a sentence that quotes no content.
        limit: the setting that was hit, and its value.
    """

    def __init__(self, kind: FailureKind, message: str, *, limit: str = "") -> None:
        self.kind = kind
        self.message = message
        self.limit = limit
        super().__init__(message)


class Picture(NamedTuple):
    """One frame."""

    image: Image.Image
    """RGB, upright."""
    seconds: float | None
    """Into the animation; None for a still picture."""


class Decoded(NamedTuple):
    """A file's pictures, and what it is."""

    pictures: list[Picture]
    facts: MediaFacts


def decode(data: bytes, found: Format, limits: PicturePart) -> Decoded:
    """Decode a picture or an animation.

    Args:
        data: the whole file.
        found: its format by its first bytes; no other decoder tries.
        limits: of pixels and frames.

    Raises:
        MediaError: nothing of it can be decoded, or it is too large.
    """
    Image.MAX_IMAGE_PIXELS = None  # _open checks, with the setting's own figure
    notes = remarks(found, memoryview(data))
    try:
        pictures, facts = _decode(data, found, limits, notes)
    except MediaError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # a decoder may raise anything at all
        raise MediaError("malformed", f"the {found.name} decoder says {_kind(error)}") from error
    return Decoded(pictures, facts)


def _decode(
    data: bytes, found: Format, limits: PicturePart, notes: list[Note]
) -> tuple[list[Picture], MediaFacts]:
    image = _open(data, found, limits)
    width, height = image.size
    if getattr(image, "is_animated", False) and found.name != "jpeg":
        pictures, more = _animation(image, limits)
        notes += more
    else:
        pictures = [Picture(_still(image, data, found, limits, notes), None)]
    upright = pictures[0].image.size
    if (upright[0] < upright[1]) != (width < height):
        width, height = height, width
    facts = MediaFacts(
        bytes=len(data),
        format=found.name,
        width=width,
        height=height,
        frames=len(pictures),
        notes=list(dict.fromkeys(notes)),
    )
    return pictures, facts


def _open(data: bytes, found: Format, limits: PicturePart) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that is broken: not ours to say
        image = Image.open(io.BytesIO(data), formats=_decoders(found))
    width, height = image.size
    if width * height > limits.max_pixels:
        raise MediaError(
            "pixel_limit",
            f"the picture has {width} x {height} pixels",
            limit=f"picture.max_pixels = {limits.max_pixels}",
        )
    if width < 1 or height < 1:
        raise MediaError("malformed", "the picture has no pixels")
    return image


def _decoders(found: Format) -> list[str]:
    # A JPEG of several pictures is opened by a decoder of its own.
    return [found.decoder, "MPO"] if found.name == "jpeg" else [found.decoder]


def _still(
    image: Image.Image, data: bytes, found: Format, limits: PicturePart, notes: list[Note]
) -> Image.Image:
    _draft(image)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - once more, taking what is there; that may raise as well
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        image = _open(data, found, limits)
        _draft(image)
        image.load()
        notes.append("truncated")
    return upright_rgb(image, notes)


def _draft(image: Image.Image) -> None:
    """Have a JPEG decoded at the smallest scale whose longer side is at least `DRAFT_SIDE`."""
    scale = DRAFT_SIDE / max(image.size)
    image.draft(None, (int(image.width * scale), int(image.height * scale)))


def upright_rgb(image: Image.Image, notes: list[Note]) -> Image.Image:
    """A decoded picture in RGB and the right way up; adds to `notes` what was done."""
    try:
        turned = image.getexif().get(_ORIENTATION, 1) not in {0, 1}
        if turned:
            image = ImageOps.exif_transpose(image) or image
            notes.append("turned")
    except Exception:  # noqa: BLE001, S110 - metadata that nobody can read turn nothing
        pass
    if image.mode == "RGB":
        return image
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        lowest = clear.getchannel("A").getextrema()[0]
        if isinstance(lowest, int | float) and lowest < 255:
            notes.append("transparent")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    if image.mode[0] in "IF":
        return _from_wide(image)
    return image.convert("RGB")


def _from_wide(image: Image.Image) -> Image.Image:
    """16 or 32 bits a pixel to 8: Pillow would cut off what is brighter than 255."""
    values = np.nan_to_num(np.asarray(image, np.float32))
    highest = float(values.max(initial=0.0))
    if highest > 255:
        values *= 255 / (max(65535, highest))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")


def _animation(image: Image.Image, limits: PicturePart) -> tuple[list[Picture], list[Note]]:
    """Frames evenly spread over the ones that are decoded, the first always among them."""
    notes: list[Note] = ["animated"]
    kept: list[Picture] = []
    every = 1
    decoded = 0
    for number, picture in enumerate(_frames(image, limits, notes)):
        decoded = number + 1
        if number % every == 0:
            kept.append(picture)
        if len(kept) > limits.frames:
            # How many there are is known to nobody: thin out, and go on in wider steps.
            kept, every = kept[::2], every * 2
    if not kept:
        raise MediaError("malformed", "the animation has no frame that can be decoded")
    if decoded > len(kept) and "frames_left_out" not in notes:
        notes.append("frames_left_out")
    return kept, notes


def _frames(image: Image.Image, limits: PicturePart, notes: list[Note]) -> Iterator[Picture]:
    budget = max(1, limits.max_pixels * 4 // max(1, image.width * image.height))
    most = min(limits.decoded_frames, budget)
    seconds = 0.0
    for number in range(most + 1):
        if number == most:
            notes.append("frames_left_out")
            return
        try:
            image.seek(number)
            image.load()
        except EOFError:
            return
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - the frames before it are as good as ever
            notes.append("truncated")
            return
        # The composed frame stays the decoder's: it is changed by the next.
        yield Picture(upright_rgb(image.copy(), notes), seconds)
        seconds += float(image.info.get("duration") or 0) / 1000


def fit(image: Image.Image, side: int) -> Image.Image:
    """Scale down to a longer side of at most `side` pixels; what is smaller stays as it is."""
    width, height = image.size
    if max(width, height) <= side:
        return image
    scale = side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _kind(error: Exception) -> str:
    """The type of an error, as its message may quote the file."""
    return type(error).__name__
