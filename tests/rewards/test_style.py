"""Length, repetition, script and tags: numbers by hand, and bounds as properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import load_reward
from rewards.mix import RewardMix
from rl.errors import RewardError
from tests.rewards.makers import text_item


def value(spec, text):
    (score,) = load_reward(spec).score([text_item(text)])
    return score.value


@pytest.mark.parametrize(("words", "expected"), [(0, -1), (1, -1), (2, 0), (80, 0), (85, -0.25), (100, -1), (101, -1)])
def test_length_is_dapos_soft_punishment(words, expected):
    assert value({"name": "length", "longest": 100, "buffer": 20, "shortest": 2}, "w " * words) == expected


def test_length_of_the_answer_in_characters():
    spec = {"name": "length", "longest": 3, "unit": "characters", "part": "answer"}
    assert value(spec, "<think>long thought</think>abc") == 0 and value(spec, "<think>x</think>abcd") == -1


@pytest.mark.parametrize(
    ("text", "expected"), [("a b c d", 1.0), ("a b a b a b", 2 / 5), ("a a a", 0.5), ("", 1.0), ("A a", 1.0)]
)
def test_repetition_counts_distinct_bigrams(text, expected):
    assert value({"name": "repetition", "n": 2}, text) == pytest.approx(expected)


@given(st.text(max_size=200))
def test_shares_are_shares(text):
    for spec in ({"name": "repetition"}, {"name": "language"}, {"name": "language", "script": "japanese"}):
        assert 0.0 <= value(spec, text) <= 1.0


@pytest.mark.parametrize(
    ("script", "text", "expected"),
    [
        ("latin", "Hello, wörld 42!", 1.0),
        ("latin", "да", 0.0),
        ("cyrillic", "да ok", 0.5),
        ("han", "你好 ok", 0.5),
        ("korean", "안녕", 1.0),
        ("latin", r"so $\alpha + я$ holds, `код` <think>", 1.0),
        ("thai", "123", 1.0),
    ],
)
def test_language_is_the_share_of_a_script(script, text, expected):
    assert value({"name": "language", "script": script}, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        (" <think>a</think>\n<answer>b</answer>\n", 1.0),
        ("<answer>b</answer><think>a</think>", 0.0),
        ("<think>a<answer>b</answer></think>", 0.0),
        ("<think>a</think><answer></answer>", 0.0),
        ("<think>a</think><answer>b</answer> more", 0.0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0.0),
        ("<think>a</think>", 0.0),
        ("</think>a<think><answer>b</answer>", 0.0),
    ],
)
def test_tags_once_in_order_and_not_empty(text, expected):
    assert value("tags", text) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"length": {"longest": 10, "buffer": 20}}, "0 <= shortest <= longest - buffer"),
        ({"length": {"longest": 10, "unit": "word"}}, "did you mean 'words'"),
        ({"length": {}}, "needs the setting 'longest'"),
        ({"repetition": {"n": 0}}, "n=0"),
        ({"language": {"script": "latn"}}, "did you mean 'latin'"),
        ({"tags": {"tags": "think"}}, "tags='think'; allowed: a list of texts"),
        ({"tags": {"tags": ["think", "think"]}}, "a list of different names"),
        ({"tags": {"tags": []}}, "a list of different names"),
        ({"tags": {"tags": ["a b"]}}, "a list of different names"),
    ],
)
def test_mistakes_are_one_line(settings, said):
    with pytest.raises(RewardError, match=said):
        RewardMix.check({"text": {next(iter(settings)): 1.0}}, settings)
