"""Weights on their way: whatever changes in them changes their digest, and a worker serves what it was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cluster.weights.digest import copy_into, digest, require_finite, verify
from cluster.workers.rollout import RolloutWorker, group_seeds, group_size, sampling_for
from rl.config import Config
from rl.errors import TrainingError, WorkerError
from rl.types import Message, Prompt, Task, WeightRef
from tests.cluster.runs import make_config
from tests.toys import toy_text_prompt

WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.float32)}


def test_the_digest_is_of_the_content() -> None:
    assert digest(WEIGHTS) == digest({name: np.array(WEIGHTS[name]) for name in reversed(WEIGHTS)})
    strided = np.asfortranarray(WEIGHTS["a"])
    assert digest(WEIGHTS) == digest({**WEIGHTS, "a": strided})


@given(st.integers(0, 5), st.integers(0, 31))
def test_any_changed_bit_changes_the_digest(place: int, bit: int) -> None:
    changed = WEIGHTS["a"].copy()
    changed.view(np.uint32).flat[place] ^= np.uint32(1 << bit)
    assert digest({**WEIGHTS, "a": changed}) != digest(WEIGHTS)


@pytest.mark.parametrize(
    "other",
    [
        {"a": WEIGHTS["a"], "c": WEIGHTS["b"]},
        {"a": WEIGHTS["a"].reshape(3, 2), "b": WEIGHTS["b"]},
        {"a": WEIGHTS["a"], "b": np.zeros(3, np.int32)},
        {"a": WEIGHTS["a"]},
    ],
)
def test_names_shapes_and_types_are_in_the_digest(other: dict[str, np.ndarray]) -> None:
    assert digest(other) != digest(WEIGHTS)
    with pytest.raises(WorkerError, match="weights 3: digest"):
        verify(WeightRef(3, digest(WEIGHTS)), other)


def test_copy_into_a_module() -> None:
    module = torch.nn.Linear(3, 2)
    frozen = {"weight": WEIGHTS["a"].copy(), "bias": np.ones(2, np.float32)}
    for array in frozen.values():
        array.flags.writeable = False  # as from Ray's object store
    copy_into(module.state_dict(), frozen)
    assert torch.equal(module.weight, torch.from_numpy(WEIGHTS["a"]))
    with pytest.raises(WorkerError, match="1 names differ from the policy's, the first is 'bias'"):
        copy_into(module.state_dict(), {"weight": WEIGHTS["a"]})
    with pytest.raises(WorkerError, match=r"bias has shape \(3,\), the policy's has \(2,\)"):
        copy_into(module.state_dict(), {"weight": WEIGHTS["a"], "bias": WEIGHTS["b"]})


@pytest.fixture(scope="module")
def config(home: Path) -> Config:
    return make_config(home)


def served(worker: RolloutWorker, version: int) -> WeightRef:
    weights = {name: value.numpy().copy() for name, value in worker.policy.module.state_dict().items()}
    ref = WeightRef(version, digest(weights))
    worker.load_weights(ref, weights)
    return ref


def test_a_worker_serves_the_version_asked_for_and_no_other(config: Config) -> None:
    worker, prompt = RolloutWorker(config, "rollout worker 7"), toy_text_prompt()
    asked = WeightRef(1, "0" * 64)
    with pytest.raises(WorkerError, match="rollout worker 7: has no weights, was asked for .* at weights 1"):
        worker.rollout(prompt, asked, seed=0)
    current = served(worker, 1)
    assert {rollout.weight_version for rollout in worker.rollout(prompt, current, seed=0)} == {1}
    for stale in (WeightRef(0, current.digest), WeightRef(2, current.digest), asked):
        with pytest.raises(WorkerError, match=f"has weights 1, was asked for .* at weights {stale.version}"):
            worker.rollout(prompt, stale, seed=0)


def test_new_weights_replace_all_of_the_old(config: Config) -> None:
    """Weights are packed once a version: a worker that had others samples what a fresh one samples."""
    old, fresh, prompt = RolloutWorker(config), RolloutWorker(config), toy_text_prompt()
    old.rollout(prompt, served(old, 1), seed=0)
    generator = np.random.default_rng(0)
    weights = {
        name: generator.normal(0, 0.3, value.shape).astype(np.float32)
        for name, value in fresh.policy.module.state_dict().items()
    }
    ref, found = WeightRef(2, digest(weights)), []
    for worker in (old, fresh):
        worker.load_weights(ref, weights)
        found.append([rollout.token_ids.tolist() for rollout in worker.rollout(prompt, ref, seed=0)])
    assert found[0] == found[1]


def test_wrong_bytes_leave_a_worker_without_weights(config: Config) -> None:
    worker = RolloutWorker(config)
    current = served(worker, 1)
    weights = {name: value.numpy().copy() for name, value in worker.policy.module.state_dict().items()}
    next(iter(weights.values())).flat[0] += 1
    with pytest.raises(WorkerError, match="digest"):
        worker.load_weights(WeightRef(2, current.digest), weights)
    with pytest.raises(WorkerError, match="has no weights"):
        worker.rollout(toy_text_prompt(), current, seed=0)


def test_seeds_are_of_the_prompt_and_the_place_in_its_group() -> None:
    seeds = group_seeds(1, toy_text_prompt(0), 4)
    assert group_seeds(1, toy_text_prompt(0), 6)[:4] == seeds
    assert len({*seeds, *group_seeds(2, toy_text_prompt(0), 4), *group_seeds(1, toy_text_prompt(1), 4)}) == 12


def test_a_task_may_have_larger_groups(config: Config) -> None:
    part = replace(config.rollout, n_samples_per_prompt=4, n_samples_by_task={"draw": 7})
    prompts = [Prompt("p1", task, (Message("user", "draw"),)) for task in (Task.TEXT, Task.DRAW)]
    assert [group_size(part, prompt) for prompt in prompts] == [4, 7]
    assert [group_size(config.evaluation, prompt) for prompt in prompts] == [config.evaluation.n_samples_per_prompt] * 2
    worker = RolloutWorker(replace(config, rollout=replace(part, n_samples_by_task={"text": 3})))
    assert len(worker.rollout(toy_text_prompt(), served(worker, 1), seed=0)) == 3


def test_every_task_has_a_sampler(config: Config) -> None:
    for part in (config.rollout, config.evaluation):
        found = [sampling_for(part, Prompt("p1", task, (Message("user", "draw"),))) for task in Task]
        assert found == [part.text, part.understand, part.draw, part.think_draw]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_served_to_nobody(number: float) -> None:
    require_finite({"head": np.zeros(3, np.float32)}, 7)
    with pytest.raises(TrainingError, match="^weights 7: head holds a NaN or an infinity; they are not served"):
        require_finite({"body": np.zeros(2, np.float32), "head": np.array([0, number], np.float32)}, 7)
