"""Pictures of every kind that a file may hold, against values worked out from the numbers that were written."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rl import pixels
from rl.errors import DataError
from rl.pixels import load_pixels, open_image

CHANNELS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: PNG's colour type
WHITE = 255


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png16(values: np.ndarray, clear: tuple[int, ...] | None = None) -> bytes:
    """A PNG of 16 bits a channel, written by hand. values: [H, W, C]. clear: the colour that is transparent (tRNS)."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, CHANNELS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    transparent = b"" if clear is None else chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear))
    parts = chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """float, of channels and alpha from 0 to 255."""
    share = alpha[..., None] / 255
    return colour * share + WHITE * (1 - share)


SPANS = [(0, 65535), (0, 4095), (20000, 40000), (0, 1000), (0, 255), (65000, 65535), (256, 257), (32767, 32769)]


@pytest.mark.parametrize(("low", "high"), SPANS)
@pytest.mark.parametrize("as_file", [True, False], ids=["file", "bytes"])
def test_16_bit_grey_is_the_value_over_257(tmp_path: Path, low: int, high: int, as_file: bool) -> None:
    values = np.linspace(low, high, 6 * 7).round().astype(np.uint16).reshape(6, 7, 1)
    source: str | bytes = png16(values)
    if as_file:
        (tmp_path / "grey.png").write_bytes(source)
        source = str(tmp_path / "grey.png")
    expected = np.repeat(np.rint(values / 257).astype(np.uint8), 3, axis=2)
    np.testing.assert_array_equal(np.asarray(open_image(source)), expected)


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_16_bit_grey_as_pillow_writes_it(mode: str) -> None:
    values = np.arange(0, 65536, 1365, dtype=np.uint16)[:48].reshape(6, 8)
    image = Image.fromarray(values)
    written = encoded(image if mode == "I;16" else Image.frombytes(mode, (8, 6), values.astype(">u2").tobytes()))
    np.testing.assert_array_equal(np.asarray(open_image(written))[..., 0], np.rint(values / 257))


@pytest.mark.parametrize("resampling", ["box", "bicubic"])
@pytest.mark.parametrize(("low", "high"), SPANS)
def test_16_bit_grey_under_every_resampling(resampling: str, low: int, high: int) -> None:
    values = np.linspace(low, high, 60 * 40).round().astype(np.uint16).reshape(60, 40, 1)
    eight = np.repeat(np.rint(values / 257).astype(np.uint8), 3, axis=2)
    np.testing.assert_array_equal(
        load_pixels(png16(values), 16, resampling), load_pixels(encoded(Image.fromarray(eight)), 16, resampling)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_colours_and_transparency(channels: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (9, 8, channels))
    eight = np.rint(values / 257)
    colour = np.repeat(eight[..., :1], 3, axis=2) if channels == 2 else eight[..., :3]
    expected = colour if channels == 3 else over_white(colour, eight[..., -1])
    most = {2: 2, 3: 0, 4: 1}[channels]  # Pillow keeps the high bytes of grey with alpha; compositing rounds
    assert np.abs(np.asarray(open_image(png16(values))) - expected).max() <= most


@pytest.mark.parametrize("clear", [(0,), (257,), (65535,), (300, 20, 40000), (300, 20, 40001)])
def test_the_transparent_colour_of_16_bits_is_white_and_its_neighbour_is_not(clear: tuple[int, ...]) -> None:
    near = np.array(clear) - 1 if max(clear) == 65535 else np.array(clear) + 1
    values = np.array([[clear, near]])
    pixels = np.asarray(open_image(png16(values, clear)))
    assert (pixels[0, 0] == WHITE).all()
    np.testing.assert_array_equal(pixels[0, 1], np.broadcast_to(np.rint(near / 257), 3))


COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "red": (255, 0, 0), "teal": (10, 120, 130)}


@pytest.mark.parametrize("alpha", [0, 1, 64, 128, 254, 255])
@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_over_white(colour: tuple[int, int, int], alpha: int, kind: str) -> None:
    image = Image.new("RGBA", (6, 4), (*colour, alpha))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    pixels = np.asarray(open_image(encoded(image, kind, **options)))
    expected = over_white(np.array([[colour]], float), np.array([[float(alpha)]]))
    assert pixels.shape == (4, 6, 3)
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize(("grey", "alpha"), [(0, 0), (0, 255), (0, 128), (200, 0), (200, 100), (255, 128)])
def test_grey_with_alpha_is_over_white(grey: int, alpha: int) -> None:
    pixels = np.asarray(open_image(encoded(Image.new("LA", (3, 3), (grey, alpha)))))
    assert np.abs(pixels - over_white(np.full((1, 1, 3), float(grey)), np.array([[float(alpha)]]))).max() <= 1


def palette(indices: np.ndarray) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    return image


def test_a_palette_with_transparency_is_over_white() -> None:
    indices = np.array([[0, 1, 2]])
    one = np.asarray(open_image(encoded(palette(indices), transparency=0)))
    assert one.tolist() == [[[255, 255, 255], [255, 0, 0], [0, 0, 255]]]
    each = np.asarray(open_image(encoded(palette(indices), transparency=bytes([255, 0, 128]))))
    assert each.tolist()[0][:2] == [[0, 0, 0], [255, 255, 255]]
    assert np.abs(each[0, 2].astype(int) - (127, 127, 255)).max() <= 1
    none = np.asarray(open_image(encoded(palette(indices))))
    assert none.tolist() == [[[0, 0, 0], [255, 0, 0], [0, 0, 255]]]


@pytest.mark.parametrize(
    ("image", "clear", "kept"),
    [
        (Image.fromarray(np.array([[7, 8]], np.uint8)), 7, (8, 8, 8)),
        (Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)), (1, 2, 3), (1, 2, 4)),
        (Image.fromarray(np.array([[False, True]])), 0, (255, 255, 255)),
    ],
    ids=["grey", "colour", "one bit"],
)
def test_one_colour_that_is_transparent(image: Image.Image, clear, kept: tuple[int, int, int]) -> None:
    pixels = np.asarray(open_image(encoded(image, transparency=clear)))
    assert pixels.tolist() == [[[255, 255, 255], list(kept)]]


def few_bits(bits: int, colour: int, row: bytes, width: int, *extra: bytes) -> bytes:
    """A PNG of one row with fewer than 8 bits a pixel."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def clear(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


TWO = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255]))
FEW: dict[str, tuple[bytes, list[int]]] = {  # the picture, and the red of each pixel
    "1 bit": (few_bits(1, 0, b"\xaa", 4), [255, 0, 255, 0]),
    "1 bit, black is clear": (few_bits(1, 0, b"\xaa", 4, clear(0)), [255] * 4),
    "1 bit, white is clear": (few_bits(1, 0, b"\xaa", 4, clear(1)), [255, 0, 255, 0]),
    "2 bits": (few_bits(2, 0, b"\x1b", 4), [0, 85, 170, 255]),
    "2 bits, 0 is clear": (few_bits(2, 0, b"\x1b", 4, clear(0)), [255, 85, 170, 255]),
    "2 bits, 1 is clear": (few_bits(2, 0, b"\x1b", 4, clear(1)), [0, 255, 170, 255]),
    "2 bits, 2 is clear": (few_bits(2, 0, b"\x1b", 4, clear(2)), [0, 85, 255, 255]),
    "4 bits": (few_bits(4, 0, b"\x07\x8f", 4), [0, 119, 136, 255]),
    "4 bits, 7 is clear": (few_bits(4, 0, b"\x07\x8f", 4, clear(7)), [0, 255, 136, 255]),
    "4 bits, 8 is clear": (few_bits(4, 0, b"\x07\x8f", 4, clear(8)), [0, 119, 255, 255]),
    "8 bits, 1 is clear": (few_bits(8, 0, b"\x00\x01\x02\x55", 4, clear(1)), [0, 255, 2, 85]),
    "8 bits, 85 is clear": (few_bits(8, 0, b"\x00\x01\x02\x55", 4, clear(85)), [0, 1, 2, 255]),
    "a palette": (few_bits(1, 3, b"\xaa", 2, TWO), [0, 255]),
    "a palette, its first is clear": (few_bits(1, 3, b"\xaa", 2, TWO, chunk(b"tRNS", b"\0")), [0, 255]),
    "a palette, its second is clear": (few_bits(1, 3, b"\xaa", 2, TWO, chunk(b"tRNS", b"\xff\0")), [255, 255]),
    "a palette of 2 bits": (few_bits(2, 3, b"\x10", 2, TWO, chunk(b"tRNS", b"\xff\0")), [255, 255]),
    "8 bits of colour": (few_bits(8, 2, bytes([1, 2, 3, 1, 2, 4]), 2, clear(1, 2, 3)), [255, 1]),
    "a background is not used": (few_bits(8, 6, bytes(4), 1, chunk(b"bKGD", struct.pack(">3H", 0, 255, 0))), [255]),
    "gamma is not used": (few_bits(8, 0, b"\x80", 1, chunk(b"gAMA", struct.pack(">I", 100_000))), [128]),
    "16 bits of grey": (png16(np.array([[[500], [501], [257], [40_000]]]), (500,)), [255, 2, 1, 156]),
    "16 bits of colour": (png16(np.array([[[1, 2, 3], [257, 514, 771]]]), (1, 2, 3)), [255, 1]),
    "16 bits with alpha": (png16(np.array([[[65535, 0, 0, 0], [257, 0, 0, 65535], [0, 0, 0, 32768]]])), [255, 1, 127]),
}  # fmt: skip


@pytest.mark.parametrize("name", FEW)
def test_the_clear_colour_of_every_depth_is_white(name: str) -> None:
    data, red = FEW[name]
    assert np.asarray(open_image(data))[0, :, 0].tolist() == red


def test_one_bit_grey_and_palette_keep_their_colours() -> None:
    bits = np.array([[True, False, True]])
    assert np.asarray(open_image(encoded(Image.fromarray(bits))))[..., 0].tolist() == [[255, 0, 255]]
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(np.asarray(open_image(encoded(Image.fromarray(grey))))[..., 1], grey)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L", "RGB"])
def test_jpeg_of_every_colour_model(mode: str) -> None:
    image = Image.new("RGB", (32, 32), (200, 60, 30)).convert(mode)
    pixels = np.asarray(open_image(encoded(image, "JPEG", quality=98, subsampling=0 if mode != "CMYK" else -1)))
    expected = np.asarray(image.convert("RGB"))
    assert np.abs(pixels.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16"])
def test_every_orientation_of_every_kind(turn: int, mode: str) -> None:
    """The corner that is marked lies where a viewer that turns the picture shows it."""
    values = np.full((4, 6), 0, np.uint8)
    values[0, 0] = 255
    image = Image.fromarray(values)
    image = Image.fromarray(values.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.asarray(open_image(encoded(image, exif=exif.tobytes())))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[turn]
    assert pixels.shape == ((4, 6, 3) if turn < 5 else (6, 4, 3))
    assert pixels[corner].tolist() == [255, 255, 255] and (pixels == 255).sum() == 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    moving = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(open_image(moving))[0, 0].tolist() == [255, 0, 0]


OTHERS = [
    ("GIF", "P"),
    ("GIF", "L"),
    ("TIFF", "F"),
    ("TIFF", "I"),
    ("TIFF", "I;16B"),
    ("TIFF", "LAB"),
    ("TIFF", "CMYK"),
    ("BMP", "RGB"),
    ("ICO", "RGBA"),
    ("PPM", "RGB"),
    ("JPEG2000", "RGB"),
]


@pytest.mark.parametrize(("kind", "mode"), OTHERS)
def test_other_formats_are_one_line(kind: str, mode: str) -> None:
    with pytest.raises(DataError, match="^image bytes: not a readable PNG, JPEG, WEBP image: ") as caught:
        open_image(encoded(Image.new(mode, (16, 16)), kind))
    assert "\n" not in str(caught.value)


WHOLE = {
    "grey 16": png16(np.random.default_rng(0).integers(0, 65536, (40, 40, 1))),
    "colour 16": png16(np.random.default_rng(0).integers(0, 65536, (40, 40, 3))),
    "RGBA": encoded(Image.effect_noise((40, 40), 90).convert("RGBA")),
    "JPEG": encoded(Image.effect_noise((40, 40), 90), "JPEG"),
    "WEBP": encoded(Image.effect_noise((40, 40), 90).convert("RGB"), "WEBP"),
}


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_that_was_cut_off_is_one_line(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(WHOLE[kind][: int(len(WHOLE[kind]) * share)])
    with pytest.raises(DataError, match="cut.png: not a readable PNG, JPEG, WEBP image: ") as caught:
        open_image(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", WHOLE)
def test_damage_is_one_line_or_a_picture_and_nothing_else(kind: str) -> None:
    chance = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(WHOLE[kind])
        for place in chance.integers(0, len(damaged), 3):
            damaged[place] = chance.integers(0, 256)
        try:
            assert open_image(bytes(damaged)).mode == "RGB"
        except DataError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("bad", [b"Exif\0\0garbage", b"MM\0*\0\0\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"\0" * 9])
def test_exif_data_that_cannot_be_read_turns_nothing(bad: bytes) -> None:
    assert open_image(encoded(Image.new("RGB", (5, 3), "red"), exif=bad)).size == (5, 3)
    assert open_image(encoded(Image.new("RGB", (5, 3), "red"), "JPEG", exif=bad)).size == (5, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_take_a_few_times_the_memory_of_the_picture(channels: int) -> None:
    """A file of some KB may hold 64 million pixels."""
    values = np.zeros((1200, 1600, channels), np.uint16)
    values[::7, ::3] = 65_535
    data = png16(values)
    tracemalloc.start()
    try:
        image = open_image(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(np.asarray(image)[..., :channels], values // 257)
    assert peak < 8 * values.size + 8 * (8 << 20), f"{peak / values.size:.1f} bytes a number"


@pytest.mark.parametrize("strip", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("channels", [1, 3])
def test_strips_of_any_height_give_one_picture(strip: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 65_536, (5, 9, channels)).astype(np.uint16)
    monkeypatch.setattr(pixels, "_STRIP", strip)
    found = np.asarray(open_image(png16(values, clear=tuple(int(each) for each in values[2, 3]))))
    wanted = np.where((values == values[2, 3]).all(axis=-1, keepdims=True), 255, (values.astype(int) + 128) // 257)
    assert np.array_equal(found, np.broadcast_to(wanted, found.shape))
