"""The learner of one rank: a policy, its reference, an engine, and ``rl.learner.update.UniGRPOLearner`` over them.

``cluster.learner.rank_actor`` is this in an actor; the inline mode is this in the driver's process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from cluster.actors.device import on_this_machine
from policies import load_policy, lora
from policies.base import Policy
from policies.policy import MaskedDiffusionPolicy
from rl.config import Config
from rl.config.lora import LoraConfig
from rl.learner.engine import Engine, TorchEngine
from rl.learner.reference import make_reference
from rl.learner.update import UniGRPOLearner
from rl.objectives import OBJECTIVES
from rl.sft.supervised import SupervisedRows
from rl.types import StepReport, TrainBatch

if TYPE_CHECKING:
    from cluster.learner.deepspeed_engine import Store


def make_learner(config: Config, rank: int = 0, world_size: int = 1, store: Store | None = None) -> UniGRPOLearner:
    """This rank's learner. With more than one rank it is a collective, and ``store`` is where the ranks meet."""
    config = on_this_machine(config)
    policy = load_policy(config.policy.path, device=config.policy.device, dtype=config.policy.dtype)
    learner = config.learner
    adapt(policy, learner.lora, config.seed)
    reference = make_reference(policy, learner.reference_sync_freq) if learner.algorithm.kl_coef > 0 else None
    supervised = SupervisedRows(policy, config) if learner.sft_rows else None
    return UniGRPOLearner(policy, _make_engine(config, policy, rank, world_size, store), learner, reference, supervised)


def adapt(policy: MaskedDiffusionPolicy, settings: LoraConfig, seed: int) -> None:
    """Put the adapter that the config asks for beside the policy's weights. Raises PolicyError."""
    if settings.path is not None:
        lora.load_adapter(policy, Path(settings.path))
    elif settings.rank:
        lora.attach(policy, settings.rank, settings.alpha, settings.target, seed)


def optimizer_steps(config: Config) -> int:
    """Of the whole run, if no group is dropped: what the learning-rate schedule spans."""
    pairs = OBJECTIVES[config.learner.algorithm.objective].pairs  # of each group only two are learned from
    rollouts = config.rollout.batch_size * (2 if pairs else config.rollout.n_samples_per_prompt)
    mini_batches = math.ceil(rollouts / (config.learner.mini_batch_size or rollouts))
    return config.steps * config.learner.algorithm.mu * mini_batches


def tensors(learner: UniGRPOLearner) -> Iterator[Tensor]:
    """Everything that a rank keeps between two steps, on any device. Some come more than once, as views."""
    yield from learner.engine.tensors()
    yield from learner.policy.tensors()
    if learner.reference is not None:
        yield from learner.reference.policy.tensors()
    if learner.past is not None:
        yield from learner.past.tensors()


class FrozenLearner:
    """Implements ``rl.protocols.Learner`` where nothing is trained: it hands out the weights of ``policy.path``, with the
    adapter of ``learner.lora.path`` added in."""

    def __init__(self, config: Config) -> None:
        self._policy = load_policy(config.policy.path, dtype=on_this_machine(config).policy.dtype)
        if config.learner.lora.path is not None:
            lora.load_adapter(self._policy, Path(config.learner.lora.path))

    def update(self, batch: TrainBatch) -> StepReport:
        return StepReport({}, updated=False)

    def weights(self) -> Mapping[str, np.ndarray]:
        state = lora.merged_state(self._policy.module)
        return {name: value.detach().float().numpy() for name, value in state.items()}

    def save(self, folder: Path) -> None:
        self._policy.save(folder / "policy")

    def load(self, folder: Path) -> None:
        self._policy = load_policy(folder / "policy")

    def close(self) -> None:
        """Nothing to give back."""


def _make_engine(config: Config, policy: Policy, rank: int, world_size: int, store: Store | None) -> Engine:
    total = optimizer_steps(config)
    if config.learner.engine == "torch":
        return TorchEngine(policy.module, config.learner, total)
    from cluster.learner.deepspeed_engine import DeepSpeedEngine, start_distributed

    start_distributed(rank, world_size, store, config.policy.device, config.cluster.learner_deadline_s)
    log = config.run_dir / "logs" / f"learner-{rank}.log"
    learner = config.learner
    return DeepSpeedEngine(
        policy.module, learner, total, zero_stage=learner.zero_stage, offload=learner.offload_optimizer, log=log
    )
