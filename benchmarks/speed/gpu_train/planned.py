"""What ``unigrpo plan`` says of a run's processes: bytes of a device, by kind of process and by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.plan.memory import HOST, learner_memory, rollout_memory
from cluster.plan.model import model_of
from cluster.plan.plan import Assumed, samplers, training_of
from policies import load_policy
from policies.files.folders import find_policy, read_config
from rl.config import Config
from rl.data.stream import PromptStream

LEARNER, WORKER = "learner rank 0", "rollout worker 0"


def planned(config: Config) -> dict[str, dict[str, float]]:
    """By the names that processes have in ``unigrpo status``. Prompts are measured: the plan itself assumes their length."""
    folder = read_config(find_policy(config.policy.path))
    model = model_of(config, folder)
    shipped = load_policy("tiny")  # its tokenizers and layouts are the policy's
    assert shipped.image_tokenizer is not None
    prompts = PromptStream(config.data.train, config.seed).next(config.rollout.batch_size * config.steps)
    longest = max(len(encoded.prefix) + len(encoded.suffix) for encoded in map(shipped.encode_prompt, prompts))
    assumed = Assumed(longest, shipped.image_tokenizer.codes_per_image)
    sampler = max(samplers(config, assumed), key=lambda kind: kind.length)
    group = max(config.rollout.n_samples_per_prompt, *config.rollout.n_samples_by_task.values())
    learner = learner_memory(model.sizes, training_of(config, model, sampler))
    return {
        LEARNER: {part: size for part, size in learner.items() if part != HOST},
        WORKER: rollout_memory(model.sizes, config.policy.dtype, group, sampler.length, sampler.scored),
    }


def beside_plan(
    planned: Mapping[str, Mapping[str, float]], peaks: Sequence[Mapping[str, Any]], together: bool
) -> dict[str, dict[str, object]]:
    """Name -> planned parts, their sum, the fullest process's peak on the device (None without a GPU), and peak over plan.
    together: one process is both, as inline; the worker's weights are then the sum's, too."""
    kinds: dict[str, Mapping[str, float]] = dict(planned)
    if together:
        kinds = {
            "the process": {f"{who}: {part}": size for who, parts in planned.items() for part, size in parts.items()}
        }
    found: dict[str, dict[str, object]] = {}
    for name, parts in kinds.items():
        seen = [each["device"] for each in peaks if each.get("name") == name and each["device"] is not None]
        total, peak = sum(parts.values()), max(seen, default=None)
        share = None if peak is None else peak / total
        found[name] = {"planned": dict(parts), "planned_sum": total, "peak": peak, "peak_of_plan": share}
    return found
