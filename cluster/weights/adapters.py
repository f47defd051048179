"""A LoRA adapter on its way to the rollout workers: it alone travels, since they loaded its base themselves.

An adapter of rank 16 is some thousandth of an 8B policy. What a worker makes of it is what the learner would have sent:
both add the same product to the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from cluster.weights.digest import digest
from policies import lora
from rl.errors import WorkerError
from rl.types import WeightRef


def arrays(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value.detach().to("cpu", torch.float32, copy=True).numpy() for name, value in state.items()}


def adapter_tensors(module: nn.Module) -> dict[str, np.ndarray]:
    """``LAYER.lora_a``, ``LAYER.lora_b``, ``LAYER.scale``: float32 copies on the host."""
    tensors: dict[str, np.ndarray] = {}
    for name, layer in lora.adapters(module):
        tensors |= arrays({f"{name}.lora_a": layer.lora_a, f"{name}.lora_b": layer.lora_b})
        tensors[f"{name}.scale"] = np.array(layer.scale, np.float32)
    return tensors


class AdapterBase:
    """The base of a policy that has just been loaded: of the layers that get an adapter it keeps the weights."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._kept = module, dict[str, Tensor]()
        self._digest = digest(arrays(module.state_dict()))

    def check(self, ref: WeightRef, base: str) -> None:
        """base: the digest of what the learner adds its adapter to. Raises WorkerError where that is not this one."""
        if base != self._digest:
            raise WorkerError(
                f"weights {ref.version}: the learner's adapter belongs to another base (digest {base[:12]}...) than this "
                f"worker loaded ({self._digest[:12]}...): is policy.path the same folder on every node?"
            )

    def tensors(self) -> Iterator[Tensor]:
        """The weights that it keeps."""
        return iter(self._kept.values())

    @torch.no_grad()
    def merge(self, tensors: Mapping[str, Tensor]) -> None:
        """Base and adapter into the module. tensors: as ``adapter_tensors`` names them."""
        for name in sorted({name.rpartition(".")[0] for name in tensors}):
            target: Tensor = self._module.get_submodule(name).weight  # pyright: ignore[reportAssignmentType]
            base = self._kept.setdefault(name, target.detach().clone())
            a, b = (tensors[f"{name}.{part}"].to(base.device, base.dtype) for part in ("lora_a", "lora_b"))
            target.copy_(lora.merge(base, a, b, float(tensors[f"{name}.scale"])))
