"""The exact pixel checker of drawn scenes: does the picture show what the caption asks for, and nothing else?

The idea is GenEval's (arXiv 2310.11513: detect objects, then test count, colour and position by rule). Here the objects
are flat shapes over white, so connected components of pixels take the place of a detector, and the verdict is exact on
scenes rendered by ``rl.scenes``. Thresholds leave room for the blur and noise of an image tokenizer.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from rewards.base import absent, invalid
from rewards.settings import RewardSettings, setting
from rl.scenes import BACKGROUND, PALETTE, SceneObject, SceneSpec
from rl.types import RewardItem, Score

UNKNOWN = "unknown"  # a component whose shape or colour is none of ours

_COLORS = np.asarray(list(PALETTE.values()), dtype=np.float32)
_CROSS = ndimage.generate_binary_structure(2, 1)
_NAMES = tuple(PALETTE)
_FULL_INK = np.asarray(BACKGROUND, dtype=np.float32) - _COLORS
_LENGTHS = np.linalg.norm(_FULL_INK, axis=-1)
_DIRECTIONS = (_FULL_INK / _LENGTHS[:, None]).T
_COLOR_TOLERANCE = 60.0  # RGB distance of an object's colour from its palette entry; the closest pair lies 86 apart
_PURE = 0.75  # share of an object's inner pixels that must be nearest to its colour
_SPECK = 24  # components below (side / 24)^2 pixels are noise
_SMALLEST = 8  # an object spans at least side / 8 pixels
_ASPECT = 1.34
_LEAST_OVERLAP = 0.76  # a ring, a bar or two merged objects overlap less with every shape
_LEAST_OVERLAP_SMALL, _SMALL = 0.7, 9  # below 9 pixels across, each pixel of the rim is several percent
_TOWARDS = 0.56  # least component of the unit vector between two objects (GenEval: 0.5): jitter never decides it


@dataclass(frozen=True, slots=True)
class Found:
    """One object in a picture. Example: ``Found("circle", "red", x=0.16, y=0.5)``; x and y are centres, 0 to 1."""

    shape: str
    color: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class CompositionSettings(RewardSettings):
    dense: bool = setting("give the fraction of requirements that are met, instead of 1 for all and 0 otherwise", False)


class CompositionReward:
    """1.0 if the picture shows the scene in ``metadata["scene"]`` and nothing else, else 0.0.

    ``parts["partial"]`` is the fraction of its requirements that are met; ``dense=True`` makes that the value. Rows
    whose metadata has no scene have no such reward.
    """

    name = "composition"
    largest = 1.0
    Settings = CompositionSettings

    def __init__(self, settings: CompositionSettings) -> None:
        self.dense = settings.dense

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        found: dict[tuple[tuple[int, ...], bytes], tuple[Found, ...]] = {}  # equal pictures are looked at once
        return [self._one(item, found) for item in items]

    def _one(self, item: RewardItem, found: dict[tuple[tuple[int, ...], bytes], tuple[Found, ...]]) -> Score:
        begin = time.perf_counter()
        scene = item.prompt.metadata.get("scene")
        if scene is None:
            return absent(f"row {item.prompt.id}: metadata has no 'scene' to check")
        if item.image is None:
            return invalid(f"row {item.prompt.id}: no picture to check")
        try:
            spec = SceneSpec.from_json(scene)
            key = (item.image.shape, item.image.tobytes())
            if key not in found:
                found[key] = find_objects(item.image)
            unmet, total = requirements(spec, found[key])
        except ValueError as error:
            return invalid(f"row {item.prompt.id}: {error}")
        partial = 1.0 - len(unmet) / total
        value = partial if self.dense else float(not unmet)
        return Score(value, parts={"partial": partial}, seconds=time.perf_counter() - begin, detail="; ".join(unmet))


def find_objects(image: np.ndarray) -> tuple[Found, ...]:
    """The objects of a uint8 RGB picture [H, W, 3], in reading order. Raises ValueError where it is no such picture."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError("expected a uint8 RGB picture [H, W, 3]")
    nearest, coverage = _ink(image)
    labels: np.ndarray = np.empty(coverage.shape, dtype=np.int32)
    count = int(ndimage.label(coverage > 0.5, _CROSS, output=labels))  # pyright: ignore[reportArgumentType]
    side = min(image.shape[:2])
    found = []
    for index, window in enumerate(ndimage.find_objects(labels, count), start=1):
        mask = labels[window] == index
        if np.count_nonzero(mask) > (side / _SPECK) ** 2:
            found.append(_describe(mask, window, _color(image[window], nearest[window], mask), image.shape[:2]))
    return tuple(found)


def holds(spec: SceneSpec, found: Sequence[Found]) -> bool:
    """Whether these objects are the scene: every object once, its relation, and nothing more."""
    first, *rest = spec.objects
    if len(found) != sum(item.count for item in spec.objects):
        return False
    for chosen in itertools.combinations(range(len(found)), first.count):
        others = [item for index, item in enumerate(found) if index not in chosen]
        mine = [found[index] for index in chosen]
        if not all(_matches(item, first) for item in mine):
            continue
        if rest and not all(_matches(item, rest[0]) for item in others):
            continue
        if spec.relation is None or related(mine[0], others[0], spec.relation):
            return True
    return False


def requirements(spec: SceneSpec, found: Sequence[Found]) -> tuple[list[str], int]:
    """Requirements that are not met, in words, and how many there are.

    Per kind of object: one is there, and the count is right; then the relation; then nothing else is drawn. The list is
    empty exactly where ``holds`` is true.
    """
    unmet, total = [], 0
    for item in spec.objects:
        number = sum(_matches(other, item) for other in found)
        name = f"{item.color or 'any'} {item.shape}"
        unmet += [f"no {name}"] if number == 0 else []
        unmet += [f"{number} of {item.count} {name}"] if number != item.count else []
        total += 2
    if spec.relation is not None:
        pairs = itertools.permutations(found, 2)
        first, second = spec.objects
        met = any(_matches(a, first) and _matches(b, second) and related(a, b, spec.relation) for a, b in pairs)
        unmet += [] if met else [f"not {spec.relation}"]
        total += 1
    wanted = sum(item.count for item in spec.objects)
    strays = sum(not any(_matches(other, item) for item in spec.objects) for other in found)
    if strays or len(found) > wanted:
        unmet.append(f"{max(strays, len(found) - wanted)} more")
    elif not unmet and not holds(spec, found):
        unmet.append("objects do not pair up")
    return unmet, total + 1


def share_met(spec: SceneSpec, found: Sequence[Found]) -> float:
    """The share of the requirements that these objects meet: 1.0 exactly where ``holds`` is true."""
    unmet, total = requirements(spec, found)
    return 1.0 - len(unmet) / total


def related(first: Found, second: Found, relation: str) -> bool:
    """Whether the first lies so to the second. On a diagonal both directions hold, as in GenEval."""
    right, down = second.x - first.x, second.y - first.y
    length = math.hypot(right, down)
    if length == 0.0:
        return False
    along = {"left of": right, "right of": -right, "above": down, "below": -down}[relation]
    return along / length > _TOWARDS


def _matches(found: Found, wanted: SceneObject) -> bool:
    return found.shape == wanted.shape and found.color != UNKNOWN and wanted.color in (None, found.color)


def _ink(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per pixel: index of the palette colour, and how much of the pixel it covers (0 white, 1 all).

    Blur mixes a colour with the white around it, which moves a pixel along the line from white to that colour. So the
    colour is told by the direction from white, and true edges lie where the coverage is one half.
    """
    ink = np.subtract(BACKGROUND, image, dtype=np.float32)
    along = ink.reshape(-1, 3) @ _DIRECTIONS
    nearest = along.argmax(axis=1)
    coverage = along[np.arange(len(nearest)), nearest] / _LENGTHS[nearest]
    return nearest.reshape(image.shape[:2]), coverage.reshape(image.shape[:2])


def _color(pixels: np.ndarray, nearest: np.ndarray, mask: np.ndarray) -> str:
    """Name of a component's colour, from its inner pixels; unknown where it is off the palette or of several."""
    core = _inner(mask)
    core = core if core.any() else mask
    counts = np.bincount(nearest[core])
    best = int(counts.argmax())
    ordered = np.sort(pixels[core], axis=0)
    median = (ordered[(len(ordered) - 1) // 2].astype(np.float64) + ordered[len(ordered) // 2]) / 2
    if math.dist(_COLORS[best], median) > _COLOR_TOLERANCE or counts[best] < _PURE * len(ordered):
        return UNKNOWN
    return _NAMES[best]


def _inner(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask whose four neighbours are in it too; beyond its edges nothing is."""
    inner = mask.copy()
    inner[0], inner[-1], inner[:, 0], inner[:, -1] = False, False, False, False
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return inner


def _describe(mask: np.ndarray, window: tuple[slice, slice], color: str, size: tuple[int, ...]) -> Found:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    y = (window[0].start + (rows[0] + rows[-1] + 1) / 2) / size[0]
    x = (window[1].start + (columns[0] + columns[-1] + 1) / 2) / size[1]
    shape = _shape(box) if min(box.shape) >= min(size) / _SMALLEST else UNKNOWN
    return Found(shape, color, float(x), float(y))


def _shape(box: np.ndarray) -> str:
    """The shape whose ideal mask in this bounding box [h, w] overlaps the component most, if by enough."""
    height, width = box.shape
    if max(height, width) > _ASPECT * min(height, width) + 1:
        return UNKNOWN
    overlaps = {name: _overlap(box, ideal) for name, ideal in _ideals(height, width).items()}
    best = max(overlaps, key=lambda name: overlaps[name])
    least = _LEAST_OVERLAP if min(height, width) >= _SMALL else _LEAST_OVERLAP_SMALL
    return best if overlaps[best] >= least else UNKNOWN


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union."""
    both = np.count_nonzero(first & second)
    return both / (np.count_nonzero(first) + np.count_nonzero(second) - both)


@lru_cache(maxsize=4096)
def _ideals(height: int, width: int) -> dict[str, np.ndarray]:
    """The masks [h, w] of each shape that fills its bounding box."""
    y, x = np.mgrid[0:height, 0:width]
    down, across = (y + 0.5) / height, np.abs((x + 0.5) / width - 0.5)
    return {
        "square": np.ones((height, width), dtype=bool),
        "circle": across**2 + (down - 0.5) ** 2 <= 0.25,
        "triangle": across <= down / 2,
    }
