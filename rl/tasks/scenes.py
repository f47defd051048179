"""Draw: captions of compositional scenes, all of them (see rl.scenes).

Held out are about 15% of each category, at least one, chosen by a hash. Captions of one scene (``a square right of a
circle``, ``a circle left of a square``) lie on the same side, so no held-out scene is a training scene in other words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import numpy as np

from rl import scenes
from rl.errors import ConfigError, DataError
from rl.scenes import SceneSpec
from rl.tasks.splits import HELD_OUT_SHARE, content_hash, require_int, too_few
from rl.types import Message, Prompt, Task


def generate(
    split: str, *, size: int | None = None, seed: int = 0, categories: Sequence[str] | None = None
) -> list[Prompt]:
    """One prompt a caption. Categories take turns, so that a prefix of the rows is balanced as far as it can be.

    size         how many; None is all
    seed         of the order within each category
    categories   a subset of rl.scenes.CATEGORIES; None is all
    """
    require_int("scenes", "seed", seed, 0)
    columns = [
        sorted(_captions(category, split), key=lambda spec: content_hash(f"{seed}/{scenes.caption(spec)}"))
        for category in _checked(categories)
    ]
    rows = [_prompt(spec) for spec in chain.from_iterable(zip_longest(*columns)) if spec is not None]
    if size is None:
        return rows
    if require_int("scenes", "size", size, 1) > len(rows):
        raise too_few("scenes", len(rows), size, "ask for fewer, or name more categories")
    return rows[:size]


def scene_image(prompt: Prompt, seed: int, size: int = 48) -> np.ndarray:
    """A picture that answers this prompt: uint8 RGB [size, size, 3]. Other seeds give other pictures."""
    if "scene" not in prompt.metadata:
        raise DataError(f"prompt {prompt.id!r}: its metadata has no scene to draw")
    return scenes.render(SceneSpec.from_json(prompt.metadata["scene"]), seed, size)


def _checked(categories: Sequence[str] | None) -> Sequence[str]:
    if categories is None:
        return scenes.CATEGORIES
    known = ", ".join(scenes.CATEGORIES)
    if isinstance(categories, str) or not categories:
        raise ConfigError(f"data source scenes: categories={categories!r}; allowed: a list of: {known}")
    for name in categories:
        if name not in scenes.CATEGORIES:
            raise ConfigError(f"data source scenes: unknown category {name!r}; allowed: {known}")
    return list(dict.fromkeys(categories))


def _captions(category: str, split: str) -> list[SceneSpec]:
    specs = [spec for spec in scenes.all_specs() if spec.category == category]
    keys = sorted({scenes.caption(scenes.canonical(spec)) for spec in specs}, key=content_hash)
    held_out = set(keys[: max(1, round(HELD_OUT_SHARE * len(keys)))])
    return [spec for spec in specs if (scenes.caption(scenes.canonical(spec)) in held_out) == (split == "val")]


def _prompt(spec: SceneSpec) -> Prompt:
    text = scenes.caption(spec)
    return Prompt(
        id=f"scenes/{text.replace(' ', '-')}",
        task=Task.DRAW,
        messages=(Message("user", text),),
        reference=text,
        source="scenes",
        metadata={"scene": spec.to_json(), "category": spec.category},
    )
