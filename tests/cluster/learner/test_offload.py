"""Memory that is given back and comes back: every bit, for every engine, and the views stay views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cluster.learner.parking import Parking, tensors_in
from cluster.weights.digest import digest
from cluster.workers.rollout import RolloutWorker
from rl.config import LearnerConfig
from rl.errors import WorkerError
from rl.learner.adamw8bit import AdamW8bit
from rl.learner.engine import Engine, TorchEngine
from rl.types import WeightRef
from tests.cluster.learner.test_deepspeed_engine import SETTINGS, deepspeed_engine, network, train, weights
from tests.cluster.runs import make_config
from tests.toys import toy_text_prompt

ENGINES: dict[str, Callable[[Path], Engine]] = {
    "torch": lambda folder: TorchEngine(network(), SETTINGS, 10),
    "8 bits": lambda folder: TorchEngine(network(), LearnerConfig(lr=1e-2, optimizer="adamw8bit"), 10),
    "bfloat16": lambda folder: deepspeed_engine(folder, 2, torch.bfloat16),
    **{f"stage {stage}": lambda folder, stage=stage: deepspeed_engine(folder, stage) for stage in range(4)},
}


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_slept_between_steps_goes_on_as_if_it_had_not(tmp_path: Path, name: str) -> None:
    straight, slept = ENGINES[name](tmp_path), ENGINES[name](tmp_path)
    train(straight, 0, 6)
    parking = Parking()
    train(slept, 0, 2)
    for low, high in ((3, 4), (4, 6)):
        given = parking.park(slept, "cpu")
        assert parking.parked and parking.park(slept, "cpu") == 0  # not twice
        numbers = sum(parameter.numel() for parameter in network().parameters())
        assert given >= numbers * 4 + numbers * (2 if name == "8 bits" else 8)  # weights, and two moments
        assert not any(held(tensor) for tensor in slept.module.parameters())
        parking.unpark()
        assert not parking.parked
        train(slept, low - 1 if low == 3 else low, high)
    assert torch.equal(weights(slept), weights(straight))


def held(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def test_views_stay_views_and_what_comes_anew_is_not_kept() -> None:
    flat = torch.arange(6.0)
    first, second, other = flat[:2], flat[2:], torch.ones(3)
    parking = Parking()
    assert parking.park({"parts": [first, second], "other": other}, "cpu", refilled=[other]) == 36
    assert held(flat) == held(other) == 0
    parking.unpark()
    assert second.tolist() == [2, 3, 4, 5] and held(other) == 12
    first.add_(1)
    assert flat.tolist() == [1, 2, 2, 3, 4, 5]
    assert Parking().park([flat], "cuda") == 0  # another device's


def test_gradients_and_optimizer_states_are_found() -> None:
    layer = torch.nn.Linear(300, 2)
    layer(torch.ones(300)).sum().backward()
    optimizer = AdamW8bit([{"params": list(layer.parameters())}], lr=0.1, betas=(0.9, 0.99))
    before = {id(tensor) for tensor in tensors_in(optimizer)}
    optimizer.step()
    found = list(tensors_in(optimizer))
    assert {id(layer.weight), id(layer.weight.grad), id(layer.bias)} <= before < {id(tensor) for tensor in found}
    state = [tensor for values in optimizer.state.values() for tensor in tensors_in(values)]
    assert state and {id(tensor) for tensor in state} <= {id(tensor) for tensor in found}


def test_a_rollout_worker_is_made_asleep_serves_when_it_has_weights_and_sleeps_again(home: Path) -> None:
    awake = RolloutWorker(make_config(home))
    sleeper = RolloutWorker(make_config(home, "cluster.mode=ray", "cluster.take_turns=true"))
    assert sleeper._parking.parked
    sleeper._parking.unpark()
    sent = {name: value.numpy() for name, value in awake.policy.module.state_dict().items()}
    sleeper.policy.module.load_state_dict(
        {k: v.clone() for k, v in sleeper.policy.module.state_dict().items()}, assign=True
    )
    sleeper.sleep()  # what was read from a file is a part of it on a CPU, and could not be given back
    ref, prompt = WeightRef(1, digest(sent)), toy_text_prompt()
    awake.load_weights(ref, sent)
    expected = awake.rollout(prompt, ref, seed=1)
    for _ in range(2):
        assert not any(held(value) for value in sleeper.policy.module.state_dict().values())
        with pytest.raises(WorkerError, match="has no weights"):
            sleeper.rollout(prompt, ref, seed=1)
        sleeper.load_weights(ref, sent)
        found = sleeper.rollout(prompt, ref, seed=1)
        assert [each.token_ids.tobytes() for each in found] == [each.token_ids.tobytes() for each in expected]
        assert sleeper.sleep() > 0
