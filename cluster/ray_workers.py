"""Workers over Ray: a pool that samples and a pool that scores, driven by one loop.

The groups do not depend on how many workers there are, on which of them did what, or on which died meanwhile.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray

from cluster.adapters import AdapterWeights
from cluster.call_sizes import SAMPLING_S, SCORING_S, CallSizes
from cluster.faults import FaultPlan
from cluster.heart import OPTIONS, Beating
from cluster.pool import ATTEMPTS, ActorPool, Call, WorkerState
from cluster.rank_group import RankGroup
from cluster.reward import RewardWorker
from cluster.rollout import RolloutWorker
from cluster.session import Placement, enter
from cluster.tickets import Ticket, Timed
from cluster.transfer import Transfer
from cluster.weights import Weights, digest, require_finite
from rewards.base import failed, one_line
from rl.config import Config
from rl.errors import DeadlineError, WorkerError
from rl.protocols import Learner
from rl.types import Group, Prompt, Rollout, Score, ScoreStatus, WeightRef

CROWD = 64  # so many calls in hand are looked at one by one
GATHER_S = 5e-5  # a call in hand, that more results may come before all of them are looked at: 50 ms of a thousand

Sampled = Timed[tuple[Rollout, ...]]  # one group, as its worker made it
Scored = Timed[tuple[Score, ...]]


class RolloutActor(Beating):
    """A ``RolloutWorker`` elsewhere, made at its first call: what a constructor raises, Ray passes on only as text."""

    def __init__(self, config: Config, name: str, folder: str) -> None:
        self._config, self._name, self._folder = config, name, folder
        self._made: RolloutWorker | None = None

    def ready(self) -> bool:
        return self._worker() is not None

    def load_weights(self, ref: WeightRef, weights: Weights | AdapterWeights) -> None:
        self._worker().load_weights(ref, weights)

    def receive_weights(self, ref: WeightRef, transfer: Transfer, rank: int) -> None:
        """As one of those that take part in a transfer. Raises TransferError where it breaks off."""
        self._worker().receive_weights(ref, transfer, rank)

    def rollout(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, evaluate: bool = False
    ) -> tuple[Sampled, ...]:
        """One group after the other."""
        worker = self._worker()
        return tuple(
            Timed.of(self._name, partial(worker.rollout, prompt, weights, seed, evaluate)) for prompt in prompts
        )

    def _worker(self) -> RolloutWorker:
        if self._made is None:
            enter(self._folder, self._config, self._name)
            self._made = RolloutWorker(self._config, self._name)
        return self._made


class RewardActor(Beating):
    """A ``RewardWorker`` elsewhere, made as a ``RolloutActor``'s is."""

    def __init__(self, config: Config, name: str, folder: str, secrets: Mapping[str, str]) -> None:
        self._config, self._name, self._folder = config, name, folder
        os.environ.update(secrets)
        self._made: RewardWorker | None = None

    def ready(self) -> bool:
        return self._worker() is not None

    def score(
        self, prompts: Sequence[Prompt], sampled: Sequence[Sampled], places: Sequence[int], evaluate: bool
    ) -> tuple[Scored, ...]:
        """One group after the other: those at these places of a call's, of which the prompts are given."""
        worker = self._worker()
        return tuple(
            Timed.of(self._name, partial(worker.score, prompt, sampled[place].value, evaluate))
            for prompt, place in zip(prompts, places, strict=True)
        )

    def _worker(self) -> RewardWorker:
        if self._made is None:
            enter(self._folder, self._config, self._name)
            self._made = RewardWorker(self._config)
        return self._made


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What one call sampled: groups at ``indices`` of the batch ``number``."""

    number: int
    indices: tuple[int, ...]
    sampled: tuple[Sampled, ...]


class RayWorkers:
    """Implements ``rl.protocols.RunsAhead``. Starts its actors at once; ``wait_ready`` waits until they serve.

    A batch is sampled at the version it was begun with, also when a newer one is served meanwhile: weights are kept as
    long as a batch needs them, and a worker loads a version before its first call that does. faults: a test's accidents.
    """

    def __init__(self, config: Config, placement: Placement, faults: FaultPlan | None = None) -> None:
        self._faults = faults or FaultPlan()
        cluster = config.cluster
        self._rollouts = self._pool(
            config,
            "rollout worker",
            self.rollout_actors(config, placement),
            cluster.rollout_workers,
            cluster.rollout_deadline_s,
        )
        self._rewards = self._pool(
            config,
            "reward worker",
            self.reward_actors(config, placement),
            cluster.reward_workers,
            cluster.reward_deadline_s,
        )
        self._collective = cluster.weight_sync == "collective"
        policy = config.rewards.on_failure
        self._score_attempts = policy.attempts if policy.action == "retry" else 1
        self._served: WeightRef | None = None
        self._tickets: dict[int, Ticket] = {}
        self._numbers = itertools.count()
        self._sampling_sizes, self._scoring_sizes = CallSizes(SAMPLING_S), CallSizes(SCORING_S)
        self._rollout_workers = cluster.rollout_workers
        self._timings: dict[str, float] = {}

    def rollout_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        """What starts the actor of an index: the one thing that a simulation changes (``benchmarks.scale``)."""
        actor = ray.remote(**placement.rollout, **OPTIONS)(RolloutActor)
        return lambda index: actor.remote(config, f"rollout worker {index}", placement.folder)

    def reward_actors(self, config: Config, placement: Placement) -> Callable[[int], Any]:
        actor = ray.remote(**placement.reward, **OPTIONS)(RewardActor)
        return lambda index: actor.remote(config, f"reward worker {index}", placement.folder, placement.secrets)

    def wait_ready(self) -> None:
        self._rollouts.wait_ready()
        self._rewards.wait_ready()

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        """By ``cluster.weight_sync``; either way every worker checks the digest of what it got."""
        if self._collective and isinstance(learner, RankGroup):
            ref = WeightRef(version, learner.digest(version))
            self._rollouts.provide(ref, lambda actor: learner.send_weights([actor], ref)[0])
            together = partial(learner.send_weights, ref=ref)
        elif isinstance(learner, RankGroup):
            return self._serve_published(*learner.publish(version))
        else:
            weights = learner.weights()
            require_finite(weights, version)
            return self._serve_published(WeightRef(version, digest(weights)), ray.put(weights))
        self._served = ref
        self._rollouts.withdraw({ref, *(ticket.weights for ticket in self._tickets.values())})
        self._rollouts.prepare(ref, f"loading weights {version}", together)
        return ref

    def _serve_published(self, ref: WeightRef, stored: Any) -> WeightRef:
        """One copy a node, which its workers share. They load it before their next call, and nobody waits for that."""
        self._rollouts.provide(ref, lambda actor: actor.load_weights.remote(ref, stored))
        self._served = ref
        self._rollouts.withdraw({ref, *(ticket.weights for ticket in self._tickets.values())})
        self._rollouts.announce(ref)
        return ref

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        return self.finish(self.begin(prompts, weights, seed, evaluate=evaluate))

    def begin(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False) -> int:
        if weights != self._served:
            served = "none" if self._served is None else self._served.version
            raise WorkerError(f"weights {weights.version}: the workers serve {served}; call update_weights first")
        if not evaluate:
            self._faults.step = weights.version + 1
        number, ticket = next(self._numbers), Ticket(prompts, weights, evaluate)
        self._tickets[number] = ticket
        for indices in self._sampling_sizes.calls(prompts, evaluate, self._rollout_workers):
            of_call = [prompts[index] for index in indices]
            self._rollouts.submit(_rollout_call((number, indices), of_call, weights, seed, evaluate))
        return number

    def finish(self, number: int) -> list[Group]:
        ticket = self._tickets[number]
        ticket.wanted_now()
        while not ticket.done:
            refs = self.refs()
            seconds = min(self._rollouts.seconds_left(), self._rewards.seconds_left())
            ray.wait(refs, num_returns=1, timeout=max(0.0, seconds))
            self.drive()
        del self._tickets[number]
        restarts = float(self._rollouts.restarts + self._rewards.restarts)
        self._timings = {**ticket.timings(), "perf/worker_restarts": restarts}
        return ticket.groups()

    def cancel(self) -> None:
        self._rollouts.cancel()
        self._rewards.cancel()
        self._tickets.clear()

    def refs(self) -> list[Any]:
        """What work in hand waits for."""
        return [*self._rollouts.refs, *self._rewards.refs]

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
            of_call = _Call(number, indices, sampled)
            prompts = [ticket.prompts[index] for index in indices]
            for places in self._scoring_sizes.calls(prompts, ticket.evaluate):
                self._rewards.submit(self._score_call(of_call, places, ref))
        for call, scores in self._rewards.collect(ready):
            of_call, places = call.key
            if scores is None:
                self._rewards.submit(*(self._score_call(of_call, (place,)) for place in places))
                continue
            ticket = self._tickets[of_call.number]
            for place, group in zip(places, scores, strict=True):
                index = of_call.indices[place]
                ticket.scored(index, group)
                self._scoring_sizes.measured(ticket.prompts[index], ticket.evaluate, group.seconds)

    def states(self) -> list[WorkerState]:
        return [*self._rollouts.states(), *self._rewards.states()]

    def queues(self) -> dict[str, int]:
        return {"prompts": self._rollouts.waiting, "groups to score": self._rewards.waiting}

    def timings(self) -> Mapping[str, float]:
        return self._timings

    def close(self) -> None:
        self._rollouts.close()
        self._rewards.close()

    def _score_call(self, of_call: _Call, places: tuple[int, ...], ref: Any = None) -> Call:
        """The rollouts go from their worker to the scorer as ``ref``; only another attempt takes them from here, since they
        may be lost with their node. Where several groups are lost with a scorer, each is tried alone after that: one that
        hangs or ends its process costs itself and no other."""
        ticket, alone = self._tickets[of_call.number], len(places) == 1
        prompts = [ticket.prompts[of_call.indices[place]] for place in places]
        first = iter([] if ref is None else [ref])
        return Call(
            (of_call, places),
            f"scoring {_named(prompts)}",
            lambda actor: actor.score.remote(prompts, next(first, of_call.sampled), places, ticket.evaluate),
            instead=partial(_unscored, len(of_call.sampled[places[0]].value)) if alone else lambda error: None,
            otherwise="given up" if alone else "its groups are scored one by one",
            attempts=ATTEMPTS if alone else 1,
            overdue_attempts=self._score_attempts if alone else 1,
        )

    def _pool(
        self, config: Config, kind: str, create: Callable[[int], Any], size: int, call_deadline_s: float
    ) -> ActorPool:
        return ActorPool(
            kind,
            create,
            size,
            call_deadline_s=call_deadline_s,
            start_deadline_s=config.cluster.start_deadline_s,
            heartbeat_s=config.cluster.heartbeat_s,
            restart_budget=config.cluster.restart_budget,
            on_send=self._faults.strike,
        )


def _rollout_call(
    key: tuple[int, tuple[int, ...]], prompts: Sequence[Prompt], weights: WeightRef, seed: int, evaluate: bool
) -> Call:
    return Call(
        key,
        f"sampling {_named(prompts)}",
        lambda actor: actor.rollout.remote(prompts, weights, seed, evaluate),
        needs=weights,
    )


def _named(prompts: Sequence[Prompt]) -> str:
    return prompts[0].id if len(prompts) == 1 else f"{prompts[0].id} and {len(prompts) - 1} more"


def _unscored(count: int, error: WorkerError | DeadlineError) -> tuple[Scored]:
    """A reward that hangs, or ends its process, cost its group alone: what then happens is the failure policy's to say."""
    status = ScoreStatus.TIMEOUT if isinstance(error, DeadlineError) else ScoreStatus.CRASHED
    hint = "a function of your own can be isolated: custom_reward_function.isolate=true"
    return (Timed((failed(status, f"{one_line(error)}; {hint}"),) * count, "no reward worker", 0.0),)
