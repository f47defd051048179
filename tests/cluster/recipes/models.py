"""Small random models in the layout of a published checkpoint: its config but for the sizes, its tensors' names, its special
tokens and its chat template. The vocabulary is cut to some 330 tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken

from policies.families.mmada import RELEASED
from policies.families.registry import family_of
from policies.files.fresh_policy import train_tokenizer
from policies.images.load import load_image_tokenizer
from policies.network.transformer import Transformer
from tests.policies.originals import GOLDEN, shapes
from tests.toys import TEXTS, toy_folder

LAYOUTS: dict[str, Any] = json.loads((GOLDEN / "layouts.json").read_text())
CHATS: dict[str, Any] = json.loads((GOLDEN / "chat.json").read_text())
MMADA = "MMaDA-8B"
SOURCES = {MMADA: "LLaDA-8B-Instruct", "SDAR-1.7B-Chat": "SDAR-8B-Chat"}  # whose template and tokens these have too
# Beside those of chat.json: what templates write, and what layouts and samplers look for.
TOKENS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<role>", "</role>",
          "<|role_end|>", *RELEASED.values())  # fmt: skip
SIZES = {
    "d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "mlp_hidden_size": 48, "hidden_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 16,
    "moe_intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
    "first_k_dense_replace": 1, "max_window_layers": 2, "rotary_dim": 8,
}  # fmt: skip


def small_model(name: str, folder: Path) -> Path:
    """A folder that ``policy.path`` takes. name: of a checkpoint in golden/layouts.json, or MMADA."""
    folder.mkdir(parents=True)
    source = SOURCES.get(name, name)
    chat, config = CHATS[source], dict(LAYOUTS[name if name != MMADA else source]["config"])
    special = chat["special"]
    mask = special.get("mask_token", "<|mdm_mask|>")
    tokenizer = train_tokenizer(TEXTS, 300)
    named = dict.fromkeys([mask, *special.values(), *TOKENS])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in named])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    (folder / "chat_template.jinja").write_text(chat["template"])
    size = tokenizer.get_vocab_size()
    config |= {key: value for key, value in SIZES.items() if key in config}
    config |= {"vocab_size": size, "mask_token_id": tokenizer.token_to_id(mask), "rope_scaling": None}
    config["eos_token_id"] = config["pad_token_id"] = tokenizer.token_to_id(special["eos_token"])
    if "embedding_size" in config:
        config["embedding_size"] = size
    if name == MMADA:
        config |= _with_images(folder, size)
    (folder / "config.json").write_text(json.dumps(config))
    _write_weights(config, folder)
    return folder


def _with_images(folder: Path, text_size: int) -> dict[str, Any]:
    """MMaDA's config over LLaDA's: image codes above the text's tokens."""
    shutil.copytree(toy_folder() / "image_tokenizer", folder / "image_tokenizer")
    codes = load_image_tokenizer(folder / "image_tokenizer").codebook_size
    whole = text_size + codes
    return {
        "model_type": "mmada", "architectures": ["MMadaModelLM"], "llm_vocab_size": text_size, "codebook_size": codes,
        "vocab_size": whole, "new_vocab_size": whole, "embedding_size": whole, "num_vq_tokens": 16,
    }  # fmt: skip


def _write_weights(config: dict[str, Any], folder: Path) -> None:
    family = family_of(config["model_type"])
    module = Transformer(family.sizes(config))
    module.reset_parameters(torch.Generator().manual_seed(0))
    weights = {
        key: (torch.cat(parts) if len(parts) > 1 else parts[0]).detach().contiguous()
        for key, parts in family.tensors(module).items()
    }
    save_file(weights, folder / "model.safetensors")


def sparse_layout(name: str, folder: Path) -> Path:
    """The checkpoint at its published size: config, names and shapes of all tensors, tokens and template. The shards have
    their headers and their length, and no bytes on the disk."""
    small_model(name, folder)
    source = SOURCES.get(name, name)
    config = dict(LAYOUTS[name if name != MMADA else source]["config"])
    small = json.loads((folder / "config.json").read_text())
    kept = ("mask_token_id", "eos_token_id", "pad_token_id", "rope_scaling")
    config |= {key: small[key] for key in kept}
    if name == MMADA:
        config |= {key: small[key] for key in ("model_type", "architectures", "llm_vocab_size", "codebook_size")}
        config |= {"new_vocab_size": 134_656, "vocab_size": 134_656, "embedding_size": 134_656}
    (folder / "config.json").write_text(json.dumps(config))
    write_sparse(config, folder / "model.safetensors")
    return folder


def write_sparse(config: dict[str, Any], file: Path) -> None:
    header, end = {}, 0
    for key, shape in shapes(config).items():
        size = 2 * int(torch.Size(shape).numel())
        header[key] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + end)
