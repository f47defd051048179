"""Every mistake that can be found without starting anything is found here (law 11): before Ray, before weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cluster.run.disk import check_space
from cluster.run.hub import attach_images
from cluster.run.inputs import Loaded, fit, load, say, uncollected, with_examples
from cluster.weights.base import WIRES, check_wire
from cluster.workers.judge_server import check_judge, pointed_at
from policies.files.folders import check_files, read_config
from policies.files.parts import Part
from policies.samplers import AUTO as FAMILYS
from policies.samplers import CACHES, REMASKING, TEXT_SCHEDULES, UNMASKING
from rewards.mix import RewardMix
from rewards.registry import require_named, settings_of
from rewards.sandbox.kernel import offers
from rewards.shaping import Shaping
from rl.config import Config, LoraConfig, PolicyConfig
from rl.config.checks import REGISTRIES
from rl.config.device import AUTO
from rl.config.flat import flatten
from rl.errors import ConfigError, DataError, PolicyError
from rl.estimators import views_of
from rl.estimators.base import Revealed
from rl.hints.given import TASKS, check_room, has_source
from rl.masking import timesteps
from rl.prepare import teaches
from rl.types import MaskDraw, Prompt, Task


@dataclass(frozen=True, slots=True)
class Inputs:
    """Checked rows: ``train`` by source, in the order of the config; ``val`` as one list."""

    train: tuple[tuple[Prompt, ...], ...]
    val: tuple[Prompt, ...]

    @property
    def all(self) -> Iterator[Prompt]:
        return (prompt for rows in (*self.train, self.val) for prompt in rows)


def check(
    config: Config, *, needs_train: bool, needs_val: bool, answered: bool = False, part: Part = Part.ALL
) -> Inputs:
    """The policy's files, the rewards' names and settings, the data, and whether they fit together.

    answered: training rows are learned with their worked answers and pictures. part: of a policy on a hub, how much is
    downloaded for the checks.

    What is quick comes first: files before generators, and torch is imported only for the last check.
    Raises ConfigError, DataError, PolicyError or RewardError: one line each.
    """
    check_wire(config)
    attach_images(config)
    folder = check_files(config.policy.path, Part.CHECKS)
    _check_adapter(config)
    check_judge(config)
    if config.judge.serve is not None:
        config = pointed_at(config, "http://127.0.0.1:1/v1")  # its port comes later
    _check_rewards(config)
    notes: list[str] = []
    shots = config.evaluation.k_shots if needs_val else 0
    with uncollected():
        sources = load(config, needs_train or shots > 0, needs_val, notes)
    if shots:
        sources = with_examples(config, sources, needs_train)
    inputs = _inputs(sources)
    _check_coverage(config, inputs)
    tasks = {prompt.task for prompt in inputs.all}
    check_abilities(folder, tasks)
    _check_canvas(config, folder, tasks)
    if config.cluster.address is None:  # on a cluster, the devices are elsewhere
        check_device(config.policy)

    from policies.files.checkpoints import check_policy

    _check_choices(config)
    check_policy(check_files(config.policy.path, part), part)  # of a policy on a hub, now the weights too
    _check_lora(config.learner.lora, folder)
    _check_blocks(config, folder, tasks)
    if needs_train and not answered:
        check_worked_answers(config, inputs)
    with uncollected():
        fitted = fit(config, folder, sources, notes, answered)
        inputs = _inputs(fitted)
        if needs_train and not answered:
            _fit_worked_answers(config, folder, fitted)
    if answered:
        _check_pictures(folder, inputs)
    if needs_train:
        check_space(config, folder, trains=not answered)
    say(notes)
    return inputs


def check_text_policy(config: Config) -> Path:
    """What ``check`` checks of a policy that answers text, where the rows are another's: its folder."""
    folder = check_files(config.policy.path)
    _check_adapter(config)
    _check_canvas(config, folder, {Task.TEXT})
    if config.cluster.address is None:
        check_device(config.policy)

    from policies.files.checkpoints import check_policy

    check_policy(folder)
    _check_lora(config.learner.lora, folder)
    _check_blocks(config, folder, {Task.TEXT})
    return folder


def _inputs(sources: Sequence[Loaded]) -> Inputs:
    train = tuple(source.prompts for source in sources if source.trains)
    return Inputs(train, tuple(prompt for source in sources if not source.trains for prompt in source.prompts))


def _check_adapter(config: Config) -> None:
    path = config.learner.lora.path
    for name in () if path is None else ("adapter_config.json", "adapter_model.safetensors"):
        if not os.path.isfile(Path(str(path)) / name):  # False also for a name that is too long to ask about
            raise PolicyError(
                f"learner.lora.path={path}: no {name} in it; give a folder with an adapter as PEFT saves it"
            )


def _check_choices(config: Config) -> None:
    """That the chosen members of registries are whole. Some of their parts import torch."""
    flat = dict(flatten(dataclasses.asdict(config)))
    for key, registry in REGISTRIES.items():
        registry.whole(flat[key])
    algorithm = config.learner.algorithm
    timesteps(algorithm.schedule, algorithm.mu, 0)
    alike = Revealed(np.full(8, 0.5, np.float32), np.ones(8, np.float32))
    views_of(algorithm.estimator, MaskDraw(0, 0.5), np.arange(8, dtype=np.int32), algorithm, alike)
    for part in (config.rollout, config.evaluation):
        for text in (part.text, part.understand, part.think_draw.think):
            REMASKING.whole(text.remasking)
            CACHES.whole(text.cache)
            if text.schedule != FAMILYS:
                TEXT_SCHEDULES.whole(text.schedule)
        for image in (part.draw, part.think_draw.draw):
            REMASKING.whole(image.remasking)
            UNMASKING.whole(image.schedule)
    if config.cluster.mode == "ray":
        WIRES.whole(config.cluster.weight_sync)


def _check_lora(settings: LoraConfig, folder: Path) -> None:
    """That the policy has the layers of the adapter to start from, or of a new one."""
    from cluster.plan.model import check_rank
    from policies.files.checkpoints import own_sizes
    from policies.lora import check_adapter, check_targets

    if settings.path is not None:
        check_adapter(Path(settings.path), folder)
    elif settings.rank:
        check_targets(settings.target, folder)
        check_rank(settings.rank, own_sizes(folder))


def check_messages(prompts: Iterable[Prompt]) -> None:
    """Nothing can be asked of a row of plain text. Raises DataError."""
    for prompt in prompts:
        if not prompt.messages:
            raise DataError(
                f"prompt {prompt.id!r}: plain text without a message, which only sft's training data may have"
            )


def check_solutions(inputs: Inputs) -> None:
    """Fine-tuning needs a worked answer wherever the answer is words. Raises DataError."""
    for rows in inputs.train:
        for prompt in rows:
            if prompt.task is not Task.DRAW and not prompt.solution:
                raise DataError(f"data.train: prompt {prompt.id!r} has no worked answer; sft needs a column solution")


def check_worked_answers(config: Config, inputs: Inputs) -> None:
    """What ``rollout.hints`` and ``learner.sft_rows`` ask of the training rows. Raises DataError."""
    texts = [prompt for rows in inputs.train for prompt in rows if prompt.task in TASKS]
    hints, supervised = config.rollout.hints.share, config.learner.sft_rows
    if hints and not texts:
        raise DataError(
            f"rollout.hints.share={hints}: no row of data.train is answered in text, and hints are for these alone; set it to 0"
        )
    lacking = next((prompt for prompt in texts if not has_source(prompt)), None)
    if hints and lacking is not None:
        raise DataError(
            f"data.train: prompt {lacking.id!r} has no worked answer and no reference, of which rollout.hints.share={hints} "
            "could give a part; add a column solution or answer, or set it to 0"
        )
    if supervised and not any(teaches(prompt) for prompt in texts):
        raise DataError(
            f"learner.sft_rows={supervised}: no row of data.train that is answered in text has a worked answer; add a column "
            "solution, or set it to 0"
        )


def _fit_worked_answers(config: Config, folder: Path, sources: Sequence[Loaded]) -> None:
    """Rows fit with what ``rollout.hints`` and ``learner.sft_rows`` take of their worked answers. Raises DataError."""
    if config.rollout.hints.share:
        _fit_hints(config, folder, sources)
    if not config.learner.sft_rows:
        return
    strict = dataclasses.replace(config, data=dataclasses.replace(config.data, filter_overlong="error"))
    taken = [
        dataclasses.replace(source, rows=tuple(row for row in source.rows if teaches(row[1])))
        for source in sources
        if source.trains
    ]
    fit(strict, folder, [source for source in taken if source.rows], [], answered=True)


def _fit_hints(config: Config, folder: Path, sources: Sequence[Loaded]) -> None:
    """The canvas has room for a hint beside each row's answer."""
    from policies.room import NeedsPolicyError, Room

    room = Room(folder)
    for prompt in (prompt for source in sources if source.trains for prompt in source.prompts if prompt.task in TASKS):
        canvas = getattr(config.rollout, prompt.task).max_new_tokens
        try:
            check_room(prompt, room.tokens_at_most, canvas)
        except DataError:  # a quick bound, which says nothing where it is too large
            with suppress(NeedsPolicyError):
                check_room(prompt, room.tokens, canvas)


def _check_pictures(folder: Path, inputs: Inputs) -> None:
    """Rows that are learned with a picture have one, or a scene that the image tokenizer is large enough for."""
    drawn = [prompt for rows in inputs.train for prompt in rows if prompt.task in (Task.DRAW, Task.THINK_DRAW)]
    if not drawn:
        return
    from policies.images.load import load_image_tokenizer
    from rl.scenes import SMALLEST

    size = load_image_tokenizer(folder / "image_tokenizer", "meta").image_size
    for prompt in drawn:
        if "scene" not in prompt.metadata and prompt.metadata.get("target_image") is None:
            raise DataError(
                f"data.train: prompt {prompt.id!r} has no picture; sft needs a column image in rows that draw"
            )
        if "scene" in prompt.metadata and size < SMALLEST:
            raise DataError(
                f"data.train: prompt {prompt.id!r}: scenes are drawn on {SMALLEST} pixels a side or more, and {folder} takes "
                f"pictures of {size}; leave source scenes out, or use a policy with a larger image tokenizer"
            )


def check_resume(config: Config, command: str, inputs: Inputs) -> None:
    """That the checkpoint which the run would go on from is one of this policy, data and kind. Raises ConfigError or
    CheckpointError."""
    from cluster.run.resume import check_resume as check

    check(config, command, [len(rows) for rows in inputs.train])


def _check_rewards(config: Config) -> None:
    rules = config.rewards
    shaping = Shaping(rules.curves, rules.gates, frozenset(rules.normalize))
    for mix, shaped in ((rules.mix, shaping), (config.evaluation.mix, None)):
        RewardMix.check(mix, rules.settings, _custom(config), shaped)
    if config.cluster.address is None:  # on a cluster, its workers ask where they are
        offers.check(rules.sandbox)
    for name in rules.scorers:
        if settings_of({"name": name, **rules.settings.get(name, {})}).uses_judge_server:
            raise ConfigError(f"rewards.scorers: {name}: a judge's server is beside the reward workers; leave it out")


def _check_coverage(config: Config, inputs: Inputs) -> None:
    """Every row has rewards: its own, or those of its task."""
    own = {name for prompt in inputs.all for name in prompt.rewards}
    mixes = (*config.rewards.mix.values(), *config.evaluation.mix.values())
    require_named(sorted(own), {*config.rewards.settings, *(name for mix in mixes for name in mix)})
    RewardMix.check(
        {"rows with rewards of their own": dict.fromkeys(own, 1.0)}, config.rewards.settings, _custom(config)
    )
    train = [prompt for rows in inputs.train for prompt in rows]
    for section, mix, prompts in (
        ("rewards.mix", config.rewards.mix, train),
        ("evaluation.mix", config.evaluation.mix, inputs.val),
    ):
        for prompt in prompts:
            if not prompt.rewards and str(prompt.task) not in mix:
                raise ConfigError(
                    f"{section}: no rewards for task {prompt.task}, which prompt {prompt.id!r} has; "
                    f"add e.g. {section}.{prompt.task}.format=1.0"
                )


def _custom(config: Config) -> dict[str, Any] | None:
    return dataclasses.asdict(config.custom_reward_function)


def check_abilities(folder: Path, tasks: set[Task]) -> None:
    """Raises PolicyError where a task needs an image tokenizer and the policy has none."""
    seeing = sorted(tasks - {Task.TEXT})
    if seeing and not (folder / "image_tokenizer").is_dir():
        raise PolicyError(
            f"{folder}: no image_tokenizer, which task {seeing[0]} needs; leave that task's data out, use a policy with "
            "one, or for a policy on a hub give policy.image_tokenizer"
        )


def _check_canvas(config: Config, folder: Path, tasks: set[Task]) -> None:
    settings = read_config(folder)
    limit = settings.get("max_sequence_length") or settings.get("max_position_embeddings")
    for section, part in (("rollout", config.rollout), ("evaluation", config.evaluation)):
        written = {
            "text": part.text,
            "understand": part.understand,
            "think_draw": part.think_draw.think,
        }
        for task in sorted(tasks & set(written)):
            length, where = written[task].max_new_tokens, f"{task}.think" if task is Task.THINK_DRAW else task
            if limit is not None and length >= limit:
                raise ConfigError(
                    f"{section}.{where}.max_new_tokens={length}: must leave room for a prompt, and {folder} takes "
                    f"{limit} tokens in all"
                )


def _check_blocks(config: Config, folder: Path, tasks: set[Task]) -> None:
    """A block-causal policy's own blocks must fit the sampling."""
    from policies.files.checkpoints import own_block_length
    from policies.samplers.states.base import check_blocks

    own = own_block_length(folder)
    if own is not None and config.learner.algorithm.prompt_mask_prob:
        raise ConfigError(
            f"learner.algorithm.prompt_mask_prob={config.learner.algorithm.prompt_mask_prob}: {folder} is block-causal, and "
            "sees a prompt as it was written; leave it at 0"
        )
    for section, part in (("rollout", config.rollout), ("evaluation", config.evaluation)):
        if own is not None and Task.TEXT in tasks:
            try:
                check_blocks(str(folder), own, part.text)
            except PolicyError as error:
                raise ConfigError(f"{section}.text: {error}") from error


def check_device(policy: PolicyConfig) -> None:
    """That this machine has what ``policy.device`` and ``policy.compile`` name. Raises ConfigError."""
    import torch

    from policies.network.compiled import missing

    if policy.device == AUTO:
        policy = dataclasses.replace(policy, device="cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(policy.device)
    except RuntimeError as error:
        raise ConfigError(f"policy.device={policy.device!r}: allowed: auto, cpu, cuda, cuda:0, ...") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"policy.device={policy.device!r}: no GPU is visible here; set policy.device=cpu, or auto")
    if policy.compile and (lacking := missing(policy.device)):
        raise ConfigError(f"policy.compile=true: torch.compile finds no {lacking}; install it, or set it to false")
