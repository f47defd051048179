"""Who lives where: shares of GPUs, nodes, and the order of ranks."""

from __future__ import annotations

import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.actors.device import Device, this_device
from cluster.actors.resources import selected
from cluster.actors.waiting import kill
from cluster.learner.places import RankPlaces, check_devices, rank_order
from cluster.plan.layout import Layout, layout, nodes_for, rewards_apart, scorer_gpus, scorers
from rl.config import ClusterConfig, Config, PolicyConfig, build_config
from rl.errors import ConfigError, DeadlineError, WorkerError


def config(ranks: int = 1, workers: int = 2, device: str = "cuda", **cluster: object) -> Config:
    sizes = {"learner_ranks": ranks, "rollout_workers": workers, "reward_workers": 3, **cluster}
    return build_config([("test", {"policy": {"device": device}, "cluster": sizes})])


@settings(deadline=None)
@given(ranks=st.integers(1, 8), workers=st.integers(1, 40), spare=st.integers(0, 40))
def test_ranks_never_share_a_gpu_and_everybody_fits(ranks: int, workers: int, spare: int) -> None:
    gpus = ranks + spare
    cluster = ClusterConfig(learner_ranks=ranks, rollout_workers=workers)
    plan = layout(Config(policy=PolicyConfig(device="cuda"), cluster=cluster), gpus)
    assert plan.mode == ("disaggregated" if gpus >= ranks + workers else "colocated")
    assert plan.rank_gpus > 0.5
    free = [1.0 - plan.rank_gpus if gpu < ranks else 1.0 for gpu in range(gpus)]
    for _ in range(workers):  # Ray puts each where it fits
        gpu = max(range(gpus), key=lambda index: free[index])
        free[gpu] -= plan.worker_gpus
        assert free[gpu] > -1e-9


def test_a_layout_that_was_asked_for() -> None:
    together = config(2, 4, placement="colocated")
    assert layout(together, 16).mode == "colocated"  # though each could have its own
    assert layout(together) == Layout("colocated", 0.51, 0.245, 2, 2 * 2 + 4 + 3)
    assert layout(config(2, 4)) == Layout("disaggregated", 1, 1, 6, 2 * 2 + 4 + 3)
    assert layout(config(device="cpu"), 8).gpus == 0
    assert layout(config(2, 4, take_turns=True), 16).mode == "colocated"  # what only those who share can do
    assert layout(config(2, 4, weight_sync="ipc"), 16).mode == "colocated"
    with pytest.raises(
        ConfigError, match="placement=disaggregated: 2 ranks and 4 rollout workers need 6 GPUs, there are 5"
    ):
        layout(config(2, 4, placement="disaggregated"), 5)
    with pytest.raises(ConfigError, match="learner_ranks=3: the Ray cluster has 2 GPUs, and two ranks never share"):
        layout(config(3, 1), 2)


def test_nodes() -> None:
    assert nodes_for(config(4, 12), gpus_per_node=8, cpus_per_node=32).count == 2
    assert nodes_for(config(1, 60, "cpu"), gpus_per_node=8, cpus_per_node=16).count == 5  # 2 + 60 + 3 CPUs
    assert nodes_for(config(1, 60, "cpu"), gpus_per_node=8, cpus_per_node=16).gpus == 0
    with pytest.raises(ConfigError, match="needs 3 GPUs; give --gpus-per-node"):
        nodes_for(config(), gpus_per_node=0, cpus_per_node=16)
    with pytest.raises(ConfigError, match="one actor has 2 threads"):
        nodes_for(config(), gpus_per_node=8, cpus_per_node=1)


def test_scorers_have_gpus_of_their_own_where_one_is_asked_for() -> None:
    def with_rewards(**rewards: object) -> Config:
        cluster = {"scorer_workers": 4, "scorer_gpus": 0.5}
        return build_config([("test", {"policy": {"device": "cuda"}, "cluster": cluster, "rewards": rewards})])

    plain, apart = with_rewards(), with_rewards(scorers=["clip"])
    on_gpu = with_rewards(settings={"clip": {"model": "tiny", "device": "cuda"}})
    assert [scorers(each) for each in (plain, apart, on_gpu)] == [0, 4, 4]
    assert [scorer_gpus(each) for each in (plain, apart, on_gpu)] == [0, 0, 2]
    assert rewards_apart(on_gpu) == rewards_apart(apart) == {"clip"}
    assert layout(apart).cpus == layout(on_gpu).cpus == layout(plain).cpus + 4
    size = {"gpus_per_node": 1, "cpus_per_node": 64}
    assert nodes_for(on_gpu, **size).count == nodes_for(apart, **size).count + 2
    with pytest.raises(ConfigError, match="rewards.scorers='clipp': allowed: .*did you mean 'clip'"):
        with_rewards(scorers=["clipp"])
    with pytest.raises(ConfigError, match=r"cluster.scorer_gpus=1.5: must be a share of a GPU, or a whole number"):
        config(scorer_gpus=1.5)


def test_labels_reach_the_actors_that_they_are_for() -> None:
    plan = config(labels={"reward": {"pool": "cpu"}})
    assert selected(plan, "reward") == {"label_selector": {"pool": "cpu"}}
    assert selected(plan, "learner") == {}
    with pytest.raises(ConfigError, match="cluster.labels='rewards': allowed: rollout, reward, scorer, learner"):
        config(labels={"rewards": {"pool": "cpu"}})
    with pytest.raises(ConfigError, match="cluster.placement='apart': allowed"):
        config(placement="apart")


@given(st.permutations(["10.0.0.2", "10.0.0.10", "10.0.0.9", "10.0.0.10", "10.0.0.2"]))
def test_ranks_are_where_they_were_whatever_ray_gave_first(nodes: list[str]) -> None:
    ordered = [nodes[index] for index in rank_order(nodes)]
    assert ordered == ["10.0.0.2", "10.0.0.2", "10.0.0.9", "10.0.0.10", "10.0.0.10"]
    assert sorted(rank_order(nodes)) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("local_ray")
def test_places_are_reserved_together_and_given_back() -> None:
    two = config(2, 1, "cpu", start_deadline_s=20)
    for _ in range(2):  # what was not given back could not be had again: there are seven CPUs
        places = RankPlaces(two, {"num_cpus": 3, "num_gpus": 0})
        actors = [ray.remote(_Where).options(**places.options(rank)).remote() for rank in range(2)]
        devices = ray.get([actor.device.remote() for actor in actors], timeout=60)
        assert {device.gpus for device in devices} == {()}
        for actor in actors:
            kill(actor)
        places.close()
    elsewhere = RankPlaces(
        config(2, 1, "cpu", start_deadline_s=0.5), {"num_cpus": 1, "num_gpus": 0, "label_selector": {"pool": "gpu"}}
    )
    with pytest.raises(DeadlineError, match="learner_ranks=2: no room for all of them on nodes labelled"):
        elsewhere.options(0)
    assert RankPlaces(config(1, 1), {"num_cpus": 2}).options(0) == {"num_cpus": 2}


class _Where:
    def device(self) -> Device:
        return this_device()


def test_two_ranks_on_one_gpu_are_told_before_anything_loads() -> None:
    check_devices({"learner rank 0": Device("a", ("0",)), "learner rank 1": Device("b", ("0",))})
    with pytest.raises(WorkerError, match="learner rank 0 and learner rank 1 both have GPU 0 of a"):
        check_devices({"learner rank 0": Device("a", ("0",)), "learner rank 1": Device("a", ("0",))})
    with pytest.raises(WorkerError, match="learner rank 0 on a sees no GPU"):
        check_devices({"learner rank 0": Device("a", ())})
    with pytest.raises(WorkerError, match="learner rank 0 on a sees 0, 1"):
        check_devices({"learner rank 0": Device("a", ("0", "1"))})
