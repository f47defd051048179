"""What a run will train, in words: printed before it starts, and kept in its folder as ``objective.txt``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence, Set

from rich.console import Console

from rewards.registry import largest_of, reads_reference
from rl.config import Config
from rl.estimators import ESTIMATORS
from rl.output.printable import said
from rl.types import Prompt, Task

FILE = "objective.txt"
OWN = "rows that name their own rewards"

_log = logging.getLogger(__name__)


def announce(screen: Console, config: Config, train: Sequence[Sequence[Prompt]], typed: Sequence[str] = ()) -> None:
    """On the screen, in the run's log, and as a file in its folder, which exists. typed: the overrides of the command line."""
    lines = in_words(config, train, typed)
    for line in lines:
        _log.info("%s", line)
        screen.print(said(line), highlight=False, markup=False)
    (config.run_dir / FILE).write_text("".join(f"{said(line)}\n" for line in lines), "utf-8")


def in_words(config: Config, train: Sequence[Sequence[Prompt]], typed: Sequence[str] = ()) -> list[str]:
    """One line for each task with rows, one for the loss, one for each further use of worked answers, and one for each thing that
    is given and not used.

    train: the rows of each source. typed: the overrides of the command line. Raises RewardError for a reward that does not exist.
    """
    prompts = [prompt for rows in train for prompt in rows]
    tasks = Counter(str(prompt.task) for prompt in prompts if not prompt.rewards)
    mix = config.rewards.mix
    lines = [f"{task}: {_rewards(config, mix[task])}" for task in mix if task in tasks]
    own = sorted({(str(prompt.task), name) for prompt in prompts for name in prompt.rewards})
    for task in dict.fromkeys(task for task, _ in own):
        weights = {name: mix.get(task, {}).get(name, 1.0) for owner, name in own if owner == task}
        lines.append(f"{task}, {OWN}: {_rewards(config, weights)}")
    used = {task for task, name in own if name in mix.get(task, {})}
    return [
        *lines,
        _loss(config),
        *_worked_answers(config),
        *_unused(config, prompts, tasks, used),
        *_typed(config, prompts, typed),
    ]


def _rewards(config: Config, weights: Mapping[str, float]) -> str:
    """``2 x correctness + 0.5 x format, at most 2.5``"""
    counted = {name: weight for name, weight in weights.items() if weight}
    recorded = [name for name, weight in weights.items() if not weight]
    text = " + ".join(f"{weight:g} x {name}" for name, weight in counted.items()) or "nothing"
    unbounded = [name for name, weight in counted.items() if _largest(config, name, weight) is None]
    if unbounded:
        text += f" (no largest value: {', '.join(unbounded)})"
    else:
        total = sum(_largest(config, name, weight) or 0.0 for name, weight in counted.items())
        text += f", at most {total:g}"
    return text + (f"; recorded only: {', '.join(recorded)}" if recorded else "")


def _largest(config: Config, name: str, weight: float) -> float | None:
    """What a reward adds at most; None where it has no bound."""
    if name in config.rewards.normalize or weight < 0:
        return None
    largest = largest_of({"name": name, **config.rewards.settings.get(name, {})})
    curve = config.rewards.curves.get(name)
    if curve is None:
        return None if largest is None else weight * largest
    if largest is not None and curve.scale >= 0:
        return weight * curve(largest)
    return None if curve.high is None else weight * curve.high


def _loss(config: Config) -> str:
    learner, algorithm = config.learner, config.learner.algorithm
    masks = f", schedule {algorithm.schedule}" if ESTIMATORS[algorithm.estimator].ratios else ""
    if algorithm.control_variate:
        masks += f", control variate {algorithm.control_variate:g}"
    if algorithm.structure_weight != 1:
        masks += f", the first {algorithm.structure_share:.0%} revealed count {algorithm.structure_weight:g} times"
    reference = "the policy without its adapter" if learner.lora.on else "the policy as it was at the start"
    if learner.reference_sync_freq is not None:
        reference = f"a copy of the policy, renewed every {learner.reference_sync_freq} steps"
    kl = f"KL {algorithm.kl_coef:g} to {reference}" if algorithm.kl_coef else "no reference policy (kl_coef 0)"
    what = f"a LoRA adapter of rank {learner.lora.rank}" if learner.lora.on else "all weights"
    return (
        f"loss: {algorithm.objective}, estimator {algorithm.estimator}{masks}, {algorithm.mu} inner updates, {kl}; "
        f"trains {what} at lr {learner.lr:g}"
    )


def _worked_answers(config: Config) -> list[str]:
    """What worked answers are used for beside rewards."""
    hints, learner = config.rollout.hints, config.learner
    lines = []
    if hints.share:
        lines.append(
            f"hints: where all scores of a group are equal and below {hints.below:g}, {hints.share:.0%} of it is sampled again "
            "with part of a worked answer given"
        )
    if learner.sft_rows:
        lines.append(
            f"supervised: {learner.sft_rows} worked answers of a step's prompts, times {learner.sft_coef:g}, in every update"
        )
    return lines


def _unused(config: Config, prompts: Sequence[Prompt], tasks: Mapping[str, int], used: Set[str]) -> list[str]:
    """used: tasks whose rows all name their own rewards, with weights of the mix among them."""
    there = {str(prompt.task) for prompt in prompts}
    lines = [
        f"not used: rewards.mix.{task}: "
        + ("each row of this task names other rewards" if task in there else "data.train has no rows of this task")
        for task in config.rewards.mix
        if task not in tasks and task not in used
    ]
    custom = config.custom_reward_function
    named = {
        name for mix in (config.rewards.mix, config.evaluation.mix) for weights in mix.values() for name in weights
    }
    if (custom.path or custom.url) and "custom" not in named | {name for prompt in prompts for name in prompt.rewards}:
        lines.append(f"not used: custom_reward_function ({custom.path or 'its url'}): no mix names custom")
    if not config.learner.lora.on and config.learner.lora != type(config.learner.lora)():
        lines.append("not used: learner.lora: its rank is 0, so all weights are trained")
    for task in tasks:
        given = sum(prompt.reference is not None for prompt in prompts if str(prompt.task) == task)
        if given and not any(_reads_reference(config, name) for name in config.rewards.mix.get(task, {})):
            lines.append(f"not used: the references of {given:,} rows of {task}: no reward of its mix reads one")
    lines += [
        f"not used: learner.task_weights.{task}: data.train has no rows of this task"
        for task in config.learner.task_weights
        if task not in there
    ]
    return lines


def _typed(config: Config, prompts: Sequence[Prompt], typed: Sequence[str]) -> list[str]:
    """What was typed for a part that this run has not."""
    there = {str(prompt.task) for prompt in prompts}
    lines = []
    for key in dict.fromkeys(text.partition("=")[0].strip() for text in typed):
        section, _, rest = key.partition(".")
        task = rest.partition(".")[0]
        if section == "rollout" and task in tuple(Task) and task not in there:
            lines.append(f"not used: {key}: data.train has no rows of task {task}")
        if key in ("tracking.uri", "tracking.experiment") and not config.tracking.mlflow:
            lines.append(f"not used: {key}: tracking.mlflow is false")
        if key in ("cluster.rollout_workers", "cluster.learner_ranks") and config.cluster.mode == "inline":
            lines.append(f"not used: {key}: with cluster.mode=inline all runs in this process")
    return lines


def _reads_reference(config: Config, name: str) -> bool:
    return reads_reference({"name": name, **config.rewards.settings.get(name, {})})
