"""Splitting a response, and the format reward."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.format import FormatReward
from rewards.response import split_response
from rl.types import ScoreStatus
from tests.rewards.makers import text_item

WORDS = st.text(alphabet="ab 7\n<>/", min_size=1).filter(lambda text: "think>" not in text and text.strip())


@given(WORDS, WORDS)
def test_a_well_formed_response_splits_into_its_two_parts(thought, answer):
    response = split_response(f"<think>{thought}</think>{answer}")
    assert (response.thought, response.answer, response.well_formed) == (thought.strip(), answer.strip(), True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("7", "7"),
        ("<think>3+4", None),
        ("3+4</think>7", "7"),
        ("<think>a</think>b</think>c", "c"),
        ("<think>a</think>", ""),
    ],
)
def test_the_answer_of_other_forms(text, answer):
    response = split_response(text)
    assert response.answer == answer and not response.well_formed


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "",
        "<think></think>7",
        "<think> \n</think>7",
        "<think>a</think>",
        "<think>a</think> \n",
        "<think>a<think>b</think>7",
        "<think>a</think><think>b</think>7",
        "so <think>a</think>7",
        "</think>a<think>7",
        "<Think>a</Think>7",
    ],
)
def test_any_other_form_scores_zero_and_says_so(text):
    (score,) = FormatReward().score([text_item(text)])
    assert score.value == 0.0 and score.status is ScoreStatus.WRONG_FORMAT and score.usable


def test_the_right_form_scores_one_in_the_order_of_the_items():
    items = [text_item("<think>a</think>7"), text_item("7"), text_item(" \n<think>a\nb</think>\n7\n")]
    assert [score.value for score in FormatReward().score(items)] == [1.0, 0.0, 1.0]
    assert FormatReward().score([]) == []


def test_a_picture_answers_a_plan():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    texts = ["<think>a red circle</think>", "<think></think>", "a red circle", "", "<think>a</think><think>b</think>"]
    items = [replace(text_item(text), image=picture) for text in texts]
    assert [score.value for score in FormatReward().score(items)] == [1.0, 0.0, 0.0, 0.0, 0.0]
