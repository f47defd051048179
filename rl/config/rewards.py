"""The sections of the config about rewards: the mix and its rules, the user's own function, and a judge's server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rl.types import Curve, Gate


@dataclass(frozen=True)
class FailureConfig:
    """What a failed score (timeout, crashed, invalid) leads to; it is never a 0.

    action            ``drop`` its group; ``retry`` it first; ``fail``: drop, and end the run past ``max_failed_share``
    attempts          how often a failed score is tried in all, for ``retry``
    max_failed_share  largest share of a step's scores that may have failed, for ``fail``
    """

    action: str = "drop"
    attempts: int = 2
    max_failed_share: float = 0.1


@dataclass(frozen=True)
class RewardsConfig:
    """What is trained on.

    mix        task -> reward name -> weight; weight 0 records a reward without training on it
    settings   reward name -> its keyword arguments, e.g. ``clip: {model: ViT-B-32, pretrained: /path}``
    curves     reward name -> what its value becomes before weighting
    gates      reward name -> the reward that it depends on, e.g. ``correctness: {by: format}``
    normalize  rewards that are standardised within each group before weighting, so that none starves the others
    scorers    rewards that model reward workers score, as they always score those on a GPU
    sandbox    for what a model wrote: ``best_effort`` takes what the kernel offers and says what does not hold;
               ``required`` refuses to run where anything does not
    """

    mix: dict[str, dict[str, float]] = field(
        default_factory=lambda: {
            "text": {"correctness": 2.0, "format": 0.5},
            "understand": {"correctness": 2.0, "format": 0.5},
            "draw": {"clip": 0.1},
        }
    )
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)
    normalize: list[str] = field(default_factory=list)
    scorers: list[str] = field(default_factory=list)
    on_failure: FailureConfig = field(default_factory=FailureConfig)
    sandbox: str = "best_effort"


@dataclass(frozen=True)
class CustomRewardConfig:
    """The user's own function; it joins the mix under the name ``custom``.

    path, name   a file, and the function in it; or
    url          an HTTP service (docs/reward_service.yaml)
    reward_kwargs  its own arguments, by name
    deadline_s   seconds for one call
    memory_mb    address space of that child, MiB
    isolate      run it in a child process that is killed after ``deadline_s`` or past ``memory_mb``
    """

    path: str | None = None
    url: str | None = None
    name: str = "reward"
    reward_kwargs: dict[str, Any] = field(default_factory=dict)
    isolate: bool = False
    deadline_s: float = 60.0
    memory_mb: int = 2048


@dataclass(frozen=True)
class JudgeConfig:
    """A judge's server that this run starts, for the reward ``judge``; to use one that runs, set
    ``rewards.settings.judge.url`` instead.

    serve     a model's folder or name; null starts nothing
    command   how to call vllm: it lives in an environment of its own, e.g. ``[/opt/judge/bin/vllm]``
    args      more arguments of ``vllm serve``
    port      on loopback; 0 finds a free one
    gpus      that Ray sets aside for it
    restarts  how often a server that ends is started again
    start_deadline_s  seconds until it must answer
    env       names of environment variables that its server gets as well, e.g. ``[HF_TOKEN]``; it gets no other secret
    """

    serve: str | None = None
    command: list[str] = field(default_factory=lambda: ["vllm"])
    args: list[str] = field(default_factory=list)
    port: int = 0
    gpus: float = 0.0
    restarts: int = 3
    env: list[str] = field(default_factory=list)
    start_deadline_s: float = 600.0
