"""The longest chain of a batch: calls on one worker follow each other, and a group is scored after it is sampled."""

from __future__ import annotations

from cluster.workers.batch_in_flight import Ticket, Timed
from rl.types import WeightRef
from tests.cluster.runs import PROMPTS


def test_the_longest_chain_is_what_no_order_of_the_same_calls_beats() -> None:
    ticket = Ticket(PROMPTS[:3], WeightRef(0, ""), False)
    ticket.sampled(0, Timed((), "a", 2.0))
    ticket.sampled(1, Timed((), "b", 5.0))
    ticket.sampled(2, Timed((), "a", 1.0))  # a: 2, then 3
    ticket.scored(0, Timed((), "r", 4.0))  # from 2 to 6
    assert not ticket.done
    ticket.scored(2, Timed((), "r", 1.0))  # sampled at 3, but r is free at 6: 7
    ticket.scored(1, Timed((), "r", 0.5))
    assert ticket.done
    assert ticket.chain_s() == 7.5
    assert [group.prompt.id for group in ticket.groups()] == [prompt.id for prompt in PROMPTS[:3]]


def test_scorers_come_between_sampling_and_the_rest() -> None:
    ticket = Ticket(PROMPTS[:2], WeightRef(0, ""), False)
    ticket.sampled(0, Timed((), "a", 1.0))
    ticket.sampled(1, Timed((), "a", 1.0))
    ticket.rated(0, Timed((), "s", 3.0))  # from 1 to 4
    ticket.rated(1, Timed((), "s", 3.0))  # from 4 to 7
    ticket.scored(0, Timed((), "r", 0.5))
    ticket.scored(1, Timed((), "r", 0.5))
    assert ticket.done and ticket.chain_s() == 7.5


def test_a_batch_without_prompts_is_done() -> None:
    assert Ticket([], WeightRef(0, ""), True).done
