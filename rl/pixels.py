"""Images in: only PNG, JPEG and WebP, bounded before they are decoded, upright, square, RGB."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rl.errors import DataError, first_line

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
            raise _too_large(name, f"{width} x {height}")
        return ImageOps.exif_transpose(image).convert("RGB")
    except Image.DecompressionBombError as error:  # so large that Pillow refuses to tell its sides
        raise _too_large(name, f"{int(re.findall('[0-9]+', str(error))[0]):,}") from error
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such image file") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:  # what Pillow's readers raise
        raise DataError(f"{name}: not a readable {', '.join(FORMATS)} image: {first_line(error)}") from error


def _too_large(name: str, pixels: str) -> DataError:
    return DataError(f"{name}: {pixels} pixels; allowed: {MAX_PIXELS:,} in all; make it smaller")


def load_pixels(source: str | Path | bytes | np.ndarray, size: int, resampling: str = "box") -> np.ndarray:
    """uint8 [size, size, 3]; the longer side is cropped at its centre.

    resampling  ``box`` crops, then averages; ``bicubic`` resizes the shorter side, then crops, as torchvision's Resize
                and CenterCrop do
    """
    if isinstance(source, np.ndarray):
        if source.shape == (size, size, 3):
            return source
        image = Image.fromarray(source)
    else:
        image = open_image(source)
    if resampling == "box":
        return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BOX))
    shorter = min(image.size)
    width, height = (int(size * side / shorter) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))
