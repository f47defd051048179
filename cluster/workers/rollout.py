"""The rollout worker: a policy at one weight version, which samples one group at a time.

Nothing here knows Ray: an actor is this class on another machine, and the inline mode is this class in this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cluster.actors.device import on_this_machine
from cluster.learner.offload import Offload
from cluster.weights.adapters import AdapterBase
from cluster.weights.base import Published, WeightWire
from cluster.weights.digest import Weights, matching
from cluster.weights.object_store import load
from policies import load_policy
from policies.generate import rollout_group
from policies.network.compiled import compile_layers
from policies.network.prepacked_weights import packed
from rl.config import Config, EvaluationConfig, RolloutConfig
from rl.errors import WorkerError
from rl.hints.given import given_for
from rl.seeds import derive_seed
from rl.threads import torch_threads
from rl.types import Prompt, Rollout, Sampling, Task, TextSampling, WeightRef


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


def group_size(part: RolloutConfig | EvaluationConfig, prompt: Prompt) -> int:
    """How many rollouts a prompt of this task has."""
    by_task = part.n_samples_by_task if isinstance(part, RolloutConfig) else {}
    return by_task.get(prompt.task, part.n_samples_per_prompt)


class _Whole:
    """A ``Destination`` of all weights: the policy's own tensors."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self._module = name, module

    def targets(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        return matching(self._module.state_dict(), shapes)


class _Adapter:
    """A ``Destination`` of an adapter: tensors on the host, which are merged when all of them are there."""

    def __init__(self, name: str) -> None:
        self.name, self.tensors = name, dict[str, Tensor]()

    def targets(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        self.tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
        return self.tensors


class RolloutWorker:
    """Has no weights to serve until ``load_weights``, and then serves that version and no other (law 8)."""

    def __init__(self, config: Config, name: str = "rollout worker") -> None:
        self.config = config = on_this_machine(config)
        self.name = name
        self.policy = load_policy(config.policy.path, device=config.policy.device, dtype=config.policy.dtype)
        if config.policy.compile:
            compile_layers(self.policy.module)
        self.weights: WeightRef | None = None
        self._packed = ExitStack()
        self._memory = Offload(config.policy.device)
        self._base: AdapterBase | None = None
        self._pristine = True  # the weights are those of policy.path
        if config.cluster.take_turns:
            self.offload()

    def _adapter_base(self) -> AdapterBase:
        if self._base is None:
            if not self._pristine:
                again = load_policy(self.config.policy.path, dtype=self.config.policy.dtype)
                self.policy.module.load_state_dict(again.module.state_dict())
            self._base, self._pristine = AdapterBase(self.policy.module), False
        return self._base

    def load_weights(self, ref: WeightRef, weights: Weights) -> None:
        """All of them, from this process's memory. Raises WorkerError where the digest does not match; the worker then
        serves nothing."""
        with self._replacing(ref):
            load(self._whole(), ref, weights)

    def receive_weights(self, wire: WeightWire, published: Published, body: Any) -> None:
        """``load_weights`` over a wire: all of them, or an adapter beside the base that this worker loaded itself."""
        ref, base = published.ref, published.base
        with self._replacing(ref):
            if base is None:
                wire.receive(self._whole(), ref, body)
                return
            own = self._adapter_base()
            own.check(ref, base)
            adapter = _Adapter(self.name)
            wire.receive(adapter, ref, body)
            own.merge(adapter.tensors)

    def _whole(self) -> _Whole:
        self._base, self._pristine = None, False
        return _Whole(self.name, self.policy.module)

    def offload(self) -> int:
        """Give the device's memory back until the next weights come; the bytes. Of the weights only an adapter's base is
        kept, on the host. Packed copies of them are dropped."""
        self.weights = None
        self._packed.close()
        lora = self.config.learner.lora.on
        refilled = [] if lora else self.policy.module.state_dict().values()
        self._pristine = self._pristine and lora
        return self._memory.offload(self._tensors(), refilled)

    def _tensors(self) -> Iterator[Tensor]:
        """What this worker keeps between two groups."""
        yield from self.policy.tensors()
        if self._base is not None:
            yield from self._base.tensors()

    @contextmanager
    def _replacing(self, ref: WeightRef) -> Iterator[None]:
        """New weights are written in this block: none are served where that fails."""
        self.weights = None
        self._packed.close()
        self._memory.restore()
        yield
        with torch.no_grad():  # once for all groups of this version: the sampler finds them packed
            self._packed.enter_context(packed(self.policy.module))
        self.weights = ref

    def rollout(self, prompt: Prompt, weights: WeightRef, seed: int, evaluate: bool = False) -> tuple[Rollout, ...]:
        """One group, as one batch. Raises WorkerError where the weights asked for are not the ones loaded."""
        if self.weights != weights:
            has = "no weights" if self.weights is None else f"weights {self.weights.version}"
            raise WorkerError(f"{self.name}: has {has}, was asked for prompt {prompt.id} at weights {weights.version}")
        if prompt.hinted:
            return self._hinted(prompt, weights, seed)
        part = self.config.evaluation if evaluate else self.config.rollout
        seeds = group_seeds(seed, prompt, group_size(part, prompt))
        with torch_threads(self.config.rollout.threads):
            return rollout_group(self.policy, prompt, sampling_for(part, prompt), seeds, weights.version)

    def _hinted(self, prompt: Prompt, weights: WeightRef, seed: int) -> tuple[Rollout, ...]:
        """Each has a hint of its own, so each is a batch of its own."""
        settings, sampling = self.config.rollout.hints, sampling_for(self.config.rollout, prompt)
        assert isinstance(sampling, TextSampling)
        encode, eos = self.policy.tokenizer.encode, self.policy.vocabulary.eos_id
        found: list[Rollout] = []
        with torch_threads(self.config.rollout.threads):
            for index, own in enumerate(group_seeds(seed, prompt, prompt.hinted)):
                noise = derive_seed(own, "hint")
                given = given_for(prompt, encode, eos, sampling.max_new_tokens, settings, noise)
                (rollout,) = rollout_group(self.policy, prompt, sampling, [own], weights.version, given)
                found.append(replace(rollout, index=index))
        return tuple(found)
