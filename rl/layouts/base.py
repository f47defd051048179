"""What a layout is: it writes each prompt's drawings where a scorer looks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from rl.errors import DataError
from rl.types import Prompt, Task

LONGEST_NAME = 255  # bytes of a file's name on Linux
DRAWN = (Task.DRAW, Task.THINK_DRAW)


class Layout(Protocol):
    """Made for a folder, which it does not touch yet, and all prompts that draw, in their order. Raises DataError where a
    prompt has no place in the layout."""

    def __init__(self, folder: Path, prompts: Sequence[Prompt], /) -> None: ...

    def write(self, number: int, prompt: Prompt, pictures: Sequence[np.ndarray]) -> None:
        """number: of the prompt among all that draw, from 0. pictures: its samples, uint8 [H, W, 3]."""
        ...

    def scorer(self) -> str:
        """One line: what scores the folder, and where that is."""
        ...


def save(picture: np.ndarray, path: Path) -> None:
    """Writes a picture [H, W, 3] uint8 in the format of the file's suffix, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(picture)).save(path)


def tiled(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size side by side, row by row; black where the last row has none. uint8 [rows * H, columns * W, 3]."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + height, left : left + width] = picture
    return sheet


def caption(prompt: Prompt) -> str:
    """The text of the last message: what is to be drawn."""
    return prompt.messages[-1].content


def require_name(layout: str, prompt: Prompt, name: str) -> None:
    """That a file can be called so. Raises DataError."""
    if "/" in name or "\0" in name or name.startswith(".") or len(name.encode()) > LONGEST_NAME:
        raise DataError(
            f"evaluation.layout={layout}: prompt {prompt.id!r:.80}: {name!r:.80} cannot be a file's name (no /, no dot in "
            f"front, at most {LONGEST_NAME} bytes); leave the row out"
        )
