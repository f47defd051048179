"""``--dry-run``: everything is resolved and checked, what would run is printed, and nothing is started or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster import console
from cluster.plan.layout import judge_gpus, layout, scorer_gpus
from cluster.plan.model import model_of
from cluster.plan.plan import Assumed, make_plan
from cluster.plan.seconds import DEVICES
from cluster.run.folder import check_run
from cluster.run.inputs import written_by
from cluster.run.objective import in_words
from cluster.run.preflight import Inputs
from cluster.run.settings import tell
from policies.files.folders import find_policy, read_config
from policies.files.parts import Part
from policies.room import NeedsPolicyError, Room
from rl.config import Config
from rl.output.tables import PlainTable, Screen
from rl.types import Prompt

NOTHING = "Nothing was started."


def dry_run(config: Config, command: str, inputs: Inputs, on_gpu: Config, notes: Sequence[str]) -> int:
    """What ``unigrpo train``, ``sft`` or ``eval`` would do. Call it after the checks of ``preflight``. Raises ConfigError
    where the run's folder or MLflow's store cannot take the run. on_gpu: what the config would be on a GPU. notes: of its
    settings."""
    check_run(config, command)
    words = in_words(config, inputs.train) if command == "train" else []
    rows, placed = _rows(config, inputs), [*_layout(config, command), *_memory(on_gpu, command)]
    screen = Screen()  # nothing is printed before all of it could be told: a mistake is one line alone
    tell(screen, notes)
    for line in words:
        screen.print(line, highlight=False)
    screen.print(rows)
    for line in placed:
        screen.print(line, highlight=False, soft_wrap=True)
    screen.print(f"run       {config.run_dir}: {_steps(config, command)}", highlight=False, soft_wrap=True)
    screen.print(f"Every check passed. {NOTHING}", highlight=False)
    return console.OK


def _rows(config: Config, inputs: Inputs) -> PlainTable:
    room = Room(find_policy(config.policy.path, Part.CHECKS))
    table = PlainTable(title=f"rows, and tokens of the longest with its response ({room.name} takes {room.limit:,})")
    for name in ("data", "source", "task", "rows", "longest"):
        table.add_column(name, justify="right" if name in ("rows", "longest") else "left", overflow="fold")
    for where, source, prompts in _sources(config, inputs):
        part = config.rollout if where.startswith("train") else config.evaluation
        for task, count in Counter(prompt.task for prompt in prompts).items():
            own = [prompt for prompt in prompts if prompt.task == task and prompt.messages]
            try:
                longest = f"{room.longest(own, written_by(part)):,}"
            except NeedsPolicyError:
                longest = "unknown"  # an installed family's layout needs the loaded policy
            table.add_row(where, source, str(task), f"{count:,}", longest)
    return table


def _sources(config: Config, inputs: Inputs) -> Iterator[tuple[str, str, Sequence[Prompt]]]:
    for index, rows in enumerate(inputs.train):
        yield f"train[{index}]", config.data.train[index].source, rows
    if inputs.val:
        yield "val", ", ".join(dict.fromkeys(source.source for source in config.data.val)), inputs.val


def _layout(config: Config, command: str) -> Iterator[str]:
    cluster = config.cluster
    if command == "sft" or cluster.mode == "inline":
        yield f"processes one, on {config.policy.device}"
        return
    where = layout(config)
    ranks = "" if command == "eval" else f"{cluster.learner_ranks} learner ranks, "
    gpus = where.gpus + scorer_gpus(config) + judge_gpus(config)
    on = f"{gpus:g} GPUs, {where.mode}" if gpus else config.policy.device
    address = "" if cluster.address is None else f", Ray at {cluster.address}"
    yield (
        f"processes {ranks}{cluster.rollout_workers} rollout workers, {cluster.reward_workers} reward workers, on {on}"
        f" ({where.cpus} CPUs){address}"
    )


def _memory(config: Config, command: str) -> Iterator[str]:
    """By the plan's arithmetic, whatever the device is."""
    if command != "train":
        return
    model = model_of(config, read_config(find_policy(config.policy.path, Part.CHECKS)))
    made = make_plan(config, model, DEVICES["h100"], Assumed())
    parts = [f"{sum(memory.values()) / 1e9:,.2f} GB a {name}" for name, memory in made.memory.items()]
    yield f"memory    {', '.join(parts)}: arithmetic, see unigrpo plan"


def _steps(config: Config, command: str) -> str:
    if command == "eval":
        return "one evaluation"
    steps = config.steps if command == "train" else config.sft.steps
    there = sorted(Path(config.run_dir, "checkpoints").glob("global_step_*/manifest.json"))
    return f"{steps} steps" + (", goes on from its checkpoints" if there and config.resume_mode == "auto" else "")
