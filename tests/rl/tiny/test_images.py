"""The images that the tiny image tokenizer learns from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.scenes import SceneObject, SceneSpec, render
from rl.tiny.images import PHOTO_SIZE, SHAPE_NAMES, cut_out, known_shape, place, train


def photo(top: int, left: int, height: int, width: int) -> np.ndarray:
    picture = np.full((PHOTO_SIZE, PHOTO_SIZE, 3), (240, 230, 250), np.uint8)
    picture[top : top + height, left : left + width] = (0, 0, 200)
    return picture


@settings(max_examples=30, deadline=None)
@given(
    top=st.integers(0, 40), left=st.integers(0, 40), height=st.integers(4, 24), width=st.integers(4, 24),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_an_object_stays_whole_wherever_it_is_put(top: int, left: int, height: int, width: int, seed: int) -> None:
    item = cut_out(photo(top, left, height, width), 1)
    assert item.pixels.shape == (height, width, 3) and item.opaque.all()
    placed = place(item, np.random.default_rng(seed), PHOTO_SIZE)
    inked = (placed == (0, 0, 200)).all(-1)
    assert inked.sum() == height * width
    assert placed[~inked].min() >= 225


def test_mirrored_objects_keep_their_rim() -> None:
    """A rim that is half background belongs to neither: what is not opaque takes the new background."""
    picture = photo(10, 20, 8, 8)
    picture[10, 20] = (240, 230, 250)  # a corner that is not there
    item = cut_out(picture, 0)
    assert not item.opaque[0, 0] and item.opaque.sum() == 63
    for seed in range(8):
        placed = place(item, np.random.default_rng(seed), PHOTO_SIZE)
        assert (placed == (0, 0, 200)).all(-1).sum() == 63


def test_a_photo_without_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="without an object"):
        cut_out(np.full((PHOTO_SIZE, PHOTO_SIZE, 3), 200, np.uint8), 0)


@pytest.mark.parametrize(
    ("solution", "shape"),
    [
        ("<think>a red circle</think>yes", "circle"),
        ("<think>a triangle</think>blue", "triangle"),
        ("<think>a red shape</think>circle", None),
        ("", None),
    ],
)
def test_a_shape_is_known_from_the_thought_alone(solution: str, shape: str | None) -> None:
    assert known_shape(solution) == (None if shape is None else SHAPE_NAMES.index(shape))


def test_the_same_seed_trains_the_same_tokenizer() -> None:
    scenes = np.stack([render(SceneSpec("colors", (SceneObject(shape, "red"),)), 0) for shape in ("circle", "square")])
    objects = [cut_out(photo(10, 10, side, side), side % 3) for side in (8, 12, 15)]
    first, again = (train(scenes, objects, steps=4, lr=3e-3) for _ in range(2))
    codes = first.encode(scenes)
    assert codes.shape == (2, 36) and (codes == again.encode(scenes)).all()
