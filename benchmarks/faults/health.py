"""Runs of the tiny policy made sick on purpose, and healthy ones: which health rules fire.

    python -m benchmarks.faults.health [--out runs/health] [--only greedy ...] [--seeds 5] [--steps 24]

Each run is real: the recipe ``tiny`` with smaller batches, in this process (the killed worker over Ray). A run that has ended is
not run again: the rules read its metrics. Prints a table of all runs and writes ``health.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from cluster.actors.faults import KILL, FaultPlan
from cluster.run import preflight
from cluster.run.folder import open_run
from cluster.run.session import session
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.errors import UniGRPOError, one_line
from rl.health.watch import Watch, summarise
from rl.learner.update import UniGRPOLearner
from rl.loop import Parts, train
from rl.output.tables import Screen
from rl.tracking.metrics_file import read_metrics
from rl.tracking.mlflow.page import About
from rl.tracking.trackers import tracked

REWARDS = Path(__file__).with_name("health_rewards.py")
ENDED = "how_it_ended"  # in a run's folder, once it has ended
_BASE = (
    "cluster.mode=inline", "learner.engine=torch", "learner.threads=1", "tracking.mlflow=false", "save_freq=0", "save_minutes=0",
    "tracking.samples_freq=1000", "rollout.n_samples_by_task={understand: 8, draw: 8}", "resume_mode=disable",
)  # fmt: skip
_SICK = ("rollout.batch_size=4", "val_before_train=false", "val_after_train=false", "test_freq=0")
_SUDOKU = "{source: sudoku4x4, args: {size: 500, blanks: [4, 8]}}"
_TEXT = (f"data.train=[{_SUDOKU}]", "rollout.batch_size=3")
_FAST = ("learner.lr=4.5e-3", "learner.warmup_steps=0", "learner.lr_schedule=constant")  # 30 times the recipe's rate


@dataclasses.dataclass(frozen=True)
class Case:
    """what: in words. rules: those that must fire. faults: accidents of a run over Ray. hook: active while it runs."""

    what: str
    rules: tuple[str, ...]
    overrides: tuple[str, ...]
    faults: Callable[[], FaultPlan] | None = None
    hook: Callable[[], AbstractContextManager[Any]] = nullcontext


def _held_out(count: int) -> str:
    sudoku = f"{{source: sudoku4x4, split: val, limit: {count}, args: {{blanks: [4, 8]}}}}"
    others = [f"{{source: {name}, split: val, limit: {count}}}" for name in ("easy_vqa", "scenes")]
    return f"data.val=[{', '.join([sudoku, *others])}]"


def _custom(name: str, weight: float = 1.0, others: str = "", **arguments: float) -> tuple[str, ...]:
    return (
        f"custom_reward_function.path={REWARDS}",
        f"custom_reward_function.name={name}",
        f"rewards.mix.text={{custom: {weight}{others}}}",
        *(f"custom_reward_function.reward_kwargs.{key}={value}" for key, value in arguments.items()),
    )


@contextmanager
def broken_masks() -> Iterator[None]:
    """Log-probs from before the updates are taken under the masks of other updates, as with a broken mask seed."""

    def of_the_last_update(self: UniGRPOLearner, data: Any) -> Any:
        with torch.no_grad():
            return self._values(self.policy, data, len(data.fresh) - 1).values

    with mock.patch.object(UniGRPOLearner, "_first", of_the_last_update):
        yield


def _kills() -> FaultPlan:
    plan = FaultPlan()
    for step in (2, 3, 4):
        plan.at(step, "rollout worker 0", KILL)
    return plan


CASES: Mapping[str, Case] = {
    "held_out": Case(
        "3 held-out prompts a task", ("wide_interval",),
        ("steps=1", "rollout.batch_size=2", "val_before_train=true", _held_out(3)),
    ),
    "constant": Case(
        "a constant reward", ("dead_groups", "skipped_updates"), ("steps=8", *_TEXT, *_custom("constant"))
    ),
    "greedy": Case("rollouts at temperature 0", ("identical_rollouts",), ("steps=6", *_TEXT, "rollout.text.temperature=0")),
    "canvas": Case(
        "a canvas of 12 tokens for answers of 31", ("truncated",),
        ("steps=6", *_TEXT, "rollout.text.max_new_tokens=12", "rollout.text.block_length=6", "rollout.text.steps=2"),
    ),
    "starving": Case(
        "a reward of huge scale beside the others", ("starving",),
        ("steps=6", *_TEXT, *_custom("huge", 1.0, ", correctness: 2.0, format: 0.5, sudoku_cells: 2.0")),
    ),
    "jump": Case(
        "a reward that is 10,000 times as large in one step", ("gradient",),
        ("steps=14", *_TEXT, *_custom("rarely_huge", at=34)),
    ),
    "slow": Case("a reward that takes 1 s a group", ("exposed_rewards",), ("steps=6", *_TEXT, *_custom("slow", seconds=1.0))),
    "masks": Case(
        "masks of old log-probs from a broken seed, in bfloat16", ("first_ratio",),
        ("steps=2", *_TEXT, "policy.dtype=bfloat16", "learner.algorithm.schedule=stratified"), hook=broken_masks,
    ),
    "rate": Case("learning rate x 30", ("kl", "clip_fraction"), ("steps=24", *_FAST, *_TEXT, "learner.algorithm.mu=4")),
    "stale": Case(
        "rollouts 4 versions behind, learning rate x 30", ("staleness", "mismatch"),
        ("steps=14", *_FAST, *_TEXT, "max_staleness=4", "learner.algorithm.importance_cap=2",
         "learner.algorithm.importance_versions=5"),
    ),
    "hacked": Case(
        "a hackable reward, no reference, learning rate x 10", ("hacking", "entropy"),
        ("steps=36", *_TEXT, *_custom("hackable"), "learner.lr=1.5e-3", "learner.algorithm.kl_coef=0", "val_before_train=true",
         "test_freq=12", "data.val=[{source: sudoku4x4, split: val, limit: 64, args: {blanks: [4, 8]}}]"),
    ),
    "longer": Case(
        "a reward for length, learning rate x 10", ("canvas",),
        ("steps=30", *_TEXT, *_custom("longer"), "learner.lr=1.5e-3", "learner.algorithm.kl_coef=0",
         "rollout.text.max_new_tokens=54", "rollout.text.block_length=18", "rollout.text.steps=6"),
    ),
    "killed": Case(
        "a worker that is killed in three steps", ("restarts",),
        ("steps=5", *_TEXT, "cluster.mode=ray", "cluster.rollout_workers=1", "cluster.heartbeat_s=20"), faults=_kills,
    ),
}  # fmt: skip


def healthy(seed: int, steps: int) -> Case:
    overrides = (
        f"seed={seed}", f"steps={steps}", "val_before_train=true", "val_after_train=true", _held_out(64),
    )  # fmt: skip
    return Case(f"healthy, seed {seed}", (), overrides)


def run_case(name: str, case: Case, out: Path) -> dict[str, Any]:
    """What the rules say of one run, which is run where it was not before."""
    config = load_config("tiny", [*_BASE, *_SICK, *case.overrides, f"name={name}", f"output_dir={out}"])
    file = config.run_dir / ENDED
    if not file.is_file():
        ended = "finished"
        with contextlib.redirect_stdout(io.StringIO()), case.hook():
            try:
                _train(config, case.faults() if case.faults else None)
            except UniGRPOError as error:
                ended = one_line(error)
        file.write_text(ended + "\n", "utf-8")
    found = summarise(Watch.of(config.health, read_metrics(config.run_dir)))
    return {
        "what": case.what,
        "wanted": list(case.rules),
        "fired": found["sick"],
        "checked": found["checked"],
        "ended": file.read_text("utf-8").strip(),
    }


def _train(config: Config, faults: FaultPlan | None) -> None:
    evaluates = config.val_before_train or config.val_after_train or config.test_freq > 0
    inputs = preflight.check(config, needs_train=True, needs_val=evaluates)
    with tracked(open_run(config, About(config, "train"), Screen(), config.steps)) as tracker:
        stream = PromptStream(config.data.train, config.seed, inputs.train)
        with session(config, faults=faults) as parts:
            saved = FolderCheckpoints(config)
            train(Parts(config, stream, inputs.val, parts.workers, parts.learner, tracker, saved))


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: of each run the rules that had to fire, and those that did, with the step."""
    lines = ["| run | must fire | fired (first step) | silent, of those asked |", "|---|---|---|---|"]
    for result in results.values():
        fired = ", ".join(f"{rule} ({at['first_step']})" for rule, at in result["fired"].items()) or "none"
        silent = len(set(result["checked"]) - set(result["fired"]))
        missing = [rule for rule in result["wanted"] if rule not in result["fired"]]
        wanted = ", ".join(result["wanted"]) or "none"
        lines.append(f"| {result['what']} | {wanted}{' (MISSED)' if missing else ''} | {fired} | {silent} |")
    return "\n".join(lines)


def run(out: Path, only: Sequence[str], seeds: int, steps: int) -> dict[str, Any]:
    cases = {name: case for name, case in CASES.items() if not only or name in only}
    if not only or "healthy" in only:
        cases |= {f"healthy-{seed}": healthy(seed, steps) for seed in range(seeds)}
    results = {}
    for name, case in cases.items():
        results[name] = run_case(name, case, out)
        print(f"{name}: {', '.join(results[name]['fired']) or 'silent'}", flush=True)
        (out / "health.json").write_text(json.dumps(results, indent=1), "utf-8")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/health"))
    parser.add_argument("--only", nargs="*", default=(), choices=[*CASES, "healthy"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24)
    arguments = parser.parse_args()
    logging.getLogger("unigrpo").setLevel(logging.ERROR)
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(table(run(arguments.out, arguments.only, arguments.seeds, arguments.steps)))


if __name__ == "__main__":
    main()
