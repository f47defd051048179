"""Policies in and out of Hugging Face-layout folders: config.json, safetensors, tokenizer files, an image tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from policies.base import ImageTokenizer, Vocabulary
from policies.families.registry import Family, family_of
from policies.families.settings import COPY
from policies.families.tensor_names import Tensors
from policies.files.copies import IMAGE_TOKENIZER, copy_companions
from policies.files.folders import (
    check_files,
    is_cached,
    is_shipped,
    name_of,
    present_weight_files,
    read_config,
    weight_files,
)
from policies.files.parts import INDEX, SINGLE, Part
from policies.files.shards import Redundant, check_weights, count_tensors, read_weights
from policies.files.tokenizer import ChatTokenizer
from policies.files.trial import try_tokenizer
from policies.files.uninitialised import outline, with_memory
from policies.images.load import load_image_tokenizer
from policies.network.transformer import Transformer, TransformerConfig
from policies.policy import MaskedDiffusionPolicy
from rl.errors import PolicyError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_SHARD_BYTES = 5_000_000_000


def check_policy(path_or_name: str | Path, part: Part = Part.ALL) -> Path:
    """check_files, and that config, tokenizer and the headers of the weights make sense together.

    No weights are read, and no memory is taken: for use before anything starts. part: short of ALL, the headers of weights
    that are still to be downloaded are left out. Raises PolicyError.
    """
    folder = check_files(path_or_name, part)
    family, config = _family(folder)
    sizes = _sizes(folder, family, config)
    if not is_shipped(folder):
        try_tokenizer(folder, family.aliases)
    tokenizer = ChatTokenizer.load(folder, family.aliases)
    vocabulary = _vocabulary(folder, family, config, tokenizer)
    _image_tokenizer(folder, vocabulary, "meta")
    if part is Part.ALL or not is_cached(folder):
        _outlined(folder, family, sizes)
    return folder


def own_sizes(folder: Path) -> TransformerConfig:
    """Of a policy's network, from config.json alone. Raises PolicyError where it contradicts itself."""
    return _sizes(folder, *_family(folder))


def own_vocabulary(folder: Path, tokenizer: ChatTokenizer) -> Vocabulary:
    """From config.json and the folder's tokenizer. Raises PolicyError where they do not fit together."""
    return _vocabulary(folder, *_family(folder), tokenizer)


def check_weight_files(folder: Path) -> None:
    """That the headers of all files hold every weight of the config once. Raises PolicyError."""
    present_weight_files(folder)
    family, config = _family(folder)
    _outlined(folder, family, _sizes(folder, family, config))


def check_image_tokenizer(folder: Path, vocabulary: Vocabulary) -> ImageTokenizer | None:
    """Without memory for its weights; None where the folder has none. Raises PolicyError."""
    return _image_tokenizer(folder, vocabulary, "meta")


def weight_shapes(folder: Path) -> list[tuple[int, ...]]:
    """Of the weights that a policy of this folder has, from config.json alone; tied ones once."""
    family, config = _family(folder)
    module = outline(partial(Transformer, family.sizes(config)))
    return [tuple(parameter.shape) for parameter in module.parameters()]


def own_block_length(folder: Path) -> int | None:
    """Of a block-causal family's blocks, from config.json alone; None where all tokens see each other."""
    family, config = _family(folder)
    return family.sizes(config).block_length


def load_policy(
    path_or_name: str | Path, *, device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None
) -> MaskedDiffusionPolicy:
    """A Hugging Face-layout folder, a shipped name, or a name on a hub (``org/name``, ``org/name@revision``), as a policy in
    evaluation mode.

    The module has no memory until the weights are read, which go from the files straight into place: loading needs the
    model's own memory, in the dtype asked for, and one piece of a tensor. Raises PolicyError where the folder is missing
    or incomplete, a tensor is missing or has the wrong shape, or the config contradicts itself.
    """
    wanted = DTYPES.get(str(dtype), dtype) if dtype is not None else torch.float32
    if not isinstance(wanted, torch.dtype):
        raise PolicyError(f"policy.dtype={dtype!r}: allowed: {', '.join(DTYPES)}")
    folder = check_files(path_or_name)
    family, config = _family(folder)
    sizes = _sizes(folder, family, config)
    tokenizer = ChatTokenizer.load(folder, family.aliases)
    vocabulary = _vocabulary(folder, family, config, tokenizer)
    image_tokenizer = _image_tokenizer(folder, vocabulary, device)
    module = with_memory(_outlined(folder, family, sizes), wanted, device)
    read_weights(weight_files(folder), family.tensors(module))
    return MaskedDiffusionPolicy(
        name=name_of(folder),
        module=module.eval(),
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        image_tokenizer=image_tokenizer,
        layout=family.layout,
        source=folder,
        writer=save_policy,
        habits=family.habits,
    )


def load_tokenizers(path_or_name: str | Path) -> tuple[ChatTokenizer, Vocabulary, ImageTokenizer | None]:
    """What turns a policy's ids into text and pixels, on the CPU and without its weights. Raises PolicyError."""
    folder = check_files(path_or_name, Part.CHECKS)
    family, config = _family(folder)
    tokenizer = ChatTokenizer.load(folder, family.aliases)
    vocabulary = _vocabulary(folder, family, config, tokenizer)
    return tokenizer, vocabulary, _image_tokenizer(folder, vocabulary, "cpu")


def save_policy(policy: MaskedDiffusionPolicy, folder: Path, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write the folder that ``load_policy`` reads: weights of now, and config and tokenizers of where it came from.

    More than ``max_shard_bytes`` are split over files with an index, as transformers does.
    """
    if policy.source is None:
        raise PolicyError("save: this policy was not loaded from a folder, so there is no config to save with it")
    folder.mkdir(parents=True, exist_ok=True)
    if policy.source.resolve() != folder.resolve():
        copy_companions(policy.source, folder)
    family, _ = _family(folder)
    write_weights(folder, family.tensors(policy.module), max_shard_bytes)


def family_tensors(policy: MaskedDiffusionPolicy) -> Tensors:
    """The policy's tensors under its family's names. Raises PolicyError where it was not loaded from a folder."""
    if policy.source is None:
        raise PolicyError(f"{policy.name}: was not loaded from a folder, so its family is not known")
    return _family(policy.source)[0].tensors(policy.module)


def write_weights(folder: Path, tensors: Tensors, max_shard_bytes: int) -> None:
    """One file, or shards and then their index, which stands only when all of them do; older weights are removed."""
    shards = _split(tensors, max_shard_bytes)
    names = [SINGLE] if len(shards) == 1 else [_shard_name(index, len(shards)) for index in range(len(shards))]
    (folder / INDEX).unlink(missing_ok=True)
    for name, keys in zip(names, shards, strict=True):
        (folder / name).unlink(missing_ok=True)  # another place may have the file as a hard link, and keeps what it has
        save_file({key: _joined(tensors[key]) for key in keys}, str(folder / name), metadata={"format": "pt"})
    for file in folder.glob("model*.safetensors"):
        if file.name not in names:
            file.unlink()
    if len(names) > 1:
        total = sum(_bytes(parts) for parts in tensors.values())
        placed = {key: name for name, keys in zip(names, shards, strict=True) for key in keys}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(placed.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _family(folder: Path) -> tuple[Family, Mapping[str, Any]]:
    config = read_config(folder)
    return family_of(config.get("model_type")), config


def _outlined(folder: Path, family: Family, sizes: TransformerConfig) -> Transformer:
    """The module without memory, which the files have every weight of. Raises PolicyError."""
    files = weight_files(folder)
    count = count_tensors(files)
    if sizes.n_layers > count:  # else a layer that has no weights would take its time too
        raise PolicyError(
            f"{folder / 'config.json'}: {sizes.n_layers} layers, but the weights are {count} tensors; {COPY}"
        )
    module = outline(partial(Transformer, sizes))
    check_weights(files, family.tensors(module), _redundant(family, sizes))
    return module


def _redundant(family: Family, sizes: TransformerConfig) -> Redundant:
    """What a release may hold beside its weights: a tied head, and the rates of the rotation."""
    size = sizes.rotary_dim or sizes.head_size
    rates = 1.0 / sizes.rope_theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    same = dict([family.head]) if sizes.tied_head and family.head is not None else {}
    return Redundant(same, {"rotary_emb.inv_freq": rates})


def _image_tokenizer(folder: Path, vocabulary: Vocabulary, device: str | torch.device) -> ImageTokenizer | None:
    images = folder / IMAGE_TOKENIZER
    if not images.is_dir():
        return None
    tokenizer = load_image_tokenizer(images, device)
    if tokenizer.codebook_size != vocabulary.codebook_size:
        raise PolicyError(
            f"{images}: codebook of {tokenizer.codebook_size} codes, but {folder / 'config.json'} says "
            f"codebook_size={vocabulary.codebook_size}"
        )
    return tokenizer


@contextmanager
def _in_config(file: Path, family: Family) -> Iterator[None]:
    """What a family's own code raises, as a PolicyError that names the file."""
    try:
        yield
    except KeyError as error:
        raise PolicyError(f"{file}: no {error.args[0]!r}, which a {family.model_type} needs; {COPY}") from error
    except (TypeError, ValueError) as error:
        if isinstance(error, PolicyError):
            raise PolicyError(str(error).replace("config.json", str(file), 1)) from error
        raise PolicyError(f"{file}: not what a {family.model_type} has: {error}") from error


def _sizes(folder: Path, family: Family, config: Mapping[str, Any]) -> TransformerConfig:
    file = folder / "config.json"
    with _in_config(file, family):
        sizes = family.sizes(config)
    if sizes.head_dim is None and sizes.d_model % sizes.n_heads:
        raise PolicyError(f"{file}: a width of {sizes.d_model} cannot be shared by {sizes.n_heads} heads; {COPY}")
    if (rotated := sizes.rotary_dim if sizes.rotary_dim is not None else sizes.head_size) % 2 or not rotated:
        raise PolicyError(f"{file}: {rotated} numbers of each head are rotated; must be even and above 0; {COPY}")
    if sizes.n_heads % sizes.kv_heads:
        raise PolicyError(
            f"{folder / 'config.json'}: {sizes.kv_heads} key-value heads cannot be shared by {sizes.n_heads} heads; their "
            "number must divide it"
        )
    return sizes


def _vocabulary(folder: Path, family: Family, config: Mapping[str, Any], tokenizer: ChatTokenizer) -> Vocabulary:
    with _in_config(folder / "config.json", family):
        vocabulary = _named_ids(family, config, tokenizer)
    _check_vocabulary(folder, vocabulary, tokenizer)
    return vocabulary


def _named_ids(family: Family, config: Mapping[str, Any], tokenizer: ChatTokenizer) -> Vocabulary:
    """Where neither the config nor the family names the mask or the end, the tokenizer's own tokens of these names.
    Raises KeyError."""
    while True:
        try:
            return family.vocabulary(config, len(tokenizer))
        except KeyError as error:
            found = tokenizer.special_id(str(error.args[0]).removesuffix("_id"))
            if found is None or error.args[0] in config:
                raise
            config = {**config, error.args[0]: found}


def _check_vocabulary(folder: Path, vocabulary: Vocabulary, tokenizer: ChatTokenizer) -> None:
    where, first = folder / "config.json", vocabulary.image_offset
    for name, value in (("mask_token_id", vocabulary.mask_id), ("eos_token_id", vocabulary.eos_id)):
        if not 0 <= value < vocabulary.size:
            raise PolicyError(
                f"{where}: {name}={value}: outside the vocabulary of {vocabulary.size}; allowed: 0..{vocabulary.size - 1}; is "
                "this the config of these weights?"
            )
        if first <= value < first + vocabulary.codebook_size:
            raise PolicyError(f"{where}: {name}={value}: lies among the image codes from {first}; take a text id")
    if vocabulary.mask_id == vocabulary.eos_id:
        raise PolicyError(
            f"{where}: mask_token_id and eos_token_id are both {vocabulary.mask_id}; they must differ: take "
            "both from the tokenizer that these weights were trained with"
        )
    if first + vocabulary.codebook_size > vocabulary.size:
        raise PolicyError(
            f"{where}: image codes {first}..{first + vocabulary.codebook_size - 1} run past the vocabulary of "
            f"{vocabulary.size}"
        )
    if tokenizer.last_id >= first:
        room = "image codes begin at" if vocabulary.codebook_size else "the vocabulary ends before"
        raise PolicyError(
            f"{where}: {room} {first}, but the tokenizer's text goes up to {tokenizer.last_id}; the config and the "
            "tokenizer are of two models; copy both from one checkpoint"
        )


def _split(tensors: Tensors, max_shard_bytes: int) -> list[list[str]]:
    """Keys in order, as many a shard as fit; a tensor larger than a shard has one of its own."""
    shards, room = [[]], max_shard_bytes
    for key, parts in tensors.items():
        size = _bytes(parts)
        if shards[-1] and size > room:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(key)
        room -= size
    return shards


def _shard_name(index: int, count: int) -> str:
    return f"model-{index + 1:05d}-of-{count:05d}.safetensors"


def _bytes(parts: Sequence[Tensor]) -> int:
    return sum(part.numel() * part.element_size() for part in parts)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    whole = parts[0] if len(parts) == 1 else torch.cat(list(parts))
    return whole.detach().cpu().contiguous()
