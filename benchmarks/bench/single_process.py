"""The whole loop as a trainer of TRL's kind runs it: one process, plain samplers, all logits of all positions, no overlap.

    python -m benchmarks.bench.single_process --steps 6 --out single.json [key=value ...]

Restated from d1's trainer (github.com/dllm-reasoning/d1, diffu-grpo, on TRL's GRPOTrainer): a group is sampled with LLaDA's
``generate`` over the whole sequence in every step, scored, and then learned from, with log-probs from a log-softmax over the
whole vocabulary at every position, of the old policy, of the reference and of each update, one after the other. Prompts,
rewards, advantages, masks and learning rates are the recipe's, as our own run has them.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.plain import llada_generate, mmada_draw
from benchmarks.speed.plain_learner import plain_layers
from cluster.learner.one_rank import optimizer_steps
from cluster.workers.inline import InlineWorkers
from policies import load_policy
from policies.base import EncodedPrompt, Policy
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.learner.engine import lr_at
from rl.learner.microbatches import MicroBatch, collate, plan
from rl.prepare import prepare
from rl.seeds import derive_seed
from rl.types import ImageSampling, Sample, StepReport, TextSampling, TrainBatch

ALONE = ("cluster.mode=inline", "policy.device=cpu", "policy.dtype=float32")


def plain_text(
    policy: Policy, prefix: Sequence[int], sampling: TextSampling, seeds: Sequence[int], *more: object
) -> list[Sample]:
    """LLaDA's ``generate`` for a group; a response ends with its first end-of-text token."""
    torch.manual_seed(seeds[0])
    ids = llada_generate(
        policy.logits, torch.tensor([list(prefix)] * len(seeds)), steps=sampling.steps, length=sampling.max_new_tokens,
        block=sampling.block_length, temperature=sampling.temperature, mask_id=policy.vocabulary.mask_id,
    )  # fmt: skip
    return [_until_end(row[len(prefix) :].numpy(), policy.vocabulary.eos_id) for row in ids]


def plain_image(
    policy: Policy, prompt: EncodedPrompt, sampling: ImageSampling, seeds: Sequence[int], *more: object
) -> list[Sample]:
    """MMaDA's ``t2i_generate`` for a group, both prompts padded on the left to one length."""
    codes = prompt.response_length
    assert codes is not None
    width = max(len(prompt.prefix), len(prompt.unconditional))
    mask_id, vocabulary = policy.vocabulary.mask_id, policy.vocabulary

    def rows(prefix: Sequence[int]) -> tuple[Tensor, Tensor]:
        padding = width - len(prefix)
        row = [*[0] * padding, *prefix, *[mask_id] * codes, *prompt.suffix]
        return torch.tensor([row] * len(seeds)), torch.tensor([[i >= padding for i in range(len(row))]] * len(seeds))

    (ids, seen), (blind, blind_seen) = rows(prompt.prefix), rows(prompt.unconditional)
    drawn = mmada_draw(
        policy.logits, ids, blind, seen, blind_seen, codes=codes, image_offset=vocabulary.image_offset,
        codebook=vocabulary.codebook_size, mask_id=mask_id, steps=sampling.steps, guidance=sampling.guidance,
        temperature=1.0, generator=torch.Generator().manual_seed(seeds[0]),
    )  # fmt: skip
    return [Sample(row.numpy(), np.zeros(codes, np.int32)) for row in drawn]


class PlainLearner:
    """Implements ``rl.protocols.Learner``, as far as the loop here asks."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.policy = load_policy(config.policy.path)
        self.reference = self.policy.with_frozen_copy()
        learner = config.learner
        self.optimizer = torch.optim.AdamW(
            self.policy.module.parameters(), lr=learner.lr, betas=(learner.betas[0], learner.betas[1]),
            weight_decay=learner.weight_decay,
        )  # fmt: skip
        self.steps, self.total = 0, optimizer_steps(config)

    def update(self, batch: TrainBatch) -> StepReport:
        if not len(batch):
            return StepReport({}, updated=False)
        with plain_layers():
            self._update(batch)
        return StepReport({}, updated=True)

    def _update(self, batch: TrainBatch) -> None:
        learner, parts = self.config.learner, self._parts(batch)
        updates = range(len(batch.mask_draws))
        with torch.no_grad():
            old = [[token_log_probs(self.policy, data, n) for data in parts] for n in updates]
            ref = [[token_log_probs(self.reference, data, n) for data in parts] for n in updates]
        for n in updates:
            for data, before, base in zip(parts, old[n], ref[n], strict=True):
                logp = token_log_probs(self.policy, data, n)
                plain_objective(logp, before, base, data, n, self.config).backward()
            torch.nn.utils.clip_grad_norm_(self.policy.module.parameters(), learner.max_grad_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = lr_at(self.steps, learner, self.total)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.steps += 1

    def _parts(self, batch: TrainBatch) -> list[MicroBatch]:
        learner, lengths = self.config.learner, np.array([len(ids) for ids in batch.token_ids])
        size = learner.micro_batch_size_per_gpu
        entries = plan(lengths, range(len(batch)), size, 0, 1, weights=batch.weights)
        return [collate(batch, part, torch.device("cpu"), learner.algorithm) for part in entries]

    def weights(self) -> Mapping[str, np.ndarray]:
        return {name: value.detach().numpy().copy() for name, value in self.policy.module.state_dict().items()}

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...

    def close(self) -> None: ...


def token_log_probs(policy: Policy, data: MicroBatch, n: int) -> Tensor:
    """[b, L]: the log-softmax of all logits at every position; of an image's tokens over its codebook alone, as drawn."""
    logits = policy.logits(data.token_ids.masked_fill(data.hidden[n, 0], policy.vocabulary.mask_id), data.attention)
    logits, words = logits.float(), policy.vocabulary
    ids = torch.arange(words.size)
    code = (ids >= words.image_offset) & (ids < words.image_offset + words.codebook_size)
    logits = logits.masked_fill(data.is_image[..., None] & ~code, -torch.inf)
    return logits.log_softmax(-1).gather(-1, data.token_ids[..., None]).squeeze(-1)


def plain_objective(logp: Tensor, old: Tensor, ref: Tensor, data: MicroBatch, n: int, config: Config) -> Tensor:
    """UniGRPO's loss of a micro-batch (arXiv 2505.15809, equation 4): a share of the mini-batch's."""
    algorithm, mask = config.learner.algorithm, data.masks[n]
    logp, old, ref = (torch.where(mask, each, 0.0) for each in (logp, old, ref))
    ratio, advantage = (logp - old).exp(), data.advantages[:, None]
    clipped = ratio.clamp(1 - algorithm.clip_low, 1 + algorithm.clip_high)
    kl = (ref - logp).exp() - (ref - logp) - 1
    kl = kl if algorithm.kl_clip is None else kl.clamp(max=algorithm.kl_clip)
    losses = algorithm.kl_coef * kl - torch.minimum(ratio * advantage, clipped * advantage)
    return ((losses * mask).sum(1) / mask.sum(1).clamp(min=1) * data.weights).sum()


def run(config: Config) -> list[dict[str, float]]:
    """Seconds, rollouts and the mean reward of each step."""
    torch.set_num_threads(config.learner.threads)
    learner, stream = PlainLearner(config), PromptStream(config.data.train, config.seed)
    found = []
    plain = {"policies.generate.sample_text": plain_text, "policies.generate.sample_image": plain_image}
    with mock.patch("cluster.workers.rollout.packed", nullcontext):
        for name, side in plain.items():
            mock.patch(name, side).start()
        try:
            workers = InlineWorkers(config)
            for step in range(config.steps):
                began = time.perf_counter()
                ref = workers.update_weights(learner, step)
                groups = workers.rollout_and_score(
                    stream.next(config.rollout.batch_size), ref, derive_seed(config.seed, "rollout", step)
                )
                learner.update(prepare(groups, config, step, weight_version=step))
                scores = [score.value for group in groups for score in group.scores if score.usable]
                found.append(
                    {"seconds": time.perf_counter() - began, "rollouts": len(scores), "reward": float(np.mean(scores))}
                )
        finally:
            mock.patch.stopall()
    return found


def _until_end(ids: np.ndarray, eos_id: int) -> Sample:
    ends = np.flatnonzero(ids == eos_id)
    length = int(ends[0]) + 1 if len(ends) else len(ids)
    return Sample(ids[:length].copy(), np.zeros(length, np.int32), complete=len(ends) > 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args()
    config = load_config(options.recipe, [*ALONE, "rollout.threads=2", *options.overrides, f"steps={options.steps}"])
    options.out.write_text(json.dumps(run(copy.copy(config)), indent=1) + "\n")


if __name__ == "__main__":
    main()
