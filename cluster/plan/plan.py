"""``unigrpo plan``: whether a run fits, and what it will take, before anything is paid for.

From the config and the policy's config.json alone: who lives where, the memory of each part against the device, the
step's time by part, and samples an hour; where it does not fit, the settings with which it does, tried one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from cluster.plan.layout import Layout, layout
from cluster.plan.memory import RESERVE, Training, learner_memory, rollout_memory, weight_bytes
from cluster.plan.seconds import (
    Device,
    Efficiency,
    Sampler,
    group_seconds,
    reduce_seconds,
    rounds,
    sync_seconds,
    turn_seconds,
    update_seconds,
)
from policies.network.transformer import TransformerConfig
from rl.config import Config
from rl.types import Task

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
        rank, worker = (sum(parts.values()) for parts in self.memory.values())
        if self.layout.mode == "colocated":
            workers = worker * rounds(self.workers, self.layout.gpus)
            return max(rank, workers) if self.take_turns else rank + workers
        return max(rank, worker)


def make_plan(
    config: Config, sizes: TransformerConfig, device: Device, assumed: Assumed, gpus: int | None = None
) -> Plan:
    """The config as it stands, on ``gpus`` devices (None: as many as it asks for). Raises ConfigError."""
    config = replace(config, policy=replace(config.policy, device="cuda"))
    kinds = samplers(config, assumed)
    longest = max(kinds, key=lambda kind: kind.length)
    group = config.rollout.n_samples_per_prompt
    where = layout(config, gpus)
    memory = {
        "learner rank": learner_memory(sizes, training_of(config, longest)),
        "rollout worker": rollout_memory(sizes, config.policy.dtype, group, longest.length, longest.scored),
    }
    seconds = step_seconds(config, sizes, device, assumed, kinds, where)
    if config.cluster.take_turns:
        seconds["taking turns"] = turn_seconds(memory["learner rank"], weight_bytes(sizes, config.policy.dtype))
    samples = config.rollout.batch_size * group / sum(seconds.values()) * 3600
    ranks, workers = config.cluster.learner_ranks, config.cluster.rollout_workers
    return Plan(
        where, ranks, workers, memory, device.memory * (1 - RESERVE), seconds, samples, config.cluster.take_turns
    )


def step_seconds(
    config: Config, sizes: TransformerConfig, device: Device, assumed: Assumed, kinds: list[Sampler], where: Layout
) -> dict[str, float]:
    """Strictly on-policy: parts follow one another; rewards hide behind sampling but for the last group's."""
    groups, group = config.rollout.batch_size, config.rollout.n_samples_per_prompt
    learner, cluster, dtype = config.learner, config.cluster, config.policy.dtype
    share = assumed.efficiency
    sampled = sum(kind.share * group_seconds(sizes, device, dtype, kind, group) for kind in kinds) / share.sampler
    gen = rounds(groups, cluster.rollout_workers) * sampled
    if where.mode == "colocated":
        gen *= max(1.0, cluster.rollout_workers / where.gpus)  # workers on one device take turns
    one = sum(
        kind.share
        * update_seconds(
            sizes, device, dtype, kind, mu=learner.algorithm.mu, kl=learner.algorithm.kl_coef > 0,
            checkpointing=learner.activation_checkpointing,
        )
        for kind in kinds
    )  # fmt: skip
    rollouts = groups * group
    updates = learner.algorithm.mu * rounds(rollouts, learner.mini_batch_size or rollouts)
    scoring = rounds(groups, cluster.reward_workers) * assumed.reward_s
    return {
        "sampling": gen,
        "rewards beyond it": max(assumed.reward_s, scoring - gen) if assumed.reward_s else 0.0,
        "log-probs and updates": rounds(rollouts, cluster.learner_ranks) * one / share.learner,
        "gradients between ranks": reduce_seconds(sizes, device, cluster.learner_ranks, updates) / share.wire,
        "weights to workers": sync_seconds(sizes, device) / share.wire,
    }


def samplers(config: Config, assumed: Assumed) -> list[Sampler]:
    """One a task of the training data, by weight. A file that does not name its task counts as text."""
    weights: dict[Task, float] = {}
    for source in config.data.train:
        task = TASK_OF.get(source.source) or Task(source.task or Task.TEXT)
        weights[task] = weights.get(task, 0.0) + source.weight
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


def training_of(config: Config, longest: Sampler) -> Training:
    learner = config.learner
    return Training(
        dtype=config.policy.dtype,
        zero_stage=learner.zero_stage,
        ranks=config.cluster.learner_ranks,
        micro_batch=learner.micro_batch_size_per_gpu,
        length=longest.length,
        scored=longest.codes or longest.scored,
        checkpointing=learner.activation_checkpointing,
        reference=learner.algorithm.kl_coef > 0,
        logits_mib=learner.logits_mib,
        optimizer=learner.optimizer,
    )


def divide(config: Config, sizes: TransformerConfig, device: Device, assumed: Assumed, gpus: int) -> Config:
    """The config with ranks and workers for so many devices: of the divisions that fit, the fastest; else the fastest.

    Ranks are powers of two, which every batch divides by; the rest sample. One GPU is shared.
    """
    rollouts = config.rollout.batch_size * config.rollout.n_samples_per_prompt
    best: tuple[bool, float, int] | None = None
    for ranks in (2**power for power in range(gpus.bit_length())):
        if ranks > rollouts or (ranks >= gpus > 1):
            continue
        plan = make_plan(_divided(config, ranks, gpus), sizes, device, assumed, gpus)
        rank = (plan.fits, plan.samples_per_hour, ranks)
        best = rank if best is None or rank > best else best
    return _divided(config, best[2] if best else 1, gpus)


def _divided(config: Config, ranks: int, gpus: int) -> Config:
    workers = max(1, gpus - ranks)
    return replace(config, cluster=replace(config.cluster, learner_ranks=ranks, rollout_workers=workers))


def remedies(
    config: Config, sizes: TransformerConfig, device: Device, assumed: Assumed, gpus: int | None
) -> tuple[list[str], Plan]:
    """Settings that make the run fit, each kept only where it helps, until it does; and the plan with all of them."""
    plan, chosen = make_plan(config, sizes, device, assumed, gpus), {}
    for setting, changed in _changes(config):
        if plan.fits:
            break
        other = changed(config)
        better = make_plan(other, sizes, device, assumed, gpus)
        if better.used < plan.used:
            config, plan = other, better
            chosen[setting.partition("=")[0]] = setting  # a later value of the same setting replaces it
    return list(chosen.values()), plan


def _changes(config: Config) -> Iterator[tuple[str, _Change]]:
    """From what costs nothing to what costs speed."""
    if config.policy.dtype != "bfloat16":
        yield "policy.dtype=bfloat16", _Change("policy", {"dtype": "bfloat16"})
    for stage in range(config.learner.zero_stage + 1, 4):
        yield f"learner.zero_stage={stage}", _Change("learner", {"zero_stage": stage})
    if config.cluster.placement != "disaggregated" and not config.max_staleness:
        yield "cluster.take_turns=true", _Change("cluster", {"take_turns": True})
    if not config.learner.activation_checkpointing:
        yield "learner.activation_checkpointing=true", _Change("learner", {"activation_checkpointing": True})
    size = config.learner.micro_batch_size_per_gpu
    while size > 1:
        size //= 2
        setting = f"learner.micro_batch_size_per_gpu={size}"
        yield setting, _Change("learner", {"micro_batch_size_per_gpu": size})


@dataclass(frozen=True, slots=True)
class _Change:
    section: str
    values: Mapping[str, object]

    def __call__(self, config: Config) -> Config:
        part = dataclasses.replace(getattr(config, self.section), **self.values)
        return replace(config, **{self.section: part})
