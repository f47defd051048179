"""Low-rank adapters (LoRA, arXiv 2106.09685): frozen weights W, and a trained product B A beside some of them.

``y = x W^T + alpha / rank * (x A^T) B^T``, with A random and B zero at the start, so that training begins at the base
policy. On disk they are PEFT's: ``adapter_config.json`` and ``adapter_model.safetensors``, whose keys name the family's
own modules (github.com/huggingface/peft).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from policies.files.checkpoints import family_tensors
from policies.policy import MaskedDiffusionPolicy
from rl.errors import PolicyError, first_line

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
TARGETS = ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")
UNSUPPORTED = ("use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save")


class LoraLinear(nn.Linear):
    """A frozen linear layer with an adapter beside it. ``active`` False: the layer alone."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator | None) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        bound = 1 / math.sqrt(base.in_features)  # PEFT's start: Kaiming's uniform with a = sqrt(5)
        start = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_a = nn.Parameter(start.to(**like))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, **like))
        self.scale, self.active = alpha / rank, True

    def forward(self, input: Tensor) -> Tensor:
        plain = F.linear(input, self.weight, self.bias)
        if not self.active:
            return plain
        return plain + self.scale * F.linear(F.linear(input, self.lora_a), self.lora_b)

    def merged(self) -> Tensor:
        """W + alpha / rank * B A, in W's dtype; summed in float32 at least."""
        return merge(self.weight.detach(), self.lora_a.detach(), self.lora_b.detach(), self.scale)


def merge(weight: Tensor, lora_a: Tensor, lora_b: Tensor, scale: float) -> Tensor:
    """See ``LoraLinear.merged``."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    return (weight.to(wide) + scale * (lora_b.to(wide) @ lora_a.to(wide))).to(weight.dtype)


def attach(
    policy: MaskedDiffusionPolicy, rank: int, alpha: float, target: Sequence[str] = TARGETS, seed: int = 0
) -> list[str]:
    """Freeze the policy and put adapters beside the layers called ``target`` in its blocks; the layers' names.

    Raises PolicyError where a target is unknown, or has no module of its own in the family's format.
    """
    theirs = _their_modules(policy)
    generator = torch.Generator().manual_seed(seed)
    chosen = [
        name
        for name, module in policy.module.named_modules()
        if isinstance(module, nn.Linear) and name.startswith("blocks.") and name.rpartition(".")[2] in target
    ]
    known = {name.rpartition(".")[2] for name in chosen}
    for name in target:
        if name not in known:
            raise PolicyError(f"lora: target {name!r}: {policy.name} has no such layer; allowed: {', '.join(TARGETS)}")
    for name in chosen:
        if name not in theirs:
            raise PolicyError(f"lora: target {name!r}: {policy.name} has it within a fused weight; choose other layers")
    policy.module.requires_grad_(False)
    for name in chosen:
        _replace(policy.module, name, rank, alpha, generator)
    return chosen


def load_adapter(policy: MaskedDiffusionPolicy, folder: Path) -> list[str]:
    """Attach what ``save_adapter`` or PEFT wrote; or, where the same layers have adapters already, set those.

    Raises PolicyError where the adapter is not whole, not of these layers, or of a kind that is not supported.
    """
    config, tensors = _read(folder)
    names = {their: ours for ours, their in _their_modules(policy).items()}
    found = {name: module for name, module in policy.module.named_modules() if isinstance(module, LoraLinear)}
    fresh, loaded = not found, []
    if fresh:
        policy.module.requires_grad_(False)
    for key in sorted(key for key in tensors if key.endswith(".lora_A.weight")):
        their = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        if their not in names or not (fresh or names[their] in found):
            raise PolicyError(f"{folder / WEIGHTS_FILE}: {key}: no such layer to adapt in {policy.name}")
        name = names[their]
        if fresh:
            found[name] = _replace(policy.module, name, config["r"], config["lora_alpha"], None)
        _set(found[name], tensors, f"{PREFIX}{their}", folder)
        found[name].scale = config["lora_alpha"] / config["r"]
        loaded.append(name)
    if missing := found.keys() - loaded:
        raise PolicyError(f"{folder / WEIGHTS_FILE}: nothing for {min(missing)}, which has an adapter here")
    return loaded


def save_adapter(policy: MaskedDiffusionPolicy, folder: Path) -> None:
    """Write PEFT's two files."""
    theirs, tensors, config = _their_modules(policy), {}, {}
    for name, module in adapters(policy.module):
        key = f"{PREFIX}{theirs[name]}"
        tensors[f"{key}.lora_A.weight"] = module.lora_a.detach().cpu().contiguous()
        tensors[f"{key}.lora_B.weight"] = module.lora_b.detach().cpu().contiguous()
        rank = module.lora_a.shape[0]
        config = {"r": rank, "lora_alpha": module.scale * rank}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})
    whole = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": str(policy.source), **config,
        "lora_dropout": 0.0, "bias": "none", "inference_mode": True, "init_lora_weights": True,
        "target_modules": [theirs[name] for name, _ in adapters(policy.module)],
        **{name: False if name.startswith(("use", "fan")) else None for name in UNSUPPORTED},
        "rank_pattern": {}, "alpha_pattern": {},
    }  # fmt: skip
    (folder / CONFIG_FILE).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def adapters(module: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    return ((name, each) for name, each in module.named_modules() if isinstance(each, LoraLinear))


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state under the base's names, adapters added in."""
    merged = {f"{name}.weight": each.merged() for name, each in adapters(module)}
    return {name: merged.get(name, value) for name, value in base_state(module).items()}


def base_state(module: nn.Module) -> dict[str, Tensor]:
    """The base's own weights: nothing of the adapters."""
    return without_adapters(module.state_dict())


def without_adapters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith((".lora_a", ".lora_b"))}


@contextmanager
def adapters_off(module: nn.Module) -> Iterator[None]:
    """In this block the module is its base."""
    found = [each for _, each in adapters(module)]
    for each in found:
        each.active = False
    try:
        yield
    finally:
        for each in found:
            each.active = True


def _their_modules(policy: MaskedDiffusionPolicy) -> dict[str, str]:
    """Our layer -> the family's module, for layers that are a module of their own there."""
    ours = {value.data_ptr(): name for name, value in base_state(policy.module).items() if name.endswith(".weight")}
    return {
        ours[parts[0].data_ptr()].removesuffix(".weight"): key.removesuffix(".weight")
        for key, parts in family_tensors(policy).items()
        if len(parts) == 1 and key.endswith(".weight") and parts[0].data_ptr() in ours
    }


def _replace(module: nn.Module, name: str, rank: int, alpha: float, generator: torch.Generator | None) -> LoraLinear:
    parent, _, leaf = name.rpartition(".")
    base = module.get_submodule(name)
    assert isinstance(base, nn.Linear)
    adapted = LoraLinear(base, rank, alpha, generator)
    setattr(module.get_submodule(parent), leaf, adapted)
    return adapted


@torch.no_grad()
def _set(layer: LoraLinear, tensors: Mapping[str, Tensor], key: str, folder: Path) -> None:
    for name, target in (("lora_A", layer.lora_a), ("lora_B", layer.lora_b)):
        value = tensors.get(f"{key}.{name}.weight")
        if value is None or value.shape != target.shape:
            found = "is missing" if value is None else f"has shape {tuple(value.shape)}, expected {tuple(target.shape)}"
            raise PolicyError(f"{folder / WEIGHTS_FILE}: {key}.{name}.weight {found}")
        target.copy_(value)


def _read(folder: Path) -> tuple[Mapping, dict[str, Tensor]]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
        rank, alpha = config["r"], config["lora_alpha"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise PolicyError(f"{folder}: not a PEFT adapter: {first_line(error)}") from error
    if config.get("peft_type") != "LORA" or not rank or not alpha or config.get("bias", "none") != "none":
        raise PolicyError(
            f"{folder / CONFIG_FILE}: only LoRA without biases is supported, with r and lora_alpha above 0"
        )
    for name in UNSUPPORTED:
        if config.get(name):
            raise PolicyError(f"{folder / CONFIG_FILE}: {name}={config[name]!r} is not supported; train plain LoRA")
    return config, tensors
