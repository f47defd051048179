"""A LoRA adapter travels alone, and what a worker makes of it is what the learner has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from cluster.learner.one_rank import make_learner
from cluster.learner.rank_group import RankGroup
from cluster.run.session import session
from cluster.weights.adapters import AdapterWeights, adapter_weights, arrays
from cluster.weights.digest import digest
from cluster.workers.rollout import RolloutWorker
from policies import lora
from rl.errors import WorkerError
from rl.types import WeightRef
from tests.cluster.runs import make_config, run
from tests.toys import toy_text_prompt

LORA = ("learner.lora.rank=2", "learner.engine=torch")


def test_a_worker_merges_what_the_learner_would_have_sent(home: Path) -> None:
    config = make_config(home, *LORA)
    learner, by_adapter, whole = make_learner(config), RolloutWorker(config), RolloutWorker(config)
    module = learner.policy.module
    base = digest(arrays(lora.base_state(module)))
    for version in (1, 2):  # the second is added to the base, not to the first
        for index, (_, layer) in enumerate(lora.adapters(module)):
            generator = torch.Generator().manual_seed(10 * version + index)
            layer.lora_b.data.normal_(0, 0.3, generator=generator)
        weights, adapter = learner.weights(), adapter_weights(module, base)
        ref = WeightRef(version, digest(weights))
        assert sum(map(np.size, adapter.tensors.values())) < sum(map(np.size, weights.values())) / 4
        by_adapter.load_weights(ref, adapter)
        whole.load_weights(ref, weights)
        for name, value in whole.policy.module.state_dict().items():
            assert torch.equal(by_adapter.policy.module.state_dict()[name], value), name
    assert by_adapter.rollout(toy_text_prompt(), ref, 0)[0].weight_version == 2
    whole.load_weights(ref, adapter)  # after whole weights it finds its base again
    assert digest(arrays(whole.policy.module.state_dict())) == ref.digest

    odd = AdapterWeights({**adapter.tensors, "x.scale": np.ones((), np.float32)}, adapter.digest, base)
    for wrong, told in ((replace(adapter, base="0" * 64), "belongs to another base"), (odd, "weights 2: digest")):
        with pytest.raises(WorkerError, match=told):
            by_adapter.load_weights(ref, wrong)
        with pytest.raises(WorkerError, match="has no weights"):
            by_adapter.rollout(toy_text_prompt(), ref, 0)


@pytest.mark.usefixtures("local_ray")
def test_a_run_with_an_adapter_is_the_same_over_ray(home: Path) -> None:
    inline, over_ray = (
        make_config(home, *LORA, f"name=lora-{mode}", f"cluster.mode={mode}") for mode in ("inline", "ray")
    )
    with session(inline) as parts:
        expected, straight = run(inline, parts.workers, parts.learner)
    with session(over_ray) as parts:
        found, recorder = run(over_ray, parts.workers, parts.learner)
        assert isinstance(parts.learner, RankGroup)
        _, stored = parts.learner.publish(3)
        assert isinstance(ray.get(stored, timeout=60), AdapterWeights)
    assert found.weights == expected.weights and recorder.curve() == straight.curve()
