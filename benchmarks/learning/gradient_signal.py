"""How much of a policy gradient is signal: ``python benchmarks/learning/gradient_signal.py [--task draw] [key=value ...]``.

Takes the gradient of one UniGRPO update on each of several small batches of the recipe's training prompts, all at the same
weights. Gradients of different batches share their mean and nothing else, so the mean of their inner products estimates the
squared length of the true gradient (the signal), and what is left of their own squared length is noise. Prints both, and
their ratio, for one batch of ``--prompts`` prompts. Compare settings, e.g. rollout.n_samples_per_prompt=8 and 32.

With ``--methods`` (names of ``benchmarks.learning.compare``) it takes the gradients of each on the same rollouts, and says how
well one update points where the likelihood of the sampler's own steps would (``TRUTH``): the squared cosine between one
batch's gradient and the gradient of that likelihood, in expectation, and the same for a CPU-second of the learner.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.learning.compare import METHODS, SAMPLING
from cluster.workers.inline import InlineWorkers
from policies import load_policy
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.learner.engine import StepResult, TorchEngine
from rl.learner.update import UniGRPOLearner
from rl.prepare import prepare
from rl.types import Group

ALONE = ("cluster.mode=inline", "learner.engine=torch", "learner.threads=1", "learner.algorithm.mu=1")
# At the reference's own weights a KL term has no gradient: it would cost a pass.
COMPARED = (*ALONE, "learner.algorithm.kl_coef=0")
TRUTH = "trajectory (TraceRL)"


class _Recorder(TorchEngine):
    """Keeps the gradient of its last step, and steps no further: every batch is judged at the same weights."""

    gradient: Tensor

    def step(self) -> StepResult:
        self.gradient = torch.cat([p.grad.flatten() for p in self.module.parameters() if p.grad is not None]).clone()
        self.module.zero_grad(set_to_none=True)
        return StepResult(float(self.gradient.norm()), stepped=True)


def rollouts(config: Config, task: str, prompts: int, batches: int) -> list[list[Group]]:
    """Batches of scored groups of the shipped weights."""
    policy = load_policy(config.policy.path)
    learner = UniGRPOLearner(policy, _Recorder(policy.module, config.learner, 1), config.learner)
    workers, stream = InlineWorkers(config), PromptStream(config.data.train, config.seed)
    ref = workers.update_weights(learner, 0)
    return [workers.rollout_and_score(_of_task(stream, task, prompts), ref, seed=batch) for batch in range(batches)]


def gradients(config: Config, batches: Sequence[Sequence[Group]]) -> Tensor:
    """[batches, parameters]"""
    policy = load_policy(config.policy.path)
    learner = UniGRPOLearner(policy, engine := _Recorder(policy.module, config.learner, 1), config.learner)
    found = []
    for step, groups in enumerate(batches):
        learner.update(prepare(groups, config, step + 1))
        found.append(engine.gradient)
    return torch.stack(found)


def _of_task(stream: PromptStream, task: str, count: int) -> list:
    found = []
    while len(found) < count:
        found += [prompt for prompt in stream.next(1) if prompt.task == task]
    return found


def signal_and_noise(found: Tensor) -> tuple[float, float]:
    """[n, P] gradients of n batches -> squared length of their mean, without its own noise, and of one batch's noise."""
    products = found.double() @ found.double().T
    count, own = len(found), products.diagonal().mean()
    signal = (products.sum() - products.diagonal().sum()) / (count * (count - 1))
    return float(signal), float(own - signal)


def agreement(found: Tensor, truth: Tensor) -> float:
    """[n, P] gradients of n batches by an estimate, and by the likelihood itself -> the squared cosine between the estimate's on
    one batch and the mean of the truth. Only products between different batches count: those of one share its noise."""
    count = len(found)
    products = found.double() @ truth.double().T
    along = (products.sum() - products.diagonal().sum()) / (count * (count - 1))
    true_length, _ = signal_and_noise(truth)
    own = found.double().square().sum(1).mean()
    return float(along * along.abs() / (true_length * own))


def compare(options: argparse.Namespace, task: str) -> list[str]:
    """One row of Markdown a method, all of them on the same rollouts."""
    overrides = [*SAMPLING[options.sampling], *options.overrides]
    batches = rollouts(load_config(options.recipe, [*COMPARED, *overrides]), task, options.prompts, options.batches)
    truth, rows = torch.empty(0), []
    for method in [TRUTH, *(name for name in options.methods if name != TRUTH)]:
        config = load_config(options.recipe, [*METHODS[method], *COMPARED, *overrides])
        began = time.process_time()
        found = gradients(config, batches)
        seconds = (time.process_time() - began) / len(batches)
        truth = found if method == TRUTH else truth
        (signal, noise), agrees = signal_and_noise(found), agreement(found, truth)
        rows.append(
            f"| {task} | {method} | {signal / noise:.3f} | {agrees:.4f} | {seconds:.2f} | {agrees / seconds:.4f} |"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--task", nargs="+", default=["text", "understand", "draw"])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="compare these on the same rollouts")
    parser.add_argument("--sampling", choices=list(SAMPLING), default="few")
    parser.add_argument("overrides", nargs="*", help="key=value")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.methods:
        print(
            "| task | method | signal / noise | squared cosine | s | squared cosine a second |\n|---|---|---|---|---|---|"
        )
        for task in options.task:
            print(*compare(options, task), sep="\n", flush=True)
        return
    config = load_config(options.recipe, [*ALONE, *SAMPLING[options.sampling], *options.overrides])
    print("| task | signal | noise | signal / noise | s |\n|---|---|---|---|---|")
    for task in options.task:
        began = time.process_time()
        signal, noise = signal_and_noise(gradients(config, rollouts(config, task, options.prompts, options.batches)))
        seconds = time.process_time() - began
        print(f"| {task} | {signal:.4f} | {noise:.4f} | {signal / noise:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
