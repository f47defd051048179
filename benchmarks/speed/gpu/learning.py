"""Rows of learning: whole UniGRPO steps of the small model, and the published step of an 8B model with LoRA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.policy import FIRST_PLAIN
from benchmarks.speed.gpu.card import Card
from benchmarks.speed.gpu.found import Found, Memory
from benchmarks.speed.gpu.predicted import (
    SAMPLED,
    THREE_PASSES,
    UPDATED,
    WHOLE,
    memory_of_lora,
    memory_of_sampling,
    memory_of_small,
)
from benchmarks.speed.gpu.work import LARGE, SMALL
from policies.lora import TARGETS, LoraLinear
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.text import sample_text
from rl.config.learner import LearnerConfig, UniGRPOConfig
from rl.learner.engine import TorchEngine
from rl.learner.reference import make_reference
from rl.learner.update import UniGRPOLearner
from rl.masking import mask_ratios
from rl.types import MaskDraw, Task, TextSampling, TrainBatch

RATIO = "actor/first_ratio_error"


def small(card: Card) -> Found:
    """Steps by DeepSpeed where it is installed, and by torch alone: seconds and memory of each."""
    work, measured, more, memory, failed = card.work, {}, dict[str, Any](), {}, {}
    batch = batch_of(card, SMALL, work.rollouts, work.updates)
    for engine in engines():
        try:
            with learner_of(card, card.policy(SMALL), work.micro_batch, work.updates, engine) as learner:
                first = learner.update(batch)
                card.reset_peak()
                seconds = card.seconds(lambda learner=learner: learner.update(batch), repeats=2)
                peak = card.peak_bytes()
        except (RuntimeError, ImportError) as error:
            failed[engine] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        planned = memory_of_small(work, card.dtype_name, engine == "deepspeed", LearnerConfig().logits_mib)
        memory[engine] = Memory(planned, peak)
        measured[WHOLE if WHOLE not in measured else f"{WHOLE}, {engine}"] = seconds
        more[engine] = {"samples_per_hour": work.rollouts / seconds * 3600, "first_ratio_error": first.metrics[RATIO]}
    if not measured:
        raise RuntimeError("; ".join(f"{engine}: {why}" for engine, why in failed.items()))
    return Found(measured, more, memory, failed)


def lora_step(card: Card) -> Found:
    """The published step: groups sampled one after the other, then all updates; and again with the published estimate, which
    has three passes, a ratio a sequence and no reference. Nothing warms up: the first of it is in the seconds."""
    work, published = card.work, card.work.published
    policy = card.policy(LARGE)
    card.reset_peak()
    sampled = card.once(lambda: _sample(card, policy))
    planned = memory_of_sampling(work, LARGE, card.dtype_name, published.group)
    memory = {"sampling": Memory(planned, card.peak_bytes())}
    attach(policy, published.rank, published.alpha)
    batch = batch_of(card, LARGE, published.prompts * published.group, published.updates)
    engine = engines()[0]
    with learner_of(card, policy, published.micro_batch, published.updates, engine) as learner:
        card.reset_peak()
        reports = []
        updated = card.once(lambda: reports.append(learner.update(batch)))
        peak = card.peak_bytes()
    memory["updates"] = Memory(
        memory_of_lora(work, card.dtype_name, engine == "deepspeed", LearnerConfig().logits_mib), peak
    )
    whole = sampled + updated
    measured = {SAMPLED: sampled, UPDATED: updated, WHOLE: whole}
    more = {
        "engine": engine, "first_ratio_error": reports[0].metrics[RATIO], "published_s": published.seconds,
        "of_published": whole / published.seconds, "goal": "under half of the published seconds",
    }  # fmt: skip
    failed = {}
    try:
        measured[THREE_PASSES] = _three_passes(card, policy, batch, engine)
        more["of_published, three passes"] = (sampled + measured[THREE_PASSES]) / published.seconds
    except RuntimeError as error:  # out of memory, on a smaller card
        failed[THREE_PASSES] = str(error).splitlines()[0]
    return Found(measured, more, memory, failed)


def _three_passes(card: Card, policy: MaskedDiffusionPolicy, batch: TrainBatch, engine: str) -> float:
    published = card.work.published
    algorithm = UniGRPOConfig(estimator="quadrature", ratio="sequence", kl_coef=0.0, mu=published.updates)
    size = max(1, published.micro_batch // 3)
    with learner_of(card, policy, size, published.updates, engine, algorithm) as learner:
        return card.once(lambda: learner.update(batch))


def _sample(card: Card, policy: MaskedDiffusionPolicy) -> None:
    work, published = card.work, card.work.published
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + work.prompt))
    sampling = TextSampling(work.new_tokens, work.scored, published.steps, temperature=1.0)
    for index in range(published.prompts):
        seeds = [index * published.group + member for member in range(published.group)]
        sample_text(policy, prompt, sampling, seeds)


def engines() -> list[str]:
    """Those that can run here, the one of a run's own first."""
    return [*(["deepspeed"] if find_spec("deepspeed") else []), "torch"]


@contextmanager
def learner_of(
    card: Card,
    policy: MaskedDiffusionPolicy,
    micro_batch: int,
    updates: int,
    engine: str,
    algorithm: UniGRPOConfig | None = None,
) -> Iterator[UniGRPOLearner]:
    """With a reference where the algorithm has one, made before the engine."""
    config = LearnerConfig(algorithm or UniGRPOConfig(mu=updates), lr=1e-6, micro_batch_size_per_gpu=micro_batch)
    reference = make_reference(policy, None) if config.algorithm.kl_coef > 0 else None
    if engine == "torch":
        yield UniGRPOLearner(policy, TorchEngine(policy.module, config, 1000), config, reference)
        return
    from cluster.learner.deepspeed_engine import DeepSpeedEngine, start_distributed

    start_distributed(0, 1, None, card.device, 600)
    with TemporaryDirectory() as folder:
        made = DeepSpeedEngine(policy.module, config, 1000, log=Path(folder) / "engine.log")
        try:
            yield UniGRPOLearner(policy, made, config, reference)
        finally:
            made.close()


def attach(policy: MaskedDiffusionPolicy, rank: int, alpha: float) -> None:
    """An adapter beside every linear layer of the blocks, as ``policies.lora.attach`` does for a policy with a family."""
    policy.module.requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for name, layer in list(policy.module.blocks.named_modules(prefix="blocks")):
        parent, _, leaf = name.rpartition(".")
        if isinstance(layer, nn.Linear) and leaf in TARGETS:
            setattr(policy.module.get_submodule(parent), leaf, LoraLinear(layer, rank, alpha, generator))


def batch_of(card: Card, model: str, rollouts: int, updates: int) -> TrainBatch:
    """Random tokens; the masks of each update as the default schedule draws them."""
    work, generator = card.work, np.random.default_rng(0)
    length, vocabulary = work.prompt + work.new_tokens, work.models[model].vocabulary
    ratios = mask_ratios("stratified", updates, 0)
    return TrainBatch(
        token_ids=tuple(generator.integers(FIRST_PLAIN, vocabulary, length) for _ in range(rollouts)),
        response_mask=tuple(np.arange(length) >= work.prompt for _ in range(rollouts)),
        advantages=generator.normal(size=rollouts).astype(np.float32),
        mask_draws=tuple(
            tuple(MaskDraw(100 * n + i, ratio) for i in range(rollouts)) for n, ratio in enumerate(ratios)
        ),
        tasks=(Task.TEXT,) * rollouts,
        step_maps=tuple(np.zeros(work.new_tokens, dtype=np.int32) for _ in range(rollouts)),
    )


def with_updates(batch: TrainBatch, count: int) -> TrainBatch:
    """The first ``count`` updates alone."""
    return replace(batch, mask_draws=batch.mask_draws[:count])
