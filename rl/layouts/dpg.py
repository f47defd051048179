"""DPG-Bench (github.com/TencentQQGYLab/ELLA, arXiv 2403.05135): one picture a prompt, its samples tiled two in a row.

``ID.png``, where ID is the name of the prompt's file without ``.txt``. The published scores are of four samples a prompt; the
scorer wants ``--resolution`` (one sample's side) and ``--pic-num`` (samples a prompt).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl.errors import DataError
from rl.layouts.base import require_name, save, tiled
from rl.types import Prompt

MOST = 4


class Dpg:
    def __init__(self, folder: Path, prompts: Sequence[Prompt], /) -> None:
        self._folder, self._side, self._samples = folder, 0, 0
        for prompt in prompts:
            require_name("dpg", prompt, f"{prompt.id}.png")
            if "." in prompt.id:
                raise DataError(
                    f"evaluation.layout=dpg: prompt id {prompt.id!r:.80}: the scorer reads a name up to its first dot; give the "
                    "rows a column id with the names of the benchmark's prompt files, without .txt"
                )

    def write(self, number: int, prompt: Prompt, pictures: Sequence[np.ndarray]) -> None:
        if len(pictures) > MOST:
            raise DataError(f"evaluation.layout=dpg: {len(pictures)} samples a prompt; allowed: 1 to {MOST}")
        self._side, self._samples = pictures[0].shape[0], len(pictures)
        save(tiled(pictures, min(2, len(pictures))), self._folder / f"{prompt.id}.png")

    def scorer(self) -> str:
        options = f"--image-root-path {self._folder} --resolution {self._side} --pic-num {self._samples}"
        return f"DPG-Bench's dpg_bench/compute_dpg_bench.py {options} scores it (github.com/TencentQQGYLab/ELLA)"
