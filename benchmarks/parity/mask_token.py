"""How much of the likelihood the mask token has: ``python -m benchmarks.parity.mask_token [--policy tiny] [--prompts 64]``.

No sampler writes it, and the likelihood that trains does not leave it out, as the originals' do not. So a token's log-prob is
smaller by -log(1 - p(mask)) than under the distribution that it was sampled from. That is measured on rollouts of the recipe's
training prompts, under the masks of the default schedule: its mean, its largest value, and what it adds to the ratio of two
policies, which are this one and its weights moved by a random 1%.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies import load_policy
from policies.generate import rollout_group
from policies.policy import MaskedDiffusionPolicy
from rl.config import Config, load_config
from rl.data.rows import load_rows
from rl.masking import mask_pattern, mask_ratios
from rl.types import MaskDraw, Prompt, Task

MU, MEMBERS, MOVED = 4, 4, 0.01


def measure(policy: MaskedDiffusionPolicy, prompts: list[Prompt], config: Config) -> dict[str, float]:
    """Nats a token, over all masked tokens of all rollouts that are texts."""
    other = moved(policy)
    own, apart = [], []
    for number, prompt in enumerate(prompts):
        sampling = getattr(config.rollout, prompt.task)
        for rollout in rollout_group(policy, prompt, sampling, [MEMBERS * number + i for i in range(MEMBERS)], 0):
            for ids, places in masked(rollout.token_ids, rollout.response_mask, rollout.seed, policy):
                shares = [share(each, ids, places) for each in (policy, other)]
                own.append(shares[0])
                apart.append((shares[0] - shares[1]).abs())
    found, between = torch.cat(own), torch.cat(apart)
    return {
        "tokens": len(found),
        "mean": float(found.mean()),
        "largest": float(found.max()),
        "of_a_ratio": float(between.mean()),
    }


def masked(
    token_ids: np.ndarray, response: np.ndarray, seed: int, policy: MaskedDiffusionPolicy
) -> Iterator[tuple[Tensor, Tensor]]:
    """A rollout as each inner update sees it, and where it is masked."""
    for n, ratio in enumerate(mask_ratios("stratified", MU, seed % 2**62)):
        hidden = np.zeros(len(token_ids), dtype=bool)
        hidden[np.flatnonzero(response)] = mask_pattern(MaskDraw(seed % 2**62 + n, ratio), int(response.sum()))
        places = torch.from_numpy(np.flatnonzero(hidden))
        ids = torch.from_numpy(token_ids.astype(np.int64)).clone()
        ids[places] = policy.vocabulary.mask_id
        yield ids, places


@torch.no_grad()
def share(policy: MaskedDiffusionPolicy, ids: Tensor, places: Tensor) -> Tensor:
    """-log(1 - p(mask)) at these places."""
    logp = policy.logits(ids[None])[0, places].double().log_softmax(-1)
    return -torch.log1p(-logp[:, policy.vocabulary.mask_id].exp())


def moved(policy: MaskedDiffusionPolicy) -> MaskedDiffusionPolicy:
    other, generator = policy.with_frozen_copy(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.mul_(1 + MOVED * torch.randn(parameter.shape, generator=generator))
    return other


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity.mask_token", description=__doc__)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--policy", help="another policy's folder or name")
    parser.add_argument("--prompts", type=int, default=64, help="of each source of texts")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(arguments.recipe)
    policy = load_policy(arguments.policy or config.policy.path)
    prompts = [
        prompt
        for source in config.data.train
        for prompt in load_rows(source, frozenset())[: arguments.prompts]
        if prompt.task in (Task.TEXT, Task.UNDERSTAND)
    ]
    result = measure(policy, prompts, config)
    print(json.dumps(result))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
