"""MAGVIT-v2 against numbers that its original code computed, and its folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from policies.convert import convert_folder
from policies.images.load import load_image_tokenizer
from policies.images.magvit import WEIGHTS, MagvitConfig, MagvitTokenizer
from policies.images.tensors import to_float
from rl.errors import PolicyError
from tests.policies.originals import GOLDEN, weight

SMALL = MagvitConfig(
    image_size=32,
    channels=32,
    bits=6,
    down_multipliers=(1, 1, 2),
    down_blocks=(2, 1, 1),
    up_multipliers=(1, 2, 2),
    up_blocks=(1, 2, 1),
)
GIVEN = dict(np.load(GOLDEN / "magvit.npz"))


def make() -> MagvitTokenizer:
    tokenizer = MagvitTokenizer(SMALL)
    for name, value in tokenizer.state_dict().items():
        if not name.startswith("quantize."):
            value.copy_(torch.from_numpy(weight(name, value.shape)))
    return tokenizer.eval().requires_grad_(False)


def test_features_codes_and_pixels_are_the_originals():
    tokenizer = make()
    np.testing.assert_allclose(tokenizer.encoder(to_float(GIVEN["pixels"])).numpy(), GIVEN["features"], atol=2e-5)
    codes = tokenizer.encode(GIVEN["pixels"])
    np.testing.assert_array_equal(codes, GIVEN["codes"])
    decoded = tokenizer.decoder(tokenizer.quantize.bits(torch.from_numpy(codes), 8))
    np.testing.assert_allclose(decoded[:, :, ::4, ::4].numpy(), GIVEN["decoded"], atol=2e-5)


def test_decoded_pixels_are_the_networks_rounded_and_a_batch_is_its_images():
    tokenizer = make()
    pixels = tokenizer.decode(GIVEN["codes"])
    assert pixels.shape == (2, 32, 32, 3) and pixels.dtype == np.uint8
    exact = (GIVEN["decoded"].clip(-1, 1) + 1) * 127.5
    assert np.abs(pixels[:, ::4, ::4].transpose(0, 3, 1, 2) - exact).max() <= 0.51
    np.testing.assert_array_equal(pixels[1:], tokenizer.decode(GIVEN["codes"][1:]))
    with pytest.raises(ValueError, match=r"outside 0\.\.63"):
        tokenizer.decode(np.full((1, 64), 64))


def test_the_released_folder_says_only_its_class_and_may_be_pickled(tmp_path):
    """As showlab/magvitv2 is: pytorch_model.bin, and a config of one name. Here the small sizes are added."""
    tokenizer = make()
    tokenizer.save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == "MAGVITv2"
    (tmp_path / WEIGHTS).unlink()
    torch.save(tokenizer.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(PolicyError, match=r"only pickled weights .*`python -m policies\.convert"):
        load_image_tokenizer(tmp_path)
    assert convert_folder(tmp_path) == [tmp_path / WEIGHTS]
    again = load_image_tokenizer(tmp_path)
    assert again.codes_per_image == 64 and again.codebook_size == 64
    np.testing.assert_array_equal(again.encode(GIVEN["pixels"]), GIVEN["codes"])


def test_released_sizes_are_the_default(tmp_path):
    config = MagvitConfig()
    assert (config.patch_size, 2**config.bits, (config.image_size // config.patch_size) ** 2) == (16, 8192, 1024)
    (tmp_path / "config.json").write_text('{"_class_name": "MAGVITv2", "image_size": 500}')
    with pytest.raises(PolicyError, match="image_size=500: must be a multiple of 16"):
        load_image_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "MAGVITv2"}')
    with pytest.raises(PolicyError, match="no pytorch_model.safetensors"):
        load_image_tokenizer(tmp_path)
