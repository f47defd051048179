"""A whole run of the loop over a real toy policy, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from policies.generate import rollout_group
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import (
    Config,
    EvaluationConfig,
    LearnerConfig,
    RolloutConfig,
    SourceConfig,
    TrackingConfig,
    UniGRPOConfig,
)
from rl.data.stream import PromptStream
from rl.learner.engine import TorchEngine
from rl.learner.update import UniGRPOLearner
from rl.loop import Parts, TrainResult, train
from rl.protocols import Learner
from rl.seeds import derive_seed
from rl.stop import Stop
from rl.types import (
    Group,
    ImageSampling,
    Prompt,
    Rollout,
    Score,
    Task,
    TextSampling,
    WeightRef,
)
from tests.rl.examples import Recorder
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt

TEXT, DRAW = TextSampling(8, 4, 4), ImageSampling(steps=2, guidance=0.0)


VAL = [toy_text_prompt(100), toy_draw_prompt(100)]


def by_content(rollout: Rollout) -> Score:
    """Something that a random policy's rollouts differ in."""
    value = float(len(set(rollout.token_ids.tolist())))
    return Score(value, parts={"variety": value})


class ToyWorkers:
    """One process, one policy, and a scoring function that a test may let fail."""

    def __init__(self, score: Callable[[Rollout], Score] = by_content) -> None:
        self.policy = toy_policy()
        self.score = score
        self.seeds: list[tuple[int, bool]] = []
        self.versions: list[int] = []

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        import torch

        weights = learner.weights()
        self.policy.module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        self.versions.append(version)
        return WeightRef(version, str(hash(tuple(value.tobytes() for value in weights.values()))))

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        self.seeds.append((seed, evaluate))
        return [self._group(prompt, weights.version, seed, 1 if evaluate else 4) for prompt in prompts]

    def timings(self) -> Mapping[str, float]:
        return {"timing_s/gen": 0.1, "timing_s/reward": 0.2, "perf/exposed_reward_s": 0.05}

    def close(self) -> None: ...

    def _group(self, prompt: Prompt, version: int, seed: int, size: int) -> Group:
        sampling = DRAW if prompt.task is Task.DRAW else TEXT
        seeds = [derive_seed(seed, prompt.id, index) for index in range(size)]
        rollouts = rollout_group(self.policy, prompt, sampling, seeds, version)
        return Group(prompt, rollouts, tuple(map(self.score, rollouts)))


def config(folder: Path, **settings) -> Config:
    learner = LearnerConfig(
        algorithm=UniGRPOConfig(mu=2),
        engine="torch",
        lr=1e-2,
        lr_schedule="cosine",
        micro_batch_size_per_gpu=8,
        threads=1,
    )
    return Config(
        **{
            "name": "run",
            "output_dir": str(folder),
            "steps": 3,
            "rollout": RolloutConfig(batch_size=2, n_samples_per_prompt=4),
            "evaluation": EvaluationConfig(),
            "learner": learner,
            "tracking": TrackingConfig(mlflow=False, samples_freq=2),
            **settings,
        }
    )


def run(cfg: Config, workers: ToyWorkers | None = None, total: int = 4) -> tuple[TrainResult, Recorder]:
    """total: steps that the learning-rate schedule spans."""
    recorder = Recorder()
    result = start(cfg, workers or ToyWorkers(), recorder, total)
    return result, recorder


def start(
    cfg: Config,
    workers: ToyWorkers,
    recorder: Recorder,
    total: int = 4,
    stop: Stop | None = None,
    now: Callable[[], float] = time.monotonic,
) -> TrainResult:
    policy = toy_policy()
    learner = UniGRPOLearner(policy, TorchEngine(policy.module, cfg.learner, total * 2), cfg.learner)
    rows = [[toy_text_prompt(i) for i in range(5)], [toy_draw_prompt(i) for i in range(5)]]
    stream = PromptStream([SourceConfig("texts"), SourceConfig("drawings")], cfg.seed, rows)
    return train(Parts(cfg, stream, VAL, workers, learner, recorder, FolderCheckpoints(cfg)), stop, now)
