"""HPSv2's benchmark (github.com/tgxs002/HPSv2, arXiv 2306.09341): a folder a style, pictures by their number in it.

``anime/00000.jpg``: the first sample of each prompt. The scorer pairs a number with the prompt at that place in the style's own
list, so rows must be whole and in the list's order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rl.errors import DataError
from rl.types import Prompt

STYLES = ("anime", "concept-art", "paintings", "photo")
QUALITY = 95


class Hpsv2:
    def __init__(self, folder: Path, prompts: Sequence[Prompt], /) -> None:
        self._folder, counts = folder, Counter[str]()
        self._places: list[tuple[str, int]] = []
        for prompt in prompts:
            style = _style(prompt)
            self._places.append((style, counts[style]))
            counts[style] += 1

    def write(self, number: int, prompt: Prompt, pictures: Sequence[np.ndarray]) -> None:
        style, place = self._places[number]
        (self._folder / style).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.ascontiguousarray(pictures[0]))
        picture.save(self._folder / style / f"{place:05d}.jpg", quality=QUALITY)

    def scorer(self) -> str:
        return f"hpsv2.evaluate({str(self._folder)!r}) scores it (github.com/tgxs002/HPSv2)"


def _style(prompt: Prompt) -> str:
    """Of the row's column style, or of its source's name. Raises DataError."""
    named = prompt.metadata.get("style"), prompt.source
    style = next((each for each in named if each in STYLES), None)
    if style is None:
        raise DataError(
            f"evaluation.layout=hpsv2: prompt {prompt.id!r:.80}: no style; allowed: {', '.join(STYLES)}, in a column style or "
            "as args.name of its source"
        )
    return style
