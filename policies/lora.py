"""Low-rank adapters (LoRA, arXiv 2106.09685): frozen weights W, and a trained product B A beside some of them.

``y = x W^T + alpha / rank * (x A^T) B^T``, with A random and B zero at the start, so that training begins at the base
policy. On disk they are PEFT's: ``adapter_config.json`` and ``adapter_model.safetensors``, whose keys name the family's
own modules (github.com/huggingface/peft).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from policies.families.registry import family_of
from policies.families.tensor_names import Tensors
from policies.files.adapters import CONFIG_FILE, PREFIX, WAY_OUT, WEIGHTS_FILE, AdapterPart, alpha_of, read_adapter
from policies.files.checkpoints import family_tensors
from policies.files.folders import name_of, read_config
from policies.files.uninitialised import sketch_module
from policies.network.transformer import Transformer
from policies.policy import MaskedDiffusionPolicy
from rl.errors import PolicyError

TARGETS = ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")


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
    chosen = _chosen(policy.module, family_tensors(policy), target, policy.name)
    generator = torch.Generator().manual_seed(seed)
    policy.module.requires_grad_(False)
    for name in chosen:
        _replace(policy.module, name, rank, alpha, generator)
    return chosen


def load_adapter(policy: MaskedDiffusionPolicy, folder: Path) -> list[str]:
    """Attach what ``save_adapter`` or PEFT wrote; or, where the same layers have adapters already, set those.

    Raises PolicyError where the adapter is not whole, not of these layers, or of a kind that is not supported; the policy
    is then as it was.
    """
    parts = _our_parts(policy.module, family_tensors(policy), folder, policy.name)
    found = dict(adapters(policy.module))
    for name, part in parts.items() if found else ():
        if name not in found:
            raise PolicyError(
                f"{folder / WEIGHTS_FILE}: {name} has no adapter here; allowed: {', '.join(sorted(found))}"
            )
        _check_shape(folder, name, part, (found[name].lora_a.shape, found[name].lora_b.shape))
    if missing := found.keys() - parts:
        raise PolicyError(f"{folder / WEIGHTS_FILE}: nothing for {min(missing)}, which has an adapter here")
    if not found:
        policy.module.requires_grad_(False)
    for name, part in parts.items():
        layer = found[name] if found else _replace(policy.module, name, part.rank, 1.0, None)
        with torch.no_grad():
            layer.lora_a.copy_(part.lora_a)
            layer.lora_b.copy_(part.lora_b)
        layer.scale = part.scale
    return list(parts)


def check_adapter(folder: Path, policy: Path) -> None:
    """That ``load_adapter`` would take the folder for the policy's. No weights of the policy are read, nor memory taken.
    Raises PolicyError."""
    _our_parts(*_sketch(policy), folder, name_of(policy))


def check_targets(target: Sequence[str], policy: Path) -> None:
    """That ``attach`` would find these layers in the policy's folder. Raises PolicyError."""
    _chosen(*_sketch(policy), target, name_of(policy))


def save_adapter(policy: MaskedDiffusionPolicy, folder: Path) -> None:
    """Write PEFT's two files. What most layers have is the rank and alpha; the others are named with theirs."""
    theirs, tensors = _their_modules(policy.module, family_tensors(policy)), {}
    ranks, alphas = dict[str, int](), dict[str, float]()
    for name, module in adapters(policy.module):
        key, their = f"{PREFIX}{theirs[name]}", theirs[name]
        tensors[f"{key}.lora_A.weight"] = module.lora_a.detach().cpu().contiguous()
        tensors[f"{key}.lora_B.weight"] = module.lora_b.detach().cpu().contiguous()
        ranks[their] = module.lora_a.shape[0]
        alphas[their] = alpha_of(module.scale, ranks[their])
    rank, alpha = Counter(ranks.values()).most_common(1)[0][0], Counter(alphas.values()).most_common(1)[0][0]
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})
    whole = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": str(policy.source), "r": rank,
        "lora_alpha": alpha, "lora_dropout": 0.0, "bias": "none", "inference_mode": True, "init_lora_weights": True,
        "target_modules": list(ranks), "use_dora": False, "use_rslora": False, "fan_in_fan_out": False,
        "modules_to_save": None,
        "rank_pattern": {their: own for their, own in ranks.items() if own != rank},
        "alpha_pattern": {their: own for their, own in alphas.items() if own != alpha},
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


def _sketch(policy: Path) -> tuple[nn.Module, Tensors]:
    """The network of a policy's folder without its weights, and the family's names for them."""
    config = read_config(policy)
    family = family_of(config.get("model_type"))
    module = sketch_module(partial(Transformer, family.sizes(config)))
    return module, family.tensors(module)


def _chosen(module: nn.Module, tensors: Tensors, target: Sequence[str], policy: str) -> list[str]:
    """Our names of the layers called ``target`` in the blocks. Raises PolicyError."""
    theirs = _their_modules(module, tensors)
    chosen = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and _adaptable(name) and name.rpartition(".")[2] in target
    ]
    known = {name.rpartition(".")[2] for name in chosen}
    for name in target:
        if name not in known:
            raise PolicyError(f"lora: target {name!r}: {policy} has no such layer; allowed: {', '.join(TARGETS)}")
    for name in chosen:
        if name not in theirs:
            raise PolicyError(f"lora: target {name!r}: {policy} has it within a fused weight; choose other layers")
    return chosen


def _their_modules(module: nn.Module, tensors: Tensors) -> dict[str, str]:
    """Our layer -> the family's module, for layers that are a module of their own there."""
    ours = {value.data_ptr(): name for name, value in base_state(module).items() if name.endswith(".weight")}
    return {
        ours[parts[0].data_ptr()].removesuffix(".weight"): key.removesuffix(".weight")
        for key, parts in tensors.items()
        if len(parts) == 1 and key.endswith(".weight") and parts[0].data_ptr() in ours
    }


def _our_parts(module: nn.Module, tensors: Tensors, folder: Path, policy: str) -> dict[str, AdapterPart]:
    """The adapter's parts by our layers. Raises PolicyError where one has no place, or does not fit."""
    places = {their: ours for ours, their in _their_modules(module, tensors).items()}
    found = {}
    for their, part in read_adapter(folder).items():
        name = places.get(their)
        layer = None if name is None else module.get_submodule(name)
        if name is None or not isinstance(layer, nn.Linear) or not _adaptable(name):
            known = f"{their}.weight" in tensors
            reason = "takes no adapter here" if known else f"no such layer to adapt in {policy}"
            raise PolicyError(
                f"{folder / WEIGHTS_FILE}: {their}: {reason}; allowed: linear layers of the blocks that are a module of their "
                f"own (not the embedding, the head, a router or a fused weight); {WAY_OUT}"
            )
        inputs, outputs = layer.in_features, layer.out_features
        _check_shape(folder, their, part, ((part.rank, inputs), (outputs, part.rank)))
        found[name] = part
    return found


def _adaptable(name: str) -> bool:
    """Whether the layer is called as a module wherever it is used: the head and routers are read by their weights."""
    return name.startswith("blocks.") and not name.endswith(".router")


def _check_shape(folder: Path, layer: str, part: AdapterPart, shapes: Sequence[Sequence[int]]) -> None:
    for key, value, shape in zip("AB", (part.lora_a, part.lora_b), shapes, strict=True):
        if tuple(value.shape) != tuple(shape):
            raise PolicyError(
                f"{folder / WEIGHTS_FILE}: {layer}.lora_{key}.weight has shape {tuple(value.shape)}, expected {tuple(shape)}; "
                "give an adapter of this policy and of this rank"
            )


def _replace(module: nn.Module, name: str, rank: int, alpha: float, generator: torch.Generator | None) -> LoraLinear:
    parent, _, leaf = name.rpartition(".")
    base = module.get_submodule(name)
    assert isinstance(base, nn.Linear)
    adapted = LoraLinear(base, rank, alpha, generator)
    setattr(module.get_submodule(parent), leaf, adapted)
    return adapted
