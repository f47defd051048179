"""The files that a policy is made of, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from policies.files.strict_json import read_json, shown
from rl.errors import PolicyError

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLED = "pytorch_model*.bin"
MOST_BYTES = 1 << 28  # of a tokenizer's file; one of 260,000 tokens has 1 << 25
VOCABULARY_FILES = ("vocab.json", "merges.txt")  # what a few families release in the place of tokenizer.json


class Part(StrEnum):
    """How much of a repository on a hub is asked for; each with all that is before it.

    SIZES   config.json and the index of the weights
    CHECKS  the tokenizers, the image tokenizer's weights among them
    ALL     the weights
    """

    SIZES = "sizes"
    CHECKS = "checks"
    ALL = "all"


def weight_map(index: Path) -> Mapping[str, str]:
    """Tensor -> file beside the index, of an index as transformers writes it. Raises PolicyError."""
    content = read_json(index)
    found = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise PolicyError(f"{index}: not an index of weights: no mapping 'weight_map' in it")
    if not found:
        raise PolicyError(f"{index}: weight_map names no files; copy it from the original checkpoint")
    odd = next((name for name in found.values() if Path(name).name != name or not name.isprintable()), None)
    if odd is not None:
        raise PolicyError(f"{index}: names files outside its folder, such as {shown(odd)}; allowed: plain names")
    return found
