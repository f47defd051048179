"""What no code could do faster on these cores: the arithmetic of a step, over the rate of one large product here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from benchmarks.timing import wall_rate
from cluster.plan.memory import learner_memory, rollout_memory
from cluster.plan.model import model_of
from cluster.plan.plan import Assumed, Model, samplers, training_of
from cluster.plan.seconds import Sampler
from cluster.plan.sizes import forward_flops
from policies import load_policy
from policies.files.folders import find_policy, read_config
from rl.config import Config
from rl.data.stream import PromptStream
from rl.types import Task

EQUAL_MASKS = ("full",)  # schedules under which the members of a group are one sequence to the learner


@dataclass(frozen=True, slots=True)
class Machine:
    """Operations a second in float32, of one core and of all together."""

    cores: int
    one_core: float
    all_cores: float


def this_machine(seconds: float = 1.0, width: int = 1024) -> Machine:
    """By one large product, the fastest of several."""
    cores = torch.get_num_threads()
    a, b = torch.randn(width, width), torch.randn(width, width)
    rates = []
    try:
        for threads in (1, cores):
            torch.set_num_threads(threads)
            rates.append(2 * width**3 * wall_rate(lambda: a @ b, seconds))
    finally:
        torch.set_num_threads(cores)
    return Machine(cores, *rates)


def assumed(config: Config, count: int = 36) -> Assumed:
    """What the plan cannot know: the mean tokens of the recipe's first prompts without their image, and codes of an image."""
    policy = load_policy(config.policy.path)
    codes = 0 if policy.image_tokenizer is None else policy.image_tokenizer.codes_per_image
    lengths = []
    for prompt in PromptStream(config.data.train, config.seed).next(count):
        encoded = policy.encode_prompt(prompt)
        seen = codes if prompt.task is Task.UNDERSTAND else 0
        lengths.append(len(encoded.prefix) + len(encoded.suffix) - seen)
    return Assumed(round(sum(lengths) / len(lengths)), codes)


def model(config: Config) -> Model:
    return model_of(config, read_config(find_policy(config.policy.path)))


def sampling_flops(config: Config, sizes: Model, kind: Sampler) -> float:
    """Of one group. Until its first token is written a group is one sequence; guidance doubles a pass."""
    group = group_of(config, kind)
    guided = 2 if kind.task == "draw" and config.rollout.draw.guidance > 0 else 1
    steps = kind.passes // guided
    return guided * (1 + (steps - 1) * group) * forward_flops(sizes.sizes, kind.length, kind.scored)


def learning_flops(config: Config, sizes: Model, kind: Sampler) -> float:
    """Of one group: old log-probs once for equal masks, else for each update; the reference's likewise; an update is three
    passes, and scores what it masks: all of the response, or half on average."""
    algorithm = config.learner.algorithm
    equal, response = algorithm.schedule in EQUAL_MASKS, float(kind.codes or _written(config, kind))
    sequences = 1 if equal else group_of(config, kind)
    forward = forward_flops(sizes.sizes, kind.length, response if equal else response / 2)
    before = (1 if equal else algorithm.mu) * ((algorithm.mu > 1) + (algorithm.kl_coef > 0))
    return sequences * forward * (before + 3 * algorithm.mu)


def step_flops(config: Config, assumed: Assumed, trained: float = 1.0) -> Mapping[str, float]:
    """Of one step, by part. trained: share of the groups that the learner works on."""
    sizes, prompts = model(config), config.rollout.batch_size
    kinds = samplers(config, assumed, sizes.images)
    return {
        "sampling": prompts * sum(kind.share * sampling_flops(config, sizes, kind) for kind in kinds),
        "learning": prompts * trained * sum(kind.share * learning_flops(config, sizes, kind) for kind in kinds),
    }


def step_seconds(config: Config, assumed: Assumed, machine: Machine, trained: float = 1.0) -> float:
    """All cores at once, and nothing but products."""
    return sum(step_flops(config, assumed, trained).values()) / machine.all_cores


def rollouts_of_step(config: Config, assumed: Assumed) -> float:
    kinds = samplers(config, assumed, model(config).images)
    return config.rollout.batch_size * sum(kind.share * group_of(config, kind) for kind in kinds)


def group_of(config: Config, kind: Sampler) -> int:
    return config.rollout.n_samples_by_task.get(str(kind.task), config.rollout.n_samples_per_prompt)


def memory_bytes(config: Config, assumed: Assumed, bare: float, processes: int) -> float:
    """What the plan counts, and what ``processes`` take that have imported torch and done nothing: ``bare`` bytes each."""
    sizes = model(config)
    longest = max(samplers(config, assumed, sizes.images), key=lambda kind: kind.length)
    group = max(config.rollout.n_samples_per_prompt, *config.rollout.n_samples_by_task.values(), 1)
    learner = learner_memory(sizes.sizes, training_of(config, sizes, longest))
    worker = rollout_memory(sizes.sizes, config.policy.dtype, group, longest.length, longest.scored)
    ours = sum(learner.values()) + config.cluster.rollout_workers * sum(worker.values())
    return ours + processes * bare


def _written(config: Config, kind: Sampler) -> int:
    part = config.rollout.text if kind.task == "text" else config.rollout.understand
    return part.max_new_tokens
