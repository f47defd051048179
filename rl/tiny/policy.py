"""The tiny policy before it has learned anything: ``python -m rl.tiny.policy --out FOLDER --image-tokenizer FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from policies.files.fresh_policy import build, train_tokenizer
from rl.tasks import GENERATORS


def task_texts() -> list[str]:
    """What the tiny policy reads and writes: the training splits' prompts and worked answers."""
    prompts = [prompt for generator in GENERATORS.values() for prompt in generator("train")]
    return [text for prompt in prompts for text in (prompt.messages[-1].content, prompt.solution) if text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--image-tokenizer", type=Path, required=True)
    parser.add_argument("--text-vocab", type=int, default=768)
    parser.add_argument("--d-model", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--mlp", type=int, default=384)
    arguments = parser.parse_args()
    build(
        arguments.out,
        train_tokenizer(task_texts(), arguments.text_vocab),
        arguments.image_tokenizer,
        d_model=arguments.d_model,
        n_layers=arguments.layers,
        n_heads=arguments.heads,
        mlp_hidden_size=arguments.mlp,
    )


if __name__ == "__main__":
    main()
