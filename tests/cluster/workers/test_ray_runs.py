"""Over Ray and in one process, with one worker or three, with or without accidents: the same bits."""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from cluster.actors.faults import KILL, FaultPlan
from cluster.actors.resources import place
from cluster.actors.waiting import result
from cluster.learner.one_rank import FrozenLearner, make_learner
from cluster.learner.rank_group import RankGroup
from cluster.run.session import Session, session
from cluster.weights.base import open_wire
from cluster.weights.digest import digest
from cluster.weights.fingerprint import fingerprint
from cluster.workers.actors import RolloutActor
from cluster.workers.call_sizes import CallSizes
from cluster.workers.inline import InlineWorkers
from cluster.workers.on_ray import RayWorkers
from rl.config import Config
from rl.errors import PolicyError, WorkerError
from rl.prepare import prepare
from rl.types import Group, Prompt, ScoreStatus, StepReport, WeightRef
from tests.cluster.runs import PROMPTS, make_config, run, same
from tests.toys import toy_text_prompt

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def config(home: Path) -> Config:
    return make_config(home, "cluster.mode=ray")


@pytest.fixture(scope="module")
def expected(config: Config) -> list[Group]:
    """What these prompts give, sampled and scored in this process."""
    workers = InlineWorkers(config)
    return workers.rollout_and_score(PROMPTS, workers.update_weights(FrozenLearner(config), 3), seed=11)


HINTED = [
    replace(toy_text_prompt(index), solution=f"<think>{index}+1</think>{index}", hinted=2 + index) for index in range(2)
]


@pytest.fixture(scope="module")
def live(home: Path) -> Iterator[Session]:
    """Three rollout workers, one reward worker, one learner rank: started once for the tests below."""
    with session(make_config(home, "cluster.mode=ray", "cluster.rollout_workers=3")) as parts:
        yield parts


def process_of(actor: Any) -> int:
    return ray.get(actor.__ray_call__.remote(lambda self: os.getpid()), timeout=60)


def test_a_run_is_the_same_over_ray_and_in_one_process_and_resumes_between_them(home: Path, live: Session) -> None:
    """Three steps in one process; the same over Ray; and the third again, in one process from what Ray saved."""
    inline = make_config(home, "name=inline", "steps=3")
    with session(inline) as parts:
        expected, straight = run(inline, parts.workers, parts.learner)
    over_ray = make_config(home, "name=ray", "steps=3", "save_freq=2", "keep_checkpoints=9", "cluster.mode=ray")
    found, recorder = run(over_ray, live.workers, live.learner)
    assert found.weights == expected.weights
    assert recorder.curve() == straight.curve()
    assert recorder.ended == ["FINISHED"]
    assert straight.logged[1]["actor/first_ratio_error"] < 1e-5
    rewards = [straight.logged[step]["critic/rewards/mean"] for step in (1, 2, 3)]
    assert len(set(rewards)) == 3 and straight.logged[3]["actor/grad_norm"] > 0  # something is learned

    middle = home / "ray" / "checkpoints" / "global_step_2"
    rest = make_config(home, "name=rest", "steps=3", "resume_mode=path", f"resume_path={middle}")
    with session(rest) as parts:
        resumed, again = run(rest, parts.workers, parts.learner)
    assert sorted(again.logged) == [3]
    assert again.curve()[3] == straight.curve()[3]
    assert resumed.weights == expected.weights


def test_three_workers_give_the_same_as_this_process(live: Session, config: Config, expected: list[Group]) -> None:
    weights = live.workers.update_weights(FrozenLearner(config), 3)
    groups = live.workers.rollout_and_score(PROMPTS, weights, seed=11)
    assert same(groups, expected)
    assert {rollout.weight_version for group in groups for rollout in group.rollouts} == {3}
    assert not same(live.workers.rollout_and_score(PROMPTS, weights, seed=12), expected)
    inline = InlineWorkers(config)
    hinted = inline.rollout_and_score(HINTED, inline.update_weights(FrozenLearner(config), 3), seed=11)
    assert [len(group.rollouts) for group in hinted] == [2, 3]
    assert same(live.workers.rollout_and_score(HINTED, weights, seed=11), hinted)
    held_out = live.workers.rollout_and_score(PROMPTS, weights, seed=11, evaluate=True)
    assert [len(group.rollouts) for group in held_out] == [1] * len(PROMPTS)
    timings = live.workers.timings()
    assert timings["timing_s/gen"] > 0 and timings["perf/exposed_reward_s"] >= 0


@pytest.mark.long
def test_three_workers_two_of_them_killed_give_the_same(
    live: Session, config: Config, expected: list[Group], caplog: pytest.LogCaptureFixture
) -> None:
    three = live.workers
    assert isinstance(three, RayWorkers)
    weights = three.update_weights(FrozenLearner(config), 3)
    assert same(three.rollout_and_score(PROMPTS, weights, seed=11), expected)
    for worker in (
        three.rollouts.supervisor.workers[0],
        three.rollouts.supervisor.workers[2],
        three.scoring.rewards.supervisor.workers[0],
    ):
        os.kill(process_of(worker.actor), signal.SIGKILL)
    assert same(three.rollout_and_score(PROMPTS, weights, seed=11), expected)
    assert three.timings()["perf/worker_restarts"] == 3
    assert "rollout worker 2 was lost" in caplog.text and "reward worker 0 was lost" in caplog.text


@pytest.mark.long
def test_rewards_on_model_reward_workers_give_the_same_also_where_one_is_killed(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two kinds of worker score one group, and nobody loads what the other has."""
    mix = "{text: {custom: 1.0, length: 0.1}, understand: {length: 1.0}, draw: {custom: 1.0}}"
    settings = ("rewards.settings={length: {longest: 6, buffer: 4}}", f"rewards.mix={mix}", "rewards.scorers=[custom]")
    inline = make_config(home, *settings)
    one = InlineWorkers(inline)
    expected = one.rollout_and_score(PROMPTS, one.update_weights(FrozenLearner(inline), 3), seed=11)
    assert len({score.value for group in expected for score in group.scores}) > 4
    config = make_config(home, "cluster.mode=ray", *settings)
    two = RayWorkers(config, place(config), FaultPlan().at(4, "model reward worker 0", KILL))
    try:
        two.wait_ready()
        weights = two.update_weights(FrozenLearner(config), 3)
        assert same(two.rollout_and_score(PROMPTS, weights, seed=11), expected)
        assert two.timings()["perf/worker_restarts"] == 1 and "model reward worker 0 was lost" in caplog.text
        two.sampling_sizes = two.scoring.sizes = two.scoring.model_sizes = OneCall(0.0)
        assert same(two.rollout_and_score(PROMPTS, weights, seed=11), expected)
        assert {state.name for state in two.states()} == {
            "rollout worker 0",
            "reward worker 0",
            "model reward worker 0",
        }
    finally:
        two.close()


class OneCall(CallSizes):
    """All groups in one call, whatever they take."""

    def calls(self, prompts: Sequence[Prompt], evaluate: bool, workers: int | None = None) -> list[tuple[int, ...]]:
        return [tuple(range(len(prompts)))] if prompts else []


@pytest.mark.long
def test_a_function_that_never_returns_costs_its_group_and_not_the_run(home: Path, expected: list[Group]) -> None:
    """Unisolated, it keeps its worker: the deadline ends that one. Groups that were in one call with it are scored one by
    one after that; alone it keeps one worker more, its scores are ``timeout``, and the next group is scored by a new one."""
    endless = home / "endless.py"
    endless.write_text(
        "def reward(completions, ids, **columns):\n"
        f"    while ids[0] == {PROMPTS[1].id!r}:\n        pass\n"
        "    return [float(len(text)) for text in completions]\n"
    )
    custom = ("cluster.mode=ray", f"custom_reward_function.path={endless}", "cluster.reward_deadline_s=4")
    config = make_config(home, *custom)
    workers = RayWorkers(config, place(config))
    try:
        workers.wait_ready()
        workers.sampling_sizes = workers.scoring.sizes = OneCall(0.0)
        groups = workers.rollout_and_score(PROMPTS[:3], workers.update_weights(FrozenLearner(config), 3), seed=11)
        assert workers.timings()["perf/worker_restarts"] == 2
    finally:
        workers.close()
    assert [group.rollouts[0].token_ids.tolist() for group in groups] == [
        group.rollouts[0].token_ids.tolist() for group in expected[:3]
    ]
    hung = groups[1].scores
    assert all(score.status == ScoreStatus.TIMEOUT and math.isnan(score.value) for score in hung)
    assert f"scoring {PROMPTS[1].id}" in hung[0].detail and "isolate=true" in hung[0].detail
    assert {score.status for group in (groups[0], groups[2]) for score in group.scores} == {ScoreStatus.OK}


def test_a_stale_version_is_refused_by_the_worker_itself(live: Session, config: Config) -> None:
    assert isinstance(live.workers, RayWorkers)
    old = live.workers.update_weights(FrozenLearner(config), 3)
    new = live.workers.update_weights(FrozenLearner(config), 4)
    worker = live.workers.rollouts.supervisor.idle[0]  # another may still be starting, after what was done to it above
    with pytest.raises(WorkerError, match=f"{worker.name}: has weights 4, was asked for .* at weights 3"):
        result(worker.actor.rollout.remote(PROMPTS[:1], old, 11, False), worker.name, "sampling")
    (group,) = result(worker.actor.rollout.remote(PROMPTS[:1], new, 11, False), worker.name, "sampling")
    assert len(group.value) == 4
    with pytest.raises(WorkerError, match="weights 3: the workers serve 4; call update_weights first"):
        live.workers.rollout_and_score(PROMPTS, old, seed=11)


def use_wire(rank: Any, name: str, own_device: bool) -> None:
    """On a rank's actor."""
    rank._wire, rank._own_device, rank._made_payload = open_wire(name), own_device, None


@pytest.mark.long
def test_two_ranks_learn_as_one_and_end_together(
    home: Path, live: Session, expected: list[Group], tmp_path: Path
) -> None:
    """ZeRO 3 on two ranks beside one rank in this process, which then goes on from what the two saved. A worker gets the
    weights that no rank has whole, gathered one by one while they travel."""
    settings = ("learner.zero_stage=3",)
    config = make_config(home, *settings)
    batches = [prepare(expected, config, step, weight_version=3) for step in range(3)]
    single = make_learner(config)
    alone = [single.update(batch) for batch in batches]
    two = make_config(home, "name=two", "cluster.mode=ray", "cluster.learner_ranks=2", *settings)
    group = RankGroup(two, place(two))
    try:
        group.wait_ready()
        together = [group.update(batch) for batch in batches[:2]]
        group.save(tmp_path)
        middle = group.weights()
        together.append(group.update(batches[2]))
        final = group.weights()
        assert isinstance(live.workers, RayWorkers)
        worker = live.workers.rollouts.supervisor.workers[0].actor
        on_host, on_device = digest(final), fingerprint({name: torch.from_numpy(each) for name, each in final.items()})
        for name, own_device, expected_digest in (
            ("object_store", False, on_host),
            ("collective", False, on_host),
            ("collective", True, on_device),  # as between GPUs, but for what carries it
            ("ipc", False, on_device),
        ):
            for rank in group._calls.actors.values():
                ray.get(rank.__ray_call__.remote(use_wire, name, own_device), timeout=60)
            published, body = group.publish(4)
            assert published.ref == WeightRef(4, expected_digest), name
            (call,) = open_wire(name).deliver(group, [worker], published, body)
            result(call, "rollout worker 0", "receiving")  # it has checked the digest of what came
        os.kill(process_of(group._calls.actors["learner rank 1"]), signal.SIGKILL)
        with pytest.raises(WorkerError, match="learner rank 1 was lost, training"):
            group.update(batches[0])
    finally:
        group.close()
    for one_rank, two_ranks in zip(alone, together, strict=True):
        assert_same_report(one_rank, two_ranks)
    for name, value in single.weights().items():
        np.testing.assert_allclose(
            final[name], value, atol=1e-4, err_msg=name
        )  # AdamW divides tiny gradients by as tiny ones

    resumed = make_learner(config)
    resumed.load(tmp_path)
    for name, value in resumed.weights().items():
        np.testing.assert_array_equal(middle[name], value, err_msg=name)
    assert_same_report(resumed.update(batches[2]), together[2])


@pytest.mark.parametrize(
    "settings",
    [("cluster.take_turns=true",), pytest.param(("cluster.weight_sync=ipc",), marks=pytest.mark.long)],
)
@pytest.mark.long
def test_on_one_device_in_turn_or_from_each_others_memory_with_a_worker_killed(
    home: Path, settings: tuple[str, ...]
) -> None:
    inline = make_config(home, f"name=alone-{settings[0]}", "steps=2")
    with session(inline) as parts:
        expected, straight = run(inline, parts.workers, parts.learner)
    config = make_config(home, f"name={settings[0]}", "steps=2", "save_freq=1", "cluster.mode=ray", *settings)
    faults = FaultPlan().at(2, "rollout worker 0", KILL)
    with session(config, faults=faults) as parts:
        found, recorder = run(config, parts.workers, parts.learner)
        assert found.weights.version == expected.weights.version
        assert recorder.curve() == straight.curve()
        weights, alone = parts.learner.weights(), parts.workers
        assert digest(weights) == expected.weights.digest
        assert isinstance(alone, RayWorkers) and alone.rollouts.restarts == 1
        assert isinstance(parts.learner, RankGroup)
        worker, rank = alone.rollouts.supervisor.workers[0].actor, parts.learner._calls.actors["learner rank 0"]

        def worker_offloaded() -> bool:
            return ray.get(worker.__ray_call__.remote(lambda self: self._made._memory.offloaded), timeout=60)

        def rank_offloaded() -> bool:
            return ray.get(rank.__ray_call__.remote(lambda self: self._memory.offloaded), timeout=60)

        turns = alone.turns is not None
        assert (worker_offloaded(), rank_offloaded()) == (turns, False)  # the learner was asked last
        alone.rollout_and_score(PROMPTS, alone.update_weights(parts.learner, 9), seed=1)
        assert (worker_offloaded(), rank_offloaded()) == (False, turns)


@pytest.mark.long
def test_what_is_in_flight_when_new_weights_come_starts_again_at_those_also_where_its_worker_dies(home: Path) -> None:
    config = make_config(home, "cluster.mode=ray", "cluster.in_flight=restart")
    inline, learner = InlineWorkers(config), FrozenLearner(config)
    expected = {
        version: inline.rollout_and_score(PROMPTS, inline.update_weights(learner, version), seed=11)
        for version in (3, 4)
    }
    workers = RayWorkers(config, place(config))
    try:
        workers.wait_ready()
        number = workers.begin(PROMPTS, workers.update_weights(learner, 3), seed=11)
        while not workers.batches[number]._rollouts:
            ray.wait(workers.refs(), num_returns=1, timeout=60)
            workers.drive()
        newer = workers.update_weights(learner, 4)
        pid = workers.rollouts.supervisor.pid(workers.rollouts.supervisor.workers[0])
        assert pid is not None and any(running.recalled for running in workers.rollouts.dispatcher.running.values())
        os.kill(pid, signal.SIGKILL)  # in the middle of what nobody wants any more
        groups = workers.finish(number)
        assert workers.rollouts.restarts == 1
        versions = [{rollout.weight_version for rollout in group.rollouts} for group in groups]
        assert all(len(each) == 1 for each in versions) and set().union(*versions) == {3, 4}
        for place_, (group, (version,)) in enumerate(zip(groups, versions, strict=True)):
            assert same([group], [expected[version][place_]])
        assert set(workers.rollouts.preparations.keys()) == {newer}  # nobody needs the older weights
    finally:
        workers.close()


def assert_same_report(left: StepReport, right: StepReport) -> None:
    for name in ("actor/pg_loss", "actor/kl_loss", "actor/ppo_kl", "actor/entropy", "actor/grad_norm"):
        assert math.isclose(left.metrics[name], right.metrics[name], rel_tol=1e-5, abs_tol=1e-5), name


def test_an_actor_tells_what_it_cannot_load_with_a_call(home: Path) -> None:
    broken = home / "broken"
    shutil.copytree(make_config(home).policy.path, broken, dirs_exist_ok=True)
    (broken / "model.safetensors").write_bytes(b"not weights")
    config = make_config(home, f"policy.path={broken}")
    actor = RolloutActor(config, "rollout worker 0", os.getcwd())
    for _ in range(2):  # and again: a replacement is told to load weights, not to get ready
        with pytest.raises(PolicyError, match="broken/model.safetensors: not a whole safetensors file"):
            actor.ready()
