"""What turns gradients into new weights. ``TorchEngine`` is one rank of AdamW; DeepSpeed's engine is in ``cluster``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rl.checkpoints.optimizer_files import SavedState, write_state
from rl.errors import CheckpointError
from rl.learner.adamw8bit import AdamW8bit, plain_moments


class OptimizerConfig(Protocol):
    """What an engine reads of ``LearnerConfig`` or ``SftConfig``. ``warmup_steps`` counts optimizer steps."""

    @property
    def lr(self) -> float: ...
    @property
    def lr_schedule(self) -> str: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def betas(self) -> list[float]: ...
    @property
    def max_grad_norm(self) -> float: ...
    @property
    def optimizer(self) -> str: ...


@dataclass(frozen=True, slots=True)
class StepResult:
    """grad_norm is the global norm before clipping; stepped is False where it was not finite, and nothing changed."""

    grad_norm: float
    stepped: bool


class Engine(Protocol):
    """Owns the optimizer of one rank's module. ``step``, ``all_reduce_sum``, ``save`` and ``load`` are collectives."""

    module: nn.Module
    rank: int
    world_size: int
    sharded: bool
    """Whether no rank holds the whole weights outside of ``whole``."""

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradient to what has gathered since the last step. Ranks' gradients add up: no mean."""
        ...

    def step(self) -> StepResult:
        """Clip, step, forget the gradients, and go on in the learning-rate schedule.

        Where the gradient is not finite on any rank, no rank steps; the schedule goes on all the same.
        """
        ...

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sums over all ranks."""
        ...

    def save(self, folder: Path) -> None:
        """Write this rank's share of the optimizer's state into an existing folder."""
        ...

    def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote. Raises CheckpointError."""
        ...

    def whole(self, change: bool = False, only: Sequence[Tensor] | None = None) -> AbstractContextManager[None]:
        """Context manager: gathers sharded weights on all ranks, or ``only`` these (a collective).

        change: also scatters edits back
        """
        ...

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that this rank keeps between two calls, on any device. Some come more than once, as views."""
        ...


def lr_at(step: int, config: OptimizerConfig, total_steps: int) -> float:
    """Learning rate of optimizer step ``step`` (from 0) of ``total_steps``.

    Linear warm-up over the first ``warmup_steps``, reaching ``lr`` at the last of them; then ``constant``, or a
    ``cosine`` that would reach 0 one step after the last.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.lr_schedule == "constant":
        return config.lr
    done = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def adamw(module: nn.Module, config: OptimizerConfig, *, offload: bool = False) -> Optimizer:
    """AdamW (arXiv 1711.05101), plain or with moments of 8 bits, over the trainable parameters.

    Gains and biases are not decayed: they have no scale. On a CPU, where ``offload`` says that it will step, each number
    is read and written once (``fused``): by default torch goes through memory once for each operation, 6 times as long.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    first, second = config.betas
    settings = {"lr": config.lr, "betas": (first, second)}
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "adamw8bit":
        return AdamW8bit(groups, **settings)
    fused = True if offload or all(parameter.device.type == "cpu" for parameter in parameters) else None
    return torch.optim.AdamW(groups, **settings, fused=fused)


def training_tensors(module: nn.Module, optimizer: Optimizer) -> Iterator[Tensor]:
    """Parameters and buffers of the module, the weights that the optimizer steps, gradients, and its state."""
    stepped = (parameter for group in optimizer.param_groups for parameter in group["params"])
    for parameter in (*module.parameters(), *stepped):
        yield parameter
        if parameter.grad is not None:
            yield parameter.grad
    yield from module.buffers()
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


class TorchEngine:
    """One rank, no framework: for inline runs, fine-tuning and debuggers."""

    rank = 0
    world_size = 1
    sharded = False

    def __init__(self, module: nn.Module, config: OptimizerConfig, total_steps: int) -> None:
        """total_steps: optimizer steps of the whole run, which a cosine schedule needs."""
        self.module = module
        self.optimizer = adamw(module, config)
        self._config = config
        self._total_steps = total_steps
        self._steps = 0

    @property
    def lr(self) -> float:
        return lr_at(self._steps, self._config, self._total_steps)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self) -> StepResult:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(parameters, self._config.max_grad_norm))
        finite = math.isfinite(norm)
        if finite:
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._steps += 1
        return StepResult(norm, finite)

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def save(self, folder: Path) -> None:
        with plain_moments(self.optimizer):
            tensors = {
                f"{name}.{key}": value.detach().contiguous()
                for name, parameter in self._named_parameters()
                for key, value in self.optimizer.state.get(parameter, {}).items()
            }
        write_state(folder, self._steps, tensors)

    def load(self, folder: Path) -> None:
        saved = SavedState(folder)
        with plain_moments(self.optimizer):
            self._take_over(saved)
        self._steps = saved.steps

    def _take_over(self, saved: SavedState) -> None:
        parameters = dict(self._named_parameters())
        self.optimizer.state.clear()
        for full_name, value in saved.items():
            name, _, key = full_name.rpartition(".")
            parameter = parameters.get(name)
            if parameter is None or value.shape not in (parameter.shape, torch.Size()):
                raise CheckpointError(
                    f"{saved.folder}: optimizer state of {full_name} {tuple(value.shape)}: no such parameter here"
                )
            # A count of steps stays where AdamW keeps it, on the host; moments live beside their parameter.
            self.optimizer.state[parameter][key] = value.to(parameter.device) if value.dim() else value

    def whole(self, change: bool = False, only: Sequence[Tensor] | None = None) -> AbstractContextManager[None]:
        return nullcontext()

    def tensors(self) -> Iterator[Tensor]:
        return training_tensors(self.module, self.optimizer)

    def _named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, parameter) for name, parameter in self.module.named_parameters() if parameter.requires_grad)
