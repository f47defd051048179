"""A policy small enough for any test: real code throughout, random weights."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from policies.files.checkpoints import load_policy
from policies.files.fresh_policy import build, train_tokenizer
from policies.images.lfq import LFQConfig, LFQTokenizer
from policies.policy import MaskedDiffusionPolicy
from rl.scenes import SceneObject, SceneSpec
from rl.types import Message, Prompt, Task

TEXTS = ["a red circle", "<think>3+4=7</think>7", "what is the colour? blue square", "sudoku 0123"]


def build_toy(folder: Path, seed: int = 0) -> Path:
    """16-code images of 32 x 32 pixels, 6-bit codes; 2 layers of width 32."""
    torch.manual_seed(seed)
    LFQTokenizer(LFQConfig(image_size=32, bits=6, width=16)).save(folder / "images")
    build(
        folder / "toy",
        train_tokenizer(TEXTS, 300),
        folder / "images",
        seed=seed,
        max_length=128,
        d_model=32,
        n_layers=2,
        n_heads=2,
        mlp_hidden_size=64,
    )
    return folder / "toy"


@cache
def toy_folder(seed: int = 0) -> Path:
    return build_toy(Path(tempfile.mkdtemp(prefix="unigrpo-toy-")), seed)


def toy_policy(seed: int = 0, scale: float = 1.0) -> MaskedDiffusionPolicy:
    """``scale`` flattens (below 1) or sharpens the distributions of the random weights."""
    policy = load_policy(toy_folder(seed))
    with torch.no_grad():
        for parameter in policy.module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return policy


def toy_text_prompt(index: int = 0) -> Prompt:
    content = f"{index} + {index % 3} ="
    return Prompt(f"toy/text/{index}", Task.TEXT, (Message("user", content),), reference=str(index + index % 3))


def toy_understand_prompt(index: int = 0) -> Prompt:
    pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Prompt(
        f"toy/understand/{index}", Task.UNDERSTAND, (Message("user", "what is it?"),), image=pixels, reference="blue"
    )


def toy_draw_prompt(index: int = 0) -> Prompt:
    scene = SceneSpec("colors", (SceneObject("circle", "red"),)).to_json()
    return Prompt(
        f"toy/draw/{index}",
        Task.DRAW,
        (Message("user", f"a red circle {index}"),),
        reference="a red circle",
        metadata={"scene": scene},
    )


def toy_think_draw_prompt(index: int = 0) -> Prompt:
    return replace(toy_draw_prompt(index), id=f"toy/think_draw/{index}", task=Task.THINK_DRAW)
