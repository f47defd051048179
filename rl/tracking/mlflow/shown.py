"""Values as MLflow's pages may show them: text of models without controls and bounded, pictures as PNG."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from rl.errors import DataError
from rl.output.printable import said
from rl.pixels import open_image
from rl.types import Prompt, Score

LONGEST_TEXT = 8000  # characters of one text of a model or of a row
LONGEST_DETAIL = 500
LONGEST_SIDE = 512


def text(words: object, limit: int = LONGEST_TEXT) -> str:
    """No secrets, nothing that a terminal would obey, at most ``limit`` characters and a count of the rest. What is far
    beyond the limit is not even looked at: secrets are searched for in all that is."""
    whole = str(words)
    looked_at = said(whole[: 2 * limit], lines=True, limit=None)
    return looked_at if len(whole) <= limit else f"{looked_at[:limit]}... ({len(whole) - limit} more characters)"


def line(words: object, limit: int = LONGEST_DETAIL) -> str:
    """The same, as one line."""
    return text(" ".join(str(words)[: 4 * limit].split()), limit)


def number(value: float) -> float | int | None:
    """A whole number as an int, so that a filter on 0 finds it; None where it is not finite."""
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def value_of(score: Score) -> float | int | None:
    return number(score.value) if score.usable else None


def png(pixels: np.ndarray, at_least: int = 0) -> bytes:
    """pixels: uint8 [H, W, 3]. A picture smaller than ``at_least`` is enlarged by a whole factor, without smoothing."""
    return _enlarged(Image.fromarray(np.ascontiguousarray(pixels)), at_least)


def prompt_png(prompt: Prompt, at_least: int = 0) -> bytes | None:
    """The picture that a prompt shows; None where it has none, or none that can be read."""
    image = prompt_image(prompt)
    return None if image is None else _enlarged(image, at_least)


def prompt_image(prompt: Prompt) -> Image.Image | None:
    """The same, not encoded."""
    if prompt.image is None:
        return None
    if isinstance(prompt.image, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(prompt.image))
    try:
        return open_image(prompt.image)
    except DataError:
        return None


def _enlarged(picture: Image.Image, at_least: int) -> bytes:
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    factor = math.ceil(at_least / max(1, *picture.size))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    return encoded(picture)


def encoded(picture: Image.Image) -> bytes:
    """As a PNG; packed quickly, since a step may have dozens."""
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()


def asked(prompt: Prompt) -> str:
    """Every message of the prompt; the role stands before each where there are several."""
    if len(prompt.messages) == 1:
        return text(prompt.messages[0].content)
    return text("\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages))


def picture_cell(key: str) -> dict[str, Any]:
    """What stands for a picture in a row or a span until it is written."""
    return {"picture": key}
