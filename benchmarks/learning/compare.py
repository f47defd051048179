"""The field's algorithms at equal compute, on one task mix: ``python -m benchmarks.learning.compare --out runs/compare``.

Every run starts from the recipe's policy and has its rewards, batches, sampling, optimizer and inner updates; what differs is
what ``METHODS`` says: the estimate of the likelihood, the objective, and whether there is a KL term. A method's steps are
as many as fit in ``--budget`` CPU-seconds of sampling and learning on one thread, by a few steps that are timed first; the
learning rate falls to 0 over them. Held-out evaluation is no part of the budget. One line of JSON a run goes to
``runs.jsonl``; a run that is in it is not run again. ``--report FILE.png`` draws what is there and prints the table.

``--sampling`` says how rollouts and evaluations are denoised (``SAMPLING``). ``--tuned BUDGET`` gives each method the
learning rate and the KL coefficient that ``benchmarks.learning.tuning`` finds for it with runs of so many CPU-seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning import tuning
from benchmarks.learning.seeds import INLINE, table
from cluster.run.preflight import Inputs, check
from cluster.run.session import session
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.evaluation import evaluate, evaluation_seed
from rl.loop import Parts, TrainResult, train
from rl.protocols import Restorable
from rl.tracking.report import summarise
from rl.types import Group

RUNS_FILE, STEPS_FILE = "runs.jsonl", "steps.json"
BEFORE = "before"
WINDOW = 0.2
TIMED_STEPS = 4  # the first is not counted: it fills caches
# Shared by all. The batch is smaller than the recipe's, so that the slowest method still takes tens of steps.
COMMON = (
    *INLINE, "rollout.batch_size=6", "rollout.n_samples_by_task={understand: 8, draw: 16}", "rollout.threads=1",
    "test_freq=0", "resume_mode=disable", "val_before_train=false", "val_after_train=true", "learner.algorithm.mu=2",
)  # fmt: skip

# All masks of a response are revealed in so many steps, by rollouts and evaluations alike. Guidance mixes two predictions, and no
# estimate of a likelihood knows of it: drawings of several steps have none.
SAMPLING: Mapping[str, tuple[str, ...]] = {
    "few": (),  # the recipe's
    "denoising": tuple(
        f"{when}.{setting}"
        for when in ("rollout", "evaluation")
        for setting in ("text.steps=12", "understand.steps=4", "draw={steps: 4, guidance: 0.0}")
    ),
    "single": tuple(
        f"{when}.{setting}"
        for when in ("rollout", "evaluation")
        for setting in ("text.steps=36", "understand.steps=8", "draw={steps: 36, guidance: 0.0}")
    ),
}


def _algorithm(**settings: object) -> tuple[str, ...]:
    return tuple(f"learner.algorithm.{name}={value}" for name, value in settings.items())


# wd1 and SPG have no reference policy in their papers: their KL coefficient is 0 (arXiv 2507.08838, 2510.09541).
METHODS: Mapping[str, tuple[str, ...]] = {
    "UniGRPO, stratified": _algorithm(schedule="stratified"),
    "UniGRPO, full mask": _algorithm(schedule="full"),
    "UniGRPO, matched": _algorithm(schedule="matched"),
    "matched, in its order": _algorithm(schedule="matched_order"),
    "matched, levels alone": _algorithm(schedule="matched_levels"),
    "matched, blocks alone": _algorithm(schedule="matched_blocks"),
    "UniGRPO, spread over the group": _algorithm(schedule="group"),
    "d1": _algorithm(schedule="full", prompt_mask_prob=0.15),
    "coupled (DiffuCoder)": _algorithm(estimator="coupled", schedule="middle"),
    "trajectory (TraceRL)": _algorithm(estimator="trajectory"),
    "trajectory, 3 steps a pass": _algorithm(estimator="trajectory", trajectory_shrink=3),
    "one step of the trajectory": _algorithm(estimator="trajectory", estimator_samples=1),
    "AGRPO": _algorithm(estimator="trajectory_entropy", normalizer="length"),
    "steps by surprisal (RLDF)": _algorithm(estimator="trajectory_surprisal", estimator_samples=1, normalizer="length"),
    "stratified, control variate": _algorithm(schedule="stratified", control_variate=1.0),
    "credit by reveal order (HT-GRPO)": _algorithm(schedule="matched", structure_weight=2.0),
    "GDPO": _algorithm(estimator="quadrature", ratio="sequence"),
    "GDSD": _algorithm(estimator="elbo_antithetic", objective="gdsd", kl_estimator="k2"),
    "RSPO": _algorithm(estimator="elbo_antithetic", objective="rspo"),
    "TraFL": _algorithm(estimator="elbo_antithetic", objective="trafl"),
    "StableDRL": _algorithm(estimator="elbo_antithetic", objective="stabledrl", kl_coef=0),
    "hints (IGPO)": (*_algorithm(schedule="stratified"), "rollout.hints.share=0.5"),
    "rows for a reference (LaViDa-R1)": (*_algorithm(schedule="stratified", kl_coef=0), "learner.sft_rows=2"),
    "strata (DACA)": _algorithm(estimator="strata"),
    "SPG": _algorithm(
        estimator="spg",
        objective="policy_gradient",
        kl_coef=0,
        prompt_mask_prob=0.15,
        normalizer="length",
        spg_block_length='{text: "${rollout.text.block_length}", understand: "${rollout.understand.block_length}"}',
    ),
    "wd1": _algorithm(schedule="full", prompt_mask_prob=0.15, objective="wd1", kl_coef=0),
}


class Meter:
    """A tracker that keeps each step's training rewards and CPU-seconds: sampling, scoring and learning, no evaluation."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self._began: float | None = None

    def phase(self, text: str) -> None:
        self._began = time.process_time() if text == "training" else None

    def tag(self, name: str, value: str) -> None:
        """Not kept."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._began is None:
            return
        rewards = {
            name: value for name, value in metrics.items() if name.startswith("rewards/") and name.count("/") == 2
        }
        self.steps.append({"cpu_s": time.process_time() - self._began, **rewards})
        self._began = None

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        """Not kept."""

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        """Not kept."""

    def close(self, status: str) -> None:
        """Nothing is open."""


class NoCheckpoints:
    """A run takes two minutes: it starts again."""

    def resume(self, learner: Restorable) -> Mapping[str, Any]:
        return {}

    def go_back(self, learner: Restorable) -> Mapping[str, Any]:
        raise NotImplementedError("an inline learner is not lost")

    def save(self, step: int, learner: Restorable, state: Mapping[str, Any]) -> Path:
        return Path()

    def rate(self, step: int, metrics: Mapping[str, float]) -> None:
        """There is nothing to keep."""

    def rated(self, step: int) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Comparison:
    """recipe, sampling and overrides hold for every run; out: the folder of results. own: of each method, beside METHODS."""

    out: Path
    recipe: str
    overrides: tuple[str, ...] = ()
    sampling: str = "few"
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def config(self, method: str | None, seed: int, *more: str) -> Config:
        of_method = () if method is None else (*METHODS[method], *self.own.get(method, ()))
        given = [*COMMON, *SAMPLING[self.sampling], *of_method, f"seed={seed}", *self.overrides, *more]
        return load_config(self.recipe, given)

    def finished(self) -> dict[tuple[str, int], dict[str, Any]]:
        """(method or BEFORE, seed) -> its line."""
        file = self.out / RUNS_FILE
        lines = file.read_text("utf-8").splitlines() if file.is_file() else []
        return {(run["method"], run["seed"]): run for run in map(json.loads, lines)}

    def keep(self, run: Mapping[str, Any]) -> None:
        with (self.out / RUNS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")

    def steps(self, methods: Sequence[str], budget: float) -> dict[str, int]:
        """Steps of each method that take ``budget`` CPU-seconds, as timed once and kept."""
        file = self.out / STEPS_FILE
        seconds: dict[str, float] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        for method in methods:
            if method not in seconds:
                seconds[method] = self.seconds_a_step(method)
                file.write_text(json.dumps(seconds, indent=2) + "\n", "utf-8")
                print(f"{method}: {seconds[method]:.2f} CPU-seconds a step", flush=True)
        return {method: max(1, round(budget / seconds[method])) for method in methods}

    def seconds_a_step(self, method: str) -> float:
        config = self.config(method, 0, f"steps={TIMED_STEPS}", "val_after_train=false")
        return statistics.mean(step["cpu_s"] for step in run(config)[1].steps[1:])

    def before(self, seed: int) -> dict[str, float]:
        """Held-out metrics of the policy that all methods start from."""
        if (BEFORE, seed) not in self.finished():
            config = self.config(None, seed)
            with session(config, train=False) as parts:
                weights = parts.workers.update_weights(parts.learner, 0)
                prompts = check(config, needs_train=False, needs_val=True).val
                found = evaluate(parts.workers, prompts, weights, evaluation_seed(seed))
            self.keep({"method": BEFORE, "seed": seed, "metrics": dict(found.metrics)})
        return self.finished()[BEFORE, seed]["metrics"]

    def train(self, method: str, seed: int, steps: int) -> None:
        before = self.before(seed)
        config, began = self.config(method, seed, f"steps={steps}"), time.process_time()
        result, meter = run(config)
        seconds, digest = time.process_time() - began, result.weights.digest
        summary = summarise(config, before, result.after, seconds=seconds, steps=result.steps, weights_digest=digest)
        cpu_s = sum(step["cpu_s"] for step in meter.steps)
        self.keep({"method": method, "cpu_s": round(cpu_s, 1), **summary, "curve": meter.steps})


def run(config: Config) -> tuple[TrainResult, Meter]:
    """One training in this process, without a run folder."""
    inputs: Inputs = check(config, needs_train=True, needs_val=config.val_after_train)
    stream, meter = PromptStream(config.data.train, config.seed, inputs.train), Meter()
    with session(config) as parts:
        run_of = Parts(config, stream, inputs.val, parts.workers, parts.learner, meter, NoCheckpoints())
        return train(run_of), meter


def report(finished: Mapping[tuple[str, int], dict[str, Any]], picture: Path) -> str:
    """The table of what is there, and the curves."""
    by_method = {name: [run for (method, _), run in sorted(finished.items()) if method == name] for name in METHODS}
    by_method = {name: runs for name, runs in by_method.items() if runs}
    plot(by_method, picture)
    used = ", ".join(f"{name} {statistics.mean(run['cpu_s'] for run in runs):.0f}" for name, runs in by_method.items())
    parts = [table(by_method, "method"), f"CPU-seconds of sampling and learning, mean over seeds: {used}."]
    return "\n\n".join([*parts, paired(by_method)] if len(by_method) > 1 else parts)


def paired(by_method: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown: held-out points after training beside the first method's, seed by seed, since seeds share a start, batches and
    the evaluation's noise: mean, standard error of it, and in how many seeds it is more."""
    first, *others = by_method
    lines = [f"| less {first}, in points | task | mean | standard error | more in |", "|---|---|---|---|---|"]
    for name in others:
        runs = {run["seed"]: run["tasks"] for run in by_method[name]}
        base = {run["seed"]: run["tasks"] for run in by_method[first]}
        shared = sorted(runs.keys() & base.keys())
        for task in runs[shared[0]] if shared else ():
            less = [100 * (runs[seed][task]["after"] - base[seed][task]["after"]) for seed in shared]
            error = f"{statistics.stdev(less) / len(less) ** 0.5:.1f}" if len(less) > 1 else "one seed"
            more = sum(each > 0 for each in less)
            lines.append(f"| {name} | {task} | {statistics.mean(less):+.1f} | {error} | {more} of {len(less)} |")
    return "\n".join(lines)


def over_budget(curves: Sequence[Sequence[Mapping[str, float]]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps of several runs -> CPU-seconds [T] and, at each, a reward's mean over the last ``WINDOW`` of a run [runs, T].

    A step without the task, whose groups all failed or were not drawn, has no value: the line goes over it.
    """
    lines = []
    for curve in curves:
        seconds = np.cumsum([step["cpu_s"] for step in curve])
        there = [index for index, step in enumerate(curve) if name in step]
        values = np.array([curve[index][name] for index in there])
        at = seconds[there]
        since = np.searchsorted(at, at - WINDOW * seconds[-1], "right")
        means = np.array([values[low : last + 1].mean() for last, low in enumerate(since)])
        lines.append((at, means))
    first, last = max(line[0][0] for line in lines), min(line[0][-1] for line in lines)
    grid = np.linspace(first, max(first, last), 100)
    return grid, np.stack([np.interp(grid, *line) for line in lines])


def plot(by_method: Mapping[str, Sequence[Mapping[str, Any]]], picture: Path) -> None:
    """Training reward by task over CPU-seconds: mean over seeds, and a standard deviation of them to either side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = sorted({task for runs in by_method.values() for run in runs for task in run["tasks"]})
    figure, axes = pyplot.subplots(1, len(tasks), figsize=(5 * len(tasks), 4), squeeze=False, layout="constrained")
    for axis, task in zip(axes[0], tasks, strict=True):
        for name, runs in by_method.items():
            seconds, values = over_budget([run["curve"] for run in runs], f"rewards/{task}/mean")
            (line,) = axis.plot(seconds, values.mean(0), label=name)
            mean, spread = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else 0.0
            axis.fill_between(seconds, mean - spread, mean + spread, color=line.get_color(), alpha=0.1, linewidth=0)
        axis.set(title=task, xlabel="CPU-seconds", ylabel="training reward")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(by_method), fontsize=8)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--budget", type=float, default=100.0, help="CPU-seconds of sampling and learning a run")
    parser.add_argument(
        "--sampling", choices=list(SAMPLING), default="few", help="denoising of rollouts and evaluations"
    )
    parser.add_argument("--tuned", type=float, metavar="BUDGET", help="each method's own learning rate and KL first")
    parser.add_argument("--report", type=Path, metavar="FILE.png", help="no run: draw and print what is there")
    parser.add_argument("overrides", nargs="*", help="key=value for every run")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(arguments.out, arguments.recipe, tuple(arguments.overrides), arguments.sampling)
    if arguments.report is not None:
        print(report(comparison.finished(), arguments.report))
        return
    if arguments.tuned is not None:
        comparison = replace(comparison, own=tuning.settings(comparison, arguments.methods, arguments.tuned))
    steps = comparison.steps(arguments.methods, arguments.budget)
    for seed in arguments.seeds:
        for method in arguments.methods:
            if (method, seed) not in comparison.finished():
                comparison.train(method, seed, steps[method])
                print(f"{method}, seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()
