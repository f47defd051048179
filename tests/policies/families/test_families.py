"""What every family can do: write, be trained, be frozen as a reference."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from policies import generate_text, load_policy
from policies.policy import MaskedDiffusionPolicy
from rl.errors import DataError
from rl.learner.likelihood import Masked, masked_log_probs
from tests.policies.originals import CONFIGS, write_folder
from tests.toys import toy_draw_prompt, toy_text_prompt


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("families")

    @cache
    def load(name: str) -> MaskedDiffusionPolicy:
        return load_policy(write_folder(name, folder / name))

    return load


@pytest.mark.parametrize("name", CONFIGS)
def test_it_writes_whatever_the_prompts_length(policies, name):
    policy = policies(name)
    prompts = [list(policy.encode_prompt(toy_text_prompt(index)).prefix)[: 3 + index] for index in range(3)]
    size = policy.block_length or 4  # block-causal policies fill their own blocks
    sampling = {"max_new_tokens": 2 * size, "block_length": size, "steps": 4}
    for sample in generate_text(policy, prompts, sampling, [1, 2, 3]):
        assert 0 < len(sample.token_ids) <= 2 * size and policy.vocabulary.mask_id not in sample.token_ids


def logits_as_sampled(policy: MaskedDiffusionPolicy, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B, L, V] of the masked sequence; a block-causal policy has written the blocks before the one that it fills."""
    noisy = ids.masked_fill(mask, policy.vocabulary.mask_id)
    size = policy.block_length or ids.shape[1]
    blocks = [slice(first, first + size) for first in range(0, ids.shape[1], size)]
    shown = (torch.cat([ids[:, : block.start], noisy[:, block]], dim=1) for block in blocks)
    parts = [policy.logits(seen)[:, block] for seen, block in zip(shown, blocks, strict=True)]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("name", CONFIGS)
def test_likelihood_is_the_softmax_of_the_logits_and_gradients_reach_all_layers(policies, name):
    policy = policies(name)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, 299, (2, 40), generator=generator)
    mask = torch.rand(ids.shape, generator=generator) < 0.5
    mask[:, 0] = False
    # Codes of images, which MMaDA normalises over its codebook alone, are left out: ids stop at the text.
    values = masked_log_probs(policy, Masked(ids, None, mask)).values
    with torch.no_grad():
        expected = logits_as_sampled(policy, ids, mask).log_softmax(-1).gather(2, ids[..., None])[..., 0]
    torch.testing.assert_close(values[mask].detach(), expected[mask], atol=1e-4, rtol=1e-4)
    policy.module.zero_grad()
    values.sum().backward()
    for parameter_name, parameter in policy.module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "mmada"])
def test_families_that_write_text_refuse_to_draw(policies, name):
    with pytest.raises(DataError, match=f"task=draw: {name} answers text only"):
        policies(name).encode_prompt(toy_draw_prompt())


def test_a_prompt_longer_than_the_model_is_one_line(policies):
    policy = policies("dream")
    long = toy_text_prompt()
    long = type(long)(long.id, long.task, tuple(long.messages) * 200)
    with pytest.raises(DataError, match=r"tokens with its response, but dream takes 256; shorten the prompt"):
        policy.encode_prompt(long)


def test_a_reference_is_frozen_and_alike(policies):
    policy = policies("llada2")
    reference = policy.with_frozen_copy()
    ids = torch.arange(20)[None] + 20
    assert torch.equal(reference.logits(ids), policy.logits(ids))
    assert not any(parameter.requires_grad for parameter in reference.module.parameters())
