"""What a key-value cache costs in reward: the same prompts, answered greedily with the cache and without, and scored.

    python -m benchmarks.learning.cache_reward --recipe tiny --task text --prompts 1000 --json reward.json rollout.text.steps=36

Held-out prompts first, training prompts where these are too few. Workers, samplers and rewards are a run's own, in one
process (``cluster.run.cache_gate`` has the same comparison before a run). ``reward`` is the training mix; ``right`` the share
of answers with full ``correctness``. Differences are of pairs, cached minus exact, with 95% of a normal around their mean.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from cluster.run.cache_gate import answers, compare, texts, with_cache
from rl.config import Config, load_config
from rl.data.rows import load_rows
from rl.errors import ConfigError, UniGRPOError
from rl.types import Group, Prompt, Task

PART = "correctness"


def prompts_of(config: Config, task: Task, count: int) -> list[Prompt]:
    """Raises ConfigError where the recipe has fewer."""
    sources = chain(config.data.val, config.data.train)
    found: dict[str, Prompt] = {}
    for source in sources:
        for prompt in load_rows(replace(source, limit=None)) if len(found) < count else ():
            if prompt.task is task:
                found.setdefault(prompt.id, prompt)
    if len(found) < count:
        raise ConfigError(f"--prompts {count}: the recipe's data has {len(found)} of task {task}")
    return list(found.values())[:count]


def run(config: Config, task: Task, prompts: Sequence[Prompt], ways: Sequence[str]) -> dict[str, Any]:
    """Exact once, and each way of caching against it. task: text or understand."""
    config = replace(config, cluster=replace(config.cluster, mode="inline"))
    sampling = texts(config.rollout)[task]
    exact, seconds = _timed(with_cache(config, exact=True), prompts)
    result: dict[str, Any] = {
        "policy": config.policy.path, "task": str(task), "prompts": len(prompts), "steps": sampling.steps,
        "max_new_tokens": sampling.max_new_tokens, "block_length": sampling.block_length,
        "exact": {**_summary(exact), "cpu_s": seconds},
    }  # fmt: skip
    for way in ways:
        part = replace(config.rollout, **{str(task): replace(sampling, cache=way)})
        cached, seconds = _timed(with_cache(replace(config, rollout=part), exact=False), prompts)
        result[way] = {
            **_summary(cached), "cpu_s": seconds, "agreement": compare(exact, cached).agreement,
            "reward_change": _change(_rewards(exact), _rewards(cached)),
            "right_change": _change(_right(exact), _right(cached)),
        }  # fmt: skip
    return result


def _timed(config: Config, prompts: Sequence[Prompt]) -> tuple[list[Group], float]:
    """And CPU-seconds, loading and scoring with them."""
    began = time.process_time()
    return answers(config, prompts), round(time.process_time() - began, 2)


def _summary(groups: Sequence[Group]) -> dict[str, float]:
    return {"reward": float(np.nanmean(_rewards(groups))), "right": float(_right(groups).mean())}


def _rewards(groups: Sequence[Group]) -> np.ndarray:
    """NaN where a score is not usable."""
    return np.array([group.scores[0].value if group.scores[0].usable else np.nan for group in groups])


def _right(groups: Sequence[Group]) -> np.ndarray:
    return np.array([group.scores[0].parts.get(PART, 0.0) >= 1.0 for group in groups], dtype=float)


def _change(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Mean of the pairs' differences, and half of its 95% interval."""
    change = after - before
    change = change[np.isfinite(change)]
    return {"mean": float(change.mean()), "interval": float(1.96 * change.std(ddof=1) / len(change) ** 0.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--task", default="text", choices=("text", "understand"))
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--cache", action="append", choices=("prefix", "dual"), help="default: both")
    parser.add_argument("--json", type=Path)
    options, overrides = parser.parse_known_args()
    try:
        config, task = load_config(options.recipe, overrides), Task(options.task)
        result = run(config, task, prompts_of(config, task, options.prompts), options.cache or ("prefix", "dual"))
    except UniGRPOError as error:
        raise SystemExit(f"benchmarks.learning.cache_reward: {error}") from error
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
