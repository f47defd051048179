"""The settings of a reward: one frozen dataclass, from which the checks, ``unigrpo rewards list`` and the docs are made.

    @dataclass(frozen=True, kw_only=True)
    class PolitenessSettings(RewardSettings):
        word: str = setting("the word that a response must hold", "please")

        def check(self) -> None:
            if not self.word.strip():
                raise RewardError(f"word={self.word!r}; allowed: a word")

Messages do not name the reward: ``rewards.registry`` puts its name in front.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from rl.errors import RewardError
from rl.registry import close_to
from rl.types import Prompt

_LONGEST_DEFAULT = 40  # characters of a default that a table shows


def setting(meaning: str, default: Any = MISSING, *, above: float | None = None, choices: Sequence[str] = ()) -> Any:
    """A field of a settings class. meaning: one line for the docs. No default: the user must give it.

    above     a number must be larger than this
    choices   a text, or each text of a list, must be one of these
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning, "above": above, "choices": tuple(choices)})


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """Base of all settings. Types, bounds and choices are checked when one is made; ``check`` is for everything else."""

    uses_judge_server: ClassVar[bool] = False  # ``judge.serve`` gives it its address
    compares_reference: ClassVar[bool] = False  # every row of its tasks needs a reference

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Checked settings from a mapping. Raises RewardError, in one line."""
        known = {field.name: field for field in dataclasses.fields(cls)}
        for key in given:
            if key not in known:
                allowed = ", ".join(known) or "none"
                raise RewardError(f"unknown setting {key!r}; allowed: {allowed}{close_to(str(key), known)}")
        for key, field in known.items():
            if field.default is MISSING and key not in given:
                raise RewardError(f"needs the setting {key!r}: {field.metadata.get('meaning', '')}")
        made = cls(**given)
        made.check()
        return made

    @classmethod
    def needs_gpu(cls, given: Mapping[str, Any]) -> bool:
        """Whether a worker with a GPU must score it, from the settings that were given, which may be incomplete."""
        return str(given.get("device", "")).startswith("cuda")

    @classmethod
    def refuses(cls, prompt: Prompt) -> str:
        """Why this reward can score no response to a row, in one line, found before a run; empty where it can."""
        return ""

    def check(self) -> None:
        """Relations between settings, files, and installed packages. Loads no model. Raises RewardError."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            if isinstance(value, list) and _is_list(hint):
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            if not _fits(value, hint) or not _within(value, field):
                close = close_to(str(value), field.metadata.get("choices", ()))
                raise RewardError(f"{field.name}={value!r}; allowed: {_allowed(field, hint)}{close}")


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One row of a reward's table. Example: ``SettingLine("threads", "a whole number above 0", "1", "CPU threads")``."""

    name: str
    allowed: str
    default: str
    meaning: str


def lines_of(settings: type[RewardSettings]) -> Iterator[SettingLine]:
    """Required settings first, then those of the class itself, then inherited ones."""
    hints, own = get_type_hints(settings), list(inspect.get_annotations(settings))

    def place(field: dataclasses.Field[Any]) -> tuple[bool, int]:
        return field.default is not MISSING, own.index(field.name) if field.name in own else len(own)

    fields = sorted(dataclasses.fields(settings), key=place)
    for field in fields:
        meaning = field.metadata.get("meaning", "")
        yield SettingLine(field.name, _allowed(field, hints[field.name]), _default(field), meaning)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is MISSING:
        return "required"
    if field.default is None or isinstance(field.default, bool):
        return {None: "null", True: "true", False: "false"}[field.default]
    if isinstance(field.default, tuple):
        return f"[{', '.join(field.default)}]"
    text = str(field.default)
    first = text.splitlines()[0]
    return text if text == first and len(text) <= _LONGEST_DEFAULT else f"{first[:_LONGEST_DEFAULT]}..."


def _allowed(field: dataclasses.Field[Any], hint: Any) -> str:
    """What a setting may be, in words."""
    above, choices = field.metadata.get("above"), field.metadata.get("choices", ())
    if choices:
        return ("a list of: " if _is_list(hint) else "") + ", ".join(choices)
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_allowed(field, one) for one in get_args(hint))
    words = {
        bool: "true or false", int: "a whole number", float: "a number", str: "a text", types.NoneType: "null",
    }.get(hint)  # fmt: skip
    if words is None:
        words = "a list of texts" if _is_list(hint) else "a mapping"
    return f"{words} above {above:g}" if above is not None and hint in (int, float) else words


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type. A whole number is a number too; true and false are none."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if _is_list(hint):
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def _within(value: Any, field: dataclasses.Field[Any]) -> bool:
    above, choices = field.metadata.get("above"), field.metadata.get("choices", ())
    if choices:
        return all(item in choices for item in (value if isinstance(value, tuple) else (value,)))
    return above is None or value is None or value > above


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is tuple
