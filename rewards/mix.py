"""The mix: which rewards score a task, with which weights, and what becomes of their failures."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rewards.base import Reward, failed, invalid, is_absent
from rewards.functions.guard import Interrupts
from rewards.functions.messages import said
from rewards.registry import check_reward, load_reward
from rewards.shaping import Shaping
from rl.errors import RewardError
from rl.types import RewardCall, RewardItem, Score, ScoreStatus

CUSTOM = "custom"
_FAILURES = (ScoreStatus.TIMEOUT, ScoreStatus.CRASHED, ScoreStatus.INVALID)

Mix = Mapping[str, Mapping[str, float]]
Settings = Mapping[str, Mapping[str, Any]]


class RewardMix:
    """A weighted sum of rewards per task. Example: ``RewardMix({"text": {"correctness": 2.0, "format": 0.5}})``.

    mix        task -> reward name -> weight; weight 0 records a reward beside the others
    settings   reward name -> its keyword arguments; ``name`` among them says which reward it is, so that one mix can
               hold two of a kind: ``{"clip_large": {"name": "clip", "model": "/models/ViT-L-14"}}``
    custom     ``{"path": FILE.py, "name": FUNCTION, "reward_kwargs": {...}}`` or ``{"url": URL}``: the reward ``custom``
    loaded     rewards to use as they are: another mix's, so that a model is loaded once
    shaping    curves, gates and standardisation within a group, before weighting
    attempts   how often an item whose score failed is tried in all
    elsewhere  rewards that others score, see ``score``: their models are not loaded here

    A row that names its own rewards (``Prompt.rewards``) is scored by those, with the mix's weights, or 1 without one.

    value    the weighted sum; NaN as soon as one reward with a weight failed: a failure is never a 0
    status   the first failure's; else ``wrong_format`` where a reward with a weight said so; else ``ok``
    parts    each reward's own value before weighting, and its own parts as ``name/part``; no entry where it has none
    """

    def __init__(
        self,
        mix: Mix,
        settings: Settings | None = None,
        custom: Mapping[str, Any] | None = None,
        loaded: Mapping[str, Reward] | None = None,
        shaping: Shaping | None = None,
        attempts: int = 1,
        elsewhere: Collection[str] = (),
    ) -> None:
        self.check(mix, settings, custom, shaping)
        self._shaping, self._attempts = shaping or Shaping(), attempts
        self.rewards: dict[str, Reward] = dict(loaded or {})
        self._mix = {str(task): dict(weights) for task, weights in mix.items()}
        self._specs = _specs(settings, custom)
        for name in dict.fromkeys(name for weights in self._mix.values() for name in weights):
            if name not in elsewhere:
                self._load(name)

    @staticmethod
    def check(
        mix: Mix,
        settings: Settings | None = None,
        custom: Mapping[str, Any] | None = None,
        shaping: Shaping | None = None,
    ) -> None:
        """Find unknown names, settings and files without loading a model. Raises RewardError in one line."""
        if shaping is not None:
            shaping.check(mix)
        specs = _specs(settings, custom)
        for task, weights in mix.items():
            for name, weight in weights.items():
                number = isinstance(weight, int | float) and not isinstance(weight, bool)
                if not number or not math.isfinite(weight):
                    raise RewardError(f"rewards of {task!r}: weight {name}={weight!r}; allowed: a finite number")
                if name == CUSTOM and CUSTOM not in specs:
                    raise RewardError(
                        f"rewards of {task!r}: 'custom' needs custom_reward_function.path=FILE.py (or .url=URL)"
                    )
                check_reward(specs.get(name, name))
        for name in settings or {}:
            check_reward(specs[name])

    def score(self, items: Sequence[RewardItem], known: Sequence[Mapping[str, Score]] = ()) -> list[Score]:
        """One Score an item, in order. Each reward is called once, with all of the items that it is to score.

        known: an item's scores by reward, of those that were scored elsewhere; nothing, or one an item.
        """
        found = self.parts(items, known=known)
        values = self._shaping.values(items, found)
        return [combine(*each) for each in zip(found, map(self._weights, items), values, strict=True)]

    def parts(
        self,
        items: Sequence[RewardItem],
        *,
        only: Collection[str] | None = None,
        known: Sequence[Mapping[str, Score]] = (),
    ) -> list[dict[str, Score]]:
        """Each item's scores by reward, before they are put together. only: of these rewards; None: of all.

        In the order of the mix, whoever scored what: sums do not depend on it.
        """
        weights = [self._weights(item) for item in items]
        found = [dict(scores) for scores in known] if known else [{} for _ in items]
        for name in dict.fromkeys(name for row in weights for name in row if only is None or name in only):
            chosen = [index for index, row in enumerate(weights) if name in row and name not in found[index]]
            if chosen:
                scores = self._settled(name, [items[index] for index in chosen])
                for index, score in zip(chosen, scores, strict=True):
                    found[index][name] = score
        return [
            {name: scores[name] for name in row if name in scores} for scores, row in zip(found, weights, strict=True)
        ]

    def _weights(self, item: RewardItem) -> dict[str, float]:
        of_task = self._mix.get(str(item.prompt.task), {})
        if not item.prompt.rewards:
            return of_task
        return {name: of_task.get(name, 1.0) for name in item.prompt.rewards}

    def _settled(self, name: str, items: Sequence[RewardItem]) -> list[Score]:
        """Scores after as many attempts as there may be; what did not fail is not asked for again."""
        scores = self._call(name, items)
        for _ in range(self._attempts - 1):
            again = [index for index, score in enumerate(scores) if score.status in _FAILURES]
            if not again:
                break
            for index, score in zip(again, self._call(name, [items[index] for index in again]), strict=True):
                scores[index] = replace(score, seconds=scores[index].seconds + score.seconds)
        return scores

    def _call(self, name: str, items: Sequence[RewardItem]) -> list[Score]:
        begin = time.perf_counter()
        scores = self._answer(name, items)
        seconds = (time.perf_counter() - begin) / len(items)
        return [replace(score, seconds=score.seconds or seconds) for score in scores]

    def _answer(self, name: str, items: Sequence[RewardItem]) -> list[Score]:
        with Interrupts() as interrupts:
            try:
                scores = self._load(name).score(items)
            except RewardError as error:
                return [invalid(str(error))] * len(items)
            except BaseException as error:  # a reward that raises must not take the batch of the others with it
                interrupts.reraise()
                return [failed(ScoreStatus.CRASHED, said(error))] * len(items)
        if not isinstance(scores, list) or len(scores) != len(items):
            count = len(scores) if isinstance(scores, list) else "no list of"
            return [invalid(f"returned {count} scores for {len(items)} items")] * len(items)
        return [score if _is_score(score) else invalid(f"returned {score!r:.80}, not a Score") for score in scores]

    def _load(self, name: str) -> Reward:
        if name not in self.rewards:
            self.rewards[name] = load_reward(self._specs.get(name, name))
        return self.rewards[name]


def _is_score(found: object) -> bool:
    return isinstance(found, Score) and isinstance(found.value, int | float)


def combine(
    scores: Mapping[str, Score], weights: Mapping[str, float], values: Mapping[str, float] | None = None
) -> Score:
    """The weighted sum of one item's scores, by the rules that RewardMix states; ``values``: what is weighted instead."""
    parts: dict[str, float] = {}
    for name, score in scores.items():
        if score.usable:
            parts[name] = score.value
        parts |= {f"{name}/{part}": float(value) for part, value in score.parts.items() if math.isfinite(value)}
    seconds = sum(score.seconds for score in scores.values())
    calls = {name: RewardCall(score.status, score.seconds) for name, score in scores.items()}
    weighted = {name: score for name, score in scores.items() if weights[name] != 0}
    for name, score in weighted.items():
        if not score.usable and not is_absent(score):
            status = score.status if score.status in _FAILURES else ScoreStatus.INVALID
            return Score(math.nan, status, parts, seconds, f"{name}: {score.detail or 'no finite value'}", calls)
    counted = {name: score for name, score in weighted.items() if not is_absent(score)}
    if not weights or (weighted and not counted):
        reasons = "; ".join(f"{name}: {score.detail}" for name, score in weighted.items())
        detail = "no reward applies to this row" + (f" ({reasons})" if reasons else "")
        return Score(math.nan, ScoreStatus.INVALID, parts, seconds, detail, calls)
    terms = {name: weights[name] * (values or {}).get(name, score.value) for name, score in counted.items()}
    wrong = any(score.status is ScoreStatus.WRONG_FORMAT for score in counted.values())
    detail = "; ".join(f"{name}: {score.detail}" for name, score in counted.items() if score.detail)
    status = ScoreStatus.WRONG_FORMAT if wrong else ScoreStatus.OK
    return Score(sum(terms.values()), status, parts, seconds, detail, calls, terms)


def _specs(settings: Settings | None, custom: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What ``load_reward`` is given for each name that has settings."""
    specs = {name: {"name": name, **values} for name, values in (settings or {}).items()}
    if custom and custom.get("url"):
        specs[CUSTOM] = {"name": "service", "url": str(custom["url"]), **dict(custom.get("reward_kwargs") or {})}
    elif custom and custom.get("path"):
        function, extra = custom.get("name") or "reward", dict(custom.get("reward_kwargs") or {})
        limits = {key: custom[key] for key in ("isolate", "deadline_s", "memory_mb") if key in custom}
        specs[CUSTOM] = {
            "name": CUSTOM,
            "path": str(custom["path"]),
            "function": function,
            "reward_kwargs": extra,
        } | limits
    return specs
