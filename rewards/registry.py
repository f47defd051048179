"""Rewards by name. A new one is a file with a class and a line in ``BUILT_IN``, or an entry point of an installed package.

A class has ``score``, ``largest`` where its value has an upper bound, and ``Settings`` where it takes any: a
``rewards.settings.RewardSettings``, which its constructor is given. A class without ``Settings`` is given the settings as
keyword arguments. An entry point may also be a function with TRL's or verl's signature; its settings go to every call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from rewards.base import Reward
from rewards.custom import FunctionReward
from rewards.functions.source import functions, parse
from rewards.settings import RewardSettings
from rl.errors import RewardError, one_line
from rl.registry import Registry, Takes, close_to

GROUP = "unigrpo.rewards"
BUILT_IN: dict[str, str] = {
    "correctness": "rewards.correctness:CorrectnessReward",
    "format": "rewards.format:FormatReward",
    "sudoku": "rewards.sudoku:SudokuReward",
    "sudoku_cells": "rewards.sudoku:SudokuCellsReward",
    "countdown": "rewards.puzzles.countdown:CountdownReward",
    "knights_and_knaves": "rewards.puzzles.knights:KnightsReward",
    "clip": "rewards.pictures.clip:ClipReward",
    "composition": "rewards.pictures.composition:CompositionReward",
    "custom": "rewards.custom:CustomReward",
    "service": "rewards.service:ServiceReward",
    "judge": "rewards.judge:JudgeReward",
    "length": "rewards.style:LengthReward",
    "repetition": "rewards.style:RepetitionReward",
    "language": "rewards.style:LanguageReward",
    "tags": "rewards.style:TagsReward",
    "reasoning_gym": "rewards.gym:ReasoningGymReward",
    "code": "rewards.code:CodeReward",
    "aesthetic": "rewards.pictures.preference:AestheticReward",
    "pickscore": "rewards.pictures.preference:PickScoreReward",
    "hpsv2": "rewards.pictures.preference:Hpsv2Reward",
    "imagereward": "rewards.pictures.imagereward:ImageRewardReward",
    "ocr": "rewards.pictures.ocr:OcrReward",
}


@dataclass(frozen=True, slots=True)
class _Scores:
    """A function, or a class as above."""

    def problem(self, found: object) -> str:
        wrong = Takes(gives="rewards.base:Reward").problem(found)
        settings, largest = getattr(found, "Settings", None), getattr(found, "largest", None)
        if wrong or not inspect.isclass(found):
            return wrong
        if settings is not None and not (inspect.isclass(settings) and issubclass(settings, RewardSettings)):
            return f"has Settings={settings!r:.60}; must be a subclass of rewards.settings.RewardSettings"
        if settings is not None and "__dataclass_params__" not in vars(settings) and inspect.get_annotations(settings):
            return f"has Settings={settings.__name__} without @dataclass(frozen=True, kw_only=True)"
        if not isinstance(largest, int | float | None):
            return f"has largest={largest!r:.60}; must be a number, or None"
        return ""


REWARDS: Registry[Any] = Registry("reward", BUILT_IN, group=GROUP, error=RewardError, member=_Scores())

Spec = str | Mapping[str, Any]


def reward_names() -> list[str]:
    return sorted(REWARDS)


def load_reward(spec: Spec) -> Reward:
    """A name, ``{"name": ..., **settings}``, or ``"path.py:function"`` for a function of the user's own.

    Raises RewardError, in one line, where the name is unknown, a setting is wrong, or it cannot be loaded.
    """
    name, given = _split(spec)
    member = member_of(name)
    with _named(name):
        settings, factory = _checked(member, given), cast(Callable[..., Reward], member)
        if settings is not None:
            return factory(settings)
        if inspect.isclass(member):
            return factory(**given)
        return FunctionReward(member, inspect.getsourcefile(member) or name, given)


def check_reward(spec: Spec) -> None:
    """Find mistakes that ``load_reward`` would raise, without loading a model. Raises RewardError."""
    name, given = _split(spec)
    member = member_of(name)
    with _named(name):
        if _checked(member, given) is None and hasattr(member, "check"):
            member.check(**given)


def largest_of(spec: Spec) -> float | None:
    """The largest value that a reward can give; None where it has no bound, or does not say. Raises RewardError."""
    return getattr(member_of(_split(spec)[0]), "largest", None)


def reads_reference(spec: Spec) -> bool:
    """Whether a reward may look at a row's reference: it does unless it says that it does not. Raises RewardError."""
    return getattr(member_of(_split(spec)[0]), "reads_reference", True)


def settings_of(spec: Spec) -> type[RewardSettings]:
    """The class of a reward's settings; the base, which has none, where a reward declares none. Raises RewardError."""
    member = member_of(_split(spec)[0])
    return getattr(member, "Settings", RewardSettings)


def member_of(name: str) -> Any:
    """The class or function behind a name. Raises RewardError."""
    if name not in REWARDS:
        if name.endswith(".py"):
            raise RewardError(f"reward {name!r}: {_of_a_file(name)}")
        allowed = ", ".join(reward_names())
        raise RewardError(f"reward {name!r}: unknown; allowed: {allowed}, or FILE.py:FUNCTION{close_to(name, REWARDS)}")
    return REWARDS[name]


def require_named(rows: Iterable[str], recipe: Collection[str]) -> None:
    """Raises RewardError where rows name a reward's file that the recipe does not: rows are data, and choose no code to run.

    rows    names in the column ``rewards``
    recipe  those of its mixes and settings
    """
    for name in rows:
        file, colon, _ = name.rpartition(":")
        if colon and file.endswith(".py") and name not in recipe:
            raise RewardError(
                f"rows with rewards of their own: {name!r} is a file of code that the recipe does not name; if you trust it, add "
                f"rewards.settings: {{{name!r}: {{}}}}"
            )


def _of_a_file(path: str) -> str:
    """What to write for a file that is named without its function. Raises RewardError where it cannot be read."""
    found = functions(parse(path))
    if not found:
        return f"no function at its top level; add def reward(completions, **columns), and name {path}:reward"
    return f"a file needs its function: {' or '.join(f'{path}:{name}' for name in found[:6])}"


def _split(spec: Spec) -> tuple[str, dict[str, Any]]:
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("name", None)
    if not isinstance(name, str) or not name:
        raise RewardError(f"reward {spec!r}: expected a name, or a mapping with 'name', e.g. {{'name': 'format'}}")
    path, separator, function = name.rpartition(":")
    if separator and path.endswith(".py"):
        return "custom", {**given, "path": path, "function": function}
    return name, given


def _checked(member: Any, given: Mapping[str, Any]) -> RewardSettings | None:
    """The settings object of a class that has ``Settings``; None for keyword arguments, whose names are checked."""
    settings = getattr(member, "Settings", None)
    if settings is not None:
        return settings.of(given)
    if inspect.isclass(member):
        _check_keywords(member, given)
    return None


def _check_keywords(member: Any, given: Mapping[str, Any]) -> None:
    parameters = inspect.signature(member).parameters
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return
    for key in given:
        if key not in parameters:
            allowed = ", ".join(parameters) or "none"
            raise RewardError(f"unknown setting {key!r}; allowed: {allowed}{close_to(str(key), parameters)}")
    for key, item in parameters.items():
        if (
            item.default is inspect.Parameter.empty
            and item.kind is not inspect.Parameter.VAR_POSITIONAL
            and key not in given
        ):
            raise RewardError(f"needs the setting {key!r}")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors from inside with the reward's name in front."""
    try:
        yield
    except RewardError as error:
        raise RewardError(f"reward {name!r}: {error}") from error
    except (Exception, SystemExit) as error:  # a package's own code
        raise RewardError(f"reward {name!r}: cannot be loaded: {one_line(error)}") from error
