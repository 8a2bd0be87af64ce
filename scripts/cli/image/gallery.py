"""The pictures that an image model is trained and tested on: drawn from a seed, none of them real.

Some layouts and fonts are never trained on: how a model does on those says more than how it does
on new pictures of layouts that it knows.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.cli.image import adverts, everyday
from scripts.cli.image.brush import Brush
from udfs.pixel_package import Geometry
from udfs.pixels import Squares, square

Split = Literal["train", "dev", "test", "unseen"]
"""unseen: layouts and fonts that are not trained on; test: new pictures of those that are."""


class Layout(NamedTuple):
    """A kind of picture."""

    draw: Callable[[Brush], Image.Image]
    spam: bool
    unseen: bool = False

    @property
    def name(self) -> str:
        return self.draw.__name__


LAYOUTS: Final = (
    Layout(adverts.banner, spam=True),
    Layout(adverts.flyer, spam=True),
    Layout(adverts.code_with_call, spam=True),
    Layout(adverts.code_on_scene, spam=True),
    Layout(adverts.scene_with_offer, spam=True),
    Layout(adverts.price_list, spam=True),
    Layout(adverts.coupon, spam=True, unseen=True),
    Layout(adverts.strip, spam=True, unseen=True),
    Layout(adverts.code_poster, spam=True, unseen=True),
    Layout(everyday.photo, spam=False),
    Layout(everyday.plain, spam=False),
    Layout(everyday.chart, spam=False),
    Layout(everyday.document, spam=False),
    Layout(everyday.terminal, spam=False),
    Layout(everyday.chat, spam=False),
    Layout(everyday.screen, spam=False),
    Layout(everyday.meme, spam=False),
    Layout(everyday.sign, spam=False),
    Layout(everyday.ticket, spam=False),
    Layout(everyday.slide, spam=False),
    Layout(everyday.doodle, spam=False),
    Layout(everyday.quote, spam=False),
    Layout(everyday.plan, spam=False, unseen=True),
    Layout(everyday.calendar, spam=False, unseen=True),
    Layout(everyday.menu, spam=False, unseen=True),
)


class Pictures(NamedTuple):
    """Pictures as a model sees them."""

    squares: Squares
    labels: npt.NDArray[np.float64]
    """1 for spam."""
    layouts: tuple[str, ...]
    """Of each picture."""


def drawn(count: int, split: Split, seed: int) -> Iterator[tuple[Layout, Image.Image]]:
    """Pictures of a split, half of them spam, each layout as often as the others of its kind.

    Args:
        count: of pictures.
        split: no picture of one is in another.
        seed: of all of them.
    """
    unseen = split == "unseen"
    there = [layout for layout in LAYOUTS if layout.unseen == unseen]
    kinds = [[layout for layout in there if layout.spam == spam] for spam in (False, True)]
    for number in range(count):
        own = kinds[number % 2]
        layout = own[number // 2 % len(own)]
        brush = Brush((seed, zlib.crc32(split.encode()), number), unseen=unseen)
        yield layout, brush.worn(layout.draw(brush))


def pictures(count: int, split: Split, seed: int, geometry: Geometry) -> Pictures:
    """The same as `drawn`, cut as a model sees them."""
    squares = np.empty((count, geometry.crop, geometry.crop, 3), np.uint8)
    labels = np.zeros(count)
    names = []
    for number, (layout, picture) in enumerate(drawn(count, split, seed)):
        squares[number] = square(picture, geometry)
        labels[number] = layout.spam
        names.append(layout.name)
    return Pictures(squares, labels, tuple(names))
