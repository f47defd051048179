"""What of a response a hint gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.config.sections import HintsConfig
from rl.errors import DataError
from rl.hints.given import FREE, chosen_chunks, given_for, has_source
from rl.types import Message, Prompt, Task

EOS = 0


def encode(text: str) -> list[int]:
    """A token a character, but one for the closing tag."""
    return [ord(character) for character in text.replace("</think>", "\x01")]


def prompt(solution: str | None = None, reference: str | None = None, task: Task = Task.TEXT) -> Prompt:
    return Prompt("sums/1", task, (Message("user", "1 + 1 ="),), reference=reference, solution=solution)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 120), st.integers(1, 12), st.integers(0, 8), st.floats(0.01, 1), st.integers(0, 2**32))
def test_chunks_are_as_long_and_as_many_as_asked_for(length: int, low: int, more: int, share: float, seed: int) -> None:
    hints = HintsConfig(0.5, given=[share / 2, share], chunk=[low, low + more])
    chunks = chosen_chunks(length, hints, seed)
    assert chunks == chosen_chunks(length, hints, seed) == sorted(chunks) and chunks
    assert all(0 <= first < last <= length for first, last in chunks)
    assert all(one[1] <= two[0] for one, two in zip(chunks, chunks[1:], strict=False))
    if length >= low + more:
        assert all(low <= last - first <= low + more for first, last in chunks)
    every = chosen_chunks(length, HintsConfig(0.5, given=[1, 1], chunk=[low, low + more]), seed)
    assert set(chunks) <= set(every) and len(chunks) <= max(1, round(share * len(every)))


def test_the_share_that_is_given_is_uniform() -> None:
    hints = HintsConfig(0.5, given=[0.2, 0.6], chunk=[1, 1])
    counts = [len(chosen_chunks(100, hints, seed)) for seed in range(2000)]
    assert min(counts) >= 20 and max(counts) <= 60
    assert np.mean(counts) == pytest.approx(40, abs=1) and np.std(counts) == pytest.approx(40 / 12**0.5, rel=0.1)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(12, 80))
def test_chunks_of_the_reasoning_stand_at_their_place_and_the_answer_stays_free(seed: int, canvas: int) -> None:
    worked = "one and one are two, so it is</think>42"
    row = given_for(prompt(worked, "42"), encode, EOS, canvas, HintsConfig(0.5), seed)
    assert len(row) == canvas and FREE in row and any(token != FREE for token in row)
    whole = encode(worked)
    last = worked.index("</think>")
    assert all(place < last and token == whole[place] for place, token in enumerate(row) if token != FREE)
    assert row[canvas - len(whole[last:]) - 1 :].count(FREE) == len(whole[last:]) + 1  # room for the answer and its end
    assert row == given_for(prompt(worked, "42"), encode, EOS, canvas, HintsConfig(0.5), seed)


def test_a_worked_answer_without_a_closing_tag_is_all_reasoning() -> None:
    row = given_for(prompt("abc"), encode, EOS, 8, HintsConfig(0.5, given=[1, 1], chunk=[3, 3]), 0)
    assert row == [*encode("abc"), *[FREE] * 5]


@pytest.mark.parametrize("row", [prompt(reference="42"), prompt("</think>42", "42"), prompt(" </think>42")], ids=str)
def test_an_answer_alone_is_given_at_the_end(row: Prompt) -> None:
    assert given_for(row, encode, EOS, 10, HintsConfig(0.5), 0) == [*[FREE] * 6, *encode("</think>42"), EOS]


@pytest.mark.parametrize(
    ("row", "canvas", "said"),
    [
        (prompt(), 10, "no worked answer and no reference"),
        (prompt(reference="12345678"), 10, "its answer takes 10 tokens with its end"),
        (prompt("because</think>123456789"), 10, "its answer takes 11 tokens with its end"),
        (prompt("a red circle", task=Task.DRAW), 10, "no worked answer and no reference"),
    ],
    ids=["nothing", "long reference", "long answer", "a drawing"],
)
def test_what_cannot_be_given_is_said_in_one_line(row: Prompt, canvas: int, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        given_for(row, encode, EOS, canvas, HintsConfig(0.5), 0)
    assert "\n" not in str(caught.value) and "rollout.hints" in str(caught.value)


def test_who_has_something_to_give() -> None:
    assert has_source(prompt("a</think>b")) and has_source(prompt(reference="b", task=Task.UNDERSTAND))
    assert not has_source(prompt()) and not has_source(prompt(reference="a red circle", task=Task.DRAW))
