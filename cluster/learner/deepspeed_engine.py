"""DeepSpeed as ``rl.learner.engine.Engine``: ZeRO stages 0 to 3 over torch.distributed (gloo on CPUs, NCCL on GPUs).

What each choice below is for (DeepSpeed 0.19.8):

* ``managed_gradient_accumulation: false``: every ``step`` ends an accumulation, so the number of micro-batches is ours.
* ``gradient_allreduce_op: sum`` and ``scale_wrt_gas=False``: micro-batches and ranks add up, with no scaling but ours.
  Stage 3 knows means alone, so there ours multiplies by the number of ranks.
* torch.distributed is started by us, which DeepSpeed finds and uses. On CPUs it would then compile a shared-memory
  collective with g++ (10 to 100 s) that only its inference uses; an empty list of compatible operators prevents that.
* Clipping and skipping: ZeRO 1 to 3 do both. Stage 0 hands the summed gradients to the optimizer, so ours does them.
* Stage 3 gathers a layer's weights when the layer is called. Those that are read without a call (the head, by chunks)
  stay whole on every rank: ``Transformer.read_directly``.
* ``zero_force_ds_cpu_optimizer: false``: an offloaded optimizer is ours too, so that nothing is compiled.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cluster.learner.zero_state import ZeroState
from cluster.learner.zero_tensors import zero_tensors
from cluster.plan.zero_sizes import LARGEST_BUCKET, LIVE_PARAMETERS, stage_of
from rl.checkpoints.optimizer_files import SavedState, write_state
from rl.errors import CheckpointError
from rl.learner.engine import OptimizerConfig, StepResult, adamw, lr_at, training_tensors
from rl.output.printable import LogFormatter

Store = dist.Store  # pyright: ignore[reportPrivateImportUsage]


def start_distributed(rank: int, world_size: int, store: Store | None, device: str, timeout_s: float) -> None:
    """Start torch.distributed for this process, once. One rank needs no store and no network.

    A collective whose peer is wedged raises after ``timeout_s``.
    """
    local_rank = torch.device(device).index or 0  # the device that DeepSpeed moves the module to
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(local_rank))
    if dist.is_initialized():
        return
    if world_size == 1 and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a laptop's own name need not resolve
    dist.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo",
        store=store or dist.HashStore(),  # pyright: ignore[reportPrivateImportUsage]
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=timeout_s),
    )


class DeepSpeedEngine:
    """Implements ``rl.learner.engine.Engine``. torch.distributed must be started, see ``start_distributed``.

    Its files are those of ``rl.learner.engine.TorchEngine``: whole tensors by parameter name. So a run may go on with another
    stage, another number of ranks, or the other engine.
    """

    def __init__(
        self,
        module: nn.Module,
        config: OptimizerConfig,
        total_steps: int,
        *,
        zero_stage: int = 0,
        offload: bool = False,
        live_parameters: int = LIVE_PARAMETERS,
        log: Path,
    ) -> None:
        """offload: keep the optimizer's state in the host's memory and step there (stages 1 to 3). live_parameters: at
        most so many sharded numbers stay gathered between uses (stage 3). log: file for what DeepSpeed has to say."""
        deepspeed = _import_deepspeed(next(module.parameters()).device.type, log)
        self.module, self.rank, self.world_size = module, dist.get_rank(), dist.get_world_size()
        self._config, self._total_steps, self._steps = config, total_steps, 0
        self._bfloat16 = next(module.parameters()).dtype == torch.bfloat16
        self.stage = stage_of(zero_stage, self._bfloat16)
        self._offload, self.sharded, self._live = offload, self.stage == 3, live_parameters
        optimizer = adamw(module, config, offload=offload)
        if self.stage == 0:
            optimizer = _Clipping(optimizer, config.max_grad_norm)
        with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
            self._engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=self._settings())
        self._state = ZeroState(self._engine, self.stage, masters=self._bfloat16)
        self._keep_whole()
        # Ours calls the module's own methods, never the engine's forward, whose hooks only feed its timers.
        self._engine.module_forward_pre_hook.remove()
        self._engine.module_forward_post_hook.remove()

    @property
    def lr(self) -> float:
        return lr_at(self._steps, self._config, self._total_steps)

    def backward(self, loss: Tensor) -> None:
        if self.stage:
            self._engine.optimizer.clear_backward_seen_flag()  # what the engine's forward does first
        if self.stage == 3 and self.world_size > 1:
            loss = loss * self.world_size  # of which DeepSpeed will take the mean
        self._engine.backward(loss, scale_wrt_gas=False)
        if self.stage == 3:
            self._gather_persistent()  # a backward pass ends with everything sharded

    def step(self) -> StepResult:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = self.lr
        self._engine.step()
        self._steps += 1
        norm = self._engine.get_global_grad_norm()
        return StepResult(math.nan if norm is None else float(norm), self._engine.was_step_applied())

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        if self.world_size == 1:
            return list(values)
        device = next(self.module.parameters()).device
        summed = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(summed)
        return summed.tolist()

    def save(self, folder: Path) -> None:
        tensors = {
            f"{name}.{key}": value.cpu().contiguous()
            for index, (name, found) in enumerate(self._state.read())
            if index % self.world_size == self.rank
            for key, value in found.items()
        }
        write_state(folder, self._steps, tensors, self.rank, self.world_size)

    def load(self, folder: Path) -> None:
        """The module's weights are restored before this, by whoever owns them."""
        saved = SavedState(folder)
        names = {name for name, _ in self._state.parameters()}
        for key in saved:
            name = key.rpartition(".")[0]
            if name not in names:
                raise CheckpointError(f"{folder}: optimizer state of {name!r}: no such parameter")
        self._steps = saved.steps
        self._state.write(saved)

    @contextmanager
    def whole(self, change: bool = False, only: Sequence[Tensor] | None = None) -> Iterator[None]:
        if self.stage < 3:
            yield
            return
        import deepspeed

        parameters = [each for each in self.module.parameters() if only is None or any(each is one for one in only)]
        with deepspeed.zero.GatheredParameters(parameters, modifier_rank=0 if change else None):
            yield
        self._gather_persistent()

    def tensors(self) -> Iterator[Tensor]:
        yield from training_tensors(self.module, self._engine.basic_optimizer)
        yield from zero_tensors(self._engine, self.stage)

    def close(self) -> None:
        """Take DeepSpeed's hooks off the module."""
        self._engine.destroy()

    def _settings(self) -> dict[str, Any]:
        numbers = sum(parameter.numel() for parameter in self.module.parameters() if parameter.requires_grad)
        bucket = min(LARGEST_BUCKET, -(-numbers // 1024) * 1024)  # NCCL wants it even; the default takes 2 GB at once
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "managed_gradient_accumulation": False,
            "gradient_allreduce_op": "mean" if self.stage == 3 else "sum",
            "gradient_clipping": self._config.max_grad_norm if self.stage else 0.0,
            "steps_per_print": None,
            "bf16": {"enabled": self._bfloat16, "check_grad_overflow": True},
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "zero_optimization": {
                "stage": self.stage,
                "overlap_comm": False,
                "reduce_bucket_size": bucket,
                "allgather_bucket_size": bucket,
                "stage3_param_persistence_threshold": min(100_000, numbers // 1000, self._live),  # norms, not matrices
                "stage3_max_live_parameters": self._live,
                "stage3_max_reuse_distance": self._live,
                "memory_efficient_linear": False,  # it would replace torch's own linear layer in the whole process
                **({"offload_optimizer": {"device": "cpu"}} if self._offload and self.stage else {}),
            },
        }

    def _keep_whole(self) -> None:
        """Stage 3: what is read without a call of its module stays gathered."""
        if self.stage < 3:
            return
        persistent = self._engine.optimizer.persistent_parameters
        for parameter in getattr(self.module, "read_directly", ()):
            if not parameter.ds_persist:
                parameter.ds_persist = True
                persistent.append(parameter)
            parameter.is_external_param = (
                True  # nor given up after a call of its module, as a tied embedding's would be
            )
        self._gather_persistent()

    def _gather_persistent(self) -> None:
        persistent = self._engine.optimizer.persistent_parameters
        if persistent:
            persistent[0].all_gather(persistent)


class _Clipping(torch.optim.Optimizer):
    """An optimizer that clips, and skips a gradient that is not finite. Every rank has the same summed gradient at stage 0,
    so all decide alike. DeepSpeed reads the two attributes after each step."""

    def __init__(self, inner: torch.optim.Optimizer, max_grad_norm: float) -> None:
        super().__init__(inner.param_groups, inner.defaults)
        self.inner, self.state, self.param_groups = inner, inner.state, inner.param_groups
        self.max_grad_norm = max_grad_norm
        self.overflow = False
        self._global_grad_norm: float | None = None

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        self._global_grad_norm = float(nn.utils.clip_grad_norm_(parameters, self.max_grad_norm))
        self.overflow = not math.isfinite(self._global_grad_norm)
        if not self.overflow:
            self.inner.step()


def _import_deepspeed(device: str, log: Path) -> Any:
    """DeepSpeed, with its voice turned to a file: importing it prints, and so do its loggers."""
    log.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if device == "cuda" else "cpu")
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        import deepspeed
        import deepspeed.ops
        from deepspeed.utils.logging import logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    handler = logging.FileHandler(log)
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    warnings.filterwarnings("ignore", ".*_tensor. is deprecated", FutureWarning)  # its own, each time
    if device == "cpu":
        deepspeed.ops.__compatible_ops__ = {}  # pyright: ignore[reportAttributeAccessIssue]
    return deepspeed
