"""Whether a run fits, and what it will take, before anything is paid for.

From the config and the policy's config.json alone: who lives where, the memory of each part against the device, the
step's time by part, and samples an hour. ``cluster.plan.search`` looks for settings that do better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from cluster.plan.layout import Layout, layout
from cluster.plan.memory import RESERVE, Training, learner_memory, on_device, rollout_memory, weight_bytes
from cluster.plan.seconds import (
    Device,
    Efficiency,
    Sampler,
    group_seconds,
    offload_seconds,
    reduce_seconds,
    rounds,
    sync_seconds,
    turn_seconds,
    update_seconds,
)
from cluster.plan.sizes import Adapter, parameters, streams
from policies.network.transformer import TransformerConfig
from rl.config import Config, UniGRPOConfig
from rl.config.device import resolved
from rl.data.presets import preset_of
from rl.estimators import ESTIMATORS, views_of
from rl.estimators.base import Revealed
from rl.estimators.trajectory import within_blocks
from rl.types import MaskDraw, Task


@dataclass(frozen=True, slots=True)
class Model:
    """What is planned for. adapter: what is trained beside it, None where all of it is. images: whether it sees and draws."""

    sizes: TransformerConfig
    adapter: Adapter | None = None
    images: bool = True

    @property
    def trained(self) -> int:
        """Parameters."""
        return parameters(self.sizes) if self.adapter is None else self.adapter.parameters


TASK_OF = {"easy_vqa": Task.UNDERSTAND, "scenes": Task.DRAW}  # what generators make; the others write text


@dataclass(frozen=True, slots=True)
class Assumed:
    """What no config says. prompt_tokens: of a prompt without its image. image_codes: of one image."""

    prompt_tokens: int = 256
    image_codes: int = 1024
    reward_s: float = 0.0
    efficiency: Efficiency = field(default_factory=Efficiency)


@dataclass(frozen=True, slots=True)
class Plan:
    """memory: bytes by part, for each kind of process. device_memory: bytes of one device that they may use.

    seconds: of a step, by part. samples_per_hour: rollouts trained on.
    """

    layout: Layout
    ranks: int
    workers: int
    memory: Mapping[str, Mapping[str, float]]
    device_memory: float
    seconds: Mapping[str, float]
    samples_per_hour: float
    take_turns: bool = False

    @property
    def fits(self) -> bool:
        return self.used <= self.device_memory

    @property
    def used(self) -> float:
        """Of the fullest device: colocated, a rank and its share of the workers are on one, at once or in turn."""
        rank, worker = (on_device(parts) for parts in self.memory.values())
        if self.layout.mode == "colocated":
            workers = worker * rounds(self.workers, self.layout.gpus)
            return max(rank, workers) if self.take_turns else rank + workers
        return max(rank, worker)


def make_plan(config: Config, model: Model, device: Device, assumed: Assumed, gpus: int | None = None) -> Plan:
    """The config as it stands, on ``gpus`` devices (None: as many as it asks for). Raises ConfigError."""
    config = resolved(config, gpu=True)
    config = replace(config, policy=replace(config.policy, device="cuda"))
    sizes, dtype = model.sizes, config.policy.dtype
    kinds = samplers(config, assumed, model.images)
    longest = max(kinds, key=lambda kind: kind.length)
    group = config.rollout.n_samples_per_prompt
    where = layout(config, gpus)
    memory = {
        "learner rank": learner_memory(sizes, training_of(config, model, longest)),
        "rollout worker": rollout_memory(sizes, dtype, group, longest.length, longest.scored, model.adapter),
    }
    seconds = step_seconds(config, model, device, assumed, kinds, where)
    if config.cluster.take_turns:
        seconds["taking turns"] = turn_seconds(memory["learner rank"], weight_bytes(sizes, dtype))
    samples = config.rollout.batch_size * group / sum(seconds.values()) * 3600
    ranks, workers = config.cluster.learner_ranks, config.cluster.rollout_workers
    return Plan(
        where, ranks, workers, memory, device.memory * (1 - RESERVE), seconds, samples, config.cluster.take_turns
    )


def step_seconds(
    config: Config, model: Model, device: Device, assumed: Assumed, kinds: list[Sampler], where: Layout
) -> dict[str, float]:
    """Strictly on-policy: parts follow one another; rewards hide behind sampling but for the last group's."""
    groups, group = config.rollout.batch_size, config.rollout.n_samples_per_prompt
    learner, cluster, dtype, ranks = config.learner, config.cluster, config.policy.dtype, config.cluster.learner_ranks
    share, sizes = assumed.efficiency, model.sizes
    sampled = sum(kind.share * group_seconds(sizes, device, dtype, kind, group) for kind in kinds) / share.sampler
    gen = rounds(groups, cluster.rollout_workers) * sampled
    if where.mode == "colocated":
        gen *= max(1.0, cluster.rollout_workers / where.gpus)  # workers on one device take turns
    one = sum(
        kind.share
        * update_seconds(
            sizes, device, dtype, kind, mu=learner.algorithm.mu, kl=learner.algorithm.kl_coef > 0,
            checkpointing=learner.activation_checkpointing, frozen=model.adapter is not None,
            passes=passes_of(config, kind, sizes.block_length) * streams(sizes),
        )
        for kind in kinds
    )  # fmt: skip
    rollouts = groups * (learner.n_trained_per_prompt or group)
    updates = learner.algorithm.mu * rounds(rollouts, learner.mini_batch_size or rollouts)
    scoring = rounds(groups, cluster.reward_workers) * assumed.reward_s
    offload = learner.offload_optimizer and learner.engine == "deepspeed"
    return {
        "sampling": gen,
        "rewards beyond it": max(assumed.reward_s, scoring - gen) if assumed.reward_s else 0.0,
        "log-probs and updates": rounds(rollouts, ranks) * one / share.learner,
        "gradients between ranks": reduce_seconds(model.trained, device, ranks, updates) / share.wire,
        **({"steps on the host": offload_seconds(model.trained, dtype, ranks, updates)} if offload else {}),
        "weights to workers": sync_seconds(model.trained, device) / share.wire,
    }


def samplers(config: Config, assumed: Assumed, images: bool = True) -> list[Sampler]:
    """One a task of the training data, by weight. A file that does not name its task counts as text. images: False leaves
    out the tasks that need them, unless there is no other."""
    weights: dict[Task, float] = {}
    for source in config.data.train:
        preset = preset_of(source)
        made = TASK_OF.get(source.source) if preset is None else None
        task = made or Task(source.task or (Task.TEXT if preset is None else preset.task))
        weights[task] = weights.get(task, 0.0) + source.weight
    if not images:
        weights = {Task.TEXT: weights.get(Task.TEXT, 1.0)}
    weights = weights or {Task.TEXT: 1.0}
    total = sum(weights.values())
    return [_sampler(config, assumed, task, weight / total) for task, weight in sorted(weights.items())]


def _sampler(config: Config, assumed: Assumed, task: Task, share: float) -> Sampler:
    rollout, prompt, codes = config.rollout, assumed.prompt_tokens, assumed.image_codes
    if task is Task.DRAW:
        draw = rollout.draw
        return Sampler(task, share, prompt + codes, codes, draw.steps * (2 if draw.guidance > 0 else 1), codes)
    if task is Task.THINK_DRAW:
        think, draw = rollout.think_draw.think, rollout.think_draw.draw
        passes = think.steps + draw.steps * (2 if draw.guidance > 0 else 1)
        return Sampler(task, share, prompt + think.max_new_tokens + codes, codes, passes, codes)
    text = rollout.text if task is Task.TEXT else rollout.understand
    seen = codes if task is Task.UNDERSTAND else 0
    return Sampler(task, share, prompt + seen + text.max_new_tokens, text.block_length, text.steps, text.max_new_tokens)


def passes_of(config: Config, kind: Sampler, own_block: int | None = None) -> int:
    """Forward passes of one estimate of a response's likelihood, as the estimator itself makes them. own_block: the length of
    a block-causal policy's blocks."""
    algorithm = config.learner.algorithm
    block = algorithm.spg_block_length.get(kind.task)
    chosen = (algorithm.estimator, algorithm.estimator_samples, algorithm.trajectory_shrink, algorithm.control_variate)
    return _passes(*chosen, block, kind.codes or kind.scored, kind.passes, own_block)


@cache
def _passes(
    estimator: str,
    samples: int | None,
    shrink: int,
    control: float,
    block: int | None,
    length: int,
    steps: int,
    own: int | None,
) -> int:
    """A search asks for the same again and again."""
    algorithm = UniGRPOConfig(
        estimator=estimator, estimator_samples=samples, trajectory_shrink=shrink, control_variate=control
    )
    step_map = (np.arange(length) * min(length, max(1, steps)) // length).astype(np.int32)
    if own is not None and ESTIMATORS[estimator].by_block:
        step_map = within_blocks(step_map, np.arange(length), own)
    alike = Revealed(np.full(length, 0.5, np.float32), np.ones(length, np.float32))
    return len(views_of(estimator, MaskDraw(0, 0.5, block), step_map, algorithm, alike).hidden)


def training_of(config: Config, model: Model, longest: Sampler) -> Training:
    """A rank has no more rollouts than its share of a mini-batch, however large a micro-batch may be."""
    learner, ranks = config.learner, config.cluster.learner_ranks
    rollout = config.rollout
    most = max(rollout.n_samples_per_prompt, *rollout.n_samples_by_task.values(), 1)
    rollouts = rollout.batch_size * min(most, learner.n_trained_per_prompt or most)
    share = rounds(min(rollouts, learner.mini_batch_size or rollouts), ranks)
    return Training(
        dtype=config.policy.dtype,
        zero_stage=learner.zero_stage,
        ranks=ranks,
        micro_batch=min(learner.micro_batch_size_per_gpu, share),
        length=longest.length,
        scored=longest.codes or longest.scored,
        checkpointing=learner.activation_checkpointing,
        reference=learner.algorithm.kl_coef > 0,
        logits_mib=learner.logits_mib,
        optimizer=learner.optimizer,
        adapter=model.adapter,
        offload=learner.offload_optimizer,
        deepspeed=learner.engine == "deepspeed",
        passes=passes_of(config, longest, model.sizes.block_length),
        streams=streams(model.sizes),
    )
