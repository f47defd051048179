"""``unigrpo rewards check my.py:f``, or a reward's name: runs it on sample rows, in a child, and says what a run would meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cluster import console
from rewards.registry import check_reward
from rewards.sandbox.parent import Isolated
from rewards.sandbox.probe import NOTE, OK, WRONG
from rewards.sandbox.wire import plain, to_json
from rl.config import Config, SourceConfig, load_config
from rl.data.rows import load_rows
from rl.types import Message, Prompt, RewardItem, ScoreStatus, Task

_SAMPLES = 8  # rows of the user's own data
_MARKS = {OK: "[green]ok[/green]", NOTE: "[yellow]note[/yellow]", WRONG: "[red]wrong[/red]"}


def check(spec: str, recipe: str, rows: Path | None, deadline_s: float, memory_mb: int, words: Sequence[str]) -> int:
    """Print one row a check; 0 where nothing is wrong, else 2. Raises RewardError, DataError or ConfigError.

    words: ``KEY=VALUE``, a function's keyword arguments or a reward's settings.
    """
    path, separator, _ = spec.rpartition(":")
    given = _keywords(words)
    reward = {"name": spec, "reward_kwargs": given} if separator and path.endswith(".py") else {"name": spec, **given}
    check_reward(reward)
    config = load_config(recipe)
    items = _own(rows) if rows is not None else samples()
    report = examine(reward, items, deadline_s, memory_mb)
    screen = Console()
    screen.print(_table(spec, report["rows"], len(items)))
    if report["printed"]:
        screen.print(
            f"it printed: {report['printed'].splitlines()[0][:200]!r} (in a run, this goes to the log)", markup=False
        )
    if report["seconds_per_item"] is not None:
        screen.print(_cost(config, report["seconds_per_item"]))
    return console.OK if all(row[1] != WRONG for row in report["rows"]) else console.REFUSED


def examine(
    reward: Mapping[str, Any], items: Sequence[RewardItem], deadline_s: float, memory_mb: int
) -> dict[str, Any]:
    """``rewards.sandbox.probe.probe``'s report; where the child did not live to give it, one row that says why."""
    child = Isolated("rewards.sandbox.probe:probe", memory_mb=memory_mb, network=True)
    try:
        child.warm()
        outcome = child.call({"spec": plain(reward), "items": [to_json(item) for item in items]}, deadline_s)
    finally:
        child.close()
    if outcome.status is ScoreStatus.OK:
        return outcome.value
    reason = outcome.detail.removeprefix("RewardError: ")
    if outcome.status is ScoreStatus.TIMEOUT:
        reason += " for all checks: an endless loop, or slow? --deadline gives it longer"
    elif "exit code" in reason or "signal" in reason:
        reason += ": it must return, and never end its process"
    row = ["runs", WRONG, f"{outcome.status}: {reward['name']}: {reason}"]
    return {"rows": [row], "seconds_per_item": None, "printed": ""}


def samples() -> list[RewardItem]:
    """Rows like those that the shipped tasks give: right, wrong, unformatted and empty responses."""
    question, answer = "Calculate 3 + 4.", "7"
    texts = (
        "<think>3 + 4 = 7</think>7",
        "<think>3 + 4 = 8</think>8",
        "7",
        "",
        "<think>unfinished",
        "ünï\u2028 7 " * 200,
    )
    return [
        RewardItem(
            Prompt(f"sample/{index}", Task.TEXT, (Message("user", question),), reference=answer, source="sample"), text
        )
        for index, text in enumerate(texts)
    ]


def _own(rows: Path) -> list[RewardItem]:
    """Rows of the user's own file, answered by their worked solution, or else by their reference."""
    prompts = load_rows(SourceConfig(source=str(rows), task="text", limit=_SAMPLES), frozenset())
    return [RewardItem(prompt, prompt.solution or f"<think>so</think>{prompt.reference or ''}") for prompt in prompts]


def _table(spec: str, rows: Sequence[Sequence[str]], count: int) -> Table:
    table = Table(title=f"{spec} on {count} sample rows", title_justify="left")
    for column in ("check", "", "found"):
        table.add_column(column, overflow="fold")
    for name, verdict, line in rows:
        table.add_row(name, _MARKS[verdict], line.replace("[", "\\["))
    return table


def _cost(config: Config, seconds: float) -> str:
    rollouts = config.rollout.batch_size * config.rollout.n_samples_per_prompt
    step = rollouts * seconds / config.cluster.reward_workers
    workers = max(1, math.ceil(rollouts * seconds / 1.0))
    return (
        f"{seconds * 1000:.3g} ms an item; a step of {config.name} has {rollouts} rollouts: {step:.3g} s over "
        f"{config.cluster.reward_workers} reward worker(s), beside sampling"
        + (f"; cluster.reward_workers={workers} brings it under 1 s" if step > 1 and workers > 1 else "")
    )


def _keywords(pairs: Sequence[str]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return dict(OmegaConf.to_container(OmegaConf.from_dotlist(list(pairs))))  # pyright: ignore
