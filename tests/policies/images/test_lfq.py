"""Image tokenizer and image files."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from policies.images.lfq import LFQConfig, LFQTokenizer
from policies.images.load import load_image_tokenizer
from policies.images.tensors import to_float, to_uint8
from rewards.pictures.torchvision_ops import ensure_torchvision_ops
from rl.errors import DataError, PolicyError
from rl.pixels import load_pixels, open_image


def make() -> LFQTokenizer:
    torch.manual_seed(0)
    return LFQTokenizer(LFQConfig(image_size=32, bits=6, width=16)).eval()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_codes_are_the_signs_of_the_features_read_as_bits(seed):
    tokenizer = make()
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    features = tokenizer.features(to_float(pixels)).detach().numpy()
    codes = tokenizer.encode(pixels)
    for image in range(2):
        for place in range(16):
            bits = features[image, :, place // 4, place % 4] > 0
            assert codes[image, place] == sum(int(bit) << power for power, bit in enumerate(bits))
    decoded = tokenizer.decode(codes)
    assert decoded.shape == (2, 32, 32, 3) and decoded.dtype == np.uint8


def test_pixels_survive_the_scaling():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(to_uint8(to_float(pixels)), pixels)


def test_saved_and_loaded_decodes_alike(tmp_path):
    tokenizer = make()
    tokenizer.save(tmp_path)
    codes = np.arange(16)[None]
    difference = tokenizer.decode(codes).astype(int) - load_image_tokenizer(tmp_path).decode(codes)
    assert np.abs(difference).max() <= 1  # saved in half precision


def test_a_code_outside_the_codebook_is_refused():
    with pytest.raises(ValueError, match=r"outside 0\.\.63"):
        make().decode(np.full((1, 16), 64))


def test_a_broken_tokenizer_folder_is_one_clear_line(tmp_path):
    with pytest.raises(PolicyError, match="no config.json"):
        load_image_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vqgan"}')
    with pytest.raises(PolicyError, match="model_type='vqgan': allowed: lfq, MAGVITv2"):
        load_image_tokenizer(tmp_path)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_allowed_formats_are_read(kind):
    pixels = load_pixels(encoded(Image.new("RGB", (60, 40), (200, 30, 30)), kind), 48)
    assert pixels.shape == (48, 48, 3)
    assert np.abs(pixels.astype(int) - (200, 30, 30)).max() < 12


def test_orientation_is_honoured():
    image = Image.new("RGB", (40, 20))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    upright = open_image(encoded(image, "PNG", exif=exif.tobytes()))
    assert upright.size == (20, 40) and upright.getpixel((19, 0)) == (255, 255, 255)


def test_bicubic_resizes_the_shorter_side_and_crops_the_centre():
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 255
    np.testing.assert_array_equal(load_pixels(wide, 10, "bicubic")[:, 2:8], 255)
    assert load_pixels(wide, 10, "bicubic").shape == (10, 10, 3)
    ensure_torchvision_ops()
    from torchvision.transforms import v2  # the reference

    image = np.random.default_rng(0).integers(0, 256, (47, 91, 3), dtype=np.uint8)
    resize = v2.Compose([v2.Resize(24, v2.InterpolationMode.BICUBIC), v2.CenterCrop((24, 24))])
    np.testing.assert_array_equal(load_pixels(image, 24, "bicubic"), np.asarray(resize(Image.fromarray(image))))


def test_a_picture_too_large_for_pillow_is_one_line(tmp_path):
    """The header of a 50,000 x 50,000 PNG, written by hand: nothing of that size is ever decoded."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b""))]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(
        DataError, match=r"huge\.png: 2,500,000,000 pixels; allowed: 64,000,000 in all; make it smaller$"
    ):
        open_image(tmp_path / "huge.png")


def test_other_formats_broken_and_huge_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="not a readable PNG, JPEG, WEBP image"):
        open_image(encoded(Image.new("RGB", (4, 4)), "BMP"))
    whole = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "PNG")
    with pytest.raises(DataError, match="not a readable"):
        open_image(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no such image file"):
        open_image(tmp_path / "none.png")
    bomb = tmp_path / "bomb.png"
    Image.new("1", (9000, 9000)).save(bomb)
    with pytest.raises(DataError, match="9000 x 9000 pixels; allowed: 64,000,000"):
        open_image(bomb)
