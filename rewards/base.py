"""What a reward is, and how one is found by name.

A new reward is one file with one class, and one line in ``_REGISTRY`` (or one call of ``register``).
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, runtime_checkable

from rl.errors import RewardError, one_line
from rl.types import RewardItem, Score, ScoreStatus


@runtime_checkable
class Reward(Protocol):
    """Scores a batch. Example: ``load_reward("format").score(items)[0].value``."""

    name: str

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        """One Score an item, in order, always as many. It reports failures as statuses; it does not raise."""
        ...


# name -> "module:class", imported when first asked for
_REGISTRY: dict[str, str] = {
    "correctness": "rewards.correctness:CorrectnessReward",
    "format": "rewards.format:FormatReward",
    "sudoku": "rewards.sudoku:SudokuReward",
    "sudoku_cells": "rewards.sudoku:SudokuCellsReward",
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
_ENTRY_POINTS = "unigrpo.rewards"  # installed packages offer rewards under this group: a class, or a function


def register(name: str, target: str) -> None:
    """Add a reward. Example: ``register("length", "my_package.length:LengthReward")``; nothing is imported yet."""
    if name in _REGISTRY and _REGISTRY[name] != target:
        raise RewardError(f"reward {name!r}: already registered as {_REGISTRY[name]}; choose another name")
    _REGISTRY[name] = target


def reward_names() -> list[str]:
    return sorted({*_REGISTRY, *(point.name for point in entry_points(group=_ENTRY_POINTS))})


def load_reward(spec: str | Mapping[str, Any]) -> Reward:
    """A name, ``{"name": ..., **kwargs}``, or ``"path.py:function"`` for a function of the user's own.

    Raises RewardError, in one line, where the name is unknown, a setting does not exist, or it cannot be loaded.
    """
    name, settings = _split(spec)
    factory = _factory(name)
    _check_settings(name, factory, settings)
    try:
        return factory(**settings)
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(f"reward {name!r}: cannot be loaded: {one_line(error)}") from error


def check_reward(spec: str | Mapping[str, Any]) -> None:
    """Find mistakes that ``load_reward`` would raise, without loading a model. Raises RewardError."""
    name, settings = _split(spec)
    factory = _factory(name)
    _check_settings(name, factory, settings)
    check = getattr(factory, "check", None)
    if check is not None:
        check(**settings)


def _split(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    settings = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str) or not name:
        raise RewardError(f"reward {spec!r}: expected a name, or a mapping with 'name', e.g. {{'name': 'format'}}")
    path, separator, function = name.rpartition(":")
    if separator and path.endswith(".py"):
        return "custom", {**settings, "path": path, "function": function}
    return name, settings


def _factory(name: str) -> Any:
    if name not in _REGISTRY:
        for point in entry_points(group=_ENTRY_POINTS, name=name):
            return _from_entry_point(point)
        close = difflib.get_close_matches(name, reward_names(), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        allowed = ", ".join(reward_names())
        raise RewardError(f"reward {name!r}: unknown; allowed: {allowed}, or FILE.py:FUNCTION{hint}")
    module, _, attribute = _REGISTRY[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RewardError(f"reward {name!r}: {_REGISTRY[name]} cannot be imported: {one_line(error)}") from error


def _from_entry_point(point: EntryPoint) -> Any:
    """A reward class as it is; a function with TRL's or verl's signature as a ``FunctionReward``."""
    try:
        found = point.load()
    except Exception as error:
        raise RewardError(f"reward {point.name!r}: {point.value} cannot be imported: {one_line(error)}") from error
    if inspect.isclass(found):
        return found
    from rewards.custom import FunctionReward

    return lambda **reward_kwargs: FunctionReward(found, inspect.getsourcefile(found) or point.value, reward_kwargs)


def _check_settings(name: str, factory: Any, settings: Mapping[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return
    for key in settings:
        if key not in parameters:
            close = difflib.get_close_matches(key, parameters, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            allowed = ", ".join(parameters) or "none"
            raise RewardError(f"reward {name!r}: unknown setting {key!r}; allowed: {allowed}{hint}")
    for key, item in parameters.items():
        if item.default is inspect.Parameter.empty and key not in settings:
            raise RewardError(f"reward {name!r}: needs the setting {key!r}")


def failed(status: ScoreStatus, detail: str, seconds: float = 0.0) -> Score:
    """A score that is none: its value is NaN, and its status says why."""
    return Score(math.nan, status, seconds=seconds, detail=detail)


def invalid(detail: str) -> Score:
    return failed(ScoreStatus.INVALID, detail)


def absent(detail: str = "no such reward for this row") -> Score:
    """For an item that the reward says nothing about (a custom function returned None). Not a failure, and no value."""
    return Score(math.nan, ScoreStatus.OK, detail=detail)


def is_absent(score: Score) -> bool:
    return score.status is ScoreStatus.OK and math.isnan(score.value)
