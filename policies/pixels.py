"""Images in: only PNG, JPEG and WebP, bounded before they are decoded, upright, square, RGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rl.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 64_000_000


def open_image(source: str | Path | bytes) -> Image.Image:
    """An upright RGB image. Raises DataError: one line with the file, the reason and the limit.

    Pillow only warns about huge images; the header is read first, and what is too large is never decoded.
    """
    name = "image bytes" if isinstance(source, bytes) else str(source)
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise DataError(f"{name}: {width} x {height} pixels; allowed: {MAX_PIXELS:,} in all; make it smaller")
        return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such image file") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: not a readable {', '.join(FORMATS)} image: {str(error).splitlines()[0]}") from error


def load_pixels(source: str | Path | bytes | np.ndarray, size: int) -> np.ndarray:
    """uint8 [size, size, 3]; the longer side is cropped at its centre."""
    if isinstance(source, np.ndarray):
        if source.shape == (size, size, 3):
            return source
        source_image = Image.fromarray(source)
    else:
        source_image = open_image(source)
    return np.asarray(ImageOps.fit(source_image, (size, size), Image.Resampling.BOX))
