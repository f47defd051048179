"""Fine-tuning: what is hidden and scored, the loss against its definition, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.config import Config, RolloutConfig, SftConfig
from rl.errors import DataError
from rl.learner.engine import TorchEngine
from rl.sft.examples import Example, ExampleMaker, batch_loss, text_example
from rl.sft.run import run_sft
from rl.types import Message, Prompt, Task, TextSampling
from tests.toys import toy_draw_prompt, toy_policy

EOS = 99
CANVAS = TextSampling(max_new_tokens=24, block_length=8, steps=24)
PREFIX = [7, 8, 9]
LESSON = Prompt("lesson", Task.TEXT, (Message("user", "3 + 4 ="),), reference="7", solution="<think>3+4=7</think>7")
PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
DRAWING = replace(toy_draw_prompt(), metadata={"target_image": PICTURE})
CONFIG = Config(
    rollout=RolloutConfig(text=TextSampling(max_new_tokens=24, block_length=8, steps=12)),
    sft=SftConfig(steps=60, batch_size=8, lr=5e-3, warmup_steps=5),
)


class Repeat:
    def __init__(self, *prompts: Prompt) -> None:
        self.prompts = prompts

    def next(self, count: int, /) -> list[Prompt]:
        return [self.prompts[index % len(self.prompts)] for index in range(count)]


@given(st.integers(1, 24), st.integers(0, 10_000), st.sampled_from([None, CANVAS]), st.sampled_from([0.0, 1.0]))
def test_only_hidden_response_tokens_are_scored(length, seed, canvas, semi):
    response = [*range(10, 10 + length - 1), EOS]
    example = text_example(PREFIX, response, EOS, canvas, semi, np.random.default_rng(seed))
    assert example.token_ids[: 3 + length].tolist() == PREFIX + response
    assert not example.hidden[:3].any()
    assert example.scored.any() and not (example.scored & ~example.hidden).any()
    if canvas is None:
        assert len(example.token_ids) == 3 + length and (example.hidden == example.scored).all()
        return
    assert len(example.token_ids) == 3 + 24 and (example.token_ids[3 + length :] == EOS).all()
    filled = -(-length // 8) * 8
    assert example.hidden[3 + filled :].all() and not example.scored[3 + filled :].any()
    if semi == 1.0:
        blocks = {(position - 3) // 8 for position in np.flatnonzero(example.scored)}
        (block,) = blocks
        assert not example.hidden[3 : 3 + 8 * block].any() and example.hidden[3 + 8 * (block + 1) :].all()


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


def test_it_learns_text_and_pictures_together():
    policy = toy_policy()
    losses = []
    engine = TorchEngine(policy.module, CONFIG.sft, CONFIG.sft.steps)
    run_sft(policy, engine, Repeat(LESSON, DRAWING), CONFIG, lambda step, metrics: losses.append(metrics))
    assert len(losses) == 60
    for task in ("text", "draw"):
        curve = [metrics[f"sft/loss/{task}"] for metrics in losses]
        assert np.mean(curve[-10:]) < 0.5 * np.mean(curve[:5])


def test_the_same_seed_gives_the_same_weights():
    def weights() -> torch.Tensor:
        policy = toy_policy()
        config = replace(CONFIG, sft=replace(CONFIG.sft, steps=3))
        run_sft(policy, TorchEngine(policy.module, config.sft, 3), Repeat(LESSON), config, lambda *_: None)
        return policy.module.wte.weight.detach().clone()

    assert torch.equal(weights(), weights())


def test_a_row_without_an_answer_is_named():
    maker = ExampleMaker(toy_policy(), CONFIG)
    with pytest.raises(
        DataError, match="lesson: no solution; fine-tuning needs a column .solution. with a worked answer"
    ):
        maker.make(replace(LESSON, solution=None), np.random.default_rng(0))
    bare = replace(toy_draw_prompt(), metadata={})
    with pytest.raises(DataError, match="no picture; fine-tuning a draw row needs a column 'image'"):
        maker.make(bare, np.random.default_rng(0))
