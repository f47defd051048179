"""The small image tokenizer of ours, after MAGVIT-v2's lookup-free quantisation (arXiv 2310.05737): the encoder
ends in one number a bit, its sign is the bit, and the bits are the code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from policies.files.shards import check_weights, read_weights
from policies.files.uninitialised import outline, with_memory
from policies.images.sizes import check_sizes
from policies.images.tensors import to_float, to_uint8
from rl.errors import PolicyError


@dataclass(frozen=True, slots=True)
class LFQConfig:
    """image_size in pixels; one code covers patch_size x patch_size of them and has ``bits`` bits."""

    image_size: int = 48
    patch_size: int = 8
    bits: int = 10
    width: int = 64


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))


class LFQTokenizer(nn.Module):
    """The encoder sees one patch at a time: equal patches have equal codes wherever they stand, so a policy has no
    noise to learn. The decoder is convolutional and sees the neighbours."""

    def __init__(self, config: LFQConfig) -> None:
        super().__init__()
        self.config = config
        w, patch = config.width, config.patch_size
        if patch != 8 or config.image_size % patch:
            raise PolicyError(
                f"image tokenizer: patch_size={patch}, image_size={config.image_size}: patch_size must be 8 and divide "
                "image_size"
            )
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(patch), nn.Conv2d(3 * patch**2, 4 * w, 1), nn.SiLU(), nn.Conv2d(4 * w, 4 * w, 1),
            nn.SiLU(), nn.Conv2d(4 * w, config.bits, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(config.bits, w, 3, padding=1), Residual(w), nn.Conv2d(w, 4 * w, 1), nn.PixelShuffle(2),
            Residual(w), Residual(w), nn.GroupNorm(8, w), nn.SiLU(), nn.Conv2d(w, 48, 3, padding=1), nn.PixelShuffle(4),
        )  # fmt: skip
        self.powers: Tensor
        self.register_buffer("powers", 2 ** torch.arange(config.bits), persistent=False)

    @property
    def image_size(self) -> int:
        return self.config.image_size

    @property
    def codes_per_image(self) -> int:
        return (self.config.image_size // self.config.patch_size) ** 2

    @property
    def codebook_size(self) -> int:
        return 2**self.config.bits

    def features(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] in -1..1 -> [B, bits, h, w], before the sign."""
        return self.encoder(pixels)

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [B, H, W, 3] -> codes [B, h*w] int64."""
        bits = self.features(to_float(pixels)) > 0
        codes = (bits.long() * self.powers[:, None, None]).sum(1)
        return codes.flatten(1).numpy()

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """codes [B, h*w] -> uint8 [B, H, W, 3]. Raises ValueError for a code outside the codebook."""
        grid = torch.as_tensor(np.asarray(codes, dtype=np.int64))
        if grid.numel() and (int(grid.min()) < 0 or int(grid.max()) >= self.codebook_size):
            raise ValueError(f"image code outside 0..{self.codebook_size - 1}")
        side = self.config.image_size // self.config.patch_size
        bits = (grid.view(-1, 1, side, side) & self.powers[:, None, None]) > 0
        return to_uint8(self.decoder(bits.float() * 2 - 1))

    def save(self, folder: Path) -> None:
        """config.json and half-precision weights: decoded pixels move by less than one of 255 levels."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in self.state_dict().items()}, str(folder / "model.safetensors"))
        (folder / "config.json").write_text(json.dumps({"model_type": "lfq", **asdict(self.config)}, indent=2) + "\n")


def load_lfq(folder: Path, settings: Mapping[str, Any], device: str | torch.device = "cpu") -> LFQTokenizer:
    """Raises PolicyError. It is small, and stays on the CPU."""
    config = LFQConfig(**{name: value for name, value in settings.items() if name != "model_type"})
    check_sizes(folder / "config.json", asdict(config))
    files, tokenizer = [folder / "model.safetensors"], outline(partial(LFQTokenizer, config))
    check_weights(files, _tensors(tokenizer))
    tokenizer = with_memory(tokenizer, torch.float32, "cpu")
    tokenizer.powers = 2 ** torch.arange(config.bits)  # no file has it
    read_weights(files, _tensors(tokenizer))
    return tokenizer.eval().requires_grad_(False)


def _tensors(tokenizer: LFQTokenizer) -> dict[str, list[Tensor]]:
    return {name: [value] for name, value in tokenizer.state_dict().items()}
