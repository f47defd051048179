"""The pixel checker: exact on rendered scenes, strict on any change, tolerant to a tokenizer's blur."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rewards.base import is_absent
from rewards.pictures.composition import (
    CompositionReward,
    CompositionSettings,
    Found,
    find_objects,
    holds,
    related,
    requirements,
)
from rewards.tiny.clip_ranking import scatter
from rl.scenes import PALETTE, SHAPES, SceneObject, SceneSpec, all_specs, caption, render
from rl.types import ScoreStatus
from tests.rewards.makers import drawn_item, text_item

SPECS = all_specs()
CIRCLE, SQUARE = SceneObject("circle", "red"), SceneObject("square", "blue")
BESIDE = SceneSpec("position", (CIRCLE, SQUARE), "left of")
SPEC = st.sampled_from(SPECS)
SEED = st.integers(0, 2**31)


def blurred(image, sigma, noise, seed=0):
    pixels = ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0))
    pixels += np.random.default_rng(seed).normal(0, noise, pixels.shape)
    return pixels.clip(0, 255).round().astype(np.uint8)


def test_every_rendered_scene_passes_its_own_check():
    failing = [caption(spec) for spec in SPECS if not holds(spec, find_objects(render(spec, 0)))]
    assert not failing


@given(SPEC, SEED, st.sampled_from([24, 48, 63, 96, 192]))
@settings(max_examples=150, deadline=None)
def test_at_any_seed_and_size(spec, seed, size):
    assert holds(spec, find_objects(render(spec, seed, size)))


@given(SPEC, SEED)
@settings(max_examples=150, deadline=None)
def test_the_same_objects_elsewhere_pass(spec, seed):
    moved = scatter(render(spec, seed), spec.relation, np.random.default_rng(seed))
    assert holds(spec, find_objects(moved)) and holds(spec, find_objects(blurred(moved, 0.7, 6.0, seed)))


@given(SPEC, SEED)
@settings(max_examples=150, deadline=None)
def test_blur_and_noise_of_an_image_tokenizer_pass(spec, seed):
    assert holds(spec, find_objects(blurred(render(spec, seed), 0.7, 6.0, seed)))


@given(SPEC, SEED, st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_color_shape_or_count_fails(spec, seed, data):
    index = data.draw(st.integers(0, len(spec.objects) - 1))
    item = spec.objects[index]
    changed = [dataclasses.replace(item, shape=shape) for shape in SHAPES if shape != item.shape]
    changed += [dataclasses.replace(item, color=color) for color in PALETTE if item.color not in (None, color)]
    if len(spec.objects) == 1:
        changed += [dataclasses.replace(item, count=count) for count in range(1, 5) if count != item.count]
    objects = list(spec.objects)
    objects[index] = data.draw(st.sampled_from(changed))
    wrong = dataclasses.replace(spec, objects=tuple(objects))
    if sorted(map(repr, wrong.objects)) != sorted(map(repr, spec.objects)):
        assert not holds(spec, find_objects(render(wrong, seed)))


@given(
    st.sampled_from([spec for spec in SPECS if spec.relation]),
    SEED,
    st.sampled_from(["left of", "right of", "above", "below"]),
)
@settings(max_examples=150, deadline=None)
def test_a_changed_position_fails(spec, seed, relation):
    image = render(dataclasses.replace(spec, relation=relation), seed)
    assert holds(spec, find_objects(image)) == (relation == spec.relation)


@given(SPEC, SEED)
@settings(max_examples=100, deadline=None)
def test_anything_extra_fails(spec, seed):
    image = render(spec, seed)
    free = next(
        (row, column)
        for row in range(0, 48, 16)
        for column in range(0, 48, 16)
        if (image[row : row + 16, column : column + 16] == 255).all()
    )
    extra = image.copy()
    extra[free[0] + 4 : free[0] + 10, free[1] + 4 : free[1] + 10] = (0, 0, 0)
    assert not holds(spec, find_objects(extra))
    unmet, _ = requirements(spec, find_objects(extra))
    assert unmet == ["1 more"]


@given(
    SPEC,
    st.lists(
        st.builds(Found, st.sampled_from(SHAPES), st.sampled_from(list(PALETTE)), st.just(0.2), st.floats(0, 1)),
        max_size=4,
    ),
)
@settings(max_examples=200, deadline=None)
def test_no_requirement_is_unmet_exactly_where_the_scene_holds(spec, found):
    unmet, total = requirements(spec, found)
    assert (unmet == []) == holds(spec, found)
    assert 0 <= len(unmet) <= total


def test_objects_are_found_where_they_are():
    image = np.full((48, 48, 3), 255, dtype=np.uint8)
    image[2:14, 18:30] = PALETTE["green"]
    assert find_objects(image) == (Found("square", "green", 0.5, 1 / 6),)


def test_two_colors_in_one_object_a_ring_and_a_bar_are_no_objects_of_ours():
    image = np.full((48, 48, 3), 255, dtype=np.uint8)
    image[2:14, 2:8], image[2:14, 8:14] = PALETTE["green"], PALETTE["blue"]
    assert find_objects(image)[0].color == "unknown"
    image[:] = 255
    image[2:14, 2:14] = PALETTE["green"]
    image[5:11, 5:11] = 255
    assert find_objects(image)[0].shape == "unknown"
    image[:] = 255
    image[2:8, 2:40] = PALETTE["green"]
    assert find_objects(image)[0].shape == "unknown"


def test_a_diagonal_lies_both_ways_and_a_knights_move_one():
    a, diagonal, far = (
        Found("circle", "red", 0.17, 0.17),
        Found("square", "red", 0.5, 0.5),
        Found("square", "red", 0.5, 0.83),
    )
    assert related(a, diagonal, "left of") and related(a, diagonal, "above")
    assert related(a, far, "above") and not related(a, far, "left of")
    assert not related(a, a, "left of")


def test_the_reward_is_one_or_zero_and_tells_what_is_missing():
    right, wrong = render(BESIDE, 0), render(dataclasses.replace(BESIDE, relation="below"), 0)
    blank = np.full_like(right, 255)
    scores = CompositionReward(CompositionSettings()).score(
        [drawn_item(image, BESIDE) for image in (right, wrong, blank)]
    )
    assert [score.value for score in scores] == [1.0, 0.0, 0.0]
    assert [score.parts["partial"] for score in scores] == pytest.approx([1.0, 5 / 6, 1 / 6])
    assert scores[1].detail == "not left of" and "no red circle" in scores[2].detail
    dense = CompositionReward(CompositionSettings(dense=True)).score([drawn_item(wrong, BESIDE)])
    assert dense[0].value == pytest.approx(5 / 6)


def test_a_row_without_a_picture_is_invalid_and_one_without_a_scene_has_no_such_reward():
    image = render(BESIDE, 0)
    items = [drawn_item(None, BESIDE), drawn_item(image.astype(float), BESIDE), drawn_item(image[..., :2], BESIDE)]
    items.append(drawn_item(image, broken={"category": "colors"}))
    for score in CompositionReward(CompositionSettings()).score(items):
        assert score.status is ScoreStatus.INVALID and "row scene/1" in score.detail and not score.usable
    for score in CompositionReward(CompositionSettings()).score([drawn_item(image), text_item("7")]):
        assert is_absent(score) and "no 'scene'" in score.detail
