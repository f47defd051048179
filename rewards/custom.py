"""The user's own reward function, from a file: five lines, see ``examples/custom_reward.py``.

Two signatures are understood, sync or async. TRL's sees the batch, and any of the rows' columns that it names:

    def reward(prompts, completions, **columns) -> list[float | None]

verl's sees one response:

    def compute_score(data_source, solution_str, ground_truth, extra_info) -> float | {"score": float, ...}

``None`` says that an item has no such reward. An exception, a NaN, or anything but a number is a failure with a status
and the user's own line in its detail, never a 0. The function runs in this process: it is the user's code, and trusted;
with ``isolate`` it runs in a child process (``rewards.sandbox.custom``), so that an endless loop, a crash or too much
memory costs one batch and has a line of its own.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import itertools
import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from rewards.base import absent, failed
from rewards.sandbox.parent import Isolated
from rewards.sandbox.wire import to_json
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError, one_line
from rl.registry import close_to
from rl.types import Prompt, RewardItem, Score, ScoreStatus

_COLUMNS = ("prompts", "completions", "images", "prompt_images", "ids", "tasks", "sources", "references")
_START_S = 60.0  # the file's own imports, once a child process
_numbers = itertools.count()
logger = logging.getLogger("unigrpo.rewards.custom")


class FunctionReward:
    """A function with TRL's or verl's signature as a reward; ``extra`` is passed on to every call.

    TRL's signature may name: prompts, completions (texts), images (drawn uint8 [H, W, 3], or None), prompt_images, ids,
    tasks, sources, references, and every key of the rows' metadata (None for a row without it).
    verl's gets data_source = the row's source, solution_str, ground_truth = its reference, extra_info = its metadata and
    what its own column extra_info holds. References and columns have the types of the file.
    """

    name = "custom"

    def __init__(self, function: Callable[..., Any], path: str, extra: Mapping[str, Any] | None = None) -> None:
        self.function, self.path, self.extra = function, path, dict(extra or {})
        self.function_name = getattr(function, "__name__", type(function).__name__)
        self.per_item = "solution_str" in _parameters(function)

    @classmethod
    def from_file(cls, path: str, name: str, extra: Mapping[str, Any] | None = None) -> FunctionReward:
        """Runs the file. Raises RewardError."""
        reward = cls(load_function(path, name), path, extra)
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
        try:
            values = _settle(self.function(**self._columns(items), **self.extra))
        except Exception as error:
            return [failed(ScoreStatus.CRASHED, self._where(error))] * len(items)
        if isinstance(values, tuple):
            values = list(values)
        if not isinstance(values, list):
            hint = "; return values.tolist()" if hasattr(values, "tolist") else ""
            return [self._invalid(f"returned {_kind(values)}, not a list of {len(items)} numbers{hint}")] * len(items)
        if len(values) != len(items):
            return [self._invalid(f"returned {len(values)} values for {len(items)} completions")] * len(items)
        return [self._checked(value, item) for value, item in zip(values, items, strict=True)]

    def _one(self, item: RewardItem) -> Score:
        prompt = item.prompt
        arguments = {
            "data_source": prompt.source,
            "solution_str": item.text,
            "ground_truth": _ground_truth(prompt),
            "extra_info": _extra_info(item),
        }
        try:
            value = _settle(self.function(**_accepted(self.function, arguments), **self.extra))
        except Exception as error:
            return failed(ScoreStatus.CRASHED, f"{self._where(error)} (row {prompt.id})")
        if not isinstance(value, Mapping):
            return self._checked(value, item)
        score = self._checked(value.get("score"), item)
        parts = {str(k): float(v) for k, v in value.items() if k != "score" and isinstance(v, Real)}
        return Score(score.value, score.status, parts, detail=score.detail)

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
            "references": [_ground_truth(prompt) for prompt in prompts],
        }
        for key in dict.fromkeys(key for prompt in prompts for key in prompt.metadata):
            columns.setdefault(str(key), [prompt.metadata.get(key) for prompt in prompts])
        for key in self.extra:
            columns.pop(key, None)
        return _accepted(self.function, columns)

    def _checked(self, value: Any, item: RewardItem) -> Score:
        if value is None:
            return absent()
        if not isinstance(value, Real):
            return self._invalid(f"returned {_kind(value)} for row {item.prompt.id}, not a number or None")
        number = float(value)
        if not math.isfinite(number):
            return self._invalid(f"returned {number} for row {item.prompt.id}")
        return Score(number)

    def _invalid(self, what: str) -> Score:
        return failed(ScoreStatus.INVALID, f"{self.path}:{self.function_name} {what}")

    def _where(self, error: Exception) -> str:
        """The innermost line of the user's own file in the traceback, and the exception."""
        own = str(Path(self.path).resolve())
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
        if not frames:
            columns = ", ".join(_COLUMNS)
            hint = f"; columns: {columns}, and the rows' metadata" if isinstance(error, TypeError) else ""
            return f"{self.path}:{self.function_name}: {one_line(error)}{hint}"
        return f"{self.path}:{frames[-1].lineno}: {frames[-1].line}: {one_line(error)}"


class IsolatedFunction:
    """Calls ``path``'s function on items in a child process; each failure is a status and one line.

    The child has none of this process's environment but PATH, can write files in a temporary folder of its own alone, and
    is killed after ``deadline_s`` seconds or past ``memory_mb`` MiB of address space. What the function prints is logged.
    """

    def __init__(self, path: str, function: str, extra: Mapping[str, Any], deadline_s: float, memory_mb: int) -> None:
        self.label, self.deadline_s = f"{path}:{function}", deadline_s
        self._what = {"path": path, "function": function, "extra": dict(extra)}
        self._child = Isolated(
            "rewards.sandbox.custom:call", memory_mb=memory_mb, recycle_after=1_000_000, network=True
        )
        loaded = self._child.call({**self._what, "items": []}, _START_S)
        if loaded.status is not ScoreStatus.OK:
            self.close()
            raise RewardError(loaded.detail.removeprefix("RewardError: ") or f"{self.label}: {loaded.status}")

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        outcome = self._child.call({**self._what, "items": [to_json(item) for item in items]}, self.deadline_s)
        if outcome.status is not ScoreStatus.OK:
            return [failed(outcome.status, f"{self.label}: {outcome.detail}", outcome.seconds / len(items))] * len(
                items
            )
        for line in outcome.value["printed"].splitlines():
            logger.info("%s prints: %s", self.label, line)
        return [
            Score(row["value"], ScoreStatus(row["status"]), row["parts"], detail=row["detail"])
            for row in outcome.value["scores"]
        ]

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
        file = Path(self.path)
        if not file.is_file():
            raise RewardError(f"no such file: {self.path}")
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"), filename=self.path)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            raise RewardError(f"{self.path}{f':{line}' if line else ''}: {one_line(error)}") from error
        names = _top_level_names(tree)
        if self.function not in names and "*" not in names:
            functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            raise RewardError(f"{self.path} has no function {self.function!r}{close_to(self.function, functions)}")


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
        return self.called.score(items) if items else []


def load_function(path: str, name: str) -> Callable[..., Any]:
    """Run the file as a module of its own and take the function out of it."""
    file = Path(path).resolve()
    spec = importlib.util.spec_from_file_location(f"unigrpo_custom_{file.stem}_{next(_numbers)}", file)
    if spec is None or spec.loader is None:
        raise RewardError(f"{path} is not a Python file")
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look modules up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = f":{frames[-1].lineno}: {frames[-1].line}" if frames else ""
        raise RewardError(f"{path}{line}: {one_line(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise RewardError(f"{path}: {name} is {_kind(function)}, not a function")
    return function


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


def _ground_truth(prompt: Prompt) -> Any:
    """The reference as the file has it: a list, a number, a mapping, a text."""
    return prompt.reference if prompt.ground_truth is None else prompt.ground_truth


def _extra_info(item: RewardItem) -> dict[str, Any]:
    """The row's columns, and what its own column ``extra_info`` holds, as verl hands it over."""
    columns = item.prompt.metadata
    own = columns.get("extra_info")
    inner = own if isinstance(own, Mapping) else {}
    return {**columns, "id": item.prompt.id, "image": item.image, **inner}


def _accepted(function: Callable[..., Any], columns: dict[str, Any]) -> dict[str, Any]:
    parameters = _parameters(function)
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return columns
    return {key: value for key, value in columns.items() if key in parameters}


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _prompt_text(prompt: Prompt) -> str:
    return "\n".join(message.content for message in prompt.messages)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _top_level_names(tree: ast.Module) -> set[str]:
    """What a module's top level binds, as far as its text says; ``*`` where it imports everything from elsewhere."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
