"""Fine-tuning: the loss against its definition, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, RolloutConfig, SftConfig, SourceConfig
from rl.data.stream import PromptStream
from rl.learner.engine import TorchEngine
from rl.sft.examples import Example
from rl.sft.run import SftRun
from rl.sft.steps import batch_loss
from rl.types import Message, Prompt, Task, TextSampling
from tests.toys import toy_draw_prompt, toy_policy

LESSON = Prompt("lesson", Task.TEXT, (Message("user", "3 + 4 ="),), solution="<think>3+4=7</think>7")
PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
DRAWING = replace(toy_draw_prompt(), metadata={"target_image": PICTURE})


def test_the_loss_is_the_mean_over_scored_tokens_summed_over_examples():
    policy = toy_policy()
    rng = np.random.default_rng(0)
    examples = []
    for length in (5, 9):
        token_ids = rng.integers(20, 200, length)
        hidden = np.arange(length) >= 2
        scored = hidden & (np.arange(length) < length - 1)
        examples.append(Example(token_ids, hidden, scored))
    expected = 0.0
    for example in examples:
        shown = np.where(example.hidden, policy.vocabulary.mask_id, example.token_ids)
        logp = policy.logits(torch.from_numpy(shown)[None])[0].log_softmax(-1)
        picked = logp[torch.arange(len(shown)), torch.from_numpy(example.token_ids)]
        expected -= picked[torch.from_numpy(example.scored)].mean().item()
    assert batch_loss(policy, examples).item() == pytest.approx(expected, rel=1e-5)


def test_it_learns_text_and_pictures_together(tmp_path: Path):
    config = Config(
        output_dir=str(tmp_path),
        rollout=RolloutConfig(text=TextSampling(max_new_tokens=24, block_length=8, steps=12)),
        sft=SftConfig(steps=60, batch_size=8, lr=5e-3, warmup_steps=5),
        save_freq=0,
    )
    policy, losses = toy_policy(), []
    engine = TorchEngine(policy.module, config.sft, config.sft.steps)
    stream = PromptStream([SourceConfig("lesson"), SourceConfig("drawing")], config.seed, [[LESSON], [DRAWING]])
    run = SftRun(policy, engine, stream, config, FolderCheckpoints(config))
    run.run(lambda step, metrics: losses.append(metrics), {})
    assert len(losses) == 60
    for task in ("text", "draw"):
        curve = [metrics[f"sft/loss/{task}"] for metrics in losses]
        assert np.mean(curve[-10:]) < 0.5 * np.mean(curve[:5])
