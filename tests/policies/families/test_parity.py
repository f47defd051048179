"""Each family against numbers that its original code computed from the same weights: see golden/README.md."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from policies import generate_text, load_policy
from policies.policy import MaskedDiffusionPolicy
from tests.policies.originals import CONFIGS, GOLDEN, write_folder


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("families")

    @cache
    def load(name: str) -> MaskedDiffusionPolicy:
        return load_policy(write_folder(name, folder / name))

    return load


def recorded(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / f"{name}.npz"))


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_the_originals(policies, name):
    golden = recorded(name)
    with torch.no_grad():
        logits = policies(name).logits(torch.from_numpy(golden["ids"].astype(np.int64)))
    np.testing.assert_allclose(logits[:, golden["positions"], ::8].numpy(), golden["logits"], atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_selected_rows_are_the_originals(policies, name):
    """The path that samplers and losses take: masked rows only, through the trimmed last layer."""
    golden = recorded(name)
    ids = torch.from_numpy(golden["ids"].astype(np.int64))
    at = torch.from_numpy(golden["positions"].astype(np.int64))
    rows = torch.zeros_like(ids, dtype=torch.bool)
    rows[:, at] = ids[:, at] == CONFIGS[name]["mask_token_id"]
    with torch.no_grad():
        policy = policies(name)
        logits = policy.head(policy.hidden(ids, rows=rows), image=False)
    np.testing.assert_allclose(logits[:, ::8].numpy(), golden["logits"][rows[:, at].numpy()], atol=1e-5)


def test_padding_is_the_originals(policies):
    golden = recorded("mmada")
    ids = torch.from_numpy(golden["ids"].astype(np.int64))
    attention = torch.ones_like(ids, dtype=torch.bool)
    attention[1, 15:] = False
    with torch.no_grad():
        logits = policies("mmada").logits(ids, attention)
    np.testing.assert_allclose(logits[1, :15, ::8].numpy(), golden["padded"], atol=1e-5)


@pytest.mark.parametrize("name", ["llada", "mmada"])
def test_greedy_text_is_the_originals_token_for_token(policies, name):
    rows = json.loads((GOLDEN / "greedy_text.json").read_text())[name]
    sampling = {"max_new_tokens": 24, "block_length": 8, "steps": 12, "temperature": 0.0}
    samples = generate_text(policies(name), [row["prompt"] for row in rows], sampling, list(range(len(rows))))
    assert len(rows) == 20
    for row, sample in zip(rows, samples, strict=True):
        assert sample.token_ids.tolist() == row["response"]


def test_guided_image_logits_are_the_originals(policies):
    """The original pads on the left and hides the padding; rotary positions are relative, so ours needs none."""
    golden, policy = recorded("guided_image"), policies("mmada")
    t2i, bos, eos, soi, eoi = golden["special"].tolist()
    codes, rows = golden["codes"].tolist(), []
    for text in (golden["text"].tolist(), []):
        ids = torch.tensor([[t2i, bos, *text, eos, soi, *codes, eoi]])
        with torch.no_grad():
            rows.append(policy.head(policy.hidden(ids)[0, -17:-1], image=True))
    assert policy.vocabulary.image_offset == 300  # after the tokenizer's last token, as in the released checkpoints
    weight = float(golden["guidance"])
    guided = (1 + weight) * rows[0] - weight * rows[1]
    np.testing.assert_allclose(guided.numpy(), golden["logits"], atol=1e-4)
