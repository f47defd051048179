"""LoRA adapters as PEFT saves them (github.com/huggingface/peft): ``adapter_config.json``, ``adapter_model.safetensors``.

An adapter is read whole or refused. Every key of the weights must be understood, and every option of the config that
changes what the adapter computes: an unknown one with a value is taken for such an option.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rl.errors import PolicyError, first_line

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
KEY = re.compile(rf"(?:{re.escape(PREFIX)})?(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.(?P<adapter>[^.]+))?\.weight")
READ = frozenset("peft_type r lora_alpha rank_pattern alpha_pattern use_rslora bias init_lora_weights".split())
# They say where the adapter came from, which layers got one, or how it began: the weights show what of it counts.
WITHOUT_EFFECT = frozenset(
    "task_type auto_mapping peft_version base_model_name_or_path revision inference_mode target_modules exclude_modules "
    "layers_to_transform layers_pattern lora_dropout megatron_core qalora_group_size runtime_config ensure_weight_tying "
    "loftq_config eva_config corda_config lora_ga_config".split()
)
# Starts that leave the base as it is. The others (PiSSA, OLoRA, CorDA, LoftQ, ...) subtract something from it.
STARTS = (True, False, "gaussian", "eva", "orthogonal")
WAY_OUT = "train plain LoRA, or merge it into its base with PEFT (merge_and_unload) and take that for policy.path"
OTHER_KINDS = {
    ("lora_down", "lora_up", "lora.down", "lora.up", "lora_unet", "lora_te"): "a name that another tool gives",
    ("lora_embedding_",): "an adapter of an embedding",
    ("lora_magnitude_vector",): "a magnitude of DoRA",
    ("token_adapter", "trainable_tokens"): "rows of an embedding that were trained",
    (".bias",): "a bias that was trained",
}


@dataclass(frozen=True, slots=True)
class AdapterPart:
    """One layer's adapter: y = x W^T + scale * (x A^T) B^T. lora_a [rank, in], lora_b [out, rank]."""

    lora_a: Tensor
    lora_b: Tensor
    scale: float

    @property
    def rank(self) -> int:
        return self.lora_a.shape[0]


def read_adapter(folder: Path) -> dict[str, AdapterPart]:
    """Layers under the family's own names, and what each adds. Raises PolicyError where not all of it is understood."""
    config, tensors = _files(folder)
    _check_options(folder / CONFIG_FILE, config)
    found = _by_layer(folder / WEIGHTS_FILE, tensors)
    return {layer: _part(folder, config, layer, parts) for layer, parts in sorted(found.items())}


def alpha_of(scale: float, rank: int) -> float:
    """The alpha whose quotient by the rank is ``scale``, to the last bit: a whole number where one is."""
    alpha = scale * rank
    near = (float(round(alpha)), alpha, math.nextafter(alpha, math.inf), math.nextafter(alpha, 0.0))
    return next((each for each in near if each / rank == scale), alpha)


def _files(folder: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not os.path.isfile(folder / name):
            raise PolicyError(
                f"{folder}: not a PEFT adapter: no {name} in it; give a folder as save_pretrained writes it"
            )
    try:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise PolicyError(f"{folder}: not a PEFT adapter: {first_line(error)}; save it again") from error
    if not isinstance(config, dict):
        raise PolicyError(f"{folder / CONFIG_FILE}: a {type(config).__name__}; must be an object as PEFT writes it")
    return config, tensors


def _check_options(file: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise PolicyError(f"{file}: peft_type={config.get('peft_type')!r}: allowed: 'LORA'; {WAY_OUT}")
    for name, value in config.items():
        if name not in READ and name not in WITHOUT_EFFECT and value:
            raise PolicyError(f"{file}: {name}={str(value)[:80]} is not supported; allowed: null or false; {WAY_OUT}")
    start, bias, scaled = config.get("init_lora_weights", True), config.get("bias", "none"), config.get("use_rslora")
    if not any(start is each or (isinstance(start, str) and start == each) for each in STARTS):
        raise PolicyError(
            f"{file}: init_lora_weights={start!r} is not supported: it changes the base; allowed: "
            f"{', '.join(map(repr, STARTS))}; {WAY_OUT}"
        )
    if bias != "none":
        raise PolicyError(f"{file}: bias={bias!r} is not supported; allowed: 'none'; {WAY_OUT}")
    if scaled not in (None, True, False):
        raise PolicyError(f"{file}: use_rslora={scaled!r}: must be true or false")
    _rank(file, "r", config.get("r"))
    _alpha(file, "lora_alpha", config.get("lora_alpha"))
    for name, check in (("rank_pattern", _rank), ("alpha_pattern", _alpha)):
        for pattern, value in _patterns(file, config, name).items():
            check(file, f"{name}.{pattern}", value)


def _rank(file: Path, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PolicyError(f"{file}: {name}={value!r}: must be a whole number of at least 1, the adapter's rank")
    return value


def _alpha(file: Path, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise PolicyError(f"{file}: {name}={value!r}: must be a number above 0")
    return float(value)


def _patterns(file: Path, config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    patterns = config.get(name) or {}
    if not isinstance(patterns, dict):
        raise PolicyError(f"{file}: {name}={patterns!r}: must be an object, layer -> value")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise PolicyError(f"{file}: {name}: {pattern!r} is not a regular expression: {error}") from error
    return patterns


def _own(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    """The first pattern that the layer's name is, or ends with, as in PEFT."""
    found = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", layer))
    return next(found, default)


def _by_layer(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    adapters: set[str | None] = set()
    for key, value in sorted(tensors.items()):
        match = KEY.fullmatch(key)
        if match is None:
            raise PolicyError(f"{file}: {key}: {_kind(key)}, which is not supported; allowed: {_ALLOWED}; {WAY_OUT}")
        adapters.add(match["adapter"])
        if len(adapters) > 1 or match["part"] in found.get(match["layer"], {}):
            raise PolicyError(f"{file}: {key}: a second adapter in one file; save each in a folder of its own")
        if not value.is_floating_point() or value.dim() != 2 or not bool(value.float().isfinite().all()):
            raise PolicyError(f"{file}: {key}: {value.dtype} {tuple(value.shape)}; must be a matrix of finite numbers")
        found.setdefault(match["layer"], {})[match["part"]] = value
    if not found:
        raise PolicyError(f"{file}: no adapter in it; allowed: {_ALLOWED}; save it with PEFT's save_pretrained")
    return found


_ALLOWED = "LAYER.lora_A.weight and LAYER.lora_B.weight"


def _kind(key: str) -> str:
    return next(
        (kind for parts, kind in OTHER_KINDS.items() if any(part in key for part in parts)),
        "a whole weight, or one of another kind",
    )


def _part(folder: Path, config: Mapping[str, Any], layer: str, parts: Mapping[str, Tensor]) -> AdapterPart:
    file, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for part in "AB":
        if part not in parts:
            raise PolicyError(f"{weights}: {layer}.lora_{part}.weight is missing; save the adapter again")
    rank = _own(_patterns(file, config, "rank_pattern"), layer, config["r"])
    alpha = _own(_patterns(file, config, "alpha_pattern"), layer, config["lora_alpha"])
    for part, value, place in (("A", parts["A"], 0), ("B", parts["B"], 1)):
        if value.shape[place] != rank:
            raise PolicyError(
                f"{weights}: {layer}.lora_{part}.weight has shape {tuple(value.shape)}, but {CONFIG_FILE} says rank {rank}; "
                "copy both files from one adapter"
            )
    # Rank-stabilised scaling is alpha / sqrt(rank): the same as plain scaling with a larger alpha, which we save.
    return AdapterPart(parts["A"], parts["B"], alpha * (math.sqrt(rank) if config.get("use_rslora") else 1) / rank)
