"""A LoRA adapter travels alone, and what a worker makes of it is what the learner has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.learner.one_rank import make_learner
from cluster.learner.rank_group import RankGroup
from cluster.run.session import session
from cluster.weights.adapters import arrays
from cluster.weights.base import WIRES, Published, open_wire
from cluster.weights.digest import digest
from cluster.weights.payload import Payload
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
    module, wire = learner.policy.module, open_wire("object_store")
    payload = Payload(learner, 0, adapter=True, own_device=False)
    for version in (1, 2):  # the second is added to the base, not to the first
        for index, (_, layer) in enumerate(lora.adapters(module)):
            generator = torch.Generator().manual_seed(10 * version + index)
            layer.lora_b.data.normal_(0, 0.3, generator=generator)
        payload.collect()
        weights, (ref, body) = learner.weights(), wire.publish(payload, version)
        published = Published(ref, payload.base)
        assert sum(map(np.size, body.values())) < sum(map(np.size, weights.values())) / 4
        by_adapter.receive_weights(wire, published, body)
        whole.load_weights(WeightRef(version, digest(weights)), weights)
        for name, value in whole.policy.module.state_dict().items():
            assert torch.equal(by_adapter.policy.module.state_dict()[name], value), name
    assert by_adapter.rollout(toy_text_prompt(), ref, 0)[0].weight_version == 2
    whole.receive_weights(wire, published, body)  # after whole weights it finds its base again
    assert digest(arrays(whole.policy.module.state_dict())) == digest(weights)

    odd = {**body, "x.scale": np.ones((), np.float32)}
    for wrong, sent, told in (
        (replace(published, base="0" * 64), body, "belongs to another base"),
        (published, odd, "weights 2: digest"),
    ):
        with pytest.raises(WorkerError, match=told):
            by_adapter.receive_weights(wire, wrong, sent)
        with pytest.raises(WorkerError, match="has no weights"):
            by_adapter.rollout(toy_text_prompt(), ref, 0)


@pytest.mark.long
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("wire", [w if w == "object_store" else pytest.param(w, marks=pytest.mark.long) for w in WIRES])
def test_a_run_with_an_adapter_is_the_same_over_every_wire(home: Path, wire: str) -> None:
    """The adapter travels alone over each of them."""
    inline = make_config(home, *LORA, f"name=lora-inline-{wire}", "cluster.mode=inline")
    over_ray = make_config(home, *LORA, f"name=lora-{wire}", "cluster.mode=ray", f"cluster.weight_sync={wire}")
    with session(inline) as parts:
        expected, straight = run(inline, parts.workers, parts.learner)
        final = digest(parts.learner.weights())
    with session(over_ray) as parts:
        found, recorder = run(over_ray, parts.workers, parts.learner)
        assert isinstance(parts.learner, RankGroup)
        published, _ = parts.learner.publish(3)
        assert published.base is not None and published.ref.digest != final
        assert digest(parts.learner.weights()) == final
    assert found.weights.version == expected.weights.version and recorder.curve() == straight.curve()
