"""Policies in and out of Hugging Face-layout folders: config.json, safetensors, tokenizer files, an image tokenizer."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from policies.base import Vocabulary
from policies.families import Family, family_of
from policies.folders import INDEX, SINGLE, check_files, read_config, weight_files
from policies.images import load_image_tokenizer
from policies.policy import MaskedDiffusionPolicy
from policies.tokenizer import ChatTokenizer
from policies.transformer import Transformer
from rl.errors import PolicyError

IMAGE_TOKENIZER = "image_tokenizer"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_policy(path_or_name: str | Path) -> Path:
    """check_files, and that the config makes sense; cheap, for use before anything starts."""
    folder = check_files(path_or_name)
    config = read_config(folder)
    family = family_of(config.get("model_type"))
    _check_vocabulary(folder, _interpret(folder, family, config)[1])
    return folder


def load_policy(
    path_or_name: str | Path, *, device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None
) -> MaskedDiffusionPolicy:
    """A Hugging Face-layout folder, or a shipped name, as a policy in evaluation mode.

    Weights go straight from the file into place, one tensor at a time. Raises PolicyError where the folder is missing
    or incomplete, a tensor is missing or has the wrong shape, or the config contradicts itself.
    """
    folder = check_policy(path_or_name)
    config = read_config(folder)
    family = family_of(config.get("model_type"))
    sizes, vocabulary = _interpret(folder, family, config)
    wanted = DTYPES.get(str(dtype), dtype) if dtype is not None else torch.float32
    if not isinstance(wanted, torch.dtype):
        raise PolicyError(f"policy.dtype={dtype!r}: allowed: {', '.join(DTYPES)}")
    with torch.device("meta"):
        module = Transformer(sizes).to(wanted)
    module.to_empty(device=device)
    _read_weights(folder, family.key_prefix, dict(module.named_parameters()))
    images = folder / IMAGE_TOKENIZER
    policy = MaskedDiffusionPolicy(
        name=folder.name,
        module=module.eval(),
        vocabulary=vocabulary,
        tokenizer=ChatTokenizer.load(folder),
        image_tokenizer=load_image_tokenizer(images) if images.is_dir() else None,
        layout=family.layout,
        source=folder,
    )
    tokenizer = policy.image_tokenizer
    if tokenizer is not None and tokenizer.codebook_size != vocabulary.codebook_size:
        raise PolicyError(
            f"{images}: codebook of {tokenizer.codebook_size} codes, but {folder / 'config.json'} says "
            f"codebook_size={vocabulary.codebook_size}"
        )
    return policy


def save_policy(policy: MaskedDiffusionPolicy, folder: Path) -> None:
    """Write the folder that ``load_policy`` reads: weights of now, and config and tokenizers of where it came from."""
    folder.mkdir(parents=True, exist_ok=True)
    if policy.source is None:
        raise PolicyError("save: this policy was not loaded from a folder, so there is no config to save with it")
    if policy.source.resolve() != folder.resolve():
        for file in policy.source.iterdir():
            if file.suffix in (".json", ".jinja") and file.name != INDEX:
                shutil.copyfile(file, folder / file.name)
        if (policy.source / IMAGE_TOKENIZER).is_dir():
            shutil.copytree(policy.source / IMAGE_TOKENIZER, folder / IMAGE_TOKENIZER, dirs_exist_ok=True)
    prefix = family_of(read_config(folder).get("model_type")).key_prefix
    state = {prefix + name: value.detach().cpu().contiguous() for name, value in policy.module.state_dict().items()}
    save_file(state, str(folder / SINGLE), metadata={"format": "pt"})


def _interpret(folder: Path, family: Family, config: Mapping[str, Any]):
    try:
        return family.sizes(config), family.vocabulary(config)
    except KeyError as error:
        raise PolicyError(
            f"{folder / 'config.json'}: no {error.args[0]!r}, which a {family.model_type} needs"
        ) from error


def _check_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    where = folder / "config.json"
    for name, value in (("mask_token_id", vocabulary.mask_id), ("eos_token_id", vocabulary.eos_id)):
        if not 0 <= value < vocabulary.size:
            raise PolicyError(f"{where}: {name}={value}: outside the vocabulary of {vocabulary.size}")
        if vocabulary.image_offset <= value < vocabulary.image_offset + vocabulary.codebook_size:
            raise PolicyError(f"{where}: {name}={value}: lies among the image codes from {vocabulary.image_offset}")
    if vocabulary.mask_id == vocabulary.eos_id:
        raise PolicyError(f"{where}: mask_token_id and eos_token_id are both {vocabulary.mask_id}; they must differ")
    if vocabulary.image_offset + vocabulary.codebook_size > vocabulary.size:
        raise PolicyError(
            f"{where}: image codes {vocabulary.image_offset}..{vocabulary.image_offset + vocabulary.codebook_size - 1} "
            f"run past the vocabulary of {vocabulary.size}"
        )


def _read_weights(folder: Path, prefix: str, parameters: Mapping[str, Tensor]) -> None:
    left = dict(parameters)
    for file in weight_files(folder):
        try:
            with safe_open(str(file), framework="pt") as shard:
                for key in shard.keys():  # noqa: SIM118 - not a mapping
                    target = left.pop(key.removeprefix(prefix), None)
                    if target is not None:
                        _copy_into(target, shard.get_tensor(key), key, file)
        except (SafetensorError, OSError) as error:
            raise PolicyError(f"{file}: not a whole safetensors file: {str(error).splitlines()[0]}") from error
    if left:
        raise PolicyError(f"{folder}: {len(left)} tensors missing, the first is {prefix}{next(iter(left))}")


def _copy_into(target: Tensor, value: Tensor, key: str, file: Path) -> None:
    if target.shape != value.shape:
        raise PolicyError(
            f"{file}: {key} has shape {tuple(value.shape)}, but config.json makes it {tuple(target.shape)}"
        )
    with torch.no_grad():
        target.copy_(value)
