"""Image tokenizers by the kind that their config.json names. A new one is one file and one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from policies.base import ImageTokenizer
from policies.files.folders import read_object
from rl.errors import PolicyError, first_line
from rl.registry import Registry, Takes

# (folder, what its config.json says, device) -> tokenizer
IMAGE_TOKENIZERS: Registry[Callable[..., ImageTokenizer]] = Registry(
    "image tokenizer",
    {"lfq": "policies.images.lfq:load_lfq", "MAGVITv2": "policies.images.magvit:load_magvit"},
    group="unigrpo.image_tokenizers",
    error=PolicyError,
    member=Takes(3, "policies.base:ImageTokenizer"),
)


def load_image_tokenizer(folder: Path, device: str | torch.device = "cpu") -> ImageTokenizer:
    """Ours (``model_type: lfq``), MAGVIT-v2 (``_class_name: MAGVITv2``, as released), or an installed package's.

    Raises PolicyError where the folder is missing, incomplete, or of another kind.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise PolicyError(f"{folder}: no config.json of an image tokenizer")
    settings = read_object(file)
    kind: Any = settings.get("model_type") or settings.get("_class_name")
    IMAGE_TOKENIZERS.require(f"{file}: model_type", kind)
    try:
        return IMAGE_TOKENIZERS[kind](folder, settings, device)
    except PolicyError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise PolicyError(
            f"{file}: not what a {kind} has: {first_line(error)}; copy it from the original checkpoint"
        ) from error
