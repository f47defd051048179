"""Rules over held-out evaluations."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence

from rl.health.history import History
from rl.health.rule import FEW, WINDOW, Reading, Rule, highest

_SCORE, _WIDTH, _COUNT, _REWARD = "val/*/score", "val/*/score_ci95", "val/*/n", "rewards/*/mean"
_Z = 1.96  # 95% of the normal distribution


def hacking(history: History) -> Reading | None:
    """Of the task where it is surest: how far its held-out score fell below the best one before, and how far its training
    reward rose since then; the smaller of both, in 95% half-widths of the difference."""
    found = {task: _hacked(history, task) for task in history.names(_SCORE)}
    return highest({task: value for task, value in found.items() if value is not None})


def _hacked(history: History, task: str) -> float | None:
    steps, scores = history.curve(f"val/{task}/score")
    width_steps, widths = history.curve(f"val/{task}/score_ci95")
    reward_steps, rewards = history.curve(f"rewards/{task}/mean")
    if len(scores) < 2 or not rewards:
        return None
    width = dict(zip(width_steps, widths, strict=True))
    best = max(range(len(scores) - 1), key=scores.__getitem__)
    if steps[best] not in width or steps[-1] not in width:
        return None
    at = bisect.bisect_right(reward_steps, steps[best])
    middle = max(at, min(WINDOW, len(rewards) // 2))  # before training there is no reward: its first steps stand in
    before, after = rewards[max(0, middle - WINDOW) : middle], rewards[max(middle, len(rewards) - WINDOW) :]
    if len(before) < FEW or len(after) < FEW:
        return None
    fell = _in_widths(scores[best] - scores[-1], math.hypot(width[steps[best]], width[steps[-1]]))
    rose = statistics.fmean(after) - statistics.fmean(before)
    return max(0.0, min(fell, _in_widths(rose, _Z * math.hypot(_error(before), _error(after)))))


def _in_widths(change: float, width: float) -> float:
    """Where nothing varies, every change is sure: as sure as can be written down."""
    if width > 0:
        return max(-100.0, min(100.0, change / width))
    return math.copysign(100.0, change) if change else 0.0


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def wide_interval(history: History) -> Reading | None:
    """Of the task whose score is least sure. A single prompt has no interval: its score says nothing."""
    found: dict[str, float] = {}
    for task, name in history.names(_COUNT).items():
        steps, counts = history.curve(name)
        width_steps, widths = history.curve(f"val/{task}/score_ci95")
        score = history.last(f"val/{task}/score", 1)
        if not counts or not counts[-1] or not score:
            continue
        known = bool(widths) and width_steps[-1] == steps[-1]
        found[task] = widths[-1] / max(1.0, abs(score[0])) if known else 1.0
    return highest(found)


HACKING = Rule(
    hacking,
    (_SCORE, _WIDTH, _REWARD),
    limit=1.0,
    patience=1,
    value="fall of a held-out score below its best, and rise of the training reward since then: the smaller of both, where 1 is "
    "the 95% half-width of such a difference",
    means="the policy learns to please the training reward and gets worse at what it is judged by",
    do="stop, and read the samples with the highest reward; go back to the best checkpoint (best_metric), fix the reward or add "
    "what the held-out judge asks for, or raise learner.algorithm.kl_coef",
)
WIDE_INTERVAL = Rule(
    wide_interval,
    (_COUNT, _SCORE, _WIDTH),
    limit=0.15,
    patience=1,
    value="half the width of the least sure task's 95% interval, as a share of its score where that is above 1",
    means="the held-out score is of so few prompts that a gain of some points cannot be told from luck",
    do="evaluate more held-out prompts (data.val limit); 200 with scores of 0 and 1 give 0.07, 1,000 give 0.03",
)
