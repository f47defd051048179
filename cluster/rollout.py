"""The rollout worker: a policy at one weight version, which samples one group at a time.

Nothing here knows Ray: an actor is this class on another machine, and the inline mode is this class in this process.
"""

from __future__ import annotations

from cluster.transfer import Transfer, receive_all
from cluster.weights import Weights, copy_into, verify
from policies import load_policy
from policies.generate import rollout_group
from rl.config import Config, EvaluationConfig, RolloutConfig
from rl.errors import WorkerError
from rl.seeds import derive_seed
from rl.threads import torch_threads
from rl.types import Prompt, Rollout, Sampling, Task, WeightRef


def sampling_for(part: RolloutConfig | EvaluationConfig, prompt: Prompt) -> Sampling:
    """How a prompt of this task is sampled."""
    by_task: dict[Task, Sampling] = {
        Task.TEXT: part.text,
        Task.UNDERSTAND: part.understand,
        Task.DRAW: part.draw,
        Task.THINK_DRAW: part.think_draw,
    }
    return by_task[prompt.task]


def group_seeds(seed: int, prompt: Prompt, size: int) -> list[int]:
    """A rollout's noise depends on (seed, prompt, index) alone: not on which worker samples it, or when."""
    return [derive_seed(seed, prompt.id, index) for index in range(size)]


class RolloutWorker:
    """Has no weights to serve until ``load_weights``, and then serves that version and no other (law 8)."""

    def __init__(self, config: Config, name: str = "rollout worker") -> None:
        self.config, self.name = config, name
        self.policy = load_policy(config.policy.path, device=config.policy.device, dtype=config.policy.dtype)
        self.weights: WeightRef | None = None

    def load_weights(self, ref: WeightRef, weights: Weights) -> None:
        """Raises WorkerError where the digest does not match; the worker then serves nothing."""
        self.weights = None
        verify(ref, weights)
        copy_into(self.policy.module, weights)
        self.weights = ref

    def receive_weights(self, ref: WeightRef, transfer: Transfer, rank: int) -> None:
        """``load_weights`` from the learner itself, bucket by bucket, into the policy's own memory."""
        self.weights = None
        receive_all(transfer, rank, self.policy.module, ref)
        self.weights = ref

    def rollout(self, prompt: Prompt, weights: WeightRef, seed: int, evaluate: bool = False) -> tuple[Rollout, ...]:
        """One group, as one batch. Raises WorkerError where the weights asked for are not the ones loaded."""
        if self.weights != weights:
            has = "no weights" if self.weights is None else f"weights {self.weights.version}"
            raise WorkerError(f"{self.name}: has {has}, was asked for prompt {prompt.id} at weights {weights.version}")
        part = self.config.evaluation if evaluate else self.config.rollout
        seeds = group_seeds(seed, prompt, part.n_samples_per_prompt)
        with torch_threads(self.config.rollout.threads):
            return rollout_group(self.policy, prompt, sampling_for(part, prompt), seeds, weights.version)
