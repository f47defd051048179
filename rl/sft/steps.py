"""The steps of mixed Long-CoT fine-tuning (arXiv 2505.15809, section 2.2).

One loss for all tasks: hide some of the response, predict it, given the prompt and what is left. For a response of L
tokens of which M = t L are hidden, LLaDA's loss -1/(t L) sum(log p) is the mean over the hidden tokens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from policies.base import Policy
from rl.config import Config
from rl.learner.engine import Engine
from rl.learner.likelihood import Masked, masked_log_probs
from rl.losses import masked_cross_entropy
from rl.protocols import Prompts
from rl.seeds import derive_seed
from rl.sft.examples import Example, ExampleMaker
from rl.types import Prompt, Task


def batch_loss(policy: Policy, examples: Sequence[Example], weights: Sequence[float] | None = None) -> Tensor:
    """Sum over the examples of the mean cross-entropy of their scored tokens. weights: each one's; None: 1."""
    length = max(len(example.token_ids) for example in examples)
    token_ids, clean = (np.zeros((len(examples), length), dtype=np.int64) for _ in range(2))
    attention, scored = (np.zeros(token_ids.shape, dtype=bool) for _ in range(2))
    for row, example in enumerate(examples):
        size = len(example.token_ids)
        unseen = example.hidden & ~example.scored
        token_ids[row, :size] = np.where(unseen, policy.vocabulary.mask_id, example.token_ids)
        clean[row, :size] = example.token_ids
        attention[row, :size] = True
        scored[row, :size] = example.scored
    device = next(policy.module.parameters()).device
    ids, attend, mask, written = (torch.from_numpy(x).to(device) for x in (token_ids, attention, scored, clean))
    logp = masked_log_probs(policy, Masked(ids, attend, mask, clean=written)).values
    # Of L tokens M = t L are hidden, so that 1/(t L) is 1/M.
    ones = torch.ones(len(examples), device=device)
    shares = ones if weights is None else torch.tensor(list(weights), dtype=ones.dtype, device=device)
    return masked_cross_entropy(logp, mask, ones, mask.sum(1), weights=shares).loss


def train_steps(
    policy: Policy, engine: Engine, stream: Prompts, config: Config, steps: range, maker: ExampleMaker
) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Fine-tune; after each step, its number and its metrics: loss, sft/loss/{task}, actor/grad_norm, actor/lr."""
    for step in steps:
        began = time.monotonic()
        rng = np.random.default_rng(derive_seed(config.seed, "sft", step))
        prompts = stream.next(config.sft.batch_size)
        metrics = {"actor/lr": engine.lr}
        sums: dict[Task, list[float]] = {}
        for members in _by_source(prompts):
            loss = batch_loss(policy, [maker.make(prompt, rng) for prompt in members])
            engine.backward(loss / len(prompts))
            entry = sums.setdefault(members[0].task, [0.0, 0.0])
            entry[0] += float(loss.detach())
            entry[1] += len(members)
        metrics |= {f"sft/loss/{task}": loss / count for task, (loss, count) in sums.items()}
        total = sum(loss for loss, _ in sums.values())
        metrics["actor/grad_norm"] = engine.step().grad_norm
        metrics["sft/loss"] = total / len(prompts)
        metrics["timing_s/step"] = time.monotonic() - began
        yield step, metrics


def _by_source(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """One micro-batch a source: its rows are of similar length, so little is padded."""
    groups: dict[tuple[Task, str], list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault((prompt.task, prompt.source), []).append(prompt)
    return list(groups.values())
