"""What a forward pass is compared with is what it multiplies."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.policy import bench_policy
from benchmarks.speed.forward import KINDS, products, run
from tests.benchmarks.test_rollout import SMALL


def test_the_plain_products_are_those_of_a_pass() -> None:
    policy = bench_policy(SMALL, 256)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        policy.logits(torch.randint(0, 256, (3, 7)))
    shapes = products(policy, 3, 7)
    assert 2 * sum(torch.Size(left).numel() * right[-1] for left, right in shapes) == counter.get_total_flops()


@pytest.mark.long
def test_a_pass_is_measured_and_accounted_for() -> None:
    lines: list[str] = []
    result = run(2, SMALL, vocabularies=(256,), batches=((1, 8), (2, 8)), log=lines.append)
    assert [(case["batch"], case["length"]) for case in result["cases"]] == [(1, 8), (2, 8)]
    for case in result["cases"]:
        assert case["share"] > 0 and len(case["plain_cpu_s"]) == len(case["forward_cpu_s"]) == 2
        assert set(case["spent"]) == {*KINDS, "other"} and abs(sum(case["spent"].values()) - 1) < 0.01
        assert case["spent"]["products"] > 0
    assert len(lines) == 2
