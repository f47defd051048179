"""T2I-CompBench (github.com/Karine-Huang/T2I-CompBench, arXiv 2307.06350): all samples in one folder, named by prompt.

``samples/PROMPT_000000.png``; the number goes on over all prompts. The scorers take what stands before the first ``_`` for the
prompt, and sort by the number. The published scores are of ten samples a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl.errors import DataError
from rl.layouts.base import caption, require_name, save
from rl.types import Prompt


class T2ICompBench:
    def __init__(self, folder: Path, prompts: Sequence[Prompt], /) -> None:
        self._folder, self._written = folder, 0
        for prompt in prompts:
            require_name("t2i-compbench", prompt, _name(prompt, 0))
            if "_" in caption(prompt):
                raise DataError(
                    f"evaluation.layout=t2i-compbench: prompt {prompt.id!r:.80} has a _ in it, where the scorers end a prompt; "
                    "leave the row out"
                )

    def write(self, number: int, prompt: Prompt, pictures: Sequence[np.ndarray]) -> None:
        for picture in pictures:
            save(picture, self._folder / "samples" / _name(prompt, self._written))
            self._written += 1

    def scorer(self) -> str:
        return (
            f"T2I-CompBench's scorers, e.g. BLIPvqa_eval/BLIP_vqa.py --out_dir={self._folder}, score it "
            "(github.com/Karine-Huang/T2I-CompBench)"
        )


def _name(prompt: Prompt, number: int) -> str:
    return f"{caption(prompt)}_{number:06d}.png"
