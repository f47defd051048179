"""Compositional scenes: what a drawing task asks for, in words, as data, and as pixels.

The categories are GenEval's (arXiv 2310.11513): single object, colours, counting, two objects, position, colour
attribution. A scene lies on a grid of 3x3 cells over white; each object has a cell of its own and touches no other.
Edges are hard, so every pixel is white or exactly one colour of the palette: a checker can read a scene back exactly.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle")
PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 220),
    "yellow": (245, 215, 30),
    "purple": (150, 40, 180),
    "orange": (250, 130, 20),
}
BACKGROUND = (255, 255, 255)
RELATIONS = ("left of", "right of", "above", "below")
CATEGORIES = ("single_object", "colors", "counting", "two_object", "position", "color_attr")
GRID = 3  # cells along each side
SMALLEST = 24  # pixels a side: shapes of 6 pixels can be told apart
MAX_COUNT = 4

_PLACES = {
    1: ((1, 1),),
    2: ((1, 0), (1, 2)),
    3: ((1, 0), (1, 1), (1, 2)),
    4: ((0, 0), (0, 2), (2, 0), (2, 2)),
}
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_INVERSE = {"right of": "left of", "below": "above"}


@dataclass(frozen=True, slots=True)
class SceneObject:
    """``count`` equal objects. Example: ``SceneObject("square", "green", 3)``.

    shape    one of SHAPES
    color    a name in PALETTE, or None where the caption names no colour: any one colour is right
    """

    shape: str
    color: str | None = None
    count: int = 1

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"scene: unknown shape {self.shape!r}; allowed: {', '.join(SHAPES)}")
        if self.color is not None and self.color not in PALETTE:
            raise ValueError(f"scene: unknown color {self.color!r}; allowed: {', '.join(PALETTE)}")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or not 1 <= self.count <= MAX_COUNT:
            raise ValueError(f"scene: count {self.count!r}; allowed: 1 to {MAX_COUNT}")


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """One or two kinds of object. Example: ``SceneSpec("position", (circle, square), "left of")``.

    relation   how the first object lies to the second; only for two single objects
    """

    category: str
    objects: tuple[SceneObject, ...]
    relation: str | None = None

    def __post_init__(self) -> None:
        if self.category not in CATEGORIES:
            raise ValueError(f"scene: unknown category {self.category!r}; allowed: {', '.join(CATEGORIES)}")
        if not 1 <= len(self.objects) <= 2:
            raise ValueError(f"scene: {len(self.objects)} kinds of object; allowed: 1 or 2")
        if self.relation is None:
            return
        if self.relation not in RELATIONS:
            raise ValueError(f"scene: unknown relation {self.relation!r}; allowed: {', '.join(RELATIONS)}")
        if [item.count for item in self.objects] != [1, 1]:
            raise ValueError(f"scene: relation {self.relation!r} needs two single objects")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: ``{"category": "colors", "objects": [{"shape", "color", "count"}], "relation": null}``."""
        objects = [{"shape": item.shape, "color": item.color, "count": item.count} for item in self.objects]
        return {"category": self.category, "objects": objects, "relation": self.relation}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SceneSpec:
        """What ``to_json`` wrote. Raises ValueError where it is no scene."""
        try:
            objects = tuple(
                SceneObject(item["shape"], item.get("color"), item.get("count", 1)) for item in data["objects"]
            )
            return cls(data["category"], objects, data.get("relation"))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"scene: not a scene: {type(error).__name__}: {error}") from error


def caption(spec: SceneSpec) -> str:
    """In words. Examples: ``three green squares``, ``a red circle left of a blue square``."""
    joint = f" {spec.relation or 'and'} "
    return joint.join(_phrase(item) for item in spec.objects)


def canonical(spec: SceneSpec) -> SceneSpec:
    """The one spec that stands for all captions of the same scene.

    ``a square right of a circle`` is ``a circle left of a square``, and ``and`` has no order.
    """
    if len(spec.objects) == 1 or spec.relation in ("left of", "above"):
        return spec
    if spec.relation is not None:
        return SceneSpec(spec.category, spec.objects[::-1], _INVERSE[spec.relation])
    return SceneSpec(spec.category, tuple(sorted(spec.objects, key=_phrase)))


def all_specs() -> list[SceneSpec]:
    """Every scene that this module can caption, in a fixed order; captions are unique."""
    return [*_single(), *_counting(), *_pairs(), *_positions()]


def render(spec: SceneSpec, seed: int, size: int = 48) -> np.ndarray:
    """Draw a scene: uint8 RGB [size, size, 3].

    Objects stand in fixed places, by their number and relation, so that a tiny policy has the caption's meaning to
    learn and no layout; ``left of`` and ``right of`` share a row, ``above`` and ``below`` a column. The seed chooses
    the colours that the spec leaves open. Pixels that are left over beside three equal cells stay empty, right and below.
    """
    if size < SMALLEST:
        raise ValueError(f"scene: size {size}; allowed: {SMALLEST} or more")
    rng = np.random.default_rng([seed % 2**63, zlib.crc32(caption(spec).encode())])
    total = sum(item.count for item in spec.objects)
    cells = iter(_cells(spec.relation, total))
    image = Image.new("RGB", (size, size), BACKGROUND)
    pen = ImageDraw.Draw(image)
    for item in spec.objects:
        color = item.color or list(PALETTE)[rng.integers(len(PALETTE))]
        for _ in range(item.count):
            _draw(pen, item.shape, PALETTE[color], _box(next(cells), size // GRID))
    return np.asarray(image)


def _phrase(item: SceneObject) -> str:
    words = f"{item.color} {item.shape}" if item.color else item.shape
    if item.count > 1:
        return f"{_NUMBERS[item.count]} {words}s"
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _kinds() -> list[SceneObject]:
    return [SceneObject(shape, color) for shape in SHAPES for color in PALETTE]


def _single() -> Iterator[SceneSpec]:
    yield from (SceneSpec("single_object", (SceneObject(shape),)) for shape in SHAPES)
    yield from (SceneSpec("colors", (kind,)) for kind in _kinds())


def _counting() -> Iterator[SceneSpec]:
    for shape, color, count in itertools.product(SHAPES, (None, *PALETTE), _NUMBERS):
        yield SceneSpec("counting", (SceneObject(shape, color, count),))


def _pairs() -> Iterator[SceneSpec]:
    """Two objects without a named colour or of one colour; and, as colour attribution, of two colours."""
    for first, second in itertools.permutations(SHAPES, 2):
        yield SceneSpec("two_object", (SceneObject(first), SceneObject(second)))
    for first, second in itertools.permutations(_kinds(), 2):
        yield SceneSpec("two_object" if first.color == second.color else "color_attr", (first, second))


def _positions() -> Iterator[SceneSpec]:
    for relation in RELATIONS:
        for first, second in itertools.permutations(SHAPES, 2):
            yield SceneSpec("position", (SceneObject(first), SceneObject(second)), relation)
        for first, second in itertools.permutations(_kinds(), 2):
            yield SceneSpec("position", (first, second), relation)


def _cells(relation: str | None, total: int) -> list[tuple[int, int]]:
    """Distinct cells (row, column), one an object, in the order of the objects."""
    if relation is None:
        return list(_PLACES[total])
    low, high = ((1, 0), (1, 2)) if relation in ("left of", "right of") else ((0, 1), (2, 1))
    return [low, high] if relation in ("left of", "above") else [high, low]


def _box(cell: tuple[int, int], pixels: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (inclusive) of an object of three quarters of a cell, in its middle."""
    side = pixels * 3 // 4
    top, left = (place * pixels + (pixels - side) // 2 for place in cell)
    return left, top, left + side - 1, top + side - 1


def _draw(pen: ImageDraw.ImageDraw, shape: str, color: tuple[int, int, int], box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    if shape == "circle":
        pen.ellipse(box, fill=color)
    elif shape == "square":
        pen.rectangle(box, fill=color)
    else:
        pen.polygon([((left + right) // 2, top), (left, bottom), (right, bottom)], fill=color)
