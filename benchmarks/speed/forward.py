"""A forward pass against the plain matrix products in it: the same shapes, on the same core, taking turns.

``plain`` multiplies random matrices of each product's shape with torch.mm and torch.bmm, and does nothing else. ``forward``
is a sampler's pass: packed weights, final states of all rows, and their logits. ``share`` is plain over forward: how much
of a plain product's rate the whole pass reaches. It can pass 1, since packed weights are read faster than plain ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.policy import FIRST_PLAIN, bench_policy
from benchmarks.speed.rollout import Shape
from benchmarks.timing import one_thread, turns
from policies.network.prepacked_weights import packed
from policies.policy import MaskedDiffusionPolicy

BATCHES = ((1, 32), (1, 128), (8, 128))
ROWS = 1280  # in one turn, in as many passes as that takes
KINDS = {  # of the operators that the profiler names: the first that is in the name
    "products": ("linear_pointwise", "mm", "linear"),
    "attention": ("scaled_dot_product",),
    "packing": ("reorder_linear_weight",),
    "norms": ("rms_norm", "pow", "rsqrt", "mean", "sum"),
    "gate": ("silu",),
    "copies": ("cat", "copy_", "index", "embedding", "gather"),
    "arithmetic": ("mul", "add", "neg", "sub"),
}


def run(
    repeats: int = 5,
    shape: Shape | None = None,
    vocabularies: Sequence[int] = (4096,),
    batches: Sequence[tuple[int, int]] = BATCHES,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All cases, as what ``unigrpo bench forward`` writes. One thread."""
    shape, cases = shape or Shape(), []
    with one_thread(), torch.inference_mode():
        for vocabulary in vocabularies:
            policy = bench_policy(shape, vocabulary)
            for batch, length in batches:
                cases.append({"vocabulary": vocabulary, **_case(policy, batch, length, repeats)})
                log(_line(cases[-1]))
    return {"bench": "forward", "torch": torch.__version__, "threads": 1, "shape": asdict(shape), "cases": cases}


def products(policy: MaskedDiffusionPolicy, batch: int, length: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of both factors of every matrix product in a pass over [batch, length], the head's with it."""
    rows, found = batch * length, []
    for module in policy.module.modules():
        if isinstance(module, torch.nn.Linear):
            found.append(((rows, module.in_features), (module.in_features, module.out_features)))
    config = policy.module.config
    heads, size = batch * config.n_heads, config.head_size
    attention = [((heads, length, size), (heads, size, length)), ((heads, length, length), (heads, length, size))]
    return found + attention * config.n_layers


def plain_pass(shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], passes: int = 1) -> Callable[[int], None]:
    """A turn: each product, ``passes`` times. Right factors lie as linear layers keep their weights."""
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for left, right in shapes:
        transposed = torch.randn(*right[:-2], right[-1], right[-2], generator=generator)
        pairs.append((torch.randn(*left, generator=generator), transposed.transpose(-1, -2)))

    def plain(turn: int) -> None:
        for _ in range(passes):
            for left, right in pairs:
                torch.matmul(left, right)

    return plain


def forward_pass(policy: MaskedDiffusionPolicy, ids: torch.Tensor, passes: int = 1) -> Callable[[int], None]:
    def forward(turn: int) -> None:
        for _ in range(passes):
            policy.head(policy.hidden(ids), image=False)

    return forward


def _case(policy: MaskedDiffusionPolicy, batch: int, length: int, repeats: int) -> dict[str, Any]:
    shapes = products(policy, batch, length)
    passes = max(1, ROWS // (batch * length))
    flops = 2 * sum(torch.Size(left).numel() * right[-1] for left, right in shapes) * passes
    ids = torch.randint(FIRST_PLAIN, policy.vocabulary.size, (batch, length))
    with packed(policy.module):
        plain, forward = plain_pass(shapes, passes), forward_pass(policy, ids, passes)
        plain(0)
        forward(0)
        plain_s, forward_s = zip(*turns((plain, forward), repeats), strict=True)
        spent = account(forward)
    return {
        "batch": batch,
        "length": length,
        "plain_cpu_s": list(plain_s),
        "forward_cpu_s": list(forward_s),
        "plain_gflops": flops / median(plain_s) / 1e9,
        "forward_gflops": flops / median(forward_s) / 1e9,
        "share": median(first / second for first, second in zip(plain_s, forward_s, strict=True)),
        "spent": spent,
    }


def account(side: Callable[[int], None]) -> dict[str, float]:
    """Share of a pass's time in each kind of operator, by torch's profiler; ``other`` is the rest of what it saw."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        side(0)
    times = dict.fromkeys((*KINDS, "other"), 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, names in KINDS.items() if any(name in event.key for name in names)), "other")
        times[kind] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: round(time / total, 4) for kind, time in times.items()}


def _line(case: dict[str, Any]) -> str:
    spent = ", ".join(f"{kind} {share:.0%}" for kind, share in case["spent"].items() if share >= 0.005)
    return (
        f"forward of [{case['batch']}, {case['length']}], vocabulary {case['vocabulary']:,}: "
        f"{case['forward_gflops']:.0f} GFLOP/s against {case['plain_gflops']:.0f} of plain products: "
        f"{case['share']:.0%} ({spent})"
    )
