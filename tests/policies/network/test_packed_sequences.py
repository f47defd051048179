"""Packed sequences give what they give alone, and know nothing of their neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from policies import load_policy
from policies.network.packed_sequences import pack_sequences
from policies.policy import MaskedDiffusionPolicy
from tests.policies.originals import CONFIGS, write_folder
from tests.toys import toy_policy

LENGTHS = (7, 3, 12, 5)


def padded(lengths: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Token ids and attention [B, L]; padding is on the right."""
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.randint(20, 200, (len(lengths), max(lengths)), generator=generator)
    attention = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return token_ids, attention


def alone(policy: MaskedDiffusionPolicy, token_ids: Tensor, lengths: tuple[int, ...]) -> list[Tensor]:
    """Final states of each sequence by itself."""
    return [policy.hidden(ids[None, :length])[0] for ids, length in zip(token_ids, lengths, strict=True)]


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_family_packed_is_every_sequence_alone(tmp_path: Path, name: str) -> None:
    policy = load_policy(write_folder(name, tmp_path / "original"), dtype=torch.float64)
    token_ids, attention = padded(LENGTHS)
    expected = alone(policy, token_ids, LENGTHS)
    rows = (torch.rand(attention.shape, generator=torch.Generator().manual_seed(1)) < 0.4) & attention
    rows[1] = False  # a sequence of which nothing is wanted
    rows[2, 0] = True  # a first token: shifted families have no state before it
    pack_sequences(policy.module)
    states = policy.hidden(token_ids, attention)
    for state, found, length in zip(states, expected, LENGTHS, strict=True):
        torch.testing.assert_close(state[:length], found, rtol=0, atol=1e-12)
    chosen = torch.cat([found[row[:length]] for found, row, length in zip(expected, rows, LENGTHS, strict=True)])
    torch.testing.assert_close(policy.hidden(token_ids, attention, rows), chosen, rtol=0, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5).map(tuple), st.integers(0, 5))
def test_any_lengths(lengths: tuple[int, ...], seed: int) -> None:
    policy = toy_policy()
    policy.module.double()
    token_ids, attention = padded(lengths, seed)
    expected = alone(policy, token_ids, lengths)
    pack_sequences(policy.module)
    found = policy.hidden(token_ids, attention, attention)
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-12)


def test_no_word_passes_between_neighbours() -> None:
    """Another sequence beside it changes no bit of a sequence's states, and has no part in its gradient."""
    policy = toy_policy()
    pack_sequences(policy.module)
    token_ids, attention = padded(LENGTHS)
    before = policy.hidden(token_ids, attention)
    other = token_ids.clone()
    other[0] += 1
    after = policy.hidden(other, attention)
    assert not torch.equal(after[0, :7], before[0, :7])
    for row, length in list(enumerate(LENGTHS))[1:]:
        assert torch.equal(after[row, :length], before[row, :length])
    embedded = policy.module.wte.weight
    (gradient,) = torch.autograd.grad(policy.hidden(token_ids, attention)[2, :12].square().sum(), embedded)
    strangers = set(token_ids[[0, 1, 3]].flatten().tolist()) - set(token_ids[2, :12].tolist())
    assert gradient[token_ids[2, 0]].any() and not gradient[sorted(strangers)].any()
