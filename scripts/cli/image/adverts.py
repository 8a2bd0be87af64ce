"""Pictures that advertise: banners, flyers, coupons, and QR codes with a call to scan them."""

from __future__ import annotations

from PIL import Image, ImageDraw

from scripts.cli.image.brush import Brush, Colour


def _ground(brush: Brush, width: int, height: int) -> tuple[Image.Image, Colour]:
    """A loud background, and the colour that stands for it."""
    colour = brush.loud() if brush.maybe(0.75) else brush.dark()
    if brush.maybe(0.5):
        return brush.gradient(width, height, colour, brush.loud()), colour
    return brush.page(width, height, colour), colour


def _headline(brush: Brush, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int],
              ground: Colour, lines: int) -> None:  # fmt: skip
    """Large lines under each other."""
    left, top, right, bottom = box
    step = (bottom - top) // max(1, lines)
    colour = brush.contrast(ground)
    outline = brush.dark() if brush.maybe(0.35) else None
    for line in range(lines):
        if brush.maybe(0.25):
            colour = brush.contrast(ground) if brush.maybe(0.5) else brush.loud()
        brush.write(draw, (left, top + line * step, right, top + (line + 1) * step),
                    brush.among(brush.words.headlines), colour, outline=outline)  # fmt: skip


def banner(brush: Brush) -> Image.Image:
    """Headline, badge, button, address."""
    width, height = brush.number(420, 760), brush.number(240, 520)
    picture, ground = _ground(brush, width, height)
    draw = ImageDraw.Draw(picture)
    pad = width // 20
    bottom = int(height * brush.rng.uniform(0.5, 0.7))
    _headline(brush, draw, (pad, pad, width - pad, bottom), ground, brush.number(1, 3))
    if brush.maybe(0.7):
        middle = width // 2
        half = brush.number(width // 8, width // 4)
        y = bottom + (height - bottom) // 4
        brush.button(draw, (middle - half, y - height // 14, middle + half, y + height // 14),
                     brush.among(brush.words.calls), brush.loud())  # fmt: skip
    if brush.maybe(0.8):
        brush.write(draw, (pad, int(height * 0.85), width - pad, height - pad // 2),
                    brush.among(brush.words.contacts), brush.contrast(ground))  # fmt: skip
    if brush.maybe(0.6):
        radius = height // brush.number(5, 8)
        x = brush.among((radius + pad, width - radius - pad))
        y = brush.among((radius + pad, height - radius - pad))
        brush.burst(draw, x, y, radius, brush.among(brush.words.offers))
    return picture


def flyer(brush: Brush) -> Image.Image:
    """Upright: headline, points, a price, a number to call."""
    width, height = brush.number(320, 520), brush.number(460, 760)
    picture, ground = _ground(brush, width, height)
    draw = ImageDraw.Draw(picture)
    pad = width // 14
    if brush.maybe(0.5):
        draw.rectangle((pad // 2, pad // 2, width - pad // 2, height - pad // 2),
                       outline=brush.contrast(ground), width=brush.number(2, 8))  # fmt: skip
    _headline(brush, draw, (pad, pad, width - pad, int(height * 0.35)), ground, brush.number(1, 3))
    step = height // 16
    y = int(height * 0.4)
    for text in brush.some(brush.words.headlines, brush.number(2, 5)):
        draw.ellipse((pad, y + step // 3, pad + step // 3, y + 2 * step // 3), fill=brush.loud())
        brush.write(draw, (2 * pad, y, width - pad, y + step), text.lower(), brush.contrast(ground),
                    left=True, most=step)  # fmt: skip
        y += step
    if brush.maybe(0.7):
        radius = width // brush.number(5, 8)
        brush.burst(draw, width - radius - pad, int(height * 0.62), radius,
                    brush.among(brush.words.offers))  # fmt: skip
    if brush.maybe(0.6):
        brush.button(draw, (pad, int(height * 0.76), width - pad, int(height * 0.86)),
                     brush.among(brush.words.calls), brush.loud())  # fmt: skip
    brush.write(draw, (pad, int(height * 0.88), width - pad, height - pad),
                brush.among(brush.words.contacts), brush.contrast(ground))  # fmt: skip
    return picture


def code_with_call(brush: Brush) -> Image.Image:
    """A large code between a headline and a call to scan it."""
    width, height = brush.number(320, 560), brush.number(360, 640)
    if brush.maybe(0.3):
        ground: Colour = (255, 255, 255)
        picture = brush.page(width, height, ground)
    else:
        picture, ground = _ground(brush, width, height)
    draw = ImageDraw.Draw(picture)
    side = int(min(width, height) * brush.rng.uniform(0.4, 0.68))
    x, y = (width - side) // 2, (height - side) // 2 + brush.number(-height // 20, height // 12)
    ink = (0, 0, 0) if brush.maybe(0.7) else brush.dark()
    picture.paste(brush.code(side, ink=ink), (x, y))
    pad = width // 16
    _headline(brush, draw, (pad, pad // 2, width - pad, y - pad // 2), ground, brush.number(1, 2))
    below = (pad, y + side + pad // 3, width - pad, height - pad // 3)
    if brush.maybe(0.5):
        brush.button(draw, below, brush.among(brush.words.calls), brush.loud())
    else:
        brush.write(draw, below, brush.among(brush.words.calls), brush.contrast(ground))
    return picture


def code_on_scene(brush: Brush) -> Image.Image:
    """A code that was put on a picture, with a strap of text."""
    width, height = brush.number(360, 700), brush.number(300, 600)
    picture = brush.scene(width, height)
    draw = ImageDraw.Draw(picture)
    side = int(min(width, height) * brush.rng.uniform(0.3, 0.55))
    at = (brush.number(0, width - side), brush.number(0, int((height - side) * 0.75)))
    picture.paste(brush.code(side), at)
    band = brush.number(height // 9, height // 5)
    y = height - band if brush.maybe(0.7) else 0
    colour = brush.loud() if brush.maybe(0.7) else (0, 0, 0)
    draw.rectangle((0, y, width, y + band), fill=colour)
    brush.write(draw, (8, y, width - 8, y + band), brush.among(brush.words.calls),
                brush.contrast(colour))  # fmt: skip
    return picture


def scene_with_offer(brush: Brush) -> Image.Image:
    """A picture under straps, badges and a headline."""
    width, height = brush.number(360, 720), brush.number(320, 620)
    picture = brush.scene(width, height)
    draw = ImageDraw.Draw(picture)
    for _ in range(brush.number(1, 3)):
        band = brush.number(height // 9, height // 4)
        y = brush.number(0, height - band)
        colour = brush.loud()
        draw.rectangle((0, y, width, y + band), fill=colour)
        brush.write(draw, (10, y, width - 10, y + band), brush.among(brush.words.headlines),
                    brush.contrast(colour))  # fmt: skip
    for _ in range(brush.number(1, 2)):
        radius = brush.number(height // 10, height // 5)
        brush.burst(draw, brush.number(radius, width - radius),
                    brush.number(radius, height - radius), radius,
                    brush.among(brush.words.offers))  # fmt: skip
    if brush.maybe(0.6):
        box = (10, int(height * 0.9), width - 10, height)
        contact = brush.among(brush.words.contacts)
        brush.write(draw, box, contact, (255, 255, 255), outline=(0, 0, 0))
    return picture


def price_list(brush: Brush) -> Image.Image:
    """Goods as coloured tiles, each with its price, under a headline."""
    width, height = brush.number(400, 680), brush.number(400, 640)
    picture, ground = _ground(brush, width, height)
    draw = ImageDraw.Draw(picture)
    pad = width // 24
    _headline(brush, draw, (pad, pad, width - pad, height // 5), ground, 1)
    columns, rows = brush.number(2, 3), brush.number(2, 3)
    for row in range(rows):
        for column in range(columns):
            x0 = pad + column * (width - pad) // columns
            y0 = height // 5 + pad + row * (height * 13 // 20) // rows
            x1 = x0 + (width - pad) // columns - pad
            y1 = y0 + (height * 13 // 20) // rows - pad
            tile = brush.scene(max(16, x1 - x0), max(16, y1 - y0))
            picture.paste(tile, (x0, y0))
            brush.button(draw, (x0, y1 - (y1 - y0) // 3, x1, y1), brush.among(brush.words.offers),
                         brush.loud())  # fmt: skip
    brush.write(draw, (pad, int(height * 0.9), width - pad, height - pad // 2),
                brush.among(brush.words.contacts), brush.contrast(ground))  # fmt: skip
    return picture


def coupon(brush: Brush) -> Image.Image:
    """A framed voucher: an offer at the left, small print at the right."""
    width, height = brush.number(460, 760), brush.number(200, 340)
    ground = brush.loud()
    picture = brush.page(width, height, ground)
    draw = ImageDraw.Draw(picture)
    for x in range(8, width - 8, 18):
        for y in (8, height - 12):
            draw.rectangle((x, y, x + 9, y + 3), fill=brush.contrast(ground))
    cut = width // 3
    brush.write(draw, (16, 20, cut - 8, height - 20), brush.among(brush.words.offers),
                brush.contrast(ground))  # fmt: skip
    _headline(brush, draw, (cut + 10, 24, width - 20, int(height * 0.6)), ground,
              brush.number(1, 2))  # fmt: skip
    brush.write(draw, (cut + 10, int(height * 0.65), width - 20, int(height * 0.85)),
                brush.among(brush.words.contacts), brush.contrast(ground))  # fmt: skip
    return picture


def strip(brush: Brush) -> Image.Image:
    """A low, wide banner with its button at one end."""
    width, height = brush.number(560, 900), brush.number(90, 160)
    picture, ground = _ground(brush, width, height)
    draw = ImageDraw.Draw(picture)
    edge = int(width * 0.7)
    _headline(brush, draw, (16, 8, edge - 10, int(height * 0.62)), ground, 1)
    brush.write(draw, (16, int(height * 0.62), edge - 10, height - 6),
                brush.among(brush.words.contacts), brush.contrast(ground))  # fmt: skip
    brush.button(draw, (edge, height // 4, width - 16, 3 * height // 4),
                 brush.among(brush.words.calls), brush.loud())  # fmt: skip
    return picture


def code_poster(brush: Brush) -> Image.Image:
    """A code in a corner of a poster that is otherwise an offer."""
    width, height = brush.number(420, 640), brush.number(420, 640)
    picture, ground = _ground(brush, width, height)
    draw = ImageDraw.Draw(picture)
    side = int(width * brush.rng.uniform(0.28, 0.4))
    picture.paste(brush.code(side), (width - side - 16, height - side - 16))
    _headline(brush, draw, (16, 16, width - 16, height // 2), ground, brush.number(2, 3))
    brush.write(draw, (16, int(height * 0.6), width - side - 30, int(height * 0.75)),
                brush.among(brush.words.calls), brush.contrast(ground))  # fmt: skip
    brush.write(draw, (16, int(height * 0.78), width - side - 30, int(height * 0.92)),
                brush.among(brush.words.contacts), brush.contrast(ground))  # fmt: skip
    return picture
