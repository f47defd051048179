"""The reference policy that the KL term holds on to: frozen, or synchronised every so many steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from policies import lora
from policies.base import Policy
from rl.errors import CheckpointError, first_line
from rl.learner.trained import weights_digest

WEIGHTS_FILE = "reference.safetensors"
DIGEST_FILE = "reference.json"


class Reference:
    """A frozen copy of a policy.

    Where an engine hooks into the policy's module, make this first: the copy is to be of the bare module.
    """

    def __init__(self, policy: Policy, sync_freq: int | None = None) -> None:
        """sync_freq: the policy's weights are taken over every so many steps; None never does."""
        self.policy = policy.with_frozen_copy()
        self.sync_freq = sync_freq
        self._digest: str | None = None

    def due(self, steps_done: int) -> bool:
        """Whether ``steps_done`` is a multiple of ``sync_freq``."""
        return bool(self.sync_freq) and steps_done % (self.sync_freq or 1) == 0

    def sync(self, module: nn.Module) -> None:
        """Take over the policy's weights."""
        self.policy.module.load_state_dict(module.state_dict())

    def save(self, folder: Path) -> None:
        """The weights where they change; otherwise their digest alone, since a run's start makes them again."""
        if self.sync_freq:
            save_file(self._state(), folder / WEIGHTS_FILE)
        else:
            (folder / DIGEST_FILE).write_text(json.dumps({"sha256": self._frozen_digest()}))

    def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote. Raises CheckpointError, also where the run now starts from other weights."""
        try:
            if self.sync_freq:
                self.policy.module.load_state_dict(load_file(folder / WEIGHTS_FILE))
                return
            saved = json.loads((folder / DIGEST_FILE).read_text())["sha256"]
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = first_line(error)
            raise CheckpointError(f"{folder}: reference policy cannot be restored: {reason}") from error
        if saved != self._frozen_digest():
            raise CheckpointError(
                f"{folder}: its run had another reference policy; resume with the policy.path that it started from"
            )

    def _state(self) -> dict[str, torch.Tensor]:
        return {name: value.contiguous() for name, value in self.policy.module.state_dict().items()}

    def _frozen_digest(self) -> str:
        if self._digest is None:
            self._digest = weights_digest(self._state())
        return self._digest


class BaseReference:
    """The reference of a policy with an adapter: the same policy without it. No second copy, and nothing to save."""

    def __init__(self, policy: Any) -> None:
        self.policy = cast(Policy, _WithoutAdapter(policy))

    def due(self, steps_done: int) -> bool:
        return False

    def sync(self, module: nn.Module) -> None:
        """Never due."""

    def save(self, folder: Path) -> None:
        """The adapter's own file names the base."""

    def load(self, folder: Path) -> None:
        """Nothing was saved."""


class _WithoutAdapter:
    """The policy, but for its adapter."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def hidden(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        with lora.adapters_off(self._policy.module):
            return self._policy.hidden(*args, **kwargs)

    def logits(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        with lora.adapters_off(self._policy.module):
            return self._policy.logits(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)


def make_reference(policy: Policy, sync_freq: int | None = None) -> Reference | BaseReference:
    """Make it before an engine hooks into the module."""
    return BaseReference(policy) if any(True for _ in lora.adapters(policy.module)) else Reference(policy, sync_freq)
