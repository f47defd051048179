"""Workers over Ray: pools that sample and that score, driven by one loop.

The groups do not depend on how many workers there are, on which of them did what, or on which died meanwhile.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from cluster.actors.call import Call, WorkerState
from cluster.actors.faults import FaultPlan
from cluster.actors.heartbeat import OPTIONS
from cluster.actors.pool import ActorPool
from cluster.actors.resources import Placement
from cluster.actors.supervisor import PoolSettings
from cluster.learner.rank_group import RankGroup
from cluster.learner.turns import Turns
from cluster.plan.layout import scorers
from cluster.weights.base import DEFAULT, WIRES, Published, WeightWire, open_wire
from cluster.weights.digest import digest, require_finite
from cluster.workers.actors import ModelRewardActor, RewardActor, RolloutActor
from cluster.workers.batch_in_flight import BatchInFlight
from cluster.workers.call_sizes import SAMPLING_S, CallSizes
from cluster.workers.score_calls import ToScore, named
from cluster.workers.scoring import Scoring
from rl.config import Config
from rl.errors import WorkerError
from rl.protocols import Learner
from rl.types import Group, Prompt, WeightRef

CROWD = 64  # so many calls in hand are looked at one by one
GATHER_S = 5e-5  # a call in hand, that more results may come before all of them are looked at: 50 ms of a thousand


class RayWorkers:
    """Implements ``rl.protocols.RunsAhead``. Starts its actors at once; ``wait_ready`` waits until they serve.

    A batch is sampled at the version it was begun with, also when a newer one is served meanwhile: weights are kept as
    long as a batch needs them, and a worker loads a version before its first call that does. With
    ``cluster.in_flight=restart`` what is not sampled by then is sampled at the newer one.

    faults: of tests. rollouts: the pool that samples; pools: all. batches: those in flight, by number. sampling_sizes: of
    the calls that sample. turns: with the learner, where they share devices.
    """

    def __init__(self, config: Config, placement: Placement, faults: FaultPlan | None = None) -> None:
        self._config, self._faults, cluster = config, faults or FaultPlan(), config.cluster
        count, deadline_s = cluster.rollout_workers, cluster.rollout_deadline_s
        self.rollouts = self._pool("rollout worker", self.rollout_actors(config, placement), count, deadline_s)
        count, deadline_s = cluster.reward_workers, cluster.reward_deadline_s
        rewards = self._pool("reward worker", self.reward_actors(config, placement), count, deadline_s)
        create = self.model_reward_actors(config, placement)
        model_rewards = self._pool("model reward worker", create, scorers(config), deadline_s)
        self.scoring = Scoring(config, model_rewards, rewards)
        self.pools = (self.rollouts, model_rewards, rewards)
        self.sampling_sizes = CallSizes(SAMPLING_S)
        self._restart_in_flight = cluster.in_flight == "restart"
        self._served: WeightRef | None = None
        self._wire = open_wire(cluster.weight_sync)
        self.turns: Turns | None = None
        self.batches: dict[int, BatchInFlight] = {}
        self._numbers = itertools.count()
        self._timings: dict[str, float] = {}

    def take_turns(self, learner: RankGroup) -> Turns:
        """From now on, with a learner on the same devices."""
        self.turns = Turns(self.rollouts, learner)
        return self.turns

    def rollout_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        """What starts the actor of an index: the one thing that a simulation changes (``benchmarks.speed.scale``)."""
        actor = ray.remote(**placement.rollout, **OPTIONS)(RolloutActor)
        return lambda index: actor.remote(config, f"rollout worker {index}", placement.folder)

    def reward_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        actor = ray.remote(**placement.reward, **OPTIONS)(RewardActor)
        return lambda index: actor.remote(config, f"reward worker {index}", placement.folder, placement.secrets)

    def model_reward_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        actor = ray.remote(**placement.model_reward, **OPTIONS)(ModelRewardActor)
        return lambda index: actor.remote(config, f"model reward worker {index}", placement.folder)

    def wait_ready(self) -> None:
        for pool in self.pools:
            pool.wait_ready()

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        """Over the wire that ``cluster.weight_sync`` names. Every worker checks the digest of what it got.

        A wire that keeps versions serves a worker before its next call, and nobody waits for that. With any other wire all
        workers that are free receive the version now, together.
        """
        delivery = _publish(learner, version, self._wire)
        ref, preparations = delivery.ref, self.rollouts.preparations
        preparations.provide(ref, lambda actor: delivery.send([actor])[0])
        self._served = ref
        if self._restart_in_flight and delivery.keeps_versions:
            self._restart(ref)
        preparations.withdraw({ref, *(batch.weights for batch in self.batches.values())})
        if not delivery.keeps_versions:
            preparations.run(ref, f"loading weights {version}", delivery.send)
            if isinstance(learner, RankGroup):
                delivery.wire.finish(learner)
        elif self.turns is None:
            preparations.announce(ref)
        return ref

    def _restart(self, ref: WeightRef) -> None:
        """What is not sampled yet, of batches ahead, is sampled at these weights with the same seeds."""
        for call in self.rollouts.recall():
            number, indices = call.key
            batch = self.batches[number]
            batch.weights = ref
            prompts = [batch.prompts[index] for index in indices]
            self.rollouts.submit(_rollout_call(call.key, prompts, ref, batch.seed, batch.evaluate))

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        return self.finish(self.begin(prompts, weights, seed, evaluate=evaluate))

    def begin(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False) -> int:
        if weights != self._served:
            served = "none" if self._served is None else self._served.version
            raise WorkerError(f"weights {weights.version}: the workers serve {served}; call update_weights first")
        if self.turns is not None:
            self.turns.sample()
        if not evaluate:
            self._faults.step = weights.version + 1
        number, batch = next(self._numbers), BatchInFlight(prompts, weights, evaluate, seed)
        self.batches[number] = batch
        order = self.scoring.slowest_first(prompts, evaluate)
        in_order = [prompts[index] for index in order]
        for places in self.sampling_sizes.calls(in_order, evaluate, self._config.cluster.rollout_workers):
            key = number, tuple(order[place] for place in places)
            self.rollouts.submit(_rollout_call(key, [in_order[place] for place in places], weights, seed, evaluate))
        return number

    def finish(self, number: int) -> list[Group]:
        batch = self.batches[number]
        batch.wanted_now()
        while not batch.done:
            refs = self.refs()
            seconds = min(pool.seconds_left() for pool in self.pools)
            ray.wait(refs, num_returns=1, timeout=max(0.0, seconds))
            self.drive()
        del self.batches[number]
        restarts = float(sum(pool.restarts for pool in self.pools))
        self._timings = {**batch.timings(), "perf/worker_restarts": restarts}
        return batch.groups()

    def cancel(self) -> None:
        for pool in self.pools:
            pool.cancel()
        self.batches.clear()

    def refs(self) -> list[Any]:
        """What work in hand waits for."""
        return [ref for pool in self.pools for ref in pool.refs]

    def drive(self) -> None:
        """Take what is finished: rollouts go on to be scored, and the next calls start.

        Ray looks at every call in hand each time that it is asked. So where there are many, this takes several results at
        once; their workers have their next calls, or lose milliseconds of seconds.
        """
        refs = self.refs()
        if len(refs) > CROWD:
            time.sleep(len(refs) * GATHER_S)
        ready = set(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) if refs else set()
        for done in self.rollouts.collect(ready):
            number, indices = done.call.key
            batch = self.batches[number]
            for index, group in zip(indices, done.value, strict=True):
                batch.sampled(index, group)
                self.sampling_sizes.measured(batch.prompts[index], batch.evaluate, group.seconds)
            self.scoring.submit(ToScore(batch, indices, tuple(range(len(indices))), done.value, done.ref))
        self.scoring.drive(ready)

    def states(self) -> list[WorkerState]:
        return [state for pool in self.pools for state in pool.states()]

    def queues(self) -> dict[str, int]:
        return {"prompts": self.rollouts.waiting, "groups to score": self.scoring.waiting}

    def timings(self) -> Mapping[str, float]:
        return self._timings

    def close(self) -> None:
        for pool in self.pools:
            pool.close()

    def _pool(self, kind: str, create: Callable[[int], Any], size: int, call_deadline_s: float) -> ActorPool:
        cluster = self._config.cluster
        settings = PoolSettings(call_deadline_s, cluster.start_deadline_s, cluster.heartbeat_s, cluster.restart_budget)
        return ActorPool(kind, create, size, settings, self._faults.inject)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One version of the weights. send: starts ``receive_weights`` on actors, all at once; their object refs."""

    wire: WeightWire
    ref: WeightRef
    send: Callable[[list[Any]], list[Any]]

    @property
    def keeps_versions(self) -> bool:
        return WIRES[self.wire.name].keeps_versions


def _publish(learner: Learner, version: int, wire: WeightWire) -> _Delivery:
    """wire: for a learner with ranks. One that lives in this process has none to ask, and uses the default wire."""
    if isinstance(learner, RankGroup):
        ranks = learner
        published, body = learner.publish(version)
    else:
        ranks, wire, weights = None, open_wire(DEFAULT), learner.weights()
        require_finite(weights, version)
        published, body = Published(WeightRef(version, digest(weights))), ray.put(weights)
    return _Delivery(wire, published.ref, lambda actors: wire.deliver(ranks, actors, published, body))


def _rollout_call(
    key: tuple[int, tuple[int, ...]], prompts: Sequence[Prompt], weights: WeightRef, seed: int, evaluate: bool
) -> Call:
    return Call(
        key,
        f"sampling {named(prompts)}",
        lambda actor: actor.rollout.remote(prompts, weights, seed, evaluate),
        needs=weights,
    )
