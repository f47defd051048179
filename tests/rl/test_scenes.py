"""Scenes: captions, data and pixels say the same."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rl import scenes
from rl.scenes import BACKGROUND, CATEGORIES, PALETTE, RELATIONS, SceneObject, SceneSpec, all_specs, caption, render

SPECS = all_specs()
specs = st.sampled_from(SPECS)


def objects_in(image: np.ndarray) -> list[tuple[str, float, float, int]]:
    """(colour, x, y, pixels) of every connected non-white region; fails where a region has two colours."""
    names = {rgb: name for name, rgb in PALETTE.items()}
    labels = np.zeros(image.shape[:2], np.int32)
    ndimage.label((image != BACKGROUND).any(-1), structure=np.ones((3, 3)), output=labels)
    found = []
    for label in range(1, int(labels.max()) + 1):
        rows, columns = np.nonzero(labels == label)
        ((red, green, blue),) = {tuple(pixel) for pixel in image[rows, columns].tolist()}
        found.append((names[red, green, blue], columns.mean(), rows.mean(), len(rows)))
    return found


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SceneSpec("colors", (SceneObject("circle", "red"),)), "a red circle"),
        (SceneSpec("single_object", (SceneObject("triangle"),)), "a triangle"),
        (SceneSpec("colors", (SceneObject("square", "orange"),)), "an orange square"),
        (SceneSpec("counting", (SceneObject("square", "green", 3),)), "three green squares"),
        (
            SceneSpec("color_attr", (SceneObject("circle", "red"), SceneObject("square", "blue"))),
            "a red circle and a blue square",
        ),
        (
            SceneSpec("position", (SceneObject("circle", "red"), SceneObject("square", "blue")), "left of"),
            "a red circle left of a blue square",
        ),
    ],
)
def test_captions(spec: SceneSpec, words: str) -> None:
    assert caption(spec) == words
    assert spec in SPECS


def test_every_category_is_there_and_captions_are_unique() -> None:
    assert {spec.category for spec in SPECS} == set(CATEGORIES)
    assert len({caption(spec) for spec in SPECS}) == len(SPECS) == 1644
    assert all_specs() == SPECS


@given(specs)
def test_json_round_trip(spec: SceneSpec) -> None:
    assert SceneSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"category": "colors", "objects": []},
        {"category": "colors", "objects": [{"shape": "star"}]},
        {"category": "colors", "objects": [{"shape": "circle", "color": "pink"}]},
        {"category": "counting", "objects": [{"shape": "circle", "color": "red", "count": 9}]},
        {"category": "beauty", "objects": [{"shape": "circle"}]},
        {"category": "position", "objects": [{"shape": "circle"}, {"shape": "square"}], "relation": "near"},
        {"category": "position", "objects": [{"shape": "circle"}], "relation": "above"},
        {"category": "colors", "objects": "circle"},
        "a red circle",
    ],
)
def test_what_is_no_scene_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="^scene: "):
        SceneSpec.from_json(data)  # pyright: ignore[reportArgumentType]


@settings(deadline=None, max_examples=150)
@given(specs, st.integers(0, 2**64), st.one_of(st.sampled_from((48, 96)), st.integers(scenes.SMALLEST, 130)))
def test_picture_shows_what_the_caption_says(spec: SceneSpec, seed: int, size: int) -> None:
    image = render(spec, seed, size)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert np.array_equal(image, render(spec, seed, size))
    found = objects_in(image)
    wanted = [item for item in spec.objects for _ in range(item.count)]
    assert len(found) == len(wanted)
    for color in {item.color for item in spec.objects} - {None}:
        assert sum(name == color for name, *_ in found) >= sum(item.color == color for item in wanted)
    if spec.objects[0].count > 1:
        assert len({name for name, *_ in found}) == 1
    if spec.relation and spec.objects[0].color != spec.objects[1].color:
        places = {name: (x, y) for name, x, y, _ in found}
        (x, y), (other_x, other_y) = (places[item.color] for item in spec.objects)  # pyright: ignore[reportArgumentType]
        cell = size / scenes.GRID
        gap = {"left of": other_x - x, "right of": x - other_x, "above": other_y - y, "below": y - other_y}
        assert gap[spec.relation] > cell / 2
        assert abs(y - other_y if "of" in spec.relation else x - other_x) < cell / 2


def test_shapes_differ_in_area_and_fill() -> None:
    areas = {
        shape: {objects_in(render(SceneSpec("colors", (SceneObject(shape, "red"),)), seed))[0][3] for seed in range(20)}
        for shape in scenes.SHAPES
    }
    assert areas["square"] == {144}  # 12 x 12 pixels wherever it lies
    assert all(len(sizes) == 1 for sizes in areas.values())
    assert max(areas["triangle"]) < min(areas["circle"]) < 144


def test_colors_lie_apart_from_each_other_and_from_white() -> None:
    for first, second in itertools.combinations([*PALETTE.values(), BACKGROUND], 2):
        assert np.linalg.norm(np.subtract(first, second)) > 80


def test_the_seed_chooses_open_colors_and_nothing_else() -> None:
    spec = SceneSpec("single_object", (SceneObject("square"),))
    found = [objects_in(render(spec, seed))[0] for seed in range(60)]
    assert {name for name, *_ in found} == set(PALETTE)
    assert len({(x, y) for _, x, y, _ in found}) == 1


@pytest.mark.parametrize("size", [0, 1, 20, 23, -3])
def test_size_is_checked(size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        render(SPECS[0], 0, size)


@given(specs)
def test_canonical_is_one_for_all_captions_of_a_scene(spec: SceneSpec) -> None:
    one = scenes.canonical(spec)
    assert scenes.canonical(one) == one and one in SPECS
    if spec.relation:
        opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}[spec.relation]
        assert scenes.canonical(SceneSpec(spec.category, spec.objects[::-1], opposite)) == one
        assert one.relation in RELATIONS[::2]
    elif len(spec.objects) == 2:
        assert scenes.canonical(SceneSpec(spec.category, spec.objects[::-1])) == one
