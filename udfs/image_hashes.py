"""Perceptual hashes of pictures, and of the same pictures mirrored and rotated.

PDQ (256 bits, with a quality from 0 to 100) by pdqhash, pHash (64 and 256 bits) by imagehash.
A bank knows a picture as it came; a copy that was turned or mirrored is found by asking for all
eight variants of the copy (the dihedral group of the square).
"""

from __future__ import annotations

from typing import Any, Final

import imagehash
import msgspec
import numpy as np
import numpy.typing as npt
import pdqhash
from PIL import Image

VARIANTS: Final = 8
"""Ways in which a square can lie, the one as it came first."""
_PDQ_SIDE: Final = 512
"""PDQ reads 64 x 64 averages: more than this for a side only costs time."""
_TRANSPOSES: Final = (
    None,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)


class PictureHashes(msgspec.Struct, frozen=True, kw_only=True):
    """Hashes of one picture: as it came first, then its other variants if they were wanted."""

    pdq: tuple[bytes, ...]
    """32 bytes each."""
    quality: int
    """Of PDQ, 0 to 100: below 50 the picture has too little structure to tell it by."""
    phash64: tuple[bytes, ...]
    """8 bytes each."""
    phash256: tuple[bytes, ...]
    """32 bytes each."""


def hash_picture(picture: Image.Image, *, variants: bool = True) -> PictureHashes:
    """Hash a decoded picture.

    Args:
        picture: of any mode and size; transparent parts count as white.
        variants: hash the mirrored and rotated ones, too.
    """
    rgb = _rgb(picture)
    pdq, quality = pdq_hashes(rgb, variants=variants)
    return PictureHashes(
        pdq=pdq,
        quality=quality,
        phash64=phashes(rgb, 8, variants=variants),
        phash256=phashes(rgb, 16, variants=variants),
    )


def pdq_hashes(picture: Image.Image, *, variants: bool = True) -> tuple[tuple[bytes, ...], int]:
    """PDQ hashes of a picture, and the quality that they have in common."""
    rgb = _rgb(picture)
    width, height = rgb.size
    if min(width, height) > _PDQ_SIDE:
        rgb = rgb.resize((_PDQ_SIDE, _PDQ_SIDE), Image.Resampling.BOX, reducing_gap=None)
    pixels = np.ascontiguousarray(rgb)
    if variants:
        hashes, quality = pdqhash.compute_dihedral(pixels)
    else:
        one, quality = pdqhash.compute(pixels)
        hashes = [one]
    return tuple(_pack(bits) for bits in hashes), int(quality)


def phashes(picture: Image.Image, side: int, *, variants: bool = True) -> tuple[bytes, ...]:
    """Hashes (pHash) of `side` x `side` bits (8 or 16), as `imagehash.phash` gives them."""
    # What imagehash makes of a picture first. Turning this little one is as good as the large.
    small = picture.convert("L").resize((4 * side, 4 * side), Image.Resampling.LANCZOS)
    turned = [
        small if how is None else small.transpose(how)
        for how in (_TRANSPOSES if variants else _TRANSPOSES[:1])
    ]
    return tuple(_pack(imagehash.phash(each, hash_size=side).hash.ravel()) for each in turned)


def distance(one: bytes, other: bytes) -> int:
    """Differing bits of two hashes of one length.

    Raises:
        ValueError: their lengths differ.
    """
    if len(one) != len(other):
        raise ValueError(f"hashes of {len(one)} and {len(other)} bytes cannot be compared")
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    return picture.convert("RGB")


def _pack(bits: npt.NDArray[Any]) -> bytes:
    return np.packbits(np.asarray(bits, np.uint8)).tobytes()
