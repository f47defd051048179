"""Small models of every family whose weights come from their names: the same numbers were given to the original code.

See golden/README.md for how the recorded values were made.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from policies.families.registry import family_of
from policies.files.uninitialised import empty_module
from policies.network.transformer import Transformer
from tests.toys import toy_folder

GOLDEN = Path(__file__).parent / "golden"
CONFIGS: dict[str, dict[str, Any]] = json.loads((GOLDEN / "configs.json").read_text())


def weight(key: str, shape: Iterable[int]) -> np.ndarray:
    """float32; NumPy promises that RandomState gives the same numbers for ever. Norms near 1, biases small, matrices
    that keep their input's scale."""
    shape = tuple(shape)
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if "norm" in key or key.endswith("ln_f.weight"):
        return (1 + 0.1 * normal).astype(np.float32)
    if len(shape) == 1:
        return (0.1 * normal).astype(np.float32)
    return (normal / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Our view of a checkpoint: each tensor's name and shape, without memory for it."""
    family = family_of(config["model_type"])
    tensors = family.tensors(empty_module(partial(Transformer, family.sizes(config)), torch.float32, "meta"))
    return {
        key: (sum(part.shape[0] for part in parts), *parts[0].shape[1:]) if len(parts) > 1 else tuple(parts[0].shape)
        for key, parts in tensors.items()
    }


def write_folder(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A checkpoint folder of the small model ``name``, with the toy's tokenizer."""
    config = CONFIGS[name]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    for file in ("tokenizer.json", "chat_template.jinja"):
        (folder / file).write_bytes((toy_folder() / file).read_bytes())
    weights = {key: torch.from_numpy(weight(key, shape)).to(dtype) for key, shape in shapes(config).items()}
    save_file(weights, folder / "model.safetensors")
    return folder
