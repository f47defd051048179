"""Which pictures a scorer takes, and which guard stands before them: the one in ``rl.pixels``."""

import numpy as np
import pytest
from PIL import Image

from rewards.pictures.base import picture_of
from rl.errors import DataError


def test_a_file_is_guarded_as_everywhere_and_upright(tmp_path, monkeypatch):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held on its side
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert picture_of(str(path)).size == (20, 30)
    monkeypatch.setattr("rl.pixels.MAX_PIXELS", 599)
    with pytest.raises(DataError, match="turned.jpg: 30 x 20 pixels; allowed: 599"):
        picture_of(str(path))


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_an_array_of_another_kind_is_named(image):
    with pytest.raises(ValueError, match="allowed: uint8 \\[H, W, 3\\]"):
        picture_of(image)
