"""Rows of sampling: what the card reaches, the row kernel, forward passes, and groups of rollouts, plain and compiled."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.policy import FIRST_PLAIN
from benchmarks.speed.gpu.card import Card
from benchmarks.speed.gpu.found import Found, Memory
from benchmarks.speed.gpu.predicted import memory_of_sampling
from cluster.plan.sizes import forward_flops, parameters
from policies.base import EncodedPrompt
from policies.network.compiled import compile_layers, missing
from policies.noise import uniforms
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from rl.types import ImageSampling, Sample, TextSampling

TEMPERATURE = 0.7  # of the row kernel's noise
Sampled = Callable[[], list[Sample]]


def rates(card: Card) -> Found:
    """What ``unigrpo plan --calibrate`` measures."""
    from cluster.cli.plan import rates as measured

    found = measured(card.device, card.work.calibrate_s, card.work.calibrate_width)
    return Found({"flops": found["flops"], "bandwidth": found["bandwidth"]}, {"dtype": found["dtype"]})


def kernel(card: Card) -> Found:
    """The row kernel against eager: seconds, and that both write the same tokens."""
    if not card.on_gpu:
        os.environ["TRITON_INTERPRET"] = "1"
    from policies.samplers.row_kernel import look
    from policies.samplers.tokens import look_eager

    measured, more = {}, {}
    for rows, vocabulary in card.work.kernel:
        generator = torch.Generator(card.device).manual_seed(0)
        logits = torch.randn(rows, vocabulary, device=card.device, generator=generator).mul_(4).to(card.dtype)
        noise = uniforms([0], 0, torch.arange(rows, device=card.device))[0]
        ours, eager = look(logits, noise, TEMPERATURE), look_eager(logits, noise, TEMPERATURE)
        name = f"{rows} x {vocabulary}"
        for side, each in (("kernel", look), ("eager", look_eager)):
            measured[f"{name}, {side}"] = card.seconds(partial(each, logits, noise, TEMPERATURE))
        more[name] = {
            "speedup": measured[f"{name}, eager"] / measured[f"{name}, kernel"],
            "same_tokens": float((ours.token == eager.token).double().mean()),
            "largest_difference": float((ours.probability - eager.probability).abs().max()),
            "bytes_per_s": logits.numel() * logits.element_size() / measured[f"{name}, kernel"],
        }
    return Found(measured, more)


def forward(card: Card, model: str) -> Found:
    """A pass and the logits of a block's rows."""
    policy, measured, rate = card.policy(model), {}, {}
    for batch, length in card.work.batches:
        name = f"{batch} x {length}"
        with torch.inference_mode():
            measured[name] = card.seconds(one_pass(card, policy, batch, length))
        flops = batch * forward_flops(policy.module.config, length, card.work.scored)
        rate[name] = flops / measured[name] / 1e12
    return Found(measured, {"parameters": parameters(policy.module.config), "tflops": rate})


def one_pass(card: Card, policy: MaskedDiffusionPolicy, batch: int, length: int) -> Callable[[], torch.Tensor]:
    ids, scored = card.ids(batch, length, policy.vocabulary.size), card.work.scored
    return lambda: policy.head(policy.hidden(ids)[:, -scored:], image=False)


def rollouts(card: Card, model: str) -> Found:
    """Groups of text, exact and with the dual cache, and of images with guidance."""
    policy, group = card.policy(model), card.work.group
    card.reset_peak()
    cases = groups(card, policy)
    measured = {name: card.seconds(sample, repeats=1) for name, sample in cases.items() if name == "text"}
    memory = {"sampling": Memory(memory_of_sampling(card.work, model, card.dtype_name, group), card.peak_bytes())}
    measured |= {name: card.seconds(sample, repeats=1) for name, sample in cases.items() if name != "text"}
    an_hour = {name: group / seconds * 3600 for name, seconds in measured.items()}
    return Found(measured, {"samples_per_hour": an_hour}, memory)


def groups(card: Card, policy: MaskedDiffusionPolicy) -> dict[str, Sampled]:
    """Each a call that samples one group."""
    work = card.work
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + work.prompt))
    drawn = EncodedPrompt(tuple(prompt), (6,), (2, 3), work.codes)
    text = TextSampling(work.new_tokens, work.scored, work.text_steps, temperature=1.0)
    draw = ImageSampling(work.image_steps, 3.5, temperature=1.0)
    seeds = list(range(work.group))
    return {
        "text": lambda: sample_text(policy, prompt, text, seeds),
        "text, dual cache": lambda: sample_text(policy, prompt, replace(text, cache="dual"), seeds),
        "images": lambda: sample_image(policy, drawn, draw, seeds),
    }


def compiled(card: Card, model: str) -> Found:
    """``policy.compile=true`` beside the same without it: passes and a group of text. The first pass compiles."""
    if (lacking := missing(card.device)) is not None:
        raise RuntimeError(f"torch.compile lacks {lacking}")
    policy, measured, more = card.policy(model), {}, dict[str, Any]()
    text = groups(card, policy)["text"]
    for on in (False, True):
        compile_layers(policy.module, on)
        side = "compiled" if on else "plain"
        with torch.inference_mode():
            for batch, length in card.work.batches:
                work = one_pass(card, policy, batch, length)
                first = card.once(work)
                measured[f"{batch} x {length}, {side}"] = card.seconds(work)
                more[f"{batch} x {length}, first {side}"] = first
        measured[f"text, {side}"] = card.seconds(text, repeats=1)
    compile_layers(policy.module, False)
    return Found(measured, more)
