"""Fine-tuning: what is hidden and scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.config import Config
from rl.errors import DataError
from rl.sft.examples import ExampleMaker, text_example
from rl.types import Message, Prompt, Task, TextSampling
from tests.toys import toy_draw_prompt, toy_policy

EOS = 99
CANVAS = TextSampling(max_new_tokens=24, block_length=8, steps=24)
PREFIX = [7, 8, 9]
LESSON = Prompt("lesson", Task.TEXT, (Message("user", "3 + 4 ="),), reference="7", solution="<think>3+4=7</think>7")
CONFIG = Config()


@given(st.integers(1, 24), st.integers(0, 10_000), st.sampled_from([None, CANVAS]), st.sampled_from([0.0, 1.0]))
def test_only_hidden_response_tokens_are_scored(length, seed, canvas, semi):
    response = [*range(10, 10 + length - 1), EOS]
    example = text_example(PREFIX, response, EOS, canvas, semi, np.random.default_rng(seed))
    assert example.token_ids[: 3 + length].tolist() == PREFIX + response
    assert not example.hidden[:3].any()
    assert example.scored.any() and not (example.scored & ~example.hidden).any()
    if canvas is None:
        assert len(example.token_ids) == 3 + length and (example.hidden == example.scored).all()
        return
    assert len(example.token_ids) == 3 + 24 and (example.token_ids[3 + length :] == EOS).all()
    filled = -(-length // 8) * 8
    assert example.hidden[3 + filled :].all() and not example.scored[3 + filled :].any()
    if semi == 1.0:
        blocks = {(position - 3) // 8 for position in np.flatnonzero(example.scored)}
        (block,) = blocks
        assert not example.hidden[3 : 3 + 8 * block].any() and example.hidden[3 + 8 * (block + 1) :].all()


def test_a_row_without_an_answer_is_named():
    maker = ExampleMaker(toy_policy(), CONFIG)
    with pytest.raises(
        DataError, match="lesson: no solution; fine-tuning needs a column .solution. with a worked answer"
    ):
        maker.make(replace(LESSON, solution=None), np.random.default_rng(0))
    bare = replace(toy_draw_prompt(), metadata={})
    with pytest.raises(DataError, match="no picture; fine-tuning a draw row needs a column 'image'"):
        maker.make(bare, np.random.default_rng(0))
