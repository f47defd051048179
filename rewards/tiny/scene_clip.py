"""The small CLIP that ships as ``tiny``: an open_clip custom config with a word-level tokenizer of scene captions.

open_clip loads such a folder through its own path, ``open_clip.create_model("local-dir:FOLDER")``: open_clip_config.json,
open_clip_model.safetensors, and the tokenizer as transformers reads it. One patch of the image tower is one cell of a
scene's grid, so the tower is nine tokens wide and trains in minutes on one CPU thread (``python -m rewards.tiny.train_clip``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rl.scenes import PALETTE, RELATIONS, SHAPES

FOLDER = Path(__file__).parent / "clip"

IMAGE_SIZE = 48
CONTEXT = 16
MEAN, STD = 1.0, 0.5  # the white background is 0, so that an empty cell says nothing but where it is
_PAD, _START, _UNKNOWN, _END = "<pad>", "<start>", "<unknown>", "<end>"


def vocabulary() -> dict[str, int]:
    """Word to id. The end token has the highest id: open_clip pools a caption at the largest id in it."""
    words = ["a", "an", "and", "two", "three", "four", *PALETTE, *SHAPES, *(f"{shape}s" for shape in SHAPES)]
    words += [word for relation in RELATIONS for word in relation.split()]
    names = dict.fromkeys([_PAD, _START, _UNKNOWN, *words, _END])
    return {word: index for index, word in enumerate(names)}


def config() -> dict[str, Any]:
    """open_clip_config.json: architecture and preprocessing. ``hf_tokenizer_name`` only says that one lies beside it."""
    vision = {
        "image_size": IMAGE_SIZE,
        "patch_size": 16,
        "width": 96,
        "layers": 3,
        "head_width": 24,
        "mlp_ratio": 4.0,
        "pool_type": "tok",
    }
    text = {
        "context_length": CONTEXT,
        "vocab_size": len(vocabulary()),
        "hf_tokenizer_name": "local",
        "width": 64,
        "heads": 4,
        "layers": 2,
        "mlp_ratio": 2.0,
        "pool_type": "argmax",
    }
    preprocess = {
        "mean": [MEAN] * 3,
        "std": [STD] * 3,
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    return {"model_cfg": {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": preprocess}


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json: words in lower case, ``<start> ... <end>``, padded on the right."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    ids = vocabulary()
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single=f"{_START} $A {_END}", special_tokens=[(_START, ids[_START]), (_END, ids[_END])]
    )
    tokenizer.add_special_tokens([_PAD, _START, _UNKNOWN, _END])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "padding_side": "right",
        "pad_token": _PAD,
        "bos_token": _START,
        "eos_token": _END,
        "unk_token": _UNKNOWN,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def write_folder(folder: Path, model: Any) -> None:
    """A whole open_clip folder; weights as float16, half the size, which changes scores by a few thousandths."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config(), indent=2) + "\n")
    write_tokenizer(folder)
    weights = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    file = folder / "open_clip_model.safetensors"
    save_file(weights, file, metadata={"format": "pt"})
    file.chmod(0o644)  # safetensors writes for its owner alone
