"""Images in: only PNG, JPEG and WebP, bounded before they are decoded, upright, square, RGB.

What a file may hold, and what comes of it:

    transparency           the picture over white, as a browser shows it
    16 bits a channel      value / 257, rounded; grey with alpha has its high byte (off by at most 1)
    grey, 1 bit, palette   the same colours as RGB
    CMYK, YCbCr (JPEG)     RGB, as the decoder converts it
    EXIF orientation       turned upright; EXIF data that cannot be read turns nothing
    animation              its first frame
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from rl.errors import DataError, first_line
from rl.types import Prompt

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 64_000_000
_STRIP = 1 << 20  # numbers that are computed with at once
_FEW_BITS = {"L;2": 85, "L;4": 17}
_LAST_BYTES = {"PNG": b"\0\0\0\0IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what Pillow's readers raise


def open_image(source: str | Path | bytes) -> Image.Image:
    """An upright RGB image of 8 bits. Raises DataError: one line with the file, the reason and the limit.

    Pillow only warns about huge images; the header is read first, and what is too large is never decoded.
    """
    name = "image bytes" if isinstance(source, bytes) else str(source)
    try:
        image = _open(source)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise _too_large(name, f"{width} x {height}")
        _widen_clear(image)
        if image.mode.startswith("I"):
            return _from_grey_16(_upright(image))
        if image.tile and image.tile[0].args in ("RGB;16B", "RGBA;16B"):
            return _over_white(_from_colour_16(_upright(image), _upright(_low_bytes(source))))
        return _over_white(_upright(image))
    except Image.DecompressionBombError as error:  # so large that Pillow refuses to tell its sides
        raise _too_large(name, f"{int(re.findall('[0-9]+', str(error))[0]):,}") from error
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such image file") from error
    except DataError:
        raise
    except _UNREADABLE as error:  # Pillow shows the address in memory of what it could not identify
        reason = (
            "its first bytes are of another kind" if isinstance(error, UnidentifiedImageError) else first_line(error)
        )
        raise DataError(f"{name}: not a readable {', '.join(FORMATS)} image: {reason}") from error


def require_image(path: str | Path) -> None:
    """Raises DataError, as ``open_image`` does, for what its first bytes show: a file is not decoded."""
    try:
        with _open(path) as image:
            if image.size[0] * image.size[1] > MAX_PIXELS:
                raise _too_large(str(path), f"{image.size[0]} x {image.size[1]}")
    except (*_UNREADABLE, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a readable {', '.join(FORMATS)} image") from error


def require_whole(source: str | Path | bytes) -> None:
    """Raises DataError, as ``open_image`` does, for what the first bytes of a picture show and its last ones: another
    format, too many pixels, a file that was cut off. It is decoded only where its end is not the usual one.

    Damage between the two is not found.
    """
    if not _looks_whole(source):
        open_image(source)


def _looks_whole(source: str | Path | bytes) -> bool:
    try:
        with _open(source) as image:
            kind, pixels = image.format, image.size[0] * image.size[1]
        first, last, size = _ends(source)
    except (*_UNREADABLE, Image.DecompressionBombError):
        return False
    if kind == "WEBP":
        ends = int.from_bytes(first[4:8], "little") + 8 <= size
    else:
        ends = kind in _LAST_BYTES and last.endswith(_LAST_BYTES[kind])
    return ends and pixels <= MAX_PIXELS


def _ends(source: str | Path | bytes) -> tuple[bytes, bytes, int]:
    """The first and the last 12 bytes, and how many there are."""
    if isinstance(source, bytes):
        return source[:12], source[-12:], len(source)
    with open(source, "rb") as file:
        first, size = file.read(12), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 12))
        return first, file.read(12), size


def with_pixels(prompt: Prompt) -> Prompt:
    """The prompt with pixels where it has encoded pictures: what a user's own function gets. Raises DataError."""
    target = prompt.metadata.get("target_image")
    metadata = {**prompt.metadata, "target_image": _pixels(target)} if isinstance(target, bytes) else prompt.metadata
    if metadata is prompt.metadata and not isinstance(prompt.image, bytes):
        return prompt
    image = _pixels(prompt.image) if isinstance(prompt.image, bytes) else prompt.image
    return replace(prompt, image=image, metadata=metadata)


def _pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(open_image(encoded))


def require_regular(path: str | Path) -> None:
    """Raises DataError where there is something else than a file: a pipe would wait for ever, a device has no end. Where
    there is nothing, whoever opens it says so."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file; give a file")


def _widen_clear(image: ImageFile.ImageFile) -> None:
    """The grey of 2 or 4 bits that is transparent, as the 8 bits that Pillow makes of it."""
    factor = _FEW_BITS.get(str(image.tile[0].args)) if image.tile else None
    if factor and isinstance(clear := image.info.get("transparency"), int):
        image.info["transparency"] = factor * clear


def _open(source: str | Path | bytes) -> ImageFile.ImageFile:
    if not isinstance(source, bytes):
        require_regular(source)
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)


def _low_bytes(source: str | Path | bytes) -> Image.Image:
    """Pillow keeps the high byte of a 16-bit colour. Told that the low one comes last, it keeps that."""
    image = _open(source)
    image.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in image.tile]
    return image


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # what fails after this is the EXIF data alone
    try:
        return ImageOps.exif_transpose(image)
    except _UNREADABLE:
        return image


def _from_grey_16(image: Image.Image) -> Image.Image:
    clear = image.info.get("transparency")
    values = np.asarray(image)
    grey = np.empty(values.shape, np.uint8)
    for rows in _strips(values.shape):
        wide = values[rows].astype(np.uint32)
        grey[rows] = (wide + 128) // 257
        if clear is not None:
            grey[rows][wide == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _from_colour_16(high: Image.Image, low: Image.Image) -> Image.Image:
    clear = high.info.get("transparency")
    first, second = np.asarray(high), np.asarray(low)
    colours = np.empty(first.shape, np.uint8)
    for rows in _strips(first.shape):
        wide = first[rows].astype(np.uint32) * 256 + second[rows]
        colours[rows] = (wide + 128) // 257
        if clear is not None:
            colours[rows][(wide == np.asarray(clear)).all(axis=-1)] = 255
    return Image.fromarray(colours)


def _strips(shape: Sequence[int]) -> Iterator[slice]:
    """Rows, some at a time: numbers of 32 bits of a whole picture would take four times its own memory, several times over."""
    height = max(1, _STRIP // max(1, prod(shape[1:])))
    return (slice(start, start + height) for start in range(0, shape[0], height))


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _too_large(name: str, pixels: str) -> DataError:
    return DataError(f"{name}: {pixels} pixels; allowed: {MAX_PIXELS:,} in all; make it smaller")


def load_pixels(source: str | Path | bytes | np.ndarray, size: int, resampling: str = "box") -> np.ndarray:
    """uint8 [size, size, 3]; the longer side is cropped at its centre.

    source      a file, its bytes, or uint8 [H, W, 3]
    resampling  ``box`` crops, then averages; ``bicubic`` resizes the shorter side, then crops, as torchvision's Resize
                and CenterCrop do

    Raises DataError.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise DataError(f"pixels of {source.dtype} {list(source.shape)}; allowed: uint8 [H, W, 3]")
        if source.shape == (size, size, 3):
            return source
        image = Image.fromarray(source)
    else:
        image = open_image(source)
    if resampling == "box":
        return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BOX))
    width, height = scaled_sides(image.size, size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def scaled_sides(sides: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Both sides of a picture whose shorter side becomes ``shorter``. Raises DataError where that is too large to make."""
    width, height = (int(shorter * side / min(sides)) for side in sides)
    if width * height > MAX_PIXELS:
        raise DataError(
            f"a picture of {sides[0]} x {sides[1]} pixels is {width} x {height} where its shorter side has {shorter}; "
            f"allowed: {MAX_PIXELS:,} in all; crop it"
        )
    return width, height
