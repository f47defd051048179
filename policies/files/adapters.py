"""LoRA adapters as PEFT saves them (github.com/huggingface/peft): ``adapter_config.json``, ``adapter_model.safetensors``.

An adapter is read whole or refused. Every key of the weights must be understood, and every option of the config that
changes what the adapter computes: an unknown one with a value is taken for such an option.
"""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policies.files.shards import DTYPES, FLOATS, Shard
from policies.files.strict_json import read_json, shown
from rl.errors import PolicyError, first_line

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
MAX_NAME = 200  # characters of a layer's name, and of a pattern of such names
MOST, MOST_RANK = 1 << 22, 1 << 13  # of a layer's sides, and of the smaller side of a matrix
MAX_SECONDS = 10.0  # of CPU time to compare layers with patterns: a stranger's pattern may be slow on purpose
_REPEATS, _REPEATED_GROUP = re.compile(r"[*+{]"), re.compile(r"\)[*+{]")
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
    found = _by_layer(folder / WEIGHTS_FILE, tensors)
    adapted, begin = {}, time.process_time()
    for layer, parts in sorted(found.items()):
        adapted[layer] = _part(folder, config, layer, parts)
        if time.process_time() - begin > MAX_SECONDS:
            raise PolicyError(
                f"{folder / CONFIG_FILE}: rank_pattern and alpha_pattern take more than {MAX_SECONDS:g} s to compare; write the "
                "layers' names"
            )
    return adapted


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
        config = read_json(folder / CONFIG_FILE)
        if not isinstance(config, dict):
            raise PolicyError(f"{folder / CONFIG_FILE}: a {type(config).__name__}; must be an object as PEFT writes it")
        _check_options(folder / CONFIG_FILE, config)
        with Shard(folder / WEIGHTS_FILE) as shard:
            return config, {key: _read(shard, key) for key in shard.entries}
    except MemoryError as error:
        raise PolicyError(f"{folder}: its weights take more memory than there is; is it an adapter?") from error


def _read(shard: Shard, key: str) -> Tensor:
    """A matrix of finite numbers, of a size that an adapter has: that is asked before it is read. Raises PolicyError."""
    entry = shard.entries[key]
    if len(key) > MAX_NAME or not key.isprintable():
        raise PolicyError(f"{shard.file}: {shown(key)}: no name of a layer; save the adapter again")
    if KEY.fullmatch(key) is None:
        raise PolicyError(f"{shard.file}: {key}: {_kind(key)}, which is not supported; allowed: {_ALLOWED}; {WAY_OUT}")
    if entry.dtype in FLOATS and len(entry.shape) == 2 and max(entry.shape) <= MOST and min(entry.shape) <= MOST_RANK:
        return torch.cat([torch.empty(0, dtype=FLOATS[entry.dtype]), *shard.pieces(key)]).view(entry.shape)
    kind = _TORCH_NAMES.get(entry.dtype, entry.dtype)
    raise PolicyError(f"{shard.file}: {key}: {kind} {entry.shape}; must be a matrix of finite numbers")


def _check_options(file: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise PolicyError(f"{file}: peft_type={shown(config.get('peft_type'))}: allowed: 'LORA'; {WAY_OUT}")
    for name, value in config.items():
        if name not in READ and name not in WITHOUT_EFFECT and value:
            raise PolicyError(
                f"{file}: {shown(name)[1:-1]}={shown(value, 80)} is not supported; allowed: null or false; {WAY_OUT}"
            )
    start, bias, scaled = config.get("init_lora_weights", True), config.get("bias", "none"), config.get("use_rslora")
    if not any(start is each or (isinstance(start, str) and start == each) for each in STARTS):
        raise PolicyError(
            f"{file}: init_lora_weights={shown(start)} is not supported: it changes the base; allowed: "
            f"{', '.join(map(repr, STARTS))}; {WAY_OUT}"
        )
    if bias != "none":
        raise PolicyError(f"{file}: bias={shown(bias)} is not supported; allowed: 'none'; {WAY_OUT}")
    if not (scaled is None or isinstance(scaled, bool)):
        raise PolicyError(f"{file}: use_rslora={shown(scaled)}: must be true or false")
    _rank(file, "r", config.get("r"))
    _alpha(file, "lora_alpha", config.get("lora_alpha"))
    for name, check in (("rank_pattern", _rank), ("alpha_pattern", _alpha)):
        for pattern, value in _patterns(file, config, name).items():
            check(file, f"{name}.{shown(pattern)[1:-1]}", value)


def _rank(file: Path, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_RANK:
        raise PolicyError(
            f"{file}: {name}={shown(value)}: must be a whole number of at least 1 and at most {MOST_RANK}, the adapter's rank"
        )
    return value


def _alpha(file: Path, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise PolicyError(f"{file}: {name}={shown(value)}: must be a number above 0")
    return float(value)


def _patterns(file: Path, config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    patterns = config.get(name) or {}
    if not isinstance(patterns, dict):
        raise PolicyError(f"{file}: {name}={shown(patterns)}: must be an object, layer -> value")
    for pattern in patterns:
        if len(pattern) > MAX_NAME or len(_REPEATS.findall(pattern)) > 2 or _REPEATED_GROUP.search(pattern):
            raise PolicyError(
                f"{file}: {name}: {shown(pattern)} may take too long to compare; allowed: {MAX_NAME} characters, two of * + {{, "
                "and none of these after a bracket; write the layers' names"
            )
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise PolicyError(
                f"{file}: {name}: {shown(pattern)} is not a regular expression: {first_line(error)}"
            ) from error
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
        assert match is not None  # as _read asked
        adapters.add(match["adapter"])
        if len(adapters) > 1 or match["part"] in found.get(match["layer"], {}):
            raise PolicyError(f"{file}: {key}: a second adapter in one file; save each in a folder of its own")
        if not bool(value.float().isfinite().all()):
            raise PolicyError(f"{file}: {key}: {value.dtype} {tuple(value.shape)}; must be a matrix of finite numbers")
        found.setdefault(match["layer"], {})[match["part"]] = value
    if not found:
        raise PolicyError(f"{file}: no adapter in it; allowed: {_ALLOWED}; save it with PEFT's save_pretrained")
    return found


_TORCH_NAMES = {**DTYPES, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
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
