"""Does a CLIP tell a right scene from a nearly right one? Measured on captions that it may not have been trained on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from rewards.pictures.composition import find_objects, holds, share_met
from rewards.tiny.scene_clip import MEAN, STD
from rl.scenes import BACKGROUND, GRID, MAX_COUNT, PALETTE, RELATIONS, SHAPES, SceneObject, SceneSpec, caption, render


def variations(spec: SceneSpec) -> list[SceneSpec]:
    """The scenes one step away: another colour, shape, count or relation, or the colours of two objects swapped."""
    found: list[SceneSpec] = []
    for index, item in enumerate(spec.objects):
        colors = [name for name in PALETTE if name != item.color] if item.color else []
        changed = [dataclasses.replace(item, color=name) for name in colors]
        changed += [dataclasses.replace(item, shape=name) for name in SHAPES if name != item.shape]
        if len(spec.objects) == 1:
            changed += [dataclasses.replace(item, count=n) for n in range(1, MAX_COUNT + 1) if n != item.count]
        found += [_with(spec, index, other) for other in changed]
    if spec.relation:
        found += [dataclasses.replace(spec, relation=name) for name in RELATIONS if name != spec.relation]
    if len(spec.objects) == 2 and spec.objects[0].color != spec.objects[1].color:
        first, second = spec.objects
        swapped = (SceneObject(first.shape, second.color), SceneObject(second.shape, first.color))
        found.append(dataclasses.replace(spec, objects=swapped))
    return [other for other in dict.fromkeys(found) if len(set(other.objects)) == len(other.objects)]


def paste(target: np.ndarray, source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The target with one cell of the source, at its place: of the cells that differ, if there are any."""
    cell = target.shape[0] // GRID
    windows = [
        (slice(row * cell, (row + 1) * cell), slice(column * cell, (column + 1) * cell))
        for row, column in itertools.product(range(GRID), repeat=2)
    ]
    differ = [window for window in windows if not np.array_equal(target[window], source[window])]
    picture = target.copy()
    if differ:
        window = differ[rng.integers(len(differ))]
        picture[window] = source[window]
    return picture


def scatter(picture: np.ndarray, relation: str | None, rng: np.random.Generator) -> np.ndarray:
    """The same objects in other cells of the grid: anywhere, or in any row or column in the order of the relation.

    Scenes are rendered in fixed places, but a policy may draw them where it likes.
    """
    cell = picture.shape[0] // GRID
    tiles = picture.reshape(GRID, cell, GRID, cell, 3).swapaxes(1, 2)
    taken = [tuple(place) for place in np.argwhere((tiles != BACKGROUND).any(axis=(2, 3, 4)))]
    places = [divmod(int(place), GRID) for place in rng.permutation(GRID * GRID)[: len(taken)]]
    if relation is not None and len(taken) == 2:
        lane, (low, high) = int(rng.integers(GRID)), sorted(map(int, rng.permutation(GRID)[:2]))
        sideways = relation in ("left of", "right of")
        places = [(lane, low), (lane, high)] if sideways else [(low, lane), (high, lane)]
    result = np.full_like(tiles, 255)
    for old, new in zip(taken, places, strict=True):
        result[new] = tiles[old]
    return result.swapaxes(1, 2).reshape(picture.shape)


@torch.no_grad()
def ranking(model: Any, tokenizer: Any, specs: Sequence[SceneSpec], seed: int, blur: float = 0.0) -> dict[str, float]:
    """How well an open_clip model with this tokenizer ranks, as shares of pairs in the right order.

    text/{category}    a picture's caption before a variation of it
    image/{category}   a caption's picture before the picture of a variation
    pasted             the same, before the right picture with a cell of another scene pasted in
    correlation        of the cosine with the pixel checker's share of requirements met, over all these pictures

    ``blur`` is the sigma of a Gaussian in pixels, with noise of five times as many grey levels.
    """
    rng = np.random.default_rng(seed)
    wins: dict[str, list[bool]] = {}
    points: list[tuple[float, float]] = []
    for spec in specs:
        others = variations(spec)
        pictures = [scatter(render(item, int(rng.integers(2**40))), item.relation, rng) for item in (spec, *others)]
        pictures += [paste(pictures[0], picture, rng) for picture in pictures[1:]]
        found = [find_objects(picture) for picture in pictures]
        texts = model.encode_text(tokenizer([caption(item) for item in (spec, *others)]), normalize=True)
        scores = (_image_features(model, pictures, blur, rng) @ texts.T).numpy()
        false = [n for n, other in enumerate(others, 1) if not holds(other, found[0])]
        wins.setdefault(f"text/{spec.category}", []).extend(scores[0, 0] > scores[0, n] for n in false)
        for n in range(1, len(pictures)):
            if not holds(spec, found[n]):
                name = f"image/{spec.category}" if n <= len(others) else "pasted"
                wins.setdefault(name, []).append(scores[0, 0] > scores[n, 0])
        points += [(float(score), share_met(spec, items)) for score, items in zip(scores[:, 0], found, strict=True)]
    for side in ("text", "image"):
        wins[f"{side}/all"] = [win for name, values in wins.items() if name.startswith(side) for win in values]
    result = {name: float(np.mean(values)) for name, values in sorted(wins.items())}
    return {**result, "correlation": float(np.corrcoef(np.asarray(points).T)[0, 1])}


def _image_features(model: Any, pictures: Sequence[np.ndarray], blur: float, rng: np.random.Generator) -> torch.Tensor:
    """Unit features [N, D]."""
    pixels = np.stack(pictures).astype(np.float32)
    if blur:
        pixels = ndimage.gaussian_filter(pixels, (0, blur, blur, 0)) + rng.normal(0, 5 * blur, pixels.shape)
    images = torch.from_numpy(np.clip(pixels, 0, 255)).permute(0, 3, 1, 2).float()
    return model.encode_image((images / 255.0 - MEAN) / STD, normalize=True)


def _with(spec: SceneSpec, index: int, item: SceneObject) -> SceneSpec:
    objects = list(spec.objects)
    objects[index] = item
    return dataclasses.replace(spec, objects=tuple(objects))
