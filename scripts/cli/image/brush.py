"""What drawn pictures are made of: words, fonts, colours, backgrounds, codes."""

from __future__ import annotations

import colorsys
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import matplotlib as mpl
import numpy as np
import zxingcpp
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydantic import BaseModel, ConfigDict, Field

from schemas.settings import CONF
from schemas.yaml_source import YamlSource

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
Word = Annotated[str, Field(min_length=1)]
T = TypeVar("T")

WORDS: Final = CONF / "training" / "image_words.yaml"
_TILE: Final = 96
BUILT_IN: Final = "Pillow's own"
# Fonts that come with packages that are installed anyway, so that pictures are the same
# everywhere. The second set is never trained on.
FONTS: Final = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "STIXGeneral",
    "STIXGeneralBol",
    "DejaVuSansMono",
)
UNSEEN_FONTS: Final = (
    BUILT_IN,
    "DejaVuSerif-BoldItalic",
    "STIXGeneralBolIta",
    "DejaVuSansMono-Bold",
)


class Words(BaseModel):
    """`conf/training/image_words.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    headlines: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Of advertisements."""
    calls: Annotated[tuple[Word, ...], Field(min_length=1)]
    """What they ask for."""
    contacts: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Where they lead."""
    offers: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Of badges."""
    plain: Annotated[tuple[Word, ...], Field(min_length=1)]
    """What people write, and what stands in documents."""
    captions: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Of jokes."""
    labels: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Single words of charts, menus and signs."""
    code: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Lines of programs."""


@functools.cache
def words() -> Words:
    """Read the words.

    Raises:
        ConfigError: with the line of the mistake.
    """
    return YamlSource.read(WORDS).validate(Words)


@functools.lru_cache(512)
def _font(name: str, size: int) -> Any:
    if name == BUILT_IN:
        return ImageFont.load_default(size)
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(str(path), size)


class Brush:
    """Draws one picture. Everything random comes from its seed.

    Args:
        seed: of the picture.
        unseen: write in the fonts that are never trained on.
    """

    def __init__(self, seed: Sequence[int], *, unseen: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.fonts = UNSEEN_FONTS if unseen else FONTS
        self.words = words()

    def maybe(self, chance: float) -> bool:
        return bool(self.rng.random() < chance)

    def number(self, low: int, high: int) -> int:
        """A whole number, `high` among them."""
        return int(self.rng.integers(low, high + 1))

    def among(self, there: Sequence[T]) -> T:
        return there[int(self.rng.integers(len(there)))]

    def some(self, there: Sequence[T], count: int) -> list[T]:
        """So many, in any order, none twice while there are enough."""
        order = self.rng.permutation(max(count, len(there)))[:count]
        return [there[int(place) % len(there)] for place in order]

    def font(self, size: int, *, mono: bool = False) -> Any:
        names = [name for name in self.fonts if "Mono" in name] if mono else self.fonts
        return _font(self.among(names), max(6, size))

    def loud(self) -> Colour:
        """A colour that wants to be seen."""
        return self._hue(0.75 + 0.25 * self.rng.random(), 0.7 + 0.3 * self.rng.random())

    def quiet(self) -> Colour:
        """A colour of a page or a wall."""
        return self._hue(0.35 * self.rng.random(), 0.6 + 0.4 * self.rng.random())

    def dark(self) -> Colour:
        return self._hue(0.6 * self.rng.random(), 0.3 * self.rng.random())

    def any_colour(self) -> Colour:
        return self._hue(self.rng.random(), 0.2 + 0.8 * self.rng.random())

    def _hue(self, saturation: float, value: float) -> Colour:
        red, green, blue = colorsys.hsv_to_rgb(float(self.rng.random()), saturation, value)
        return round(255 * red), round(255 * green), round(255 * blue)

    def contrast(self, ground: Colour) -> Colour:
        """Something that can be read on it."""
        light = (0.3 * ground[0] + 0.6 * ground[1] + 0.1 * ground[2]) > 130
        if self.maybe(0.7):
            return (0, 0, 0) if light else (255, 255, 255)
        if light:
            return self.dark()
        return self._hue(0.4 * self.rng.random(), 0.95)

    def page(self, width: int, height: int, colour: Colour) -> Image.Image:
        return Image.new("RGB", (width, height), colour)

    def gradient(self, width: int, height: int, first: Colour, last: Colour) -> Image.Image:
        """From one colour to another, along a line or out of the middle."""
        # Nothing in it is sharp: a quarter of the size is enough.
        h, w = max(2, height // 4), max(2, width // 4)
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        if self.maybe(0.3):
            share = np.hypot((x - w / 2) / w, (y - h / 2) / h) * 1.4
        else:
            angle = float(self.rng.random()) * 2 * np.pi
            share = (x / w - 0.5) * np.cos(angle) + (y / h - 0.5) * np.sin(angle) + 0.5
        share = np.clip(share, 0, 1)[..., None]
        mixed = np.asarray(first) * (1 - share) + np.asarray(last) * share
        small = Image.fromarray(mixed.astype(np.uint8))
        return small.resize((width, height), Image.Resampling.BILINEAR)

    def scene(self, width: int, height: int) -> Image.Image:
        """Something like a photograph: soft light at several scales, things, grain."""
        w, h = max(8, width // 3), max(8, height // 3)
        total = np.zeros((h, w, 3), np.float32)
        for octave in range(self.number(2, 5)):
            cells = 2 ** (octave + 1) + self.number(0, 2)
            small = self.rng.integers(0, 256, (cells, cells, 3), np.uint8)
            soft = Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC)
            total += np.asarray(soft, np.float32) * 0.62**octave
        total *= 255 / max(1.0, float(total.max()))
        mean = total.mean(2, keepdims=True)
        total = mean + (total - mean) * np.float32(self.rng.uniform(0.1, 1.0))
        picture = Image.fromarray(total.clip(0, 255).astype(np.uint8))
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(picture)
        if self.maybe(0.4):  # a horizon
            line = int(height * self.rng.uniform(0.35, 0.75))
            draw.rectangle((0, line, width, height), fill=self._hue(0.4, 0.45))
        for _ in range(self.number(0, 9)):
            self._thing(draw, width, height)
        if self.maybe(0.7):
            picture = picture.filter(ImageFilter.GaussianBlur(float(self.rng.uniform(0.3, 2.5))))
        # One tile of grain, again and again: nobody sees where it begins.
        tile = self.rng.normal(0, self.rng.uniform(0, 14), (_TILE, _TILE, 1)).astype(np.int16)
        grain = np.tile(tile, (-(-height // _TILE), -(-width // _TILE), 1))[:height, :width]
        grained = np.asarray(picture, np.int16) + grain
        return Image.fromarray(grained.clip(0, 255).astype(np.uint8))

    def _thing(self, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
        x, y = self.number(0, width), self.number(0, height)
        w, h = self.number(width // 20, width // 2), self.number(height // 20, height // 2)
        box = (x - w // 2, y - h // 2, x + w // 2, y + h // 2)
        kind = self.number(0, 2)
        if kind == 0:
            draw.ellipse(box, fill=self.any_colour())
        elif kind == 1:
            draw.rectangle(box, fill=self.any_colour())
        else:
            corners = [
                (self.number(box[0], box[2]), self.number(box[1], box[3]))
                for _ in range(self.number(3, 6))
            ]
            draw.polygon(corners, fill=self.any_colour())

    def write(
        self,
        draw: ImageDraw.ImageDraw,
        box: Box,
        text: str,
        colour: Colour,
        *,
        outline: Colour | None = None,
        left: bool = False,
        most: int = 400,
    ) -> None:
        """One line as large as it fits into a box, in its middle or at its left.

        Args:
            draw: of the picture.
            box: left, top, right, bottom.
            text: the line.
            colour: of the letters.
            outline: around them.
            left: at the left edge.
            most: size at most, pixels.
        """
        width, height = box[2] - box[0], box[3] - box[1]
        if width < 8 or height < 6:
            return
        font = self.font(20)
        wide = max(1.0, font.getlength(text))
        size = min(most, int(20 * width / wide), int(height * 0.85))
        font = font.font_variant(size=max(6, size))
        place = (box[0] if left else (box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
        stroke = max(1, size // 14) if outline is not None else 0
        draw.text(place, text, fill=colour, font=font, anchor="lm" if left else "mm",
                  stroke_width=stroke, stroke_fill=outline)  # fmt: skip

    def lines(
        self, draw: ImageDraw.ImageDraw, box: Box, texts: Sequence[str], colour: Colour, size: int,
        *, mono: bool = False,
    ) -> None:  # fmt: skip
        """Lines of running text, each cut off at the right edge."""
        font = self.font(size, mono=mono)
        y = box[1]
        for text in texts:
            if y + size > box[3]:
                return
            room = int((box[2] - box[0]) / max(1.0, font.getlength("n")))
            draw.text((box[0], y), text[:room], fill=colour, font=font)
            y += int(size * 1.35)

    def running(self, count: int) -> list[str]:
        """Lines of several sentences each."""
        picked = self.rng.integers(0, len(self.words.plain), (count, 4))
        return [" ".join(self.words.plain[int(place)] for place in line) for line in picked]

    def burst(self, draw: ImageDraw.ImageDraw, x: int, y: int, radius: int, text: str) -> None:
        """A star with a short text in it."""
        colour = self.loud()
        points = self.number(9, 18)
        corners = []
        for place in range(2 * points):
            reach = radius * (1.0 if place % 2 else 0.8)
            angle = np.pi * place / points
            corners.append((x + reach * np.cos(angle), y + reach * np.sin(angle)))
        if self.maybe(0.3):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            draw.polygon(corners, fill=colour)
        half = int(radius * 0.62)
        self.write(draw, (x - half, y - half // 2, x + half, y + half // 2), text,
                   self.contrast(colour))  # fmt: skip

    def button(self, draw: ImageDraw.ImageDraw, box: Box, text: str, colour: Colour) -> None:
        draw.rounded_rectangle(box, radius=self.number(0, (box[3] - box[1]) // 2), fill=colour)
        pad = max(2, (box[3] - box[1]) // 6)
        inner = (box[0] + pad, box[1] + pad, box[2] - pad, box[3] - pad)
        self.write(draw, inner, text, self.contrast(colour))

    def code(self, side: int, *, ink: Colour = (0, 0, 0)) -> Image.Image:
        """A QR code with its margin, `side` pixels square."""
        letters = self.rng.integers(97, 123, self.number(8, 70), np.uint8).tobytes().decode()
        made = zxingcpp.create_barcode(f"https://{letters}", zxingcpp.BarcodeFormat.QRCode)
        grey = np.asarray(made.to_image(scale=1)) > 127
        pixels = np.where(grey[..., None], 255, np.asarray(ink)).astype(np.uint8)
        framed = np.pad(pixels, ((2, 2), (2, 2), (0, 0)), constant_values=255)
        return Image.fromarray(framed).resize((side, side), Image.Resampling.NEAREST)

    def worn(self, picture: Image.Image) -> Image.Image:
        """As pictures come: scaled, a little turned or blurred, compressed."""
        if self.maybe(0.15):
            ground = self.any_colour()
            angle = float(self.rng.uniform(-8, 8))
            picture = picture.rotate(
                angle, Image.Resampling.BILINEAR, expand=True, fillcolor=ground
            )
        if self.maybe(0.5):
            share = float(self.rng.uniform(0.45, 1.0))
            size = (max(64, int(picture.width * share)), max(48, int(picture.height * share)))
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        if self.maybe(0.15):
            picture = picture.filter(ImageFilter.GaussianBlur(float(self.rng.uniform(0.3, 1.2))))
        if self.maybe(0.7):
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=self.number(35, 95))
            picture = Image.open(buffer, formats=["JPEG"])
        return picture.convert("RGB")
