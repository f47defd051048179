"""What a family was published with: how it is sampled, prompted and trained. Settings that nobody gives come from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Sampling = Mapping[str, Mapping[str, Any]]  # task -> settings of its sampler

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")
SHAPE = ("max_new_tokens", "block_length", "steps")  # they only mean something together


@dataclass(frozen=True, slots=True)
class Card:
    """Of a family's released checkpoints. Each entry of ``sources`` says where some of these values stand.

    evaluation    task -> how the family's own code answers or draws
    rollout       task -> what published RL on it samples training rollouts with
    prompt        in words: the chat template, its system text, and how questions are put
    lora_target   layers of an adapter
    lr, lora_lr   least and largest learning rate of published RL: of all weights, and of an adapter. The least is used
    sources       part of this card, or several -> paper and section, or file of a public repository
    """

    evaluation: Sampling
    rollout: Sampling
    prompt: str
    lr: tuple[float, float]
    lora_lr: tuple[float, float]
    sources: Mapping[str, str]
    lora_target: tuple[str, ...] = ALL_LINEAR

    def settings(self, limit: int, lora: bool) -> dict[str, Any]:
        """As sections of a config. limit: tokens that the policy takes in all; a canvas that leaves no room for a prompt is
        left out. lora: whether an adapter is trained."""
        low, _ = self.lora_lr if lora else self.lr
        learner: dict[str, Any] = {"lr": low}
        if lora:
            learner["lora"] = {"target": list(self.lora_target)}
        return {
            "rollout": {task: _fitting(sampling, limit) for task, sampling in self.rollout.items()},
            "evaluation": {task: _fitting(sampling, limit) for task, sampling in self.evaluation.items()},
            "learner": learner,
        }


def _fitting(sampling: Mapping[str, Any], limit: int) -> dict[str, Any]:
    fits = sampling.get("max_new_tokens", 0) < limit
    return {name: value for name, value in sampling.items() if fits or name not in SHAPE}
