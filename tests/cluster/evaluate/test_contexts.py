"""Requests of another harness: ids, cuts, sampling and stops; and log-likelihoods against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from cluster.evaluate.contexts import Contexts, ignored, open_contexts, sampling_of, until
from cluster.evaluate.likelihood import is_greedy, log_likelihood
from policies.samplers.text import sample_text
from rl.errors import DataError
from rl.types import TextSampling
from tests.toys import toy_folder, toy_policy


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    return open_contexts(toy_folder())


def test_ids_of_a_pair_are_those_of_the_whole_text(contexts: Contexts) -> None:
    for context, continuation in (("what is 3 + 4? ", "7"), ("Question: red\nAnswer:", " blue square"), ("3 + ", " 4")):
        before, after = contexts.pair(context, continuation)
        assert contexts.tokenizer.decode([*before, *after]) == context + continuation
        assert before == contexts.tokenizer.encode(context.rstrip())
    assert contexts.pair("", "7") == ([contexts.eos_id], contexts.tokenizer.encode("7"))


def test_what_does_not_fit_is_cut_on_the_left_and_counted(contexts: Contexts) -> None:
    text = "sudoku 0123 " * 60
    long = contexts.prompt("gsm8k", 0, text, room=28)
    assert len(long.token_ids) == 100 and list(long.token_ids) == contexts.tokenizer.encode(text)[-100:]
    assert contexts.prompt("gsm8k", 0, "3 + 4", room=28).id == "gsm8k/0#1" != long.id
    assert contexts.prompt("gsm8k", 1, "3 + 4", room=28).id == "gsm8k/1"
    assert (contexts.cut, contexts.of) == (1, 3)


def test_a_prompt_of_ids_has_no_template() -> None:
    policy, contexts = toy_policy(), open_contexts(toy_folder())
    prompt = contexts.prompt("task", 0, "3 + 4 =", room=8)
    assert policy.encode_prompt(prompt).prefix == tuple(policy.tokenizer.encode("3 + 4 ="))


def test_a_chat_is_the_policys_own_template(contexts: Contexts) -> None:
    policy = toy_policy()
    turns = [{"role": "user", "content": "what is it?"}]
    from rl.types import Message

    assert contexts.tokenizer.encode(contexts.chat(turns)) == policy.tokenizer.chat([Message("user", "what is it?")])
    begun = contexts.chat([*turns, {"role": "assistant", "content": "The answer"}])
    assert begun == contexts.chat(turns) + "The answer"


BASE = TextSampling(max_new_tokens=64, temperature=0.7, top_p=0.9)


@pytest.mark.parametrize(
    ("wanted", "typed", "expected"),
    [
        ({"do_sample": False, "temperature": 0.0}, (), (0.0, 1.0, 0)),
        ({}, (), (0.0, 1.0, 0)),
        ({"do_sample": False, "temperature": 0.8}, (), (0.0, 1.0, 0)),
        ({"do_sample": True, "temperature": 0.8, "top_p": 0.95}, (), (0.8, 0.95, 0)),
        ({"do_sample": True, "top_k": 40}, (), (1.0, 0.9, 40)),
        ({"temperature": 0.5}, (), (0.5, 0.9, 0)),
        ({"do_sample": False}, ("temperature",), (0.7, 1.0, 0)),
        ({"do_sample": False}, ("temperature", "top_p"), (0.7, 0.9, 0)),
    ],
)
def test_a_task_says_how_it_is_sampled_unless_the_user_does(wanted: dict, typed: tuple, expected: tuple) -> None:
    found = sampling_of(BASE, wanted, typed)
    assert (found.temperature, found.top_p, found.top_k) == expected
    assert (found.max_new_tokens, found.steps) == (64, BASE.steps)


def test_what_is_not_used_is_told_once_with_its_count() -> None:
    assert ignored([{"until": ["x"], "max_gen_toks": 64}] * 3, 64) == []
    told = ignored([{"max_gen_toks": 256}, {"max_gen_toks": 256, "num_beams": 4}], 64)
    assert told[0].startswith("2 requests ask for max_gen_toks=256") and told[1].startswith(
        "1 requests ask for num_beams=4"
    )


@pytest.mark.parametrize(
    ("stops", "expected"),
    [(None, "a\n\nQ: b"), ([], "a\n\nQ: b"), ("\n\n", "a"), (["Q:", "\n"], "a"), (["zz", ""], "a\n\nQ: b")],
)
def test_an_answer_ends_before_the_first_stop(stops: list[str] | str | None, expected: str) -> None:
    assert until("a\n\nQ: b", stops) == expected


def enumerated(policy, prefix: list[int], ids: list[int]) -> float:
    """The bound's definition: the mean over l of the mean over all masks of l tokens of L / l times their log-probabilities."""
    length, total = len(ids), 0.0
    for count in range(1, length + 1):
        masks = list(itertools.combinations(range(length), count))
        for mask in masks:
            shown = [policy.vocabulary.mask_id if place in mask else token for place, token in enumerate(ids)]
            logp = policy.logits(torch.tensor([[*prefix, *shown]]))[0, len(prefix) :].double().log_softmax(-1)
            total += sum(float(logp[place, ids[place]]) for place in mask) * length / count / len(masks) / length
    return total


@torch.inference_mode()
def test_the_estimate_is_unbiased_for_the_bound_and_exact_for_one_token() -> None:
    policy = toy_policy(scale=2.0)
    prefix, ids = policy.tokenizer.encode("a red"), policy.tokenizer.encode("blue square")[:4]
    assert len(ids) == 4
    wanted = enumerated(policy, prefix, ids)
    found = [log_likelihood(policy, prefix, ids, draws=64, seed=seed) for seed in range(30)]
    assert np.mean(found) == pytest.approx(wanted, abs=4 * float(np.std(found, ddof=1)) / math.sqrt(30))
    assert log_likelihood(policy, prefix, ids[:1]) == pytest.approx(enumerated(policy, prefix, ids[:1]), rel=1e-5)
    assert log_likelihood(policy, prefix, ids, seed=3) == log_likelihood(policy, prefix, ids, seed=3)
    assert log_likelihood(policy, prefix, []) == 0.0


def test_a_long_prefix_is_cut_and_a_long_text_is_one_line() -> None:
    policy = toy_policy()
    ids = policy.tokenizer.encode("blue")
    most = policy.max_length - len(ids)
    prefix = list(range(20, 120)) * 2
    assert log_likelihood(policy, prefix, ids, 4) == log_likelihood(policy, prefix[-most:], ids, 4)
    with pytest.raises(DataError, match="128"):
        log_likelihood(policy, [], list(range(20, 120)) * 2)


def test_greedy_is_what_the_greedy_sampler_writes() -> None:
    policy = toy_policy(scale=2.0)
    prefix = policy.tokenizer.encode("a red")
    (sample,) = sample_text(policy, prefix, TextSampling(5, 5, 5, temperature=0.0), [0])
    written = sample.token_ids.tolist()
    assert len(written) == 5
    assert is_greedy(policy, prefix, written)
    assert not is_greedy(policy, prefix, [*written[:-1], written[-1] ^ 1])
    assert is_greedy(policy, prefix, [])
