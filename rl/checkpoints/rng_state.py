"""States of a process's random generators, as plain JSON.

Nothing of ours draws from them: every number of ours is a function of seeds and steps (``rl.seeds``). A plugged-in
estimator or module might, and a resumed run is to go on as it would have.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """Python's, NumPy's and torch's global generators."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    devices = (
        [bytes(state.tolist()).hex() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else []
    )
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": bytes(torch.get_rng_state().tolist()).hex(),
        "cuda": devices,
    }


def restore(state: Mapping[str, Any]) -> None:
    """Raises KeyError, TypeError, ValueError or RuntimeError for what ``capture`` did not write."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_bytes(state["torch"]))
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_bytes(of) for of in state["cuda"]])


def _bytes(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
