"""What a settings class checks by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from rewards.registry import BUILT_IN, member_of, settings_of
from rewards.settings import RewardSettings, lines_of, setting
from rl.errors import RewardError


@dataclass(frozen=True, kw_only=True)
class Base(RewardSettings):
    device: str = setting("where", "cpu")
    size: int = setting("how many", 2, above=0)


@dataclass(frozen=True, kw_only=True)
class Example(Base):
    share: float | None = setting("a share", None, above=0.5)
    tags: tuple[str, ...] = setting("words", ("a", "b"), choices=("a", "b", "c"))
    extra: Mapping[str, Any] | None = setting("more", None)
    on: bool = setting("a switch", False)
    path: str = setting("a file")
    size: int = setting("how many", 64, above=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs the setting 'path': a file"),
        ({"path": None}, "path=None; allowed: a text$"),
        ({"path": "x", "sise": 1}, "unknown setting 'sise'; allowed: device, size, .*; did you mean 'size'"),
        ({"path": "x", "size": 1.5}, "size=1.5; allowed: a whole number above 0$"),
        ({"path": "x", "size": "2"}, "size='2'; allowed: a whole number above 0$"),
        ({"path": "x", "share": 0.5}, "share=0.5; allowed: a number above 0.5 or null$"),
        ({"path": "x", "share": float("nan")}, "share=nan; allowed: a number above 0.5 or null$"),
        ({"path": "x", "share": True}, "share=True; allowed: a number above 0.5 or null$"),
        ({"path": "x", "tags": "a"}, "tags='a'; allowed: a list of: a, b, c"),
        ({"path": "x", "tags": ["a", "d"]}, "allowed: a list of: a, b, c"),
        ({"path": "x", "tags": [1]}, "allowed: a list of: a, b, c"),
        ({"path": "x", "extra": 1}, "extra=1; allowed: a mapping or null$"),
        ({"path": "x", "on": 1}, "on=1; allowed: true or false$"),
    ],
)
def test_types_bounds_and_choices_are_checked_in_one_line(given, said):
    with pytest.raises(RewardError, match=said) as caught:
        Example.of(given)
    assert "\n" not in str(caught.value)


def test_a_list_becomes_a_tuple_and_a_whole_number_is_a_number():
    made = Example.of({"path": "x", "tags": ["b"], "share": 1, "extra": {"k": 1}})
    assert made.tags == ("b",) and made.share == 1 and made.size == 64 and hash(made.tags)


def test_lines_have_required_settings_first_and_inherited_ones_last():
    lines = list(lines_of(Example))
    assert [line.name for line in lines] == ["path", "share", "tags", "extra", "on", "size", "device"]
    assert [line.default for line in lines] == ["required", "null", "[a, b]", "null", "false", "64", "cpu"]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_reward_says_what_it_is_and_what_each_setting_means(name):
    assert member_of(name).name == name and member_of(name).__doc__
    assert all(line.meaning and line.allowed for line in lines_of(settings_of(name)))
