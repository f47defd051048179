"""The longest chain of a batch: calls on one worker follow each other, and a group is scored after it is sampled."""

from __future__ import annotations

from cluster.workers.batch_in_flight import BatchInFlight, Timed
from rl.types import WeightRef
from tests.cluster.runs import PROMPTS


def test_the_longest_chain_is_what_no_order_of_the_same_calls_beats() -> None:
    batch = BatchInFlight(PROMPTS[:3], WeightRef(0, ""), False, seed=1)
    batch.sampled(0, Timed((), "a", 2.0))
    batch.sampled(1, Timed((), "b", 5.0))
    batch.sampled(2, Timed((), "a", 1.0))  # a: 2, then 3
    batch.scored(0, Timed((), "r", 4.0))  # from 2 to 6
    assert not batch.done
    batch.scored(2, Timed((), "r", 1.0))  # sampled at 3, but r is free at 6: 7
    batch.scored(1, Timed((), "r", 0.5))
    assert batch.done
    assert batch.chain_s() == 7.5
    assert [group.prompt.id for group in batch.groups()] == [prompt.id for prompt in PROMPTS[:3]]


def test_model_reward_workers_come_between_sampling_and_the_rest() -> None:
    batch = BatchInFlight(PROMPTS[:2], WeightRef(0, ""), False, seed=1)
    batch.sampled(0, Timed((), "a", 1.0))
    batch.sampled(1, Timed((), "a", 1.0))
    batch.model_scored(0, Timed((), "s", 3.0))  # from 1 to 4
    batch.model_scored(1, Timed((), "s", 3.0))  # from 4 to 7
    batch.scored(0, Timed((), "r", 0.5))
    batch.scored(1, Timed((), "r", 0.5))
    assert batch.done and batch.chain_s() == 7.5


def test_a_batch_without_prompts_is_done() -> None:
    assert BatchInFlight([], WeightRef(0, ""), True, seed=1).done
