"""What ``unigrpo rewards check`` wants to know of a reward; runs in a killable child process, as open as a reward worker's.

Each check is a row: its name, ``ok``, ``note`` or ``wrong``, and a line that says what was found.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rewards.base import Reward
from rewards.custom import CustomReward, FunctionReward, IsolatedFunction
from rewards.registry import load_reward
from rewards.sandbox.wire import unpack
from rl.types import RewardItem, Score

OK, NOTE, WRONG = "ok", "note", "wrong"
_THREADS, _PRINTED = 4, 4_000
_loaded: list[Reward] = []


def load(payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"spec": what load_reward takes, packed}``: loads it for the calls of ``examine`` after it."""
    with _captured() as printed:
        _loaded.append(load_reward(unpack(payload["spec"])))
    return {"printed": printed.getvalue()[:_PRINTED]}


def examine(payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"items": packed}`` -> ``{"rows": [[check, verdict, line]], "scores", "seconds_per_item", "printed"}``.

    scores: ``[row's id, status, value or None, detail]`` of each item, in their order.
    """
    reward, items = _loaded[-1], unpack(payload["items"])
    with _captured() as printed:
        began = time.perf_counter()
        scores = reward.score(items)
        seconds: float | None = (time.perf_counter() - began) / len(items)
        rows = [_signature(reward), _values(scores)]
        if any(not score.usable and score.status != "ok" for score in scores):
            seconds = None  # of what failed: says nothing
        else:
            began = time.perf_counter()
            reward.score(items)  # again: the first call also imports and loads
            seconds = (time.perf_counter() - began) / len(items)
            rows += [
                _determinism(reward, items, scores),
                _batches(reward, items, scores),
                _threads(reward, items, scores),
            ]
        function = _function_of(reward)
        if function is not None:
            rows.append(_pickles(function.function))
    found = [_shown(item, score) for item, score in zip(items, scores, strict=True)]
    return {"rows": rows, "scores": found, "seconds_per_item": seconds, "printed": printed.getvalue()[:_PRINTED]}


def probe(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The one function of the child: ``load``, or ``examine`` where there are items."""
    return examine(payload) if "items" in payload else load(payload)


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed


def _shown(item: RewardItem, score: Score) -> list[Any]:
    return [item.prompt.id, str(score.status), score.value if math.isfinite(score.value) else None, score.detail]


def _function_of(reward: Reward) -> FunctionReward | None:
    inner = reward.called if isinstance(reward, CustomReward) else reward
    return inner if isinstance(inner, FunctionReward) else None


def _signature(reward: Reward) -> list[str]:
    found = _function_of(reward)
    if isinstance(reward, CustomReward) and isinstance(reward.called, IsolatedFunction):
        return ["signature", OK, f"{reward.called.label}, in a child process of its own (isolate=true)"]
    if found is None:
        return ["signature", OK, f"{type(reward).__module__}.{type(reward).__name__}, a class with score(items)"]
    function = found.function
    kind = "verl's: one response at a time" if found.per_item else "TRL's: a batch at a time"
    awaited = ", async" if inspect.iscoroutinefunction(function) else ""
    return ["signature", OK, f"{getattr(function, '__name__', function)}{inspect.signature(function)}: {kind}{awaited}"]


def _values(scores: Sequence[Score]) -> list[str]:
    for score in scores:
        if not score.usable and score.detail and score.status != "ok":
            return ["values", WRONG, f"{score.status}: {score.detail}"]
    numbers = [score.value for score in scores if score.usable]
    absent = len(scores) - len(numbers)
    if not numbers:
        return ["values", NOTE, f"None for all {len(scores)} sample rows: is this reward for other rows?"]
    spread = "" if len(set(numbers)) > 1 else "; all are the same: a group without differences teaches nothing"
    line = f"{len(scores)} numbers from {min(numbers):g} to {max(numbers):g}" + (f", {absent} None" if absent else "")
    return ["values", NOTE if spread else OK, line + spread]


def _determinism(reward: Reward, items: Sequence[RewardItem], scores: Sequence[Score]) -> list[str]:
    again = reward.score(items)
    changed = [index for index, pair in enumerate(zip(scores, again, strict=True)) if not _same(*pair)]
    if not changed:
        return ["determinism", OK, "the same scores twice"]
    first = changed[0]
    line = f"{len(changed)} of {len(scores)} scores changed on a second call, e.g. {scores[first].value:g} and then "
    return ["determinism", NOTE, line + f"{again[first].value:g}: two runs of a recipe will differ"]


def _batches(reward: Reward, items: Sequence[RewardItem], scores: Sequence[Score]) -> list[str]:
    alone = [reward.score([item])[0] for item in items]
    changed = sum(not _same(*pair) for pair in zip(scores, alone, strict=True))
    if not changed:
        return ["batching", OK, "a row's score is the same alone and in a batch"]
    return ["batching", NOTE, f"{changed} of {len(scores)} scores depend on the other rows of the batch"]


def _threads(reward: Reward, items: Sequence[RewardItem], scores: Sequence[Score]) -> list[str]:
    with ThreadPoolExecutor(_THREADS) as threads:
        runs = list(threads.map(lambda _: reward.score(items), range(_THREADS)))
    for run in runs:
        for score, other in zip(scores, run, strict=True):
            if not _same(score, other):
                said = other.detail or f"{score.value:g} became {other.value:g}"
                return ["threads", NOTE, f"{_THREADS} threads at once give other scores ({said}); workers use one"]
    return ["threads", OK, f"the same scores from {_THREADS} threads at once"]


def _pickles(function: Callable[..., Any]) -> list[str]:
    try:
        pickle.dumps(function)
    except Exception as error:
        return [
            "pickle",
            NOTE,
            f"does not pickle ({type(error).__name__}); workers load the file instead, which is fine",
        ]
    return ["pickle", OK, "the function pickles"]


def _same(left: Score, right: Score) -> bool:
    both_absent = math.isnan(left.value) and math.isnan(right.value)
    return left.status == right.status and (both_absent or left.value == right.value)
