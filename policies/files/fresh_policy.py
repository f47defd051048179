"""Make a fresh policy folder of the MMaDA architecture, any size: config, tokenizer, random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from policies.families import mmada
from policies.files.checkpoints import IMAGE_TOKENIZER, SINGLE
from policies.images.load import load_image_tokenizer
from policies.network.transformer import Transformer

SPECIAL = (
    "<|mask|>", "<eos>", "<bos>", "<|user|>", "<|assistant|>", "<|system|>",
    "<|t2i|>", "<|mmu|>", "<|soi|>", "<|eoi|>", "<think>", "</think>",
)  # fmt: skip
_SHARED, _OWN = 0.9, 0.44  # of an image code's first embedding; the squares add up to one
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE, so any text has ids; every digit is a token of its own, so that arithmetic can be learned."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def build(
    folder: Path, tokenizer: Tokenizer, image_tokenizer: Path, *, seed: int = 0, max_length: int = 512, **sizes: int
) -> None:
    """Write the folder. sizes: d_model, n_layers, n_heads, mlp_hidden_size."""
    folder.mkdir(parents=True, exist_ok=True)
    text_size = tokenizer.get_vocab_size()
    codebook = load_image_tokenizer(image_tokenizer).codebook_size
    config: dict[str, Any] = {
        "model_type": mmada.FAMILY.model_type,
        **sizes,
        "vocab_size": text_size + codebook,
        "llm_vocab_size": text_size,
        "codebook_size": codebook,
        "mask_token_id": tokenizer.token_to_id("<|mask|>"),
        "eos_token_id": tokenizer.token_to_id("<eos>"),
        "max_sequence_length": max_length,
        "rope_theta": 10_000.0,
        "rms_norm_eps": 1e-5,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    tokenizer.save(str(folder / "tokenizer.json"))
    shutil.copytree(image_tokenizer, folder / IMAGE_TOKENIZER, dirs_exist_ok=True)
    module = Transformer(mmada.FAMILY.sizes(config))
    module.reset_parameters(torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    assert module.ff_out is not None
    for table in (module.ff_out.weight, module.wte.weight):
        begin_alike(table.data[text_size:], generator)
    weights = {key: parts[0] for key, parts in mmada.FAMILY.tensors(module).items()}
    save_file(weights, str(folder / SINGLE))


def begin_alike(rows: Tensor, generator: torch.Generator) -> None:
    """Image codes [codebook, d] that share bits begin near each other: in place, lengths stay what they were on average.

    A lookup-free code *is* its bits (arXiv 2310.05737), and nearby patches differ in few of them. From independent rows a
    policy has to see every code often before it can read it; so begun, it reads what it has rarely seen.
    """
    codebook, d = rows.shape
    bits = (codebook - 1).bit_length()
    signs = ((torch.arange(codebook)[:, None] >> torch.arange(bits)) & 1).float() * 2 - 1
    directions = torch.randn(bits, d, generator=generator) * d**-0.5 / bits**0.5
    rows.copy_(_SHARED * (signs @ directions) + _OWN * rows)
