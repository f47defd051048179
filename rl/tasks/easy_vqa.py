"""Understand: the images and questions of the package ``easy-vqa`` 1.0 (V. Zhou, MIT), in its own split.

Each of 5,000 images shows one shape (circle, rectangle, triangle) of one of eight colours; 48,248 questions have 13
answers. The package's test images are the held-out ones here; no image occurs in both.

The worked answer first says what is to be seen. That is deduced from all questions of the same image and their answers,
which settle both shape and colour for 3,578 of the 4,000 training images and 888 of the 1,000 others; elsewhere it says
what is settled (``a red shape``, ``a circle``, ``a shape``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from rl.errors import DataError
from rl.tasks.splits import require_int, too_few
from rl.types import Message, Prompt, Task

COLORS = frozenset(("red", "green", "blue", "gray", "teal", "black", "yellow", "brown"))
SHAPES = frozenset(("circle", "rectangle", "triangle"))


def generate(split: str, *, size: int | None = None, seed: int = 0) -> list[Prompt]:
    """Questions in an order that ``seed`` shuffles; ``size`` of them, or all."""
    require_int("easy_vqa", "seed", seed, 0)
    try:
        import easy_vqa
    except ImportError as error:
        raise DataError("data source easy_vqa: the package is missing; pip install easy-vqa") from error
    train = split == "train"
    questions, answers, images = easy_vqa.get_train_questions() if train else easy_vqa.get_test_questions()
    paths = easy_vqa.get_train_image_paths() if train else easy_vqa.get_test_image_paths()
    total = len(questions)
    count = total if size is None else require_int("easy_vqa", "size", size, 1)
    if count > total:
        raise too_few("easy_vqa", total, count, "ask for fewer")
    facts = defaultdict(list)
    for question, answer, image in zip(questions, answers, images, strict=True):
        facts[image].append((question, answer))
    order = np.random.default_rng(seed).permutation(total)[:count].tolist()
    seen = {image: describe(facts[image]) for image in {images[row] for row in order}}
    return [
        Prompt(
            id=f"easy_vqa/{'train' if train else 'test'}/{row}",
            task=Task.UNDERSTAND,
            messages=(Message("user", questions[row]),),
            image=paths[images[row]],
            reference=answers[row],
            solution=f"<think>{seen[images[row]]}</think>{answers[row]}",
            source="easy_vqa",
            metadata={"image_id": images[row]},
        )
        for row in order
    ]


def describe(facts: Iterable[tuple[str, str]]) -> str:
    """What (question, answer) pairs of one image settle about it, e.g. ``a red circle``."""
    colors, shapes = set(COLORS), set(SHAPES)
    for question, answer in facts:
        words = set(re.findall(r"[a-z]+", question)) | {answer}
        absent = answer in ("yes", "no") and (answer == "yes") == bool(words & {"not", "no"} - {answer})
        for candidates, known in ((colors, COLORS), (shapes, SHAPES)):
            named = words & known
            if named and absent:
                candidates -= named
            elif named:
                candidates &= named
    color = f"{min(colors)} " if len(colors) == 1 else ""
    return f"a {color}{min(shapes) if len(shapes) == 1 else 'shape'}"
