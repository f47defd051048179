"""The user's own reward function, from a file: five lines, see ``examples/custom_reward.py``.

Two signatures are understood, sync or async. TRL's sees the batch, and any of the rows' columns that it names:

    def reward(prompts, completions, **columns) -> list[float | None]

verl's sees one response:

    def compute_score(data_source, solution_str, ground_truth, extra_info) -> float | {"score": float, ...}

A number is whatever Python, NumPy or torch calls one, a boolean too (``rewards.functions.values``). ``None`` says that an
item has no such reward. An exception, a NaN, a dict without ``score``, or anything else is a failure with a status and the
user's own line in its detail, never a 0. Modules beside the file can be imported (``rewards.functions.modules``).

The function runs in this process: it is the user's code, and trusted. With ``isolate`` it runs in a child process
(``rewards.sandbox.custom``), so that an endless loop, a crash or too much memory costs one batch and has a line of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from rewards.base import absent, failed
from rewards.functions.guard import Interrupts
from rewards.functions.messages import remedy, said, where
from rewards.functions.modules import UserFile, run_file
from rewards.functions.source import check_function, functions, missing, parse
from rewards.functions.values import NotANumber, as_list, kind, number_of
from rewards.pictures.torchvision_ops import declare_before_torchvision
from rewards.sandbox.parent import Isolated
from rewards.sandbox.wire import pack
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.pixels import with_pixels
from rl.types import Prompt, RewardItem, Score, ScoreStatus

_COLUMNS = ("prompts", "completions", "images", "prompt_images", "ids", "tasks", "sources", "references")
_ALSO = {
    "id": "ids",
    "task": "tasks",
    "source": "sources",
    "ground_truth": "references",
}  # columns by the rows' own names
_ITEM = ("data_source", "solution_str", "ground_truth", "extra_info")
_START_S = 180.0  # the file's own imports, once a child process: transformers takes half a minute on a busy machine
_KEYS_SHOWN, _KEY_LENGTH = 12, 80
declare_before_torchvision()  # every process that runs a user's code imports this module
logger = logging.getLogger("unigrpo.rewards.custom")


class FunctionReward:
    """A function with TRL's or verl's signature as a reward; ``extra`` is passed on to every call.

    TRL's signature may name: prompts, completions (texts), images (drawn uint8 [H, W, 3], or None), prompt_images, ids,
    tasks, sources, references, and every key of the rows' metadata (None for a row without it). id, task, source and
    ground_truth are the same by the names that rows have.
    verl's gets data_source = the row's source, solution_str, ground_truth = its reference, extra_info = its metadata and
    what its own column extra_info holds. References and columns have the types of the file.
    """

    name = "custom"

    def __init__(self, function: Callable[..., Any], path: str, extra: Mapping[str, Any] | None = None) -> None:
        self.function, self.path, self.extra = function, path, dict(extra or {})
        self.function_name = str(getattr(function, "__name__", type(function).__name__))
        self.per_item = "solution_str" in _parameters(function)
        self._file: UserFile | None = None

    @classmethod
    def from_file(cls, path: str, name: str, extra: Mapping[str, Any] | None = None) -> FunctionReward:
        """Run the file. Raises RewardError."""
        function, own = load_function(path, name)
        reward = cls(function, path, extra)
        reward._file = own
        reward.function_name = name  # a decorator may have given the function another
        return reward

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        if not items:
            return []
        begin = time.perf_counter()
        scores = [self._one(item) for item in items] if self.per_item else self._batch(items)
        seconds = (time.perf_counter() - begin) / len(items)
        return [Score(item.value, item.status, item.parts, seconds, item.detail) for item in scores]

    def _batch(self, items: Sequence[RewardItem]) -> list[Score]:
        values, error = self._called(self._columns(items))
        if error is not None:
            return [failed(ScoreStatus.CRASHED, self._where(error))] * len(items)
        found = as_list(values)
        if found is None:
            hint = _list_hint(values)
            return [self._invalid(f"returned {kind(values)}, not a list of {len(items)} numbers{hint}")] * len(items)
        if len(found) != len(items):
            return [self._invalid(f"returned {len(found)} values for {len(items)} completions")] * len(items)
        return [self._checked(value, item) for value, item in zip(found, items, strict=True)]

    def _one(self, item: RewardItem) -> Score:
        prompt = item.prompt
        arguments = {
            "data_source": prompt.source,
            "solution_str": item.text,
            "ground_truth": _ground_truth(prompt),
            "extra_info": _extra_info(item),
        }
        value, error = self._called(_accepted(self.function, arguments))
        if error is not None:
            return failed(ScoreStatus.CRASHED, f"{self._where(error)} (row {prompt.id})")
        return self._checked(value, item)

    def _called(self, arguments: Mapping[str, Any]) -> tuple[Any, BaseException | None]:
        """What the function returned, or what it raised: anything but Ctrl-C and SIGTERM, which pass."""
        at_hand = self._file.at_hand() if self._file is not None else contextlib.nullcontext()
        with Interrupts() as interrupts, at_hand:
            try:
                return _settle(self.function(**arguments, **self.extra)), None
            except BaseException as error:
                interrupts.reraise()
                return None, error

    def _columns(self, items: Sequence[RewardItem]) -> dict[str, list[Any]]:
        prompts = [item.prompt for item in items]
        columns: dict[str, list[Any]] = {
            "prompts": [_prompt_text(prompt) for prompt in prompts],
            "completions": [item.text for item in items],
            "images": [item.image for item in items],
            "prompt_images": [prompt.image for prompt in prompts],
            "ids": [prompt.id for prompt in prompts],
            "tasks": [str(prompt.task) for prompt in prompts],
            "sources": [prompt.source for prompt in prompts],
            "references": [prompt.metadata.get("references", _ground_truth(prompt)) for prompt in prompts],
        }
        columns |= {one: columns[several] for one, several in _ALSO.items() if one in _parameters(self.function)}
        for key in dict.fromkeys(key for prompt in prompts for key in prompt.metadata):
            columns.setdefault(str(key), [prompt.metadata.get(key) for prompt in prompts])
        for key in self.extra:
            columns.pop(key, None)
        return _accepted(self.function, columns)

    def _checked(self, value: Any, item: RewardItem) -> Score:
        """The score of what one item got, whatever that is."""
        try:
            return self._read(value, item)
        except Exception as error:  # a class of the user's own may raise at every question
            return self._invalid(f"returned {kind(value)} for row {item.prompt.id} that cannot be read: {said(error)}")

    def _read(self, value: Any, item: RewardItem) -> Score:
        """A number, None, or verl's dict: ``score``, and numbers that are recorded beside it."""
        if not isinstance(value, Mapping):
            return self._number(value, item)
        if "score" not in value:
            keys = ", ".join(repr(key)[:_KEY_LENGTH] for key in list(value)[:_KEYS_SHOWN]) or "none"
            return self._invalid(
                f"returned a dict without 'score' for row {item.prompt.id}: its keys are {keys}; "
                "return {'score': NUMBER}, or None for no such reward"
            )
        parts = {}
        for key, part in value.items():
            if key == "score":
                continue
            try:
                parts[str(key)] = number_of(part)
            except NotANumber as error:
                if error.unfit:  # texts, lists and None are left out
                    return self._invalid(f"returned {key!r}: {error} for row {item.prompt.id}{error.remedy}")
        score = self._number(value["score"], item, "'score': ")
        return Score(score.value, score.status, parts, detail=score.detail)

    def _number(self, value: Any, item: RewardItem, place: str = "") -> Score:
        if value is None:
            return absent()
        try:
            return Score(number_of(value))
        except NotANumber as error:
            return self._invalid(f"returned {place}{error} for row {item.prompt.id}{error.remedy}")

    def _invalid(self, what: str) -> Score:
        return failed(ScoreStatus.INVALID, f"{self.path}:{self.function_name} {what}")

    def _where(self, error: BaseException) -> str:
        """The innermost line of the user's own file in the traceback, the exception, and what to do about it."""
        place = where(error, self.path)
        if not place and isinstance(error, TypeError):
            given = (
                f"arguments: {', '.join(_ITEM)}"
                if self.per_item
                else f"columns: {', '.join(_COLUMNS)}, and the rows' metadata"
            )
            return f"{self.path}:{self.function_name}: {said(error)}; {given}"
        return f"{place or f'{self.path}:{self.function_name}: '}{said(error)}{remedy(error, self.path)}"


class IsolatedFunction:
    """Calls ``path``'s function on items in a child process; each failure is a status and one line.

    The child has none of this process's environment but PATH, can write files in a temporary folder of its own alone, and
    is killed after ``deadline_s`` seconds or past ``memory_mb`` MiB of address space. What the function prints is logged.
    """

    def __init__(self, path: str, function: str, extra: Mapping[str, Any], deadline_s: float, memory_mb: int) -> None:
        self.label, self.deadline_s = f"{path}:{function}", deadline_s
        self._child = Isolated(
            "rewards.sandbox.custom:call", memory_mb=memory_mb, recycle_after=1_000_000, rules="network"
        )
        try:
            self._what = {"path": path, "function": function, "extra": pack(dict(extra))}
            loaded = self._child.call({**self._what, "items": pack([])}, _START_S)
        except RewardError:
            self.close()
            raise
        if loaded.status is not ScoreStatus.OK:
            self.close()
            detail = loaded.detail.removeprefix("RewardError: ")
            raise RewardError(
                detail if path in detail else f"{self.label}: while its file runs: {loaded.status}: {detail}"
            )

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        outcome = self._child.call({**self._what, "items": pack(list(items))}, self.deadline_s)
        if outcome.status is not ScoreStatus.OK:
            score = failed(outcome.status, f"{self.label}: {outcome.detail}", outcome.seconds / len(items))
            return [score] * len(items)
        try:
            scores = [
                Score(float(row["value"]), ScoreStatus(row["status"]), dict(row["parts"]), detail=str(row["detail"]))
                for row in outcome.value["scores"]
            ]
            lines = str(outcome.value["printed"]).splitlines()
        except (TypeError, KeyError, ValueError, OverflowError) as error:  # something in the child wrote it in our name
            scores, lines = [], [f"{type(error).__name__}: {error}"]
        if len(scores) != len(items):
            return [failed(ScoreStatus.CRASHED, f"{self.label}: its answer has not one score an item")] * len(items)
        for line in lines:
            logger.info("%s prints: %s", self.label, line)
        return scores

    def close(self) -> None:
        self._child.close()


@dataclass(frozen=True, kw_only=True)
class CustomSettings(RewardSettings):
    path: str = setting("the Python file")
    function: str = setting("the function in it", "reward")
    reward_kwargs: Mapping[str, Any] | None = setting("keyword arguments of every call", None)
    isolate: bool = setting("run it in a child process", False)
    deadline_s: float = setting("seconds for one batch in the child", 60.0, above=0)
    memory_mb: int = setting("address space of the child, MiB", 2048, above=0)

    def check(self) -> None:
        """Whether the file parses and has such a name, without running it. Raises RewardError."""
        check_function(self.path, self.function)


class CustomReward:
    """Your own function from a file, in this process or in a child. See ``FunctionReward`` for its signature."""

    name = "custom"
    Settings = CustomSettings

    def __init__(self, settings: CustomSettings) -> None:
        path, function, extra = settings.path, settings.function, settings.reward_kwargs or {}
        self.called: FunctionReward | IsolatedFunction
        if settings.isolate:
            self.called = IsolatedFunction(path, function, extra, settings.deadline_s, settings.memory_mb)
        else:
            self.called = FunctionReward.from_file(path, function, extra)

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return self.called.score(_decoded(items)) if items else []


def _decoded(items: Sequence[RewardItem]) -> Sequence[RewardItem]:
    """Items whose prompts have pixels where the row has an encoded picture: one decoding for a group."""
    prompts = {id(item.prompt): with_pixels(item.prompt) for item in items}
    return [replace(item, prompt=prompts[id(item.prompt)]) for item in items]


def load_function(path: str, name: str) -> tuple[Callable[..., Any], UserFile]:
    """Run the file as a module of its own and take the function out of it. Raises RewardError."""
    with Interrupts() as interrupts:
        try:
            module, own = run_file(path)
        except RewardError:
            raise
        except BaseException as error:
            interrupts.reraise()
            raise RewardError(f"{where(error, path) or f'{path}: '}{said(error)}{remedy(error, path)}") from error
    try:
        function = getattr(module, name)
    except AttributeError:
        raise RewardError(missing(path, name, functions(parse(path)))) from None
    if not callable(function):
        raise RewardError(f"{path}: {name} is {kind(function)}, not a function")
    return function, own


def _settle(value: Any) -> Any:
    """The result of an async function, whether or not this thread already runs an event loop."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    box: dict[str, Any] = {}

    def run() -> None:
        try:
            box["value"] = asyncio.run(wait())
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=run, name="custom-reward")
    thread.start()
    thread.join()
    if "error" in box:
        raise box["error"]
    return box["value"]


def _accepted(function: Callable[..., Any], columns: dict[str, Any]) -> dict[str, Any]:
    parameters = _parameters(function)
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return columns
    return {key: value for key, value in columns.items() if key in parameters}


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:  # some of those that are written in C
        raise RewardError(f"{kind(function)} whose parameters Python cannot tell: wrap it in a def") from error


def _list_hint(values: Any) -> str:
    """How to make a list of what a function returned, where that is easily said."""
    if hasattr(values, "reshape"):
        return "; return values.reshape(-1)"
    is_no_list = isinstance(values, str | bytes | Mapping | Set)
    return "; return list(values)" if isinstance(values, Iterable) and not is_no_list else ""


def _prompt_text(prompt: Prompt) -> str:
    return "\n".join(message.content for message in prompt.messages)


def _ground_truth(prompt: Prompt) -> Any:
    """The reference as the file has it: a list, a number, a mapping, a text."""
    return prompt.reference if prompt.ground_truth is None else prompt.ground_truth


def _extra_info(item: RewardItem) -> dict[str, Any]:
    """The row's columns, and what its own column ``extra_info`` holds, as verl hands it over."""
    columns = item.prompt.metadata
    own = columns.get("extra_info")
    inner = own if isinstance(own, Mapping) else {}
    return {**columns, "id": item.prompt.id, "image": item.image, **inner}
