"""The mask token's share of the likelihood: kept, as the originals keep it, and measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.parity.mask_token import measure, share
from rl.config import build_config
from rl.learner.likelihood import Masked, masked_log_probs
from tests.toys import toy_policy, toy_text_prompt, toy_understand_prompt

POLICY = toy_policy(scale=0.6)


@pytest.mark.parametrize("length", [*range(2, 22), 40, 64, 100])
def test_a_log_prob_is_of_the_whole_vocabulary_and_the_share_is_what_leaving_the_mask_out_would_add(
    length: int,
) -> None:
    chance, mask_id = np.random.default_rng(length), POLICY.vocabulary.mask_id
    written = torch.from_numpy(chance.integers(20, 200, length))
    hidden = torch.from_numpy(chance.permutation(length) < max(1, length // 2))
    places = hidden.nonzero().squeeze(1)
    shown = written.masked_fill(hidden, mask_id)
    with torch.no_grad():
        found = masked_log_probs(POLICY, Masked(written[None], None, hidden[None])).values[0, places].double()
        logits = POLICY.logits(shown[None])[0, places].double()
    rows = torch.arange(len(places))
    torch.testing.assert_close(found, logits.log_softmax(-1)[rows, written[places]], rtol=1e-5, atol=1e-6)
    logits[:, mask_id] = -torch.inf  # as the sampler draws
    without = logits.log_softmax(-1)[rows, written[places]]
    torch.testing.assert_close(without - found, share(POLICY, shown, places), rtol=1e-3, atol=1e-6)


def test_the_measure_of_a_random_policy() -> None:
    text = {"max_new_tokens": 8, "block_length": 8, "steps": 4}
    config = build_config([("test", {"rollout": {"text": text, "understand": text}})])
    found = measure(POLICY, [toy_text_prompt(), toy_understand_prompt()], config)
    assert found["tokens"] >= 8 and 0 < found["of_a_ratio"] < found["mean"] < found["largest"] < 0.1
