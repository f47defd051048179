"""``unigrpo rewards check my.py:f``, or a reward's name: runs it on sample rows, in a child, and says what a run would meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from cluster import console
from rewards.registry import check_reward
from rewards.sandbox.parent import Isolated
from rewards.sandbox.probe import NOTE, OK, WRONG
from rewards.sandbox.wire import pack
from rl.config import Config, SourceConfig, load_config
from rl.config.rewards import CustomRewardConfig
from rl.data.rows import load_rows
from rl.output.tables import PlainTable, Screen
from rl.types import Message, Prompt, RewardItem, ScoreStatus, Task

_SAMPLES = 8  # rows of the user's own data
_ANSWER = 40  # characters of an answer in the table
_LOAD_S = 180.0  # the file's own imports: transformers takes half a minute on a busy machine
_MARKS = {OK: ("ok", "green"), NOTE: ("note", "yellow"), WRONG: ("wrong", "red")}


def check(
    spec: str, recipe: str, rows: Path | None, deadline_s: float, memory_mb: int | None, words: Sequence[str]
) -> int:
    """Print one row a check and one a sample; 0 where nothing is wrong, else 2. Raises RewardError, DataError, ConfigError.

    words: ``KEY=VALUE``, a function's keyword arguments or a reward's settings.
    """
    config = load_config(recipe)
    reward = _reward(spec, config.custom_reward_function, _keywords(words))
    check_reward(reward)
    items = _own(rows) if rows is not None else samples()
    report = examine(reward, items, deadline_s, memory_mb)
    screen = Screen()
    screen.print(_table(spec, report["rows"], len(items)))
    if report["scores"]:
        screen.print(_score_table(items, report["scores"]))
    if report["printed"]:
        screen.print(f"it printed: {report['printed'].splitlines()[0][:200]!r} (in a run, this goes to the log)")
    if report["seconds_per_item"] is not None:
        screen.print(_cost(config, report["seconds_per_item"]))
    return console.OK if all(row[1] != WRONG for row in report["rows"]) else console.REFUSED


def examine(
    reward: Mapping[str, Any], items: Sequence[RewardItem], deadline_s: float, memory_mb: int | None
) -> dict[str, Any]:
    """``rewards.sandbox.probe.examine``'s report; where the child did not live to give it, one row that says why.

    The child may do what a run's reward worker may, and sees the same environment: a function that is to run in a child
    of its own there (``isolate``) starts one here too.
    """
    child = Isolated("rewards.sandbox.probe:probe", memory_mb=memory_mb, rules="open")
    try:
        child.warm()
        outcome = child.call({"spec": pack(dict(reward))}, max(_LOAD_S, deadline_s))
        printed, loading = "", outcome.status is not ScoreStatus.OK
        if not loading:
            printed = outcome.value["printed"]
            outcome = child.call({"items": pack(list(items))}, deadline_s)
    finally:
        child.close()
    if outcome.status is ScoreStatus.OK:
        return {**outcome.value, "printed": printed + outcome.value["printed"]}
    reason = outcome.detail.removeprefix("RewardError: ")
    if outcome.status is ScoreStatus.TIMEOUT:
        what = "while its file runs" if loading else "for all checks"
        reason += f" {what}: an endless loop, or slow? --deadline gives it longer"
    elif "signal 9" in reason:
        reason += ": it was killed, most likely for the memory that it took"
    elif "exit code" in reason or "signal" in reason:
        reason += ": it must return, and never end its process"
    known = str(reward["name"]) in reason or str(reward.get("path")) in reason
    line = f"{outcome.status}: {'' if known else _called(reward) + ': '}{reason}"
    return {"rows": [["runs", WRONG, line]], "scores": [], "seconds_per_item": None, "printed": printed}


def _reward(spec: str, of_recipe: CustomRewardConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run would load: where the recipe has this very function, with its keyword arguments and its isolation."""
    path, separator, function = spec.rpartition(":")
    if not separator or not path.endswith(".py"):
        return {"name": spec, **given}
    reward = {"name": "custom", "path": path, "function": function, "reward_kwargs": dict(given)}
    own = of_recipe.path
    if own is None or Path(own).absolute() != Path(path).absolute() or of_recipe.name != function:
        return reward
    limits = {"isolate": of_recipe.isolate, "deadline_s": of_recipe.deadline_s, "memory_mb": of_recipe.memory_mb}
    return {**reward, "reward_kwargs": {**of_recipe.reward_kwargs, **given}, **limits}


def _called(reward: Mapping[str, Any]) -> str:
    return (
        f"{reward['path']}:{reward['function']}" if "path" in reward and "function" in reward else str(reward["name"])
    )


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
    return [
        RewardItem(prompt, prompt.solution or f"<think>so</think>{_answer(prompt.reference)}") for prompt in prompts
    ]


def _answer(reference: Any) -> str:
    """What would be right: the first of several right answers."""
    while isinstance(reference, list | tuple) and reference:
        reference = reference[0]
    return "" if reference is None else str(reference)


def _table(spec: str, rows: Sequence[Sequence[str]], count: int) -> PlainTable:
    table = PlainTable(title=f"{spec} on {count} sample rows", title_justify="left")
    for column in ("check", "", "found"):
        table.add_column(column, overflow="fold")
    for name, verdict, line in rows:
        table.add_row(name, Text(*_MARKS[verdict]), line)
    return table


def _score_table(items: Sequence[RewardItem], scores: Sequence[Sequence[Any]]) -> PlainTable:
    """Which row got which score."""
    table = PlainTable(title="scores", title_justify="left")
    for column in ("row", "answer", "score", "note"):
        table.add_column(column, overflow="fold", justify="right" if column == "score" else "left")
    for item, (row, status, value, detail) in zip(items, scores, strict=True):
        answer = " ".join(item.text.split()) or "(empty)"
        answer = answer if len(answer) <= _ANSWER else answer[: _ANSWER - 3] + "..."
        note = detail if status == ScoreStatus.OK else f"{status}: {detail}" if detail else status
        number = "none" if value is None else f"{value:g}"
        table.add_row(str(row), answer, number, note)
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
