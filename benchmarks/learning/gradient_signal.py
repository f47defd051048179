"""How much of a policy gradient is signal: ``python benchmarks/learning/gradient_signal.py [--task draw] [key=value ...]``.

Takes the gradient of one UniGRPO update on each of several small batches of the recipe's training prompts, all at the same
weights. Gradients of different batches share their mean and nothing else, so the mean of their inner products estimates the
squared length of the true gradient (the signal), and what is left of their own squared length is noise. Prints both, and
their ratio, for one batch of ``--prompts`` prompts. Compare settings, e.g. rollout.n_samples_per_prompt=8 and 32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from cluster.workers.inline import InlineWorkers
from policies import load_policy
from rl.config import Config, load_config
from rl.data.stream import PromptStream
from rl.learner.engine import StepResult, TorchEngine
from rl.learner.update import UniGRPOLearner
from rl.prepare import prepare

ALONE = ("cluster.mode=inline", "learner.engine=torch", "learner.threads=1", "learner.algorithm.mu=1")


class _Recorder(TorchEngine):
    """Keeps the gradient of its last step, and steps no further: every batch is judged at the same weights."""

    gradient: Tensor

    def step(self) -> StepResult:
        self.gradient = torch.cat([p.grad.flatten() for p in self.module.parameters() if p.grad is not None]).clone()
        self.module.zero_grad(set_to_none=True)
        return StepResult(float(self.gradient.norm()), stepped=True)


def gradients(config: Config, task: str, prompts: int, batches: int) -> Tensor:
    """[batches, parameters]"""
    policy = load_policy(config.policy.path)
    learner = UniGRPOLearner(policy, engine := _Recorder(policy.module, config.learner, 1), config.learner)
    workers, stream = InlineWorkers(config), PromptStream(config.data.train, config.seed)
    ref = workers.update_weights(learner, 0)
    found = []
    for batch in range(batches):
        groups = workers.rollout_and_score(_of_task(stream, task, prompts), ref, seed=batch)
        learner.update(prepare(groups, config, batch + 1))
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--task", nargs="+", default=["text", "understand", "draw"])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("overrides", nargs="*", help="key=value")
    options = parser.parse_args(arguments)
    config = load_config(options.recipe, [*ALONE, *options.overrides])
    torch.set_num_threads(1)
    print("| task | signal | noise | signal / noise | s |\n|---|---|---|---|---|")
    for task in options.task:
        began = time.process_time()
        signal, noise = signal_and_noise(gradients(config, task, options.prompts, options.batches))
        seconds = time.process_time() - began
        print(f"| {task} | {signal:.4f} | {noise:.4f} | {signal / noise:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
