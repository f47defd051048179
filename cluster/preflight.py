"""Every mistake that can be found without starting anything is found here (law 11): before Ray, before weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.base import check_reward
from rl.config import Config, SourceConfig
from rl.data import check_disjoint, load_rows
from rl.errors import ConfigError, DataError, PolicyError, RewardError
from rl.types import Prompt, Task


@dataclass(frozen=True, slots=True)
class Inputs:
    """Checked rows: ``train`` by source, in the order of the config; ``val`` as one list."""

    train: tuple[tuple[Prompt, ...], ...]
    val: tuple[Prompt, ...]


def check(config: Config, *, needs_train: bool, needs_val: bool, needs_rewards: bool = True) -> Inputs:
    """Load and check the data, then the policy's folder (not its weights), then the rewards by name and setting.

    Raises ConfigError, DataError, PolicyError or RewardError: one line each.
    """
    inputs = _load(config, needs_train, needs_val)
    if needs_rewards:
        _check_rewards(config)
        _check_mixes(config, inputs)
    folder = check_policy_folder(config.policy.path)
    tasks = {prompt.task for prompt in (*(p for rows in inputs.train for p in rows), *inputs.val)}
    _check_abilities(folder, tasks)
    _check_device(config)
    return inputs


def check_solutions(inputs: Inputs) -> None:
    """Fine-tuning needs a worked answer wherever the answer is words. Raises DataError."""
    for rows in inputs.train:
        for prompt in rows:
            if prompt.task in (Task.TEXT, Task.UNDERSTAND) and not prompt.solution:
                raise DataError(f"data.train: prompt {prompt.id!r} has no worked answer; sft needs a column solution")


def check_policy_folder(path: str) -> Path:
    """The policy's folder; first by what needs no torch, so that a wrong path is told at once."""
    if os.sep in path and not Path(path).is_dir():
        raise PolicyError(
            f"policy.path={path!r}: no such folder; allowed: a Hugging Face-layout folder, or a shipped name (tiny)"
        )
    from policies.checkpoints import check_policy

    return check_policy(path)


def _load(config: Config, needs_train: bool, needs_val: bool) -> Inputs:
    for name, sources, needed in (("train", config.data.train, needs_train), ("val", config.data.val, needs_val)):
        if needed and not sources:
            raise ConfigError(f"data.{name}=[]: must have at least one source, e.g. [{{source: sudoku4x4}}]")
    train = _rows("train", config.data.train, _compared_tasks(config.rewards.mix)) if needs_train else ()
    val = _rows("val", config.data.val, _compared_tasks(config.evaluation.mix)) if needs_val else ()
    together = [prompt for rows in val for prompt in rows]
    check_disjoint([prompt for rows in train for prompt in rows], together)
    _check_ids(together)
    return Inputs(train, tuple(together))


def _rows(name: str, sources: Sequence[SourceConfig], compared: frozenset[Task]) -> tuple[tuple[Prompt, ...], ...]:
    rows = tuple(tuple(load_rows(source, compared)) for source in sources)
    for index, (source, prompts) in enumerate(zip(sources, rows, strict=True)):
        if not prompts:
            raise DataError(f"data.{name}[{index}]: source {source.source!r} gave no rows; check its args and limit")
    return rows


def _compared_tasks(mix: Mapping[str, Mapping[str, float]]) -> frozenset[Task]:
    """Tasks whose rewards compare with a reference."""
    return frozenset(Task(task) for task, parts in mix.items() if "correctness" in parts)


def _check_ids(prompts: Sequence[Prompt]) -> None:
    """One seed belongs to one id, and results are told apart by it."""
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise DataError(f"data.val: prompt id {prompt.id!r} comes from two sources; list the source once")
        seen.add(prompt.id)


def _check_mixes(config: Config, inputs: Inputs) -> None:
    train = [prompt for rows in inputs.train for prompt in rows]
    for section, mix, prompts in (
        ("rewards.mix", config.rewards.mix, train),
        ("evaluation.mix", config.evaluation.mix, inputs.val),
    ):
        for prompt in prompts:
            if str(prompt.task) not in mix:
                raise ConfigError(
                    f"{section}: no rewards for task {prompt.task}, which prompt {prompt.id!r} has; "
                    f"add e.g. {section}.{prompt.task}.format=1.0"
                )


def _check_rewards(config: Config) -> None:
    names = {name for mix in (config.rewards.mix, config.evaluation.mix) for parts in mix.values() for name in parts}
    for name in sorted(names - {"custom"}):
        check_reward({"name": name, **config.rewards.settings.get(name, {})})
    for name in config.rewards.settings:
        if name not in names:
            known = ", ".join(sorted(names))
            raise RewardError(f"rewards.settings.{name}: no such reward in rewards.mix or evaluation.mix: {known}")
    if config.custom_reward_function.path:
        check_reward({"name": "custom", **_custom(config)})


def _custom(config: Config) -> dict[str, Any]:
    custom = dataclasses.asdict(config.custom_reward_function)
    return {"path": custom["path"], "function": custom["name"], "reward_kwargs": custom["reward_kwargs"]}


def _check_abilities(folder: Path, tasks: set[Task]) -> None:
    seeing = sorted(tasks - {Task.TEXT})
    if seeing and not (folder / "image_tokenizer").is_dir():
        raise PolicyError(
            f"{folder}: no image_tokenizer, which task {seeing[0]} needs; leave that task's data out, or use a policy "
            "with one"
        )


def _check_device(config: Config) -> None:
    if config.policy.device == "cpu" or config.cluster.address is not None:
        return  # on a cluster, the devices are elsewhere
    import torch

    try:
        device = torch.device(config.policy.device)
    except RuntimeError as error:
        raise ConfigError(f"policy.device={config.policy.device!r}: allowed: cpu, cuda, cuda:0, ...") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"policy.device={config.policy.device!r}: no GPU is visible here; set policy.device=cpu")
