"""A text recipe of the toy policy in a folder of its own, as a user has one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.toys import toy_folder

REWARD = """import os


def reward(prompts, completions, **columns):
    assert os.environ["REWARD_KEY"]
    return [len(set(text)) / 10 for text in completions]
"""


def write_recipe(folder: Path, policy: str | None = None, **settings: object) -> Path:
    """A text recipe over two files and a reward beside it, all named by relative paths."""
    for name, offset in (("train", 1), ("val", 5)):
        rows = [{"id": f"{name}{i}", "prompt": f"{name} {i} + {offset} =", "answer": str(i)} for i in range(4)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "my_reward.py").write_text(REWARD)
    text = {"max_new_tokens": 8, "block_length": 4, "steps": 4}
    mix = {"mix": {"text": {"custom": 1.0}}}
    recipe = {
        "name": "toy",
        "steps": 2,
        "policy": {"path": policy or str(toy_folder())},
        "data": {"train": [{"source": "train.jsonl"}], "val": [{"source": "val.jsonl"}]},
        "rollout": {"batch_size": 2, "n_samples_per_prompt": 2, "text": text},
        "evaluation": {"text": text, **mix},
        "rewards": mix,
        "custom_reward_function": {"path": "my_reward.py"},
        "learner": {"engine": "torch", "threads": 1, "algorithm": {"mu": 1}},
        "cluster": {"rollout_workers": 1},
        "tracking": {"mlflow": False},
        **settings,
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path
