"""A user's reward file that scores with a transformers classifier, and the small random model that it loads."""

from __future__ import annotations

from pathlib import Path

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
MAKE = """
import sys
import torch
from rewards.pictures.torchvision_ops import ensure_torchvision_ops
ensure_torchvision_ops()
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification
torch.manual_seed(3)
small = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=128)
BertForSequenceClassification(BertConfig(**small, max_position_embeddings=64, num_labels=1)).save_pretrained(sys.argv[1])
words = ["[PAD]", "[UNK]", *map(chr, range(33, 127))]
tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
tokenizer.save(sys.argv[1] + "/tokenizer.json")
"""


IMPORTS = "import torchvision\nfrom transformers import AutoModel, CLIPModel, pipeline"


def write_reward(folder: Path, imports: str = IMPORTS) -> str:
    """The path of the file. folder: with the model that ``MAKE`` wrote."""
    path = folder / "mine.py"
    path.write_text(REWARD.format(folder=str(folder), imports=imports))
    return str(path)
