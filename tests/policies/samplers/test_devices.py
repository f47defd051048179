"""What happens on an accelerator, without one: tensors of the meta device have shapes, and no values to ask for.

An operation over two devices raises, and so does a question to the device, such as ``item`` or ``nonzero``: a GPU's host
would wait there for all work that it was ahead of.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from benchmarks.policy import bench_policy
from benchmarks.speed.rollout import Shape
from policies.base import EncodedPrompt
from policies.files.uninitialised import empty_module
from policies.network.transformer import Transformer
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.image import _sample
from policies.samplers.text import _Canvas, _denoise, _Model
from rl.types import ImageSampling, TextSampling

DEVICE = "meta"
SMALL = Shape(d_model=32, n_layers=3, n_heads=2, mlp_hidden_size=64, codebook=64)
TEXT: dict[str, Any] = {"max_new_tokens": 16, "block_length": 8, "steps": 8}


def fake_policy(**config) -> MaskedDiffusionPolicy:
    policy = bench_policy(SMALL, 256, **config)
    policy.module = empty_module(partial(Transformer, policy.module.config), torch.float32, DEVICE)
    return policy


@pytest.mark.parametrize(
    ("own", "more"),
    [
        (None, {}),
        (None, {"cache": "prefix"}),
        (None, {"cache": "dual", "remasking": "entropy"}),
        (None, {"temperature": 0.0, "remasking": "margin"}),
        (None, {"top_p": 0.9, "top_k": 20, "repetition_penalty": 1.2, "remasking": "random"}),
        (4, {}),
        (None, {"schedule": "dream", "confidence": "drawn", "remask_temperature": 0.5, "cfg_scale": 1.0}),
        (None, {"confidence_eos_eot_inf": True, "logits_eos_inf": True}),
    ],
)
def test_steps_of_text_ask_a_device_for_nothing(own, more):
    with torch.inference_mode():
        policy = fake_policy(block_length=own)
        sampling = TextSampling(**TEXT, **more)
        model = _Model(policy, sampling, 3, 4)
        group = _Canvas(policy, [20, 21, 22, 23], [-1] * 15 + [30], [1, 2, 3], ())
        width = model.states.block_length
        for step in range(width // 2):
            assert _denoise(group, model, slice(0, width), step, (2, 0.0), left=width - 2 * step)
        assert group.ids.device.type == group.step_map.device.type == group.told.device.type == DEVICE


def test_with_a_threshold_a_step_has_to_ask():
    with torch.inference_mode():
        policy, sampling = fake_policy(), TextSampling(**TEXT, confidence_threshold=0.9)
        group = _Canvas(policy, [20, 21], [-1] * 16, [1, 2, 3], ())
        with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
            _denoise(group, _Model(policy, sampling, 3, 2), slice(0, 8), 0, (1, 0.0), left=None)


def test_a_device_that_is_asked_or_mixed_up_raises():
    """What the other tests rest on."""
    x = torch.zeros(2, 3, device=DEVICE)
    for ask in (x.sum().item, x.tolist, x.nonzero, lambda: x[x > 0], lambda: bool(x.any()), lambda: x + torch.ones(3)):
        with pytest.raises((NotImplementedError, RuntimeError)):
            ask()


@pytest.mark.parametrize("prefixes", [None, [(2, 20, 3), (2, 20, 21, 22, 3)]])
def test_a_whole_image_asks_a_device_for_nothing(prefixes):
    with torch.inference_mode():
        prompt = EncodedPrompt((2, 20, 21, 3), (6,), (2, 3), 16)
        sampling = ImageSampling(steps=4, guidance=2.0, remask_temperature=1.0)
        codes, step_map, told = _sample(fake_policy(), prompt, sampling, [1, 2], None, prefixes)
        assert codes.shape == step_map.shape == (2, 16) and codes.device.type == step_map.device.type == DEVICE
        assert told.shape == (2, 16, 2) and told.device.type == DEVICE
