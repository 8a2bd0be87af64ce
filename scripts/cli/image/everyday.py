"""Pictures that advertise nothing, many of them with text, codes, loud colours or buttons."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from scripts.cli.image.brush import Brush, Colour

WHITE: Colour = (255, 255, 255)
INK: Colour = (30, 30, 34)


def photo(brush: Brush) -> Image.Image:
    return brush.scene(brush.number(280, 760), brush.number(240, 640))


def plain(brush: Brush) -> Image.Image:
    """A wall, a sky, a colour field, nothing but noise."""
    width, height = brush.number(240, 600), brush.number(240, 600)
    kind = brush.number(0, 2)
    if kind == 0:
        return brush.page(width, height, brush.any_colour())
    if kind == 1:
        return brush.gradient(width, height, brush.any_colour(), brush.any_colour())
    return Image.fromarray(brush.rng.integers(0, 256, (height, width, 3), np.uint8))


def chart(brush: Brush) -> Image.Image:
    """Bars, lines or shares, with title, axes and legend."""
    width, height = brush.number(400, 720), brush.number(300, 520)
    ground = WHITE if brush.maybe(0.75) else INK
    ink = INK if ground == WHITE else WHITE
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = width // 8, height // 6, width - width // 12, height - height // 6
    brush.write(draw, (left, 4, right, top - 4), brush.among(brush.words.labels), ink, most=26)
    kind = brush.number(0, 2)
    if kind == 0:
        count = brush.number(3, 12)
        step = (right - left) / count
        same = brush.any_colour()
        for place in range(count):
            x = left + place * step
            y = bottom - (bottom - top) * float(brush.rng.random())
            colour = same if brush.maybe(0.6) else brush.any_colour()
            draw.rectangle((x + step * 0.15, y, x + step * 0.85, bottom), fill=colour)
    elif kind == 1:
        for _ in range(brush.number(1, 4)):
            walk = np.cumsum(brush.rng.normal(0, 1, 40))
            walk = (walk - walk.min()) / max(1e-6, float(np.ptp(walk)))
            points = [
                (left + (right - left) * n / 39, bottom - (bottom - top) * float(value))
                for n, value in enumerate(walk)
            ]
            draw.line(points, fill=brush.any_colour(), width=brush.number(1, 4))
    else:
        side = min(right - left, bottom - top)
        angle = 0.0
        while angle < 360:
            extent = float(brush.rng.uniform(20, 130))
            draw.pieslice((left, top, left + side, top + side), angle, min(360, angle + extent),
                          fill=brush.any_colour())  # fmt: skip
            angle += extent
    if kind < 2:
        draw.line((left, top, left, bottom, right, bottom), fill=ink, width=2)
        for n in range(5):
            y = bottom - (bottom - top) * n // 4
            draw.text((4, y - 6), str(n * brush.number(1, 50)), fill=ink, font=brush.font(11))
            if brush.maybe(0.5):
                draw.line((left, y, right, y), fill=(190, 190, 190))
    for n, label in enumerate(brush.some(brush.words.labels, brush.number(0, 4))):
        draw.rectangle((right - 90, top + 16 * n, right - 80, top + 10 + 16 * n),
                       fill=brush.any_colour())  # fmt: skip
        draw.text((right - 76, top + 16 * n - 2), label, fill=ink, font=brush.font(11))
    return picture


def document(brush: Brush) -> Image.Image:
    """A page: heading, paragraphs, perhaps a table or a code in the corner."""
    width, height = brush.number(360, 560), brush.number(460, 740)
    ground = WHITE if brush.maybe(0.7) else brush.quiet()
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    pad = width // 10
    y = pad
    if brush.maybe(0.8):
        brush.write(draw, (pad, y, width - pad, y + height // 12), brush.among(brush.words.plain),
                    INK, left=True, most=30)  # fmt: skip
        y += height // 9
    size = brush.number(9, 17)
    brush.lines(draw, (pad, y, width - pad, height - pad), brush.running(45), INK, size)
    if brush.maybe(0.35):
        top = brush.number(height // 3, height // 2)
        draw.rectangle((pad, top, width - pad, top + height // 4), fill=ground, outline=INK)
        for row in range(1, 5):
            draw.line((pad, top + row * height // 20, width - pad, top + row * height // 20),
                      fill=INK)  # fmt: skip
    if brush.maybe(0.25):
        side = width // brush.number(6, 9)
        picture.paste(brush.code(side), (width - side - pad // 2, brush.among((pad // 2,
                                         height - side - pad // 2))))  # fmt: skip
    return picture


def terminal(brush: Brush) -> Image.Image:
    """A program in an editor or a terminal."""
    width, height = brush.number(400, 760), brush.number(300, 560)
    ground = brush.among(((30, 30, 30), (0, 0, 0), (40, 42, 54), (250, 250, 245), WHITE))
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    size = brush.number(10, 20)
    y = 10
    while y + size < height:
        text = brush.among(brush.words.code)
        colour = brush.contrast(ground) if brush.maybe(0.5) else brush.any_colour()
        draw.text((14 + size * brush.number(0, 3), y), text, fill=colour,
                  font=brush.font(size, mono=True))  # fmt: skip
        y += int(size * 1.4)
    return picture


def chat(brush: Brush) -> Image.Image:
    """A conversation on a phone."""
    width, height = brush.number(300, 460), brush.number(460, 760)
    ground = brush.quiet() if brush.maybe(0.7) else (18, 20, 28)
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    mine, theirs = brush.any_colour(), WHITE
    bar = height // 12
    draw.rectangle((0, 0, width, bar), fill=brush.any_colour())
    size = brush.number(11, 17)
    y = bar + 10
    while y < height - 50:
        own = brush.maybe(0.5)
        wide = int(width * brush.rng.uniform(0.35, 0.75))
        rows = brush.number(1, 4)
        x = width - wide - 10 if own else 10
        box = (x, y, x + wide, y + int(rows * size * 1.4) + 12)
        colour = mine if own else theirs
        draw.rounded_rectangle(box, radius=10, fill=colour)
        brush.lines(draw, (x + 8, y + 6, x + wide - 6, box[3]), brush.running(rows),
                    brush.contrast(colour), size)  # fmt: skip
        y = box[3] + brush.number(6, 24)
    return picture


def screen(brush: Brush) -> Image.Image:
    """A program's window: a bar, a list or a form, buttons."""
    width, height = brush.number(360, 760), brush.number(360, 620)
    ground = brush.among((WHITE, (245, 245, 247), (24, 26, 32), brush.quiet()))
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    bar = height // brush.number(8, 14)
    draw.rectangle((0, 0, width, bar), fill=brush.any_colour())
    brush.write(draw, (12, 0, width // 2, bar), brush.among(brush.words.labels), WHITE, left=True,
                most=20)  # fmt: skip
    edge = width // 4 if brush.maybe(0.5) else 0
    if edge:
        brush.lines(draw, (10, bar + 12, edge, height), brush.some(brush.words.labels, 14),
                    brush.contrast(ground), 13)  # fmt: skip
    y = bar + 14
    while y < height - 60:
        row = brush.number(30, 70)
        if brush.maybe(0.7):
            draw.ellipse((edge + 12, y, edge + 12 + row // 2, y + row // 2),
                         fill=brush.any_colour())  # fmt: skip
        brush.lines(draw, (edge + 30 + row // 2, y, width - 12, y + row), brush.running(2),
                    brush.contrast(ground), 12)  # fmt: skip
        y += row
        if brush.maybe(0.3):
            draw.line((edge, y - 6, width, y - 6), fill=(200, 200, 200))
    if brush.maybe(0.6):
        brush.button(draw, (width - 120, height - 46, width - 14, height - 14),
                     brush.among(brush.words.labels), brush.any_colour())  # fmt: skip
    return picture


def meme(brush: Brush) -> Image.Image:
    """A picture between large outlined lines, or under a white strap with one."""
    width, height = brush.number(320, 600), brush.number(320, 600)
    picture = brush.scene(width, height)
    draw = ImageDraw.Draw(picture)
    if brush.maybe(0.35):
        band = height // 6
        draw.rectangle((0, 0, width, band), fill=WHITE)
        brush.write(draw, (10, 4, width - 10, band - 4), brush.among(brush.words.captions).lower(),
                    (0, 0, 0), most=34)  # fmt: skip
        return picture
    for y in (0, int(height * 0.82)) if brush.maybe(0.7) else (int(height * 0.82),):
        brush.write(draw, (12, y + 4, width - 12, y + int(height * 0.17)),
                    brush.among(brush.words.captions), WHITE, outline=(0, 0, 0))  # fmt: skip
    return picture


def sign(brush: Brush) -> Image.Image:
    """A scene with a shield or a shop's sign in it."""
    width, height = brush.number(360, 720), brush.number(300, 600)
    picture = brush.scene(width, height)
    draw = ImageDraw.Draw(picture)
    for _ in range(brush.number(1, 3)):
        w, h = brush.number(width // 8, width // 3), brush.number(height // 14, height // 6)
        x, y = brush.number(0, width - w), brush.number(0, height - h)
        colour = brush.any_colour()
        draw.rectangle((x, y, x + w, y + h), fill=colour)
        brush.write(draw, (x + 4, y + 2, x + w - 4, y + h - 2), brush.among(brush.words.labels),
                    brush.contrast(colour))  # fmt: skip
    return picture


def ticket(brush: Brush) -> Image.Image:
    """A ticket or receipt with its code."""
    upright = brush.maybe(0.5)
    width, height = brush.number(300, 420), brush.number(420, 640)
    if not upright:
        width, height = height, width
    picture = brush.page(width, height, WHITE if brush.maybe(0.7) else brush.quiet())
    draw = ImageDraw.Draw(picture)
    pad = 18
    brush.write(draw, (pad, pad, width - pad, pad + 34), brush.among(brush.words.labels), INK,
                left=True, most=26)  # fmt: skip
    edge = width if upright else int(width * 0.62)
    labels = brush.some(brush.words.labels, 12)
    texts = [f"{label}   {brush.number(1, 999)}" for label in labels]
    brush.lines(draw, (pad, pad + 50, edge - pad, height - pad), texts, INK, brush.number(12, 18))
    side = int(min(width, height) * brush.rng.uniform(0.22, 0.42))
    below = ((width - side) // 2, height - side - pad)
    at = below if upright else (width - side - pad, (height - side) // 2)
    picture.paste(brush.code(side), at)
    return picture


def slide(brush: Brush) -> Image.Image:
    """A slide of a talk: title and points."""
    width, height = brush.number(520, 800), brush.number(300, 460)
    ground = brush.among((WHITE, brush.quiet(), brush.dark(), brush.any_colour()))
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    ink = brush.contrast(ground)
    pad = width // 16
    brush.write(draw, (pad, pad // 2, width - pad, height // 4), brush.among(brush.words.plain),
                ink, left=brush.maybe(0.7), most=44)  # fmt: skip
    points = [f"- {text}" for text in brush.some(brush.words.plain, brush.number(2, 6))]
    brush.lines(draw, (pad, int(height * 0.32), width - pad, height - 10), points, ink,
                brush.number(16, 24))  # fmt: skip
    if brush.maybe(0.3):
        tile = brush.scene(width // 3, height // 3)
        picture.paste(tile, (width - width // 3 - pad, height // 2))
    return picture


def doodle(brush: Brush) -> Image.Image:
    """Lines and shapes by hand."""
    width, height = brush.number(300, 600), brush.number(300, 600)
    picture = brush.page(width, height, WHITE if brush.maybe(0.6) else brush.any_colour())
    draw = ImageDraw.Draw(picture)
    for _ in range(brush.number(2, 25)):
        start = np.array([brush.number(0, width), brush.number(0, height)], float)
        points = start + np.cumsum(brush.rng.normal(0, width / 20, (brush.number(3, 30), 2)), 0)
        draw.line([(float(x), float(y)) for x, y in points], fill=brush.any_colour(),
                  width=brush.number(1, 12), joint="curve")  # fmt: skip
    return picture


def quote(brush: Brush) -> Image.Image:
    """A sentence on a coloured ground: what people share, and what a banner looks like."""
    width, height = brush.number(360, 600), brush.number(360, 600)
    ground = brush.any_colour()
    picture = (
        brush.gradient(width, height, ground, brush.any_colour())
        if brush.maybe(0.6)
        else brush.page(width, height, ground)
    )
    draw = ImageDraw.Draw(picture)
    rows = " ".join(brush.some(brush.words.plain, 2)).split()
    count = brush.number(3, 5)
    step = height // (count + 2)
    for row in range(count):
        text = " ".join(rows[row * len(rows) // count : (row + 1) * len(rows) // count])
        brush.write(draw, (30, step * (row + 1), width - 30, step * (row + 2)), text,
                    brush.contrast(ground), most=step // 2)  # fmt: skip
    return picture


def plan(brush: Brush) -> Image.Image:
    """A street plan with names."""
    width, height = brush.number(360, 640), brush.number(360, 640)
    picture = brush.page(width, height, brush.quiet())
    draw = ImageDraw.Draw(picture)
    for _ in range(brush.number(1, 4)):
        x, y = brush.number(0, width), brush.number(0, height)
        draw.ellipse((x, y, x + brush.number(60, 240), y + brush.number(60, 240)),
                     fill=brush.quiet())  # fmt: skip
    for _ in range(brush.number(8, 30)):
        ends = (brush.number(0, width), brush.number(0, height)) * 2
        ends = (ends[0], ends[1], brush.number(0, width), brush.number(0, height))
        draw.line(ends, fill=WHITE if brush.maybe(0.6) else brush.quiet(),
                  width=brush.number(2, 12))  # fmt: skip
    for label in brush.some(brush.words.labels, brush.number(4, 14)):
        draw.text((brush.number(0, width - 60), brush.number(0, height - 14)), label, fill=INK,
                  font=brush.font(brush.number(9, 14)))  # fmt: skip
    return picture


def calendar(brush: Brush) -> Image.Image:
    """A month as a table of boxes, some of them coloured."""
    width, height = brush.number(420, 700), brush.number(320, 520)
    picture = brush.page(width, height, WHITE)
    draw = ImageDraw.Draw(picture)
    top = height // 7
    colour = brush.any_colour()
    draw.rectangle((0, 0, width, top), fill=colour)
    brush.write(draw, (10, 4, width - 10, top - 4), brush.among(brush.words.labels),
                brush.contrast(colour), most=36)  # fmt: skip
    for day in range(35):
        x, y = day % 7 * width // 7, top + day // 7 * (height - top) // 5
        box = (x, y, x + width // 7, y + (height - top) // 5)
        if brush.maybe(0.2):
            draw.rectangle(box, fill=brush.any_colour())
        draw.rectangle(box, outline=(180, 180, 180))
        draw.text((x + 4, y + 3), str(day % 31 + 1), fill=INK, font=brush.font(13))
    return picture


def menu(brush: Brush) -> Image.Image:
    """A menu with prices: text and figures, nobody asked to click."""
    width, height = brush.number(340, 520), brush.number(460, 720)
    ground = brush.among((WHITE, brush.quiet(), brush.dark()))
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    ink = brush.contrast(ground)
    brush.write(draw, (30, 16, width - 30, height // 8), brush.among(brush.words.labels), ink,
                most=54)  # fmt: skip
    y = height // 6
    while y < height - 40:
        draw.text((30, y), brush.among(brush.words.labels), fill=ink, font=brush.font(17))
        draw.text((width - 80, y), f"{brush.number(2, 30)}.{brush.number(0, 9)}0", fill=ink,
                  font=brush.font(17))  # fmt: skip
        y += brush.number(26, 44)
    return picture
