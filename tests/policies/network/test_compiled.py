"""``policy.compile``: other kernels, the same states; and what it needs is asked for before a run."""

from __future__ import annotations

import copy

import pytest
import torch
import torch._inductor.config

from benchmarks.policy import bench_policy
from benchmarks.speed.rollout import Shape
from cluster.run.preflight import check_device
from policies.network import compiled
from policies.network.prepacked_weights import packed
from rl.config import PolicyConfig
from rl.errors import ConfigError

# What torch asks a compiler about this machine's vectors takes longer than the kernels of the test.
QUICK = {"cpp.vec_isa_ok": True, "compile_threads": 1}
SMALL = Shape(d_model=32, n_layers=4, n_heads=2, mlp_hidden_size=64, codebook=0)


@pytest.mark.long
def test_compiled_layers_give_the_same_states() -> None:
    policy = bench_policy(SMALL, 64)
    ids = torch.randint(0, 64, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch._inductor.config.patch(QUICK), torch.inference_mode():
        expected = policy.hidden(ids)
        module = copy.deepcopy(policy.module)
        compiled.compile_layers(module)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        with packed(module):
            assert not any("forward" in layer.__dict__ for layer in module.modules())
            torch.testing.assert_close(module(ids), expected, rtol=1e-5, atol=1e-5)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs + 2  # one a part, not one a layer
    assert compiled.is_compiled(module) and not compiled.is_compiled(policy.module)


def test_without_a_compiler_a_run_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    check_device(PolicyConfig(compile=True))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"policy.compile=true: torch.compile finds no C\+\+ compiler \(g\+\+"):
        check_device(PolicyConfig(compile=True))
    check_device(PolicyConfig())
