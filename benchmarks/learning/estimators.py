"""Bias and variance of every estimator at equal forward passes: of the log-likelihood, and of the policy gradient.

For a few prompts the shipped policy samples a group, whose advantages are +1 and -1 in turn. Each estimator then
estimates, over and over under fresh masks, the mean log-likelihood of a response token, and the gradient of
``mean over rollouts of A_i * log-likelihood_i / |o_i|``, which is what the first inner update of an on-policy step
follows. They are compared with the evidence lower bound and its gradient from many more masks. Estimators of something
else (one pass over the full mask, the sampler's own path, left to right) are not wrong where they differ from it: their
bias says how far apart the two likelihoods are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.files.checkpoints import load_policy
from policies.generate import rollout_group
from policies.policy import MaskedDiffusionPolicy
from rl.config import Config, LearnerConfig, RolloutConfig, UniGRPOConfig
from rl.learner.likelihood import token_values
from rl.learner.microbatches import MicroBatch, collate
from rl.prepare import prepare
from rl.tasks import GENERATORS
from rl.types import Group, ImageSampling, Prompt, Score, Task, TextSampling, TrainBatch

TEXT = TextSampling(max_new_tokens=40, block_length=8, steps=10)
IMAGE = ImageSampling(steps=8, guidance=0.3)


def estimators(passes: int) -> dict[str, UniGRPOConfig]:
    """What is compared, each with ``passes`` forward passes, but for the full mask, which one pass exhausts."""
    one = UniGRPOConfig(mu=1, estimator_samples=passes)
    fewer = replace(one, estimator_samples=passes - 2 + passes % 2)  # an even number, with the control variate's pass
    return {
        "UniGRPO, stratified": UniGRPOConfig(mu=passes),
        "UniGRPO, Algorithm 1": UniGRPOConfig(mu=passes, schedule="algorithm1"),
        "random ratios": UniGRPOConfig(mu=passes, schedule="random"),
        "spread over the group": UniGRPOConfig(mu=passes, schedule="group"),
        "spread over the group, 0.2 to 0.8": UniGRPOConfig(mu=passes, schedule="group_middle"),
        "matched to the sampler": UniGRPOConfig(mu=passes, schedule="matched"),
        "matched, in its order": UniGRPOConfig(mu=passes, schedule="matched_order"),
        "matched, levels alone": UniGRPOConfig(mu=passes, schedule="matched_levels"),
        "matched, blocks alone": UniGRPOConfig(mu=passes, schedule="matched_blocks"),
        "full mask (d1), 1 pass": UniGRPOConfig(mu=1, schedule="full"),
        "coupled (DiffuCoder)": UniGRPOConfig(mu=passes // 3, estimator="coupled", schedule="random"),
        "lower bound": replace(one, estimator="elbo"),
        "lower bound, stratified": replace(one, estimator="elbo_stratified"),
        "lower bound, antithetic": replace(one, estimator="elbo_antithetic"),
        "lower bound, control variate": replace(fewer, estimator="elbo", control_variate=1.0),
        "lower bound, antithetic, control variate": replace(fewer, estimator="elbo_antithetic", control_variate=1.0),
        "SPG": replace(one, estimator="spg"),
        "trajectory (TraceRL)": replace(one, estimator="trajectory"),
        "steps by entropy (AGRPO)": replace(one, estimator="trajectory_entropy"),
        "steps by surprisal (RLDF)": replace(one, estimator="trajectory_surprisal"),
        "left to right (JustGRPO)": replace(one, estimator="left_to_right"),
    }


@dataclass(frozen=True, slots=True)
class Moments:
    """Of estimates drawn over and over: log-likelihood a token [draws], the mean gradient, and its total variance."""

    values: np.ndarray
    gradient: Tensor
    variance: float


def run(
    prompts: int = 2,
    rollouts: int = 4,
    passes: int = 6,
    draws: int = 16,
    reference_passes: int = 512,
    policy: str = "tiny",
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All rows, as what ``unigrpo bench estimators`` writes. passes: a multiple of 6."""
    began, threads = time.process_time(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        loaded, rows = load_policy(policy), []
        for modality, found in bench_prompts(prompts).items():
            groups = [sample(loaded, prompt, rollouts) for prompt in found]
            rows += compare(loaded, modality, groups, passes, draws, reference_passes, log)
    finally:
        torch.set_num_threads(threads)
    settings = {"prompts": prompts, "rollouts": rollouts, "passes": passes, "draws": draws}
    settings |= {"reference_passes": reference_passes, "policy": policy, "cpu_s": round(time.process_time() - began, 1)}
    return {"bench": "estimators", "torch": torch.__version__, **settings, "rows": rows}


def bench_prompts(count: int) -> dict[str, list[Prompt]]:
    return {
        "text": GENERATORS["sudoku4x4"]("val", size=count, blanks=[4, 8]),
        "image": GENERATORS["scenes"]("val", size=count),
    }


def sample(policy: MaskedDiffusionPolicy, prompt: Prompt, rollouts: int) -> Group:
    sampling = IMAGE if prompt.task is Task.DRAW else TEXT
    members = rollout_group(policy, prompt, sampling, list(range(rollouts)), 0)
    return Group(prompt, members, tuple(Score(float(1 - index % 2)) for index in range(rollouts)))


def compare(
    policy: MaskedDiffusionPolicy,
    modality: str,
    groups: Sequence[Group],
    passes: int,
    draws: int,
    reference_passes: int,
    log: Callable[[str], None],
) -> list[dict[str, Any]]:
    """One row an estimator: averages over the groups."""
    bound, batches = (
        replace(UniGRPOConfig(mu=1), estimator="elbo_antithetic", estimator_samples=64),
        reference_passes // 64,
    )
    truths = [measure(policy, group, bound, batches, first=10**6) for group in groups]
    rows = []
    for name, algorithm in estimators(passes).items():
        found = [measure(policy, group, algorithm, draws) for group in groups]
        row = {"modality": modality, "estimator": name}
        row |= summarise([errors(*pair, batches) for pair in zip(found, truths, strict=True)])
        rows.append(row)
        log("  ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{value}" for key, value in row.items()))
    return rows


def measure(
    policy: MaskedDiffusionPolicy, group: Group, algorithm: UniGRPOConfig, draws: int, first: int = 0
) -> Moments:
    """Estimates under the masks of steps first .. first + draws."""
    config = Config(rollout=RolloutConfig(text=TEXT, draw=IMAGE), learner=LearnerConfig(algorithm))
    values, total, squares = [], torch.zeros(0), 0.0
    for step in range(first, first + draws):
        value, gradient = estimate(policy, prepare([group], config, step), algorithm)
        values.append(value)
        total = gradient if not len(total) else total + gradient
        squares += float(gradient.square().sum())
    mean = total / draws
    variance = (squares / draws - float(mean.square().sum())) * draws / max(1, draws - 1)
    return Moments(np.array(values), mean, max(0.0, variance))


def estimate(policy: MaskedDiffusionPolicy, batch: TrainBatch, algorithm: UniGRPOConfig) -> tuple[float, Tensor]:
    """Mean log-likelihood a token, and the policy gradient, as the mean over the inner updates' masks."""
    parameters = [parameter for parameter in policy.module.parameters() if parameter.requires_grad]
    data = collate(batch, [(i, 1 / len(batch)) for i in range(len(batch))], torch.device("cpu"), algorithm)
    total = [torch.zeros_like(parameter) for parameter in parameters]
    values = []
    for n in range(len(data.masks)):
        likelihood = per_token(policy, data, n, algorithm)
        values.append(float(likelihood.detach().mean()))
        # The inner updates are separate passes: one graph at a time.
        objective = (data.advantages * likelihood).mean() / len(data.masks)
        found = torch.autograd.grad(objective, parameters, allow_unused=True)
        total = [t if g is None else t + g for t, g in zip(total, found, strict=True)]
    return float(np.mean(values)), torch.cat([gradient.flatten() for gradient in total])


def per_token(policy: MaskedDiffusionPolicy, data: MicroBatch, n: int, algorithm: UniGRPOConfig) -> Tensor:
    values = token_values(policy, data, n, algorithm).values
    return torch.where(data.masks[n], values, 0.0).sum(1) * data.scales[n] / data.lengths


def errors(found: Moments, truth: Moments, batches: int) -> dict[str, float]:
    """Against the truth, whose own noise is taken off. Gradient errors are relative to the length of the true gradient.

    A mean over n draws still holds 1/n of the variance: it is taken off the squared bias.
    """
    size = max(1e-12, float(truth.gradient.square().sum()) - truth.variance / batches)
    gap = float((found.gradient - truth.gradient).square().sum())
    gap -= found.variance / len(found.values) + truth.variance / batches
    return {
        "log_likelihood": float(found.values.mean()),
        "bias": float(found.values.mean() - truth.values.mean()),
        "sd": float(found.values.std(ddof=1)) if len(found.values) > 1 else 0.0,
        "gradient_bias": float(np.sqrt(max(0.0, gap) / size)),
        "gradient_sd": float(np.sqrt(found.variance / size)),
        "gradient_cosine": float(torch.cosine_similarity(found.gradient, truth.gradient, dim=0)),
    }


def summarise(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in found])) for key in found[0]}


def table(result: dict[str, Any], modality: str) -> str:
    """Markdown."""
    lines = [
        "| estimator | log p a token | bias | sd | gradient: bias | sd | cosine of the mean |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        if row["modality"] == modality:
            numbers = [row[key] for key in ("log_likelihood", "bias", "sd", "gradient_bias", "gradient_sd")]
            cells = [f"{number:.3f}" for number in (*numbers, row["gradient_cosine"])]
            lines.append(f"| {row['estimator']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Gradient bias against gradient deviation, one panel a modality."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    modalities = list(dict.fromkeys(row["modality"] for row in result["rows"]))
    figure, axes = pyplot.subplots(1, len(modalities), figsize=(6.4 * len(modalities), 4.8), squeeze=False)
    for axis, modality in zip(axes[0], modalities, strict=True):
        for index, row in enumerate(row for row in result["rows"] if row["modality"] == modality):
            axis.scatter(
                row["gradient_bias"], row["gradient_sd"], marker="osD^v<>pPX*"[index % 11], label=row["estimator"]
            )
        axis.set(title=modality, xlabel="bias of the policy gradient, relative", ylabel="its deviation, relative")
        axis.grid(alpha=0.3)
    axes[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
