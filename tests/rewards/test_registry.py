"""Rewards that installed packages bring, in each form that an entry point may have."""

import sys

import pytest

from rewards.mix import RewardMix
from rewards.registry import check_reward, load_reward, reward_names, settings_of
from rl.errors import RewardError
from tests.outside.package import make_package
from tests.rewards.makers import text_item

ITEMS = [text_item("<think>a</think>7"), text_item("<think>a</think>8")]

PACKAGE = """
from dataclasses import dataclass

from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.types import Score


def by_trl(completions, word="a", **columns):
    return [float(word in text) for text in completions]


def by_verl(data_source, solution_str, ground_truth, extra_info):
    return float(ground_truth in solution_str)


class Polite:
    name = "polite"

    def __init__(self, value=0.5):
        self.value = value

    def score(self, items):
        return [Score(self.value) for _ in items]


@dataclass(frozen=True, kw_only=True)
class WordSettings(RewardSettings):
    word: str = setting("the word that a response must hold")
    times: int = setting("how often", 1, above=0)

    def check(self):
        if not self.word.strip():
            raise RewardError(f"word={self.word!r}; allowed: a word")

    @classmethod
    def needs_gpu(cls, given):
        return given.get("times", 1) > 9


class Word:
    name = "word"
    Settings = WordSettings

    def __init__(self, settings):
        self.settings = settings

    def score(self, items):
        return [Score(float(item.text.count(self.settings.word) >= self.settings.times)) for item in items]


class Broken:
    def __init__(self):
        raise OSError("no model here\\nsecond line")
"""


@pytest.fixture
def installed(tmp_path, monkeypatch, registered):
    names = {
        "trl": "by_trl",
        "verl": "by_verl",
        "polite": "Polite",
        "word": "Word",
        "broken": "Broken",
        "gone": "nothing",
    }
    points = "\n".join(f"{name} = greeting_rewards:{attribute}" for name, attribute in names.items())
    make_package(tmp_path, "greeting_rewards", PACKAGE, {"unigrpo.rewards": points})
    monkeypatch.syspath_prepend(str(tmp_path))
    registered()
    yield
    sys.modules.pop("greeting_rewards", None)


@pytest.mark.usefixtures("installed")
def test_functions_and_classes_with_and_without_settings_are_rewards():
    assert {"trl", "verl", "polite", "word"} <= set(reward_names())
    mix = {"text": {"trl": 1.0, "verl": 2.0, "polite": 4.0, "word": 8.0}}
    settings = {"trl": {"word": "8"}, "polite": {"value": 0.25}, "word": {"word": "7"}}
    RewardMix.check(mix, settings)
    assert [score.value for score in RewardMix(mix, settings).score(ITEMS)] == [11.0, 2.0]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gone", "reward 'gone': greeting_rewards:nothing cannot be imported: AttributeError"),
        ("broken", "reward 'broken': cannot be loaded: OSError: no model here"),
        ("wrod", "reward 'wrod': unknown; allowed: .*, or FILE.py:FUNCTION; did you mean 'word'?"),
        ("word", "reward 'word': needs the setting 'word': the word that a response must hold"),
        (
            {"name": "word", "wrod": "a"},
            "reward 'word': unknown setting 'wrod'; allowed: word, times; did you mean 'word'",
        ),
        ({"name": "word", "word": 3}, "reward 'word': word=3; allowed: a text"),
        ({"name": "word", "word": "a", "times": 0}, "reward 'word': times=0; allowed: a whole number above 0"),
        ({"name": "word", "word": "a", "times": True}, "reward 'word': times=True; allowed: a whole number above 0"),
        ({"name": "word", "word": " "}, "reward 'word': word=' '; allowed: a word"),
        (
            {"name": "polite", "valeu": 1},
            "reward 'polite': unknown setting 'valeu'; allowed: value; did you mean 'value'",
        ),
    ],
)
def test_each_mistake_is_one_line(spec, said):
    with pytest.raises(RewardError, match=said) as caught:
        load_reward(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("installed")
def test_who_needs_a_gpu_is_the_settings_class_own_answer():
    assert settings_of("word").needs_gpu({"times": 10}) and not settings_of("word").needs_gpu({"device": "cuda"})
    for name in ("clip", "polite", "trl"):  # without one of their own: by the setting `device`
        assert settings_of(name).needs_gpu({"device": "cuda:1"}) and not settings_of(name).needs_gpu({})
    assert settings_of("judge").uses_judge_server and not settings_of("service").uses_judge_server
    assert settings_of({"name": "correctness"}).compares_reference and not settings_of("format").compares_reference


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 3\n", "no function at its top level; add def reward(completions, **columns), and name {}:reward"),
        ("def a(c): pass\n", "a file needs its function: {}:a"), ("def a(c): pass\nb = lambda c: 1\n", "{}:a or {}:b"),
        ("def _a(c): pass\n", "{}:_a"), ("def f(:\n", "SyntaxError"), (None, "no such file: {}"),
    ],
)  # fmt: skip
def test_a_file_without_its_function_says_what_to_write(tmp_path, text, told):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    for ask in (load_reward, check_reward):
        with pytest.raises(RewardError) as caught:
            ask(str(path))
        assert told.format(path, path) in str(caught.value) and "\n" not in str(caught.value)
