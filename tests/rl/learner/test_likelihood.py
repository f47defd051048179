from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.policy import MaskedDiffusionPolicy
from rl.learner.likelihood import Masked, Wanted, masked_log_probs
from tests.toys import toy_policy

LENGTHS = (19, 12, 23, 12)


@pytest.fixture(scope="module")
def policy() -> MaskedDiffusionPolicy:
    return toy_policy()


def batch(policy: MaskedDiffusionPolicy, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Rows 0 and 1 are text, row 2 ends in image codes, row 3 holds both; padded to the longest."""
    generator, vocabulary = np.random.default_rng(seed), policy.vocabulary
    token_ids = np.full((4, max(LENGTHS)), 7)
    attention = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    mask = np.zeros(token_ids.shape, bool)
    for row, length in enumerate(LENGTHS):
        text = generator.integers(0, min(vocabulary.image_offset, 250), length)
        codes = vocabulary.image_offset + generator.integers(0, vocabulary.codebook_size, length)
        is_code = np.arange(length) >= {0: length, 1: length, 2: 4, 3: length // 2}[row]
        token_ids[row, :length] = np.where(is_code, codes, text)
        mask[row, 3:length] = generator.random(length - 3) < 0.5
        mask[row, 3] = mask[row, length - 1] = True
    return torch.tensor(token_ids), torch.tensor(attention), torch.tensor(mask)


def plain(policy: MaskedDiffusionPolicy, token_ids: Tensor, attention: Tensor | None, mask: Tensor) -> Tensor:
    """The definition: all logits, a softmax over what the token may be, and the token's own entry."""
    vocabulary = policy.vocabulary
    logits = policy.logits(torch.where(mask, vocabulary.mask_id, token_ids), attention)
    first = vocabulary.image_offset
    codes = slice(first, first + vocabulary.codebook_size)
    over_all = logits.log_softmax(-1)
    over_codes = torch.full_like(logits, -torch.inf)
    over_codes[..., codes] = logits[..., codes].log_softmax(-1)
    is_code = (token_ids >= first)[..., None]
    values = torch.where(is_code, over_codes, over_all).gather(-1, token_ids[..., None]).squeeze(-1)
    return torch.where(mask, values, 0.0)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, 1], [2], [3], [1]])
def test_equals_the_plain_definition(policy: MaskedDiffusionPolicy, rows: list[int]) -> None:
    token_ids, attention, mask = (tensor[rows] for tensor in batch(policy))
    values = masked_log_probs(policy, Masked(token_ids, attention, mask)).values
    expected = plain(policy, token_ids, attention, mask)
    assert values.shape == token_ids.shape and values.dtype == torch.float32
    assert (values[~mask] == 0).all() and (values[mask] < -0.01).all()
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


def test_gradient_equals_the_plain_definitions(policy: MaskedDiffusionPolicy) -> None:
    token_ids, attention, mask = batch(policy)
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(1))
    gradients = []
    ours = masked_log_probs(policy, Masked(token_ids, attention, mask)).values
    for values in (ours, plain(policy, token_ids, attention, mask)):
        gradients.append(torch.autograd.grad((values * weights).sum(), list(policy.module.parameters())))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_padding_and_batch_mates_do_not_matter(policy: MaskedDiffusionPolicy) -> None:
    token_ids, attention, mask = batch(policy)
    together = masked_log_probs(policy, Masked(token_ids, attention, mask)).values
    for row, length in enumerate(LENGTHS):
        alone = masked_log_probs(
            policy, Masked(token_ids[row : row + 1, :length], None, mask[row : row + 1, :length])
        ).values
        torch.testing.assert_close(together[row : row + 1, :length], alone, rtol=1e-5, atol=1e-5)
        assert (together[row, length:] == 0).all()
    scrambled = torch.where(attention, token_ids, 11)
    again = masked_log_probs(policy, Masked(scrambled, attention, mask)).values
    assert torch.equal(together, again)


def test_equal_sequences_go_through_the_network_once(
    policy: MaskedDiffusionPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rollouts of a prompt under a full mask differ in their targets alone. Values and gradients are those of each alone."""
    token_ids, attention, mask = (tensor[[0, 2, 0, 2, 1, 0]] for tensor in batch(policy))
    mask[4, 3 : LENGTHS[1]] = True
    changed = token_ids.clone()
    changed[mask] = torch.randint(5, 200, (int(mask.sum()),), generator=torch.Generator().manual_seed(3))
    token_ids = torch.where(token_ids >= policy.vocabulary.image_offset, token_ids, changed)
    seen: list[int] = []
    forward = policy.hidden

    def watched(ids: Tensor, *args: object, **options: Tensor) -> Tensor:
        seen.append(len(ids))
        return forward(ids, *args, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(policy, "hidden", watched)
    together = masked_log_probs(policy, Masked(token_ids, attention, mask)).values
    assert seen == [3]
    alone = [
        masked_log_probs(policy, Masked(*(part[i : i + 1] for part in (token_ids, attention, mask)))) for i in range(6)
    ]
    each = torch.cat([found.values for found in alone])
    torch.testing.assert_close(together, each, rtol=1e-5, atol=1e-5)
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(1))
    parameters = list(policy.module.parameters())
    gradients = [torch.autograd.grad((values * weights).sum(), parameters) for values in (together, each)]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_masked_tokens_are_hidden_from_each_other_and_the_rest_is_seen(policy: MaskedDiffusionPolicy) -> None:
    token_ids, _, mask = (tensor[1:2, : LENGTHS[1]] for tensor in batch(policy))
    values = masked_log_probs(policy, Masked(token_ids, None, mask)).values
    first, last = mask[0].nonzero()[[0, -1], 0].tolist()
    changed = token_ids.clone()
    changed[0, last] = (changed[0, last] + 1) % 200
    assert masked_log_probs(policy, Masked(changed, None, mask)).values[0, first] == values[0, first]
    visible = int((~mask[0]).nonzero()[-1])
    changed = token_ids.clone()
    changed[0, visible] = (changed[0, visible] + 1) % 200
    assert masked_log_probs(policy, Masked(changed, None, mask)).values[0, first] != values[0, first]


@pytest.mark.parametrize("rows", [[0], [2], [3], [0, 1, 2, 3]])
def test_entropy_is_the_mean_over_the_masked_rows(policy: MaskedDiffusionPolicy, rows: list[int]) -> None:
    token_ids, attention, mask = (tensor[rows] for tensor in batch(policy))
    found = masked_log_probs(policy, Masked(token_ids, attention, mask), Wanted(entropy=True)).entropy
    vocabulary = policy.vocabulary
    logits = policy.logits(torch.where(mask, vocabulary.mask_id, token_ids), attention).detach()
    entropies = []
    for row, column in mask.nonzero().tolist():
        of_row = logits[row, column]
        if token_ids[row, column] >= vocabulary.image_offset:
            of_row = of_row[vocabulary.image_offset :][: vocabulary.codebook_size]
        entropies.append(torch.distributions.Categorical(logits=of_row).entropy())
    torch.testing.assert_close(found, torch.stack(entropies).mean(), rtol=1e-5, atol=1e-5)
    assert not found.requires_grad


def test_nothing_masked_is_all_zeros(policy: MaskedDiffusionPolicy) -> None:
    token_ids, attention, mask = batch(policy)
    assert not masked_log_probs(policy, Masked(token_ids, attention, torch.zeros_like(mask))).values.any()


def test_the_whole_vocabularys_logits_are_never_formed(
    policy: MaskedDiffusionPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_ids, attention, mask = batch(policy)
    shapes, head = [], policy.head

    def watched(hidden: Tensor, image: bool) -> Tensor:
        logits = head(hidden, image)
        shapes.append(tuple(logits.shape))
        return logits

    monkeypatch.setattr(policy, "head", watched)
    masked_log_probs(policy, Masked(token_ids, attention, mask))
    is_code = token_ids >= policy.vocabulary.image_offset
    assert shapes == [(int((mask & ~is_code).sum()), policy.vocabulary.size), (int((mask & is_code).sum()), 64)]


def test_an_image_code_that_strayed_into_a_text_counts_among_all_tokens(policy: MaskedDiffusionPolicy) -> None:
    token_ids, attention, mask = batch(policy)
    draws = torch.tensor([False, False, True, False])
    values = masked_log_probs(policy, Masked(token_ids, attention, mask, is_image=draws)).values
    among_all = policy.logits(torch.where(mask, policy.vocabulary.mask_id, token_ids), attention).log_softmax(-1)
    among_all = among_all.gather(-1, token_ids[..., None]).squeeze(-1)
    torch.testing.assert_close(values[3][mask[3]], among_all[3][mask[3]], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values[2], plain(policy, token_ids, attention, mask)[2], rtol=1e-5, atol=1e-5)
