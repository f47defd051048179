"""GenEval (github.com/djghosh13/geneval, arXiv 2310.11513): a folder a prompt, with its line of the benchmark.

``00000/metadata.jsonl``, ``00000/grid.png``, ``00000/samples/0000.png``. The published scores are of four samples a prompt.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl.errors import DataError
from rl.layouts.base import caption, save, tiled
from rl.types import Prompt

COLUMNS = ("tag", "include", "exclude")  # of evaluation_metadata.jsonl, beside prompt


class GenEval:
    def __init__(self, folder: Path, prompts: Sequence[Prompt], /) -> None:
        self._folder = folder
        for prompt in prompts:
            if not {"tag", "include"} <= prompt.metadata.keys():
                raise DataError(
                    f"evaluation.layout=geneval: prompt {prompt.id!r:.80} has no columns tag and include; take the rows of "
                    "GenEval's evaluation_metadata.jsonl"
                )

    def write(self, number: int, prompt: Prompt, pictures: Sequence[np.ndarray]) -> None:
        folder = self._folder / f"{number:05d}"
        for place, picture in enumerate(pictures):
            save(picture, folder / "samples" / f"{place:04d}.png")
        save(tiled(pictures, math.ceil(math.sqrt(len(pictures)))), folder / "grid.png")
        line = {name: prompt.metadata[name] for name in COLUMNS if name in prompt.metadata}
        (folder / "metadata.jsonl").write_text(json.dumps({**line, "prompt": caption(prompt)}) + "\n", "utf-8")

    def scorer(self) -> str:
        return f"GenEval's evaluation/evaluate_images.py {self._folder} scores it (github.com/djghosh13/geneval)"
