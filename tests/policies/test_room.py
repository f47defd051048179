"""Prompts are measured without a policy's weights, and as the policy itself does it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.files.checkpoints import load_policy
from policies.room import NeedsPolicyError, Room, TooLong
from rl.errors import DataError
from rl.types import Message, Prompt, Task
from tests.toys import (
    toy_draw_prompt,
    toy_folder,
    toy_policy,
    toy_text_prompt,
    toy_think_draw_prompt,
    toy_understand_prompt,
)

MAKERS = (toy_text_prompt, toy_understand_prompt, toy_draw_prompt, toy_think_draw_prompt)
CHARACTERS = st.characters(codec="utf-8")
PIECES = ["<|mask|>", "<think>", " 12", "é", "e\u0301", "\u0344", "😀", "\ufdfa", "the "]
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=60),
    st.text("ab <|>/\n", max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=20).map("".join),
)  # fmt: skip


def written(_: Prompt) -> int:
    return 8


def truth(prompt: Prompt, policy=None) -> int:
    """What the policy's own layout takes, with 8 tokens of response."""
    policy = policy or toy_policy()
    policy.max_length = 10**9
    encoded = policy.encode_prompt(prompt)
    parts = [part for part in (encoded, encoded.drawing) if part is not None]
    return 8 + sum(len(part.prefix) + len(part.suffix) + (part.response_length or 0) for part in parts)


@pytest.fixture(scope="module")
def policy():
    return load_policy(toy_folder())


@pytest.mark.parametrize("make", MAKERS)
def test_a_prompt_that_just_fits(make, policy) -> None:
    room, prompt = Room(toy_folder()), make(3)
    room.limit = truth(prompt, policy)
    assert room.too_long([prompt], written) == []
    room.limit -= 1
    assert room.too_long([prompt], written) == [TooLong(0, room.limit + 1, 8)]


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(20, 120))
def test_it_counts_as_the_policy_does(texts: list[str], limit: int) -> None:
    policy, room = toy_policy(), Room(toy_folder())
    roles = ["system", "user", "assistant", "user"]
    turns = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    prompts = [replace(toy_text_prompt(), messages=turns), replace(toy_draw_prompt(), messages=turns)]
    prompts.append(replace(toy_understand_prompt(), messages=turns))
    room.limit = limit
    counts = [truth(prompt, policy) for prompt in prompts]
    expected = [TooLong(place, count, 8) for place, count in enumerate(counts) if count > limit]
    assert room.too_long(prompts, written) == expected


@settings(deadline=None, max_examples=25)
@given(TEXTS, st.integers(30, 200), st.sampled_from(MAKERS))
def test_a_prompt_is_cut_to_fit_and_keeps_its_end(text: str, repeats: int, make) -> None:
    policy, room = toy_policy(), Room(toy_folder())
    turns = (Message("user", text * (repeats // (len(text) or 1) + 1) + "\nWhich one is it?"),)
    prompt = replace(make(), messages=turns)
    room.limit = 110
    shorter = room.shortened(prompt, 8)
    assert shorter is not None
    assert truth(shorter, policy) <= 110 and shorter.messages[0].content.endswith("Which one is it?")
    if truth(prompt, policy) > 110 and text.strip():  # blanks at the cut go too
        assert truth(shorter, policy) > 110 - 24, "no more than needed, but for a character that is cut"


def test_what_cannot_be_cut() -> None:
    room = Room(toy_folder())
    room.limit = 20
    assert room.shortened(toy_understand_prompt(), 8) is None  # its picture alone has 16 codes
    assert room.shortened(replace(toy_text_prompt(), messages=(Message("user", ""),)), 30) is None


def test_the_longest_turn_is_cut_and_a_captions_own() -> None:
    room = Room(toy_folder())
    room.limit = 90
    turns = (Message("system", "Be brief."), Message("user", "go " * 100 + "end"), Message("user", "Which?"))
    shorter = room.shortened(replace(toy_text_prompt(), messages=turns), 8)
    assert shorter is not None and [turn.content for turn in shorter.messages[::2]] == ["Be brief.", "Which?"]
    assert shorter.messages[1].content.endswith("go end") and len(shorter.messages[1].content) < 300


def test_pictures_are_neither_read_nor_decoded() -> None:
    gone = replace(toy_understand_prompt(), image="/gone.png")
    assert Room(toy_folder()).too_long([gone], written) == []


def test_a_prompt_that_the_layout_refuses_is_named(tmp_path: Path) -> None:
    for prompt in (replace(toy_understand_prompt(7), image=None), toy_text_prompt(7)):
        room = Room(toy_folder())
        if prompt.task is Task.TEXT:
            room._layout = _refuses
        with pytest.raises(DataError, match=f"prompt {prompt.id}: "):
            room.too_long([prompt], written)


def _refuses(policy, prompt):
    raise DataError("chat template: it refuses turns of user: no")


def test_a_vocabulary_without_bytes_is_tokenized() -> None:
    room = Room(toy_folder())
    room._counting.bounds = False
    prompts = [toy_text_prompt(index) for index in range(5)]
    assert room.too_long(prompts, written) == []
    room.limit = truth(prompts[0]) - 1
    assert [item.index for item in room.too_long(prompts, written)] == [0, 1, 2, 3, 4]


def test_a_long_row_among_many_is_found() -> None:
    room, prompts = Room(toy_folder()), [toy_text_prompt(index) for index in range(5000)]
    prompts[4321] = replace(prompts[4321], messages=(Message("user", "circle " * 200),))
    (found,) = room.too_long(prompts, written)
    assert found.index == 4321 and found.tokens == truth(prompts[4321])


def test_a_layout_that_needs_the_weights_says_so_and_a_bug_of_its_own_is_not_hidden() -> None:
    """A family of an installed package may ask for anything; only what is not loaded is passed over."""
    room = Room(toy_folder())
    room.limit = 1

    def needs(policy, prompt):
        return policy.module(prompt)

    def broken(policy, prompt):
        return prompt.no_such_field

    for layout, error in ((needs, NeedsPolicyError), (broken, AttributeError)):
        room._layout = layout
        with pytest.raises(AttributeError) as caught:
            room.too_long([toy_text_prompt()], written)
        assert type(caught.value) is error
