"""What of a policy is trained, handed to rollout workers, and saved: all of its weights, or an adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from policies import lora
from policies.base import Policy
from rl.errors import CheckpointError
from rl.learner.engine import Engine

POLICY_FOLDER = "policy"
ADAPTER_FOLDER = "adapter"
BASE_FILE = "base.json"


Gather = Callable[[Sequence[Tensor]], AbstractContextManager[None]]  # in whose block these tensors are whole


class Trained(Protocol):
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of ``state``, also where an engine has sharded the weights."""
        ...

    def iter_weights(self, gather: Gather) -> Iterator[Tensor]:
        """``state`` one tensor at a time, in the order of the names: each is whole until the next is asked for."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Weights under the policy's own names: what rollout workers sample with."""
        ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote. Raises CheckpointError or PolicyError."""
        ...


class WholePolicy:
    """All weights, as the policy's own folder."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: _shape(value) for name, value in _sources(self.policy).items()}

    def iter_weights(self, gather: Gather) -> Iterator[Tensor]:
        for _, value in sorted(_sources(self.policy).items()):
            with gather([value]):
                yield value.detach()

    def state(self) -> Mapping[str, Tensor]:
        return self.policy.module.state_dict()

    def save(self, folder: Path) -> None:
        self.policy.save(folder / POLICY_FOLDER)

    def load(self, folder: Path) -> None:
        from policies import load_policy  # at its use: loading is a family's business, and the rest is not

        dtype = next(self.policy.module.parameters()).dtype
        saved = load_policy(folder / POLICY_FOLDER, dtype=dtype)
        self.policy.module.load_state_dict(saved.module.state_dict())


class Adapter:
    """A LoRA adapter in PEFT's format, and the digest of the base that it belongs to."""

    def __init__(self, policy: Any) -> None:
        """policy has adapters attached (``policies.lora.attach``)."""
        self.policy = policy
        self._digest: str | None = None

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: _shape(value) for name, value in lora.without_adapters(_sources(self.policy)).items()}

    def iter_weights(self, gather: Gather) -> Iterator[Tensor]:
        adapted = {f"{name}.weight": each for name, each in lora.adapters(self.policy.module)}
        for name, value in sorted(lora.without_adapters(_sources(self.policy)).items()):
            layer = adapted.get(name)
            with gather([value] if layer is None else [value, layer.lora_a, layer.lora_b]):
                yield value.detach() if layer is None else layer.merged()

    def state(self) -> Mapping[str, Tensor]:
        return lora.merged_state(self.policy.module)

    def save(self, folder: Path) -> None:
        lora.save_adapter(self.policy, folder / ADAPTER_FOLDER)
        (folder / BASE_FILE).write_text(json.dumps({"sha256": self._base_digest()}))

    def load(self, folder: Path) -> None:
        try:
            saved = json.loads((folder / BASE_FILE).read_text())["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / BASE_FILE}: cannot be read: {error}") from error
        if saved != self._base_digest():
            raise CheckpointError(
                f"{folder}: its adapter belongs to another base; resume with the policy.path that its run started from"
            )
        lora.load_adapter(self.policy, folder / ADAPTER_FOLDER)

    def _base_digest(self) -> str:
        if self._digest is None:
            self._digest = weights_digest(lora.base_state(self.policy.module))
        return self._digest


def trained(policy: Policy) -> Trained:
    """An adapter where the policy has one."""
    return Adapter(policy) if any(True for _ in lora.adapters(policy.module)) else WholePolicy(policy)


def whole_weights(of: Trained, engine: Engine) -> dict[str, np.ndarray]:
    """``state`` as float32 on the host. A collective where an engine shards the weights: every rank calls it."""
    with engine.whole():
        state = of.state()
        return {name: value.detach().to("cpu", torch.float32, copy=True).numpy() for name, value in state.items()}


def iter_weights(of: Trained, engine: Engine, moved: bool = True) -> Iterator[Tensor]:
    """Yields each weight of ``state`` in the order of the names. A sharded one is gathered and copied, which is a
    collective: every rank takes all of them.

    moved: as float32 on the CPU; otherwise in its own dtype and device.
    """
    for value in of.iter_weights(lambda only: engine.whole(only=only)):
        place = "cpu" if moved else value.device
        yield value.to(place, torch.float32 if moved else value.dtype, copy=engine.sharded)


def _sources(policy: Policy) -> dict[str, Tensor]:
    """The module's own parameters and buffers by name, which an engine may have sharded."""
    return policy.module.state_dict(keep_vars=True)


def _shape(value: Tensor) -> tuple[int, ...]:
    return tuple(getattr(value, "ds_shape", value.shape))  # DeepSpeed's name for that of the whole


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
