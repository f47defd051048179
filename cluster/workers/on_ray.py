"""Workers over Ray: pools that sample and that score, driven by one loop.

The groups do not depend on how many workers there are, on which of them did what, or on which died meanwhile.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from cluster.actors.faults import FaultPlan
from cluster.actors.heartbeat import OPTIONS
from cluster.actors.pool import ActorPool, Call, WorkerState
from cluster.actors.resources import Placement
from cluster.learner.rank_group import RankGroup
from cluster.learner.turns import Turns
from cluster.plan.layout import scorers
from cluster.weights.base import DEFAULT, WIRES, Published, WeightWire, open_wire
from cluster.weights.digest import digest, require_finite
from cluster.workers.actors import RewardActor, RolloutActor, ScorerActor
from cluster.workers.batch_in_flight import Ticket
from cluster.workers.call_sizes import SAMPLING_S, SCORING_S, CallSizes, slowest_first
from cluster.workers.reward import scored_apart
from cluster.workers.scoring import ToScore, named, rate_call, score_call
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
    ``cluster.in_flight=restart`` what is not sampled by then is sampled at the newer one. faults: a test's accidents.
    """

    def __init__(self, config: Config, placement: Placement, faults: FaultPlan | None = None) -> None:
        self._config, self._faults, cluster = config, faults or FaultPlan(), config.cluster
        count, deadline_s = cluster.rollout_workers, cluster.rollout_deadline_s
        self._rollouts = self._pool("rollout worker", self.rollout_actors(config, placement), count, deadline_s)
        count, deadline_s = cluster.reward_workers, cluster.reward_deadline_s
        self._rewards = self._pool("reward worker", self.reward_actors(config, placement), count, deadline_s)
        self._scorers = self._pool("scorer worker", self.scorer_actors(config, placement), scorers(config), deadline_s)
        self._pools = (self._rollouts, self._scorers, self._rewards)
        policy = config.rewards.on_failure
        self._score_attempts = policy.attempts if policy.action == "retry" else 1
        self._restarts = cluster.in_flight == "restart"
        self._served: WeightRef | None = None
        self._wire = open_wire(cluster.weight_sync)
        self.turns: Turns | None = None
        self._tickets: dict[int, Ticket] = {}
        self._numbers = itertools.count()
        self._sampling_sizes = CallSizes(SAMPLING_S)
        self._scoring_sizes, self._rating_sizes = CallSizes(SCORING_S), CallSizes(SCORING_S)
        self._timings: dict[str, float] = {}

    def take_turns(self, learner: RankGroup) -> Turns:
        """From now on, with a learner on the same devices."""
        self.turns = Turns(self._rollouts, learner)
        return self.turns

    def rollout_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        """What starts the actor of an index: the one thing that a simulation changes (``benchmarks.speed.scale``)."""
        actor = ray.remote(**placement.rollout, **OPTIONS)(RolloutActor)
        return lambda index: actor.remote(config, f"rollout worker {index}", placement.folder)

    def reward_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        actor = ray.remote(**placement.reward, **OPTIONS)(RewardActor)
        return lambda index: actor.remote(config, f"reward worker {index}", placement.folder, placement.secrets)

    def scorer_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        actor = ray.remote(**placement.scorer, **OPTIONS)(ScorerActor)
        return lambda index: actor.remote(config, f"scorer worker {index}", placement.folder)

    def wait_ready(self) -> None:
        for pool in self._pools:
            pool.wait_ready()

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        """Over the wire that ``cluster.weight_sync`` names. Every worker checks the digest of what it got.

        A wire that keeps versions serves a worker before its next call, and nobody waits for that. With any other wire all
        workers that are free receive the version now, together.
        """
        wire, keeps_versions, published, deliver = self._publish(learner, version)
        ref = published.ref
        self._rollouts.provide(ref, lambda actor: deliver([actor])[0])
        self._served = ref
        if self._restarts and keeps_versions:
            self._restart(ref)
        self._rollouts.withdraw({ref, *(ticket.weights for ticket in self._tickets.values())})
        if not keeps_versions:
            self._rollouts.prepare(ref, f"loading weights {version}", deliver)
            if isinstance(learner, RankGroup):
                wire.finish(learner)
        elif self.turns is None:
            self._rollouts.announce(ref)
        return ref

    def _publish(
        self, learner: Learner, version: int
    ) -> tuple[WeightWire, bool, Published, Callable[[list[Any]], list[Any]]]:
        """A wire, whether it keeps versions, what was published, and what sends that to actors."""
        if isinstance(learner, RankGroup):
            published, body = learner.publish(version)
            name, wire, ranks = self._config.cluster.weight_sync, self._wire, learner
        else:  # it lives in this process and has no ranks to ask
            weights = learner.weights()
            require_finite(weights, version)
            published, body = Published(WeightRef(version, digest(weights))), ray.put(weights)
            name, wire, ranks = DEFAULT, open_wire(DEFAULT), None
        return wire, WIRES[name].keeps_versions, published, lambda actors: wire.deliver(ranks, actors, published, body)

    def _restart(self, ref: WeightRef) -> None:
        """What is not sampled yet, of batches ahead, is sampled at these weights with the same seeds."""
        for call in self._rollouts.recall():
            number, indices = call.key
            ticket = self._tickets[number]
            ticket.weights = ref
            prompts = [ticket.prompts[index] for index in indices]
            self._rollouts.submit(_rollout_call(call.key, prompts, ref, ticket.seed, ticket.evaluate))

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
        number, ticket = next(self._numbers), Ticket(prompts, weights, evaluate, seed)
        self._tickets[number] = ticket
        order = slowest_first(prompts, evaluate, self._rating_sizes, self._scoring_sizes)
        in_order = [prompts[index] for index in order]
        for places in self._sampling_sizes.calls(in_order, evaluate, self._config.cluster.rollout_workers):
            key = number, tuple(order[place] for place in places)
            self._rollouts.submit(_rollout_call(key, [in_order[place] for place in places], weights, seed, evaluate))
        return number

    def finish(self, number: int) -> list[Group]:
        ticket = self._tickets[number]
        ticket.wanted_now()
        while not ticket.done:
            refs = self.refs()
            seconds = min(pool.seconds_left() for pool in self._pools)
            ray.wait(refs, num_returns=1, timeout=max(0.0, seconds))
            self.drive()
        del self._tickets[number]
        restarts = float(sum(pool.restarts for pool in self._pools))
        self._timings = {**ticket.timings(), "perf/worker_restarts": restarts}
        return ticket.groups()

    def cancel(self) -> None:
        for pool in self._pools:
            pool.cancel()
        self._tickets.clear()

    def refs(self) -> list[Any]:
        """What work in hand waits for."""
        return [ref for pool in self._pools for ref in pool.refs]

    def drive(self) -> None:
        """Take what is finished: rollouts go on to be scored, and the next calls start.

        Ray looks at every call in hand each time that it is asked. So where there are many, this takes several results at
        once; their workers have their next calls, or lose milliseconds of seconds.
        """
        refs = self.refs()
        if len(refs) > CROWD:
            time.sleep(len(refs) * GATHER_S)
        ready = set(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) if refs else set()
        for call, sampled, ref in self._rollouts.finished(ready):
            number, indices = call.key
            ticket = self._tickets[number]
            for index, group in zip(indices, sampled, strict=True):
                ticket.sampled(index, group)
                self._sampling_sizes.measured(ticket.prompts[index], ticket.evaluate, group.seconds)
            self._score(ToScore(ticket, indices, tuple(range(len(indices))), sampled, ref))
        for call, rated, ref in self._scorers.finished(ready):
            groups: ToScore = call.key
            if rated is None:
                self._scorers.submit(*(self._rate_call(group) for group in groups.apart()))
                continue
            for index, group in zip(groups.indices, rated, strict=True):
                groups.ticket.rated(index, group)
                self._rating_sizes.measured(groups.ticket.prompts[index], groups.ticket.evaluate, group.seconds)
            self._rewards.submit(self._score_call(groups.with_rated(rated, ref)))
        for call, scores in self._rewards.collect(ready):
            groups = call.key
            if scores is None:
                self._rewards.submit(*(self._score_call(group) for group in groups.apart()))
                continue
            for index, group in zip(groups.indices, scores, strict=True):
                groups.ticket.scored(index, group)
                self._scoring_sizes.measured(groups.ticket.prompts[index], groups.ticket.evaluate, group.seconds)

    def states(self) -> list[WorkerState]:
        return [state for pool in self._pools for state in pool.states()]

    def queues(self) -> dict[str, int]:
        return {"prompts": self._rollouts.waiting, "groups to score": self._scorers.waiting + self._rewards.waiting}

    def timings(self) -> Mapping[str, float]:
        return self._timings

    def close(self) -> None:
        for pool in self._pools:
            pool.close()

    def _score(self, groups: ToScore) -> None:
        """To scorers, those that have a reward of theirs; to reward workers, the others."""
        evaluate = groups.ticket.evaluate
        apart = [bool(scored_apart(self._config, prompt, evaluate)) for prompt in groups.prompts]
        for pool, call, sizes, chosen in (
            (self._scorers, self._rate_call, self._rating_sizes, [at for at, own in enumerate(apart) if own]),
            (self._rewards, self._score_call, self._scoring_sizes, [at for at, own in enumerate(apart) if not own]),
        ):
            part = groups.only(chosen)
            pool.submit(*(call(part.only(these)) for these in sizes.calls(part.prompts, evaluate)))

    def _score_call(self, groups: ToScore) -> Call:
        return score_call(groups, self._score_attempts)

    def _rate_call(self, groups: ToScore) -> Call:
        return rate_call(groups, self._config, self._score_attempts)

    def _pool(self, kind: str, create: Callable[[int], Any], size: int, call_deadline_s: float) -> ActorPool:
        cluster = self._config.cluster
        return ActorPool(
            kind,
            create,
            size,
            call_deadline_s=call_deadline_s,
            start_deadline_s=cluster.start_deadline_s,
            heartbeat_s=cluster.heartbeat_s,
            restart_budget=cluster.restart_budget,
            on_send=self._faults.strike,
        )


def _rollout_call(
    key: tuple[int, tuple[int, ...]], prompts: Sequence[Prompt], weights: WeightRef, seed: int, evaluate: bool
) -> Call:
    return Call(
        key,
        f"sampling {named(prompts)}",
        lambda actor: actor.rollout.remote(prompts, weights, seed, evaluate),
        needs=weights,
    )
