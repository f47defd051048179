"""Small whole runs of the toy policy, in this process or over Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, SourceConfig, build_config
from rl.data.stream import PromptStream
from rl.loop import Parts, TrainResult, train
from rl.protocols import Learner, Workers
from rl.types import Group
from tests.rl.examples import Recorder
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_understand_prompt

VARIETY = Path(__file__).parent / "variety.py"
MAKERS = (toy_text_prompt, toy_understand_prompt, toy_draw_prompt)
PROMPTS = [make(index) for index in range(2) for make in MAKERS]
HELD_OUT = [make(100) for make in MAKERS]


def make_config(folder: Path, *overrides: str) -> Config:
    """Three tasks, groups of 4, 2 inner updates, a learning rate that moves the weights visibly."""
    policy = folder / "policy"
    if not policy.is_dir():
        toy_policy(scale=0.3).save(policy)
    text = {"max_new_tokens": 8, "block_length": 4, "steps": 4}
    greedy = {**text, "temperature": 0.0}
    mix = {task: {"custom": 1.0} for task in ("text", "understand", "draw")}
    settings = {
        "output_dir": str(folder),
        "steps": 2,
        "policy": {"path": str(policy)},
        "rollout": {
            "batch_size": 3,
            "n_samples_per_prompt": 4,
            "text": text,
            "understand": text,
            "draw": {"steps": 2},
        },
        "rewards": {"mix": mix},
        "evaluation": {"text": greedy, "understand": greedy, "draw": {"steps": 2}, "mix": mix},
        "custom_reward_function": {"path": str(VARIETY)},
        "learner": {"lr": 1e-3, "micro_batch_size_per_gpu": 4, "algorithm": {"mu": 2}, "threads": 1},
        "cluster": {"mode": "inline", "rollout_workers": 1},
        "tracking": {"mlflow": False},
    }
    return build_config([("test", settings)], list(overrides))


def run(config: Config, workers: Workers, learner: Learner) -> tuple[TrainResult, Recorder]:
    recorder = Recorder()
    rows = [[make(index) for index in range(4)] for make in MAKERS]
    stream = PromptStream([SourceConfig(make.__name__) for make in MAKERS], config.seed, rows)
    result = train(Parts(config, stream, HELD_OUT, workers, learner, recorder, FolderCheckpoints(config)))
    return result, recorder


def same(left: Sequence[Group], right: Sequence[Group]) -> bool:
    """Bit for bit: tokens, when each was revealed, seeds, texts, pixels and scores."""
    return [_content(group) for group in left] == [_content(group) for group in right]


def _content(group: Group) -> list:
    return [group.prompt.id] + [
        (
            rollout.token_ids.tobytes(),
            rollout.response_mask.tobytes(),
            rollout.step_map.tobytes(),
            rollout.seed,
            rollout.text,
            None if rollout.image is None else rollout.image.tobytes(),
            score.value,
            score.status,
        )
        for rollout, score in zip(group.rollouts, group.scores, strict=True)
    ]
