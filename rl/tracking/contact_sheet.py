"""Pictures for people: every drawing is enlarged without smoothing and says what was asked for."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rl.output.printable import printable
from rl.tracking.samples import Drawing

SIDE = 144
LINES = 3
_GAP, _LINE, _TEXT = 8, 13, 11


def enlarge(pixels: np.ndarray, at_least: int) -> Image.Image:
    """The picture with a longer side of at least so many pixels. Whole factors and NEAREST keep every pixel visible."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    factor = max(1, math.ceil(at_least / max(picture.size)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def card(drawing: Drawing, side: int = SIDE) -> Image.Image:
    """One drawing, ``side`` pixels square, over its caption and score."""
    picture = enlarge(drawing.pixels, side)
    picture.thumbnail((side, side), Image.Resampling.NEAREST)
    canvas = Image.new("RGB", (side, side + (LINES + 1) * _LINE + 2), "white")
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT)
    width = max(8, int(side / (0.52 * _TEXT)))
    lines = textwrap.wrap(printable(drawing.caption, limit=LINES * width), width, max_lines=LINES, placeholder="...")
    for row, line in enumerate(lines):
        pen.text((0, side + 2 + row * _LINE), line, fill="black", font=font)
    pen.text((0, side + 2 + LINES * _LINE), verdict(drawing), fill=_colour(drawing), font=font)
    return canvas


def sheet(drawings: Sequence[Drawing], columns: int = 6, side: int = SIDE) -> Image.Image:
    """All drawings as a grid of cards, in reading order."""
    cards = [card(drawing, side) for drawing in drawings]
    if not cards:
        raise ValueError("sheet: no drawings; expected at least one")
    columns = min(columns, len(cards))
    rows = math.ceil(len(cards) / columns)
    width, height = cards[0].size
    canvas = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), "white")
    for index, one in enumerate(cards):
        row, column = divmod(index, columns)
        canvas.paste(one, (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    return canvas


def side_by_side(titled: Sequence[tuple[str, Sequence[Drawing]]], columns: int = 4) -> Image.Image:
    """Sheets beside each other, each under its title. Example: ``[("before", drawn), ("after", drawn_later)]``."""
    sheets = [(title, sheet(drawings, columns)) for title, drawings in titled if drawings]
    if not sheets:
        raise ValueError("side_by_side: no drawings; expected at least one")
    heading = 28
    width = sum(picture.width for _, picture in sheets) + 2 * _GAP * (len(sheets) - 1)
    canvas = Image.new("RGB", (width, heading + max(picture.height for _, picture in sheets)), "white")
    pen, font, left = ImageDraw.Draw(canvas), ImageFont.load_default(18), 0
    for title, picture in sheets:
        pen.text((left + _GAP, 6), title, fill="black", font=font)
        canvas.paste(picture, (left, heading))
        left += picture.width + 2 * _GAP
    return canvas


def verdict(drawing: Drawing) -> str:
    """Example: ``composition 1, clip 0.27``; the score alone where the parts are unknown."""
    if drawing.parts:
        # A part of a part ("composition/partial") would not fit under a picture.
        return ", ".join(f"{name} {value:.2g}" for name, value in drawing.parts.items() if "/" not in name)
    return "not scored" if drawing.score is None else f"score {drawing.score:.2g}"


def _colour(drawing: Drawing) -> str:
    if drawing.score is None:
        return "dimgray"
    return "darkgreen" if drawing.score >= 1.0 else "firebrick"
