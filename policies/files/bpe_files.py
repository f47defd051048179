"""Tokenizers released as ``vocab.json`` and ``merges.txt`` with no ``tokenizer.json``: Dream's and DiffuCoder's.

Byte-level BPE as Qwen2 has it: text is put in NFC, then split into contractions, words with at most one sign before
them, single digits, signs, and white space.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from policies.files.parts import VOCABULARY_FILES
from policies.files.strict_json import read_json

VOCABULARY, MERGES = VOCABULARY_FILES
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizer_from_vocabulary(folder: Path) -> Tokenizer:
    """Reads both files, and the added tokens of tokenizer_config.json. Raises what tokenizers or json raise."""
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / VOCABULARY), str(folder / MERGES)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    config = folder / "tokenizer_config.json"
    added = read_json(config).get("added_tokens_decoder", {}) if config.is_file() else {}
    for index, token in sorted(added.items(), key=lambda item: int(item[0])):
        known = tokenizer.token_to_id(token["content"])
        tokenizer.add_tokens([AddedToken(**token)])
        if known is None and tokenizer.token_to_id(token["content"]) != int(index):
            raise ValueError(f"{config.name}: {token['content']!r} is to be {index}, but it comes after the others")
    return tokenizer
