"""A user's reward file that scores with a transformers classifier, and the small random model that it loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

REWARD = """
import torch
{imports}
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

FOLDER = {folder!r}
tokenizer = PreTrainedTokenizerFast(tokenizer_file=FOLDER + "/tokenizer.json", pad_token="[PAD]", unk_token="[UNK]")
model = BertForSequenceClassification.from_pretrained(FOLDER).eval()


def reward(completions, **columns):
    tokens = tokenizer(completions, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.no_grad():
        return model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits[:, 0].sigmoid()
"""
IMPORTS = "import torchvision\nfrom transformers import AutoModel, CLIPModel, pipeline"


WIDTH, LAYERS, WORDS, PLACES = 16, 2, 128, 64
CONFIG = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
    "num_attention_heads": 2, "intermediate_size": 2 * WIDTH, "vocab_size": WORDS, "max_position_embeddings": PLACES,
    "type_vocab_size": 2, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "pad_token_id": 0,
}  # fmt: skip


def make_bert(folder: Path) -> None:
    """A random classifier and its tokenizer, as files: nothing of transformers is imported here."""
    chance = np.random.default_rng(3)
    tensors = {name: (0.3 * chance.standard_normal(shape)).astype(np.float32) for name, shape in shapes().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    words = ["[PAD]", "[UNK]", *map(chr, range(33, 127))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")  # pyright: ignore
    tokenizer.save(str(folder / "tokenizer.json"))


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of such a classifier, by BERT's names."""
    found = {f"bert.embeddings.{name}_embeddings.weight": (rows, WIDTH)
             for name, rows in (("word", WORDS), ("position", PLACES), ("token_type", 2))}  # fmt: skip
    linear = {"bert.pooler.dense": (WIDTH, WIDTH), "classifier": (1, WIDTH)}
    norms = ["bert.embeddings.LayerNorm"]
    for layer in (f"bert.encoder.layer.{index}" for index in range(LAYERS)):
        linear |= {f"{layer}.attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
        linear |= {f"{layer}.attention.output.dense": (WIDTH, WIDTH)}
        linear |= {f"{layer}.intermediate.dense": (2 * WIDTH, WIDTH), f"{layer}.output.dense": (WIDTH, 2 * WIDTH)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in linear.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found | {f"{name}.{part}": (WIDTH,) for name in norms for part in ("weight", "bias")}


def write_reward(folder: Path, imports: str = IMPORTS) -> str:
    """The path of the file. folder: with what ``make_bert`` wrote."""
    path = folder / "mine.py"
    path.write_text(REWARD.format(folder=str(folder), imports=imports))
    return str(path)
