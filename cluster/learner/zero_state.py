"""The state behind a DeepSpeed engine, as whole tensors by parameter name, at every ZeRO stage (DeepSpeed 0.19.8).

Stage 0 keeps it by parameter. Stages 1 and 2 keep one flat, partitioned tensor for each group of parameters; stage 3 a
flat one of each parameter's partitions. Reading and writing whole tensors are collectives: every rank takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from rl.learner.adamw8bit import plain_moments

MOMENTS = ("exp_avg", "exp_avg_sq")
MASTER = "master"  # the float32 weights behind bfloat16 ones


@dataclass(frozen=True, slots=True)
class _Setters:
    """How one stage's state is written. part: what DeepSpeed's two functions take of a whole tensor."""

    part: Callable[[nn.Parameter, Tensor], Tensor]
    master: Callable[[nn.Parameter, Tensor], None]
    moment: Callable[[nn.Parameter, Tensor, str], None]


def _setters(stage: int) -> _Setters:
    """Of stages 1 to 3."""
    from deepspeed import utils

    if stage == 3:  # DeepSpeed's own whole-tensor call does not pad the last rank's partition
        return _Setters(_partition, utils.safe_set_local_fp32_param, utils.safe_set_local_optimizer_state)
    return _Setters(_whole, utils.safe_set_full_fp32_param, utils.safe_set_full_optimizer_state)


class ZeroState:
    """Reads and writes the optimizer's state of ``engine``, a ``deepspeed.DeepSpeedEngine``."""

    def __init__(self, engine: Any, stage: int, masters: bool) -> None:
        """masters: whether float32 weights stand behind the module's own."""
        self._engine, self._stage, self._masters = engine, stage, masters

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self._engine.module.named_parameters() if p.requires_grad)

    def read(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """(parameter, {key: whole tensor}), one parameter at a time."""
        with self._plain_moments():
            yield from self._read()

    @contextmanager
    def _plain_moments(self) -> Iterator[None]:
        """Moments as float32, whatever the optimizer keeps; parameters find their parts of what it keeps afterwards."""
        with plain_moments(self._engine.basic_optimizer):
            yield
        if self._engine.basic_optimizer.state and self._stage in (1, 2):
            self._link_flat_states()

    def _read(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        states = self._engine.basic_optimizer.state
        if states and self._stage in (1, 2):
            self._link_flat_states()
        for name, parameter in self.parameters():
            found: dict[str, Any] = {}
            if self._masters:
                found[MASTER] = safe_get_full_fp32_param(parameter)
            if not self._stage:
                found |= states.get(parameter, {})
            elif states:
                found["step"] = next(iter(states.values()))["step"].clone()
                found |= {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
            yield name, found

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what was saved as ``{parameter}.{key}``; the module's weights are there already."""
        with self._plain_moments():
            self._write(tensors)

    def _write(self, tensors: Mapping[str, Tensor]) -> None:
        if self._stage:
            self._engine.optimizer.refresh_fp32_params()
        states = self._engine.basic_optimizer.state
        states.clear()
        started = {name: parameter for name, parameter in self.parameters() if f"{name}.step" in tensors}
        if self._stage:
            self._write_flat(started, tensors)
            return
        for name, parameter in started.items():
            states[parameter] = {"step": tensors[f"{name}.step"], **_moments(tensors, name, parameter)}

    def _write_flat(self, started: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
        """Stages 1 to 3. started: the parameters that have moments."""
        setters = _setters(self._stage)
        if started:
            self._make_flat_states(tensors[f"{next(iter(started))}.step"])
        for name, parameter in self.parameters():
            if self._masters and f"{name}.{MASTER}" in tensors:
                setters.master(parameter, setters.part(parameter, tensors[f"{name}.{MASTER}"]))
        for name, parameter in started.items():
            for key, value in _moments(tensors, name, parameter).items():
                setters.moment(parameter, setters.part(parameter, value), key)

    def _make_flat_states(self, step: Tensor) -> None:
        """AdamW makes its state at its first step; here it must be there before, for the moments to be set in it."""
        zero, states = self._engine.optimizer, self._engine.basic_optimizer.state
        flats = zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups
        for flat in flats:
            states[flat] = {"step": step.clone(), **{key: torch.zeros_like(flat) for key in MOMENTS}}
        if self._stage != 3:
            self._link_flat_states()

    def _link_flat_states(self) -> None:
        """Let every parameter find its part of the flat moments. DeepSpeed does so once, after the first group's first
        step, when the other groups have none yet."""
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        zero = self._engine.optimizer
        for parameters, flat in zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True):
            lazy_init_hp_params_optimizer_state(parameters, flat, self._engine.basic_optimizer.state)


def _moments(tensors: Mapping[str, Tensor], name: str, parameter: nn.Parameter) -> dict[str, Tensor]:
    return {key: tensors[f"{name}.{key}"].to(parameter.device) for key in MOMENTS}


def _whole(parameter: nn.Parameter, value: Tensor) -> Tensor:
    return value


def _partition(parameter: Any, value: Tensor) -> Tensor:
    """This rank's part of a whole tensor, filled up with zeros as stage 3 does."""
    size, ranks = parameter.ds_tensor.numel(), dist.get_world_size()
    padded = F.pad(value.flatten(), (0, size * ranks - value.numel()))
    return padded.narrow(0, size * dist.get_rank(), size)
