"""ImageReward (arXiv 2304.05977): BLIP reads caption and picture together, and a small head on its first token scores them.

The published checkpoint (``ImageReward.pt``: ``blip.visual_encoder.*``, ``blip.text_encoder.*``, ``mlp.layers.*``) is read
by our own code into transformers' BLIP modules, since the original package does not import beside transformers 5.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rewards.pictures.base import PictureReward, PictureSettings
from rewards.pictures.preference import crop, linear_chain, load_tensors, through
from rewards.settings import setting
from rl.errors import RewardError, one_line

MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of the published model's scores on its data
_MAX_TOKENS = 35
_WEIGHTS = ("ImageReward.safetensors", "ImageReward.pt", "model.safetensors", "pytorch_model.bin")
_VISION_NAMES = (
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^blocks\.(\d+)\.norm(\d)\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", r"encoder.layers.\1.self_attn.qkv."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"^blocks\.(\d+)\.mlp\.", r"encoder.layers.\1.mlp."),
    (r"^norm\.", "post_layernorm."),
)


@dataclass(frozen=True, slots=True)
class Heads:
    """What the tensors' shapes do not say: attention heads, of the published model unless config.json says otherwise."""

    vision: int = 16
    text: int = 12


@dataclass(frozen=True, kw_only=True)
class ImageRewardSettings(PictureSettings):
    path: str = setting(
        "a folder with ImageReward.pt or .safetensors and BERT's vocab.txt (bert-base-uncased); for another shape with a "
        'config.json {"vision_heads": 16, "text_heads": 12}'
    )

    def check(self) -> None:
        folder = Path(self.path)
        if not folder.is_dir():
            raise RewardError(f"path={self.path!r}: no such folder")
        _weights(folder)
        if not (folder / "vocab.txt").is_file():
            raise RewardError(f"path={self.path!r}: no vocab.txt (of bert-base-uncased)")


class ImageRewardReward(PictureReward):
    """ImageReward (arXiv 2304.05977), standardised over the published model's data: about -2 to 2."""

    name = "imagereward"
    Settings = ImageRewardSettings

    def __init__(self, settings: ImageRewardSettings) -> None:
        super().__init__(settings)
        folder, where = Path(settings.path), f"path={settings.path!r}"
        try:
            tensors = load_tensors(_weights(folder))
            self._vision, self._text = build_blip(tensors, _heads(folder), settings.device)
        except (KeyError, RuntimeError, ValueError) as error:
            raise RewardError(f"{where}: not its layout: {one_line(error)}") from error
        mlp = {name: value for name, value in tensors.items() if name.startswith("mlp.")}
        self._layers = linear_chain(mlp, settings.device, where)
        self._tokenizer = _tokenizer(folder)
        self.preprocess = crop(int(self._vision.config.image_size))

    def values(self, images: Sequence[Any], captions: Sequence[str]) -> np.ndarray:
        import torch

        found = []
        for start, pixels in self.batches(images, torch.float32):
            encoded = self._tokenizer.encode_batch(list(captions[start : start + self.batch_size]))
            tokens = torch.tensor([one.ids for one in encoded], device=self.device)
            mask = torch.tensor([one.attention_mask for one in encoded], device=self.device)
            seen = self._vision(pixel_values=pixels).last_hidden_state
            read = self._text(
                input_ids=tokens,
                attention_mask=mask,
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=self.device),
            ).last_hidden_state
            found.append((through(self._layers, read[:, 0])[:, 0] - MEAN) / STD)
        return torch.cat(found).cpu().numpy()


def build_blip(tensors: Mapping[str, Any], heads: Heads, device: str) -> tuple[Any, Any]:
    """(vision, text) modules with these weights; their sizes are read off the tensors. Raises KeyError or RuntimeError."""
    from rewards.pictures.torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    from transformers.models.blip.configuration_blip import BlipTextConfig, BlipVisionConfig
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    vision, text = _part(tensors, "blip.visual_encoder."), _part(tensors, "blip.text_encoder.")
    patch = vision["patch_embed.proj.weight"]
    side = math.isqrt(vision["pos_embed"].shape[1] - 1)
    vision_config = BlipVisionConfig(
        hidden_size=patch.shape[0],
        intermediate_size=vision["blocks.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=_count(vision, r"blocks\.(\d+)\."),
        num_attention_heads=heads.vision,
        image_size=side * patch.shape[2],
        patch_size=patch.shape[2],
        hidden_act="gelu",
        layer_norm_eps=1e-6,
        attention_dropout=0.0,
    )
    words = text["embeddings.word_embeddings.weight"]
    text_config = BlipTextConfig(
        vocab_size=words.shape[0],
        hidden_size=words.shape[1],
        encoder_hidden_size=patch.shape[0],
        intermediate_size=text["encoder.layer.0.intermediate.dense.weight"].shape[0],
        num_hidden_layers=_count(text, r"encoder\.layer\.(\d+)\."),
        num_attention_heads=heads.text,
        max_position_embeddings=text["embeddings.position_embeddings.weight"].shape[0],
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        is_decoder=True,  # gives the layers their cross-attention; it is called without a causal mask
    )
    return (
        _filled(BlipVisionModel(vision_config), {_renamed(name): value for name, value in vision.items()}, device),
        _filled(BlipTextModel(text_config, add_pooling_layer=False), text, device),
    )


def _filled(module: Any, tensors: Mapping[str, Any], device: str) -> Any:
    """With every weight from the checkpoint. Raises RuntimeError for one that is missing or of another shape."""
    missing, _ = module.load_state_dict(dict(tensors), strict=False)  # buffers and unused heads may be beside them
    lacking = [name for name in missing if "position_ids" not in name]
    if lacking:
        raise RuntimeError(f"no tensor for {lacking[0]} ({len(lacking)} in all)")
    return module.float().to(device).eval()


def _part(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _renamed(name: str) -> str:
    for pattern, replacement in _VISION_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _count(tensors: Mapping[str, Any], pattern: str) -> int:
    return 1 + max(int(match.group(1)) for name in tensors if (match := re.match(pattern, name)))


def _weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise RewardError(f"path={str(folder)!r}: no {' or '.join(_WEIGHTS[:2])}")


def _heads(folder: Path) -> Heads:
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return Heads(int(config.get("vision_heads", Heads().vision)), int(config.get("text_heads", Heads().text)))


def _tokenizer(folder: Path) -> Any:
    """BERT's, lower case, cut and padded to 35 tokens as the model was trained."""
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.enable_padding(length=_MAX_TOKENS)
    return tokenizer
