"""MAGVIT-v2's image tokenizer (arXiv 2310.05737) as Show-o trained it and MMaDA uses it: showlab/magvitv2.

A convolutional encoder halves the image four times; the signs of its 13 output channels are the bits of a code, the
first channel the highest bit (lookup-free quantisation, section 3.1); a convolutional decoder turns them back. Module
names are those of the released checkpoint.
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

from policies.files.folders import pickled
from policies.files.shards import check_weights, read_weights
from policies.files.uninitialised import outline, with_memory
from policies.images.sizes import check_sizes
from policies.images.tensors import to_float, to_uint8
from rl.errors import PolicyError

WEIGHTS = "pytorch_model.safetensors"  # the name that the original's loader looks for
CLASS_NAME = "MAGVITv2"


@dataclass(frozen=True, slots=True)
class MagvitConfig:
    """The released sizes. ``image_size`` is what a policy was trained to draw; the network takes any multiple of 16.

    Multipliers and counts of residual blocks are from the finest level to the coarsest, of the encoder and the decoder.
    """

    image_size: int = 512
    channels: int = 128
    bits: int = 13
    down_multipliers: tuple[int, ...] = (1, 2, 2, 4, 4)
    down_blocks: tuple[int, ...] = (4, 3, 4, 3, 4)
    up_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    up_blocks: tuple[int, ...] = (4, 4, 3, 4, 3)

    @property
    def patch_size(self) -> int:
        return 2 ** (len(self.down_multipliers) - 1)


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """One head over all places of the coarsest level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(attended.transpose(1, 2).view_as(x))


class Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.attn_1 = ResidualBlock(channels, channels), Attention(channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Resize(nn.Module):
    """Half the size, with zeros below and to the right; or twice, each pixel repeated first."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0) if self.up else F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """Residual blocks of one size, then the way to the next."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(inputs if i == 0 else outputs, outputs) for i in range(count))
        self.downsample: nn.Module = nn.Identity()
        self.upsample: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return self.upsample(self.downsample(x))


class Encoder(nn.Module):
    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        widths = [config.channels * factor for factor in config.down_multipliers]
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1)
        inputs = [config.channels, *widths[:-1]]
        self.down = nn.ModuleList(map(Level, inputs, widths, config.down_blocks))
        for level, width in zip(self.down[:-1], widths, strict=False):
            level.downsample = Resize(width, up=False)
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = norm(widths[-1]), nn.Conv2d(widths[-1], config.bits, 3, padding=1)
        self.quant_conv = nn.Conv2d(config.bits, config.bits, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] in -1..1 -> [B, bits, h, w], whose signs are the code."""
        x = self.conv_in(pixels)
        for level in self.down:
            x = level(x)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(self.mid(x)))))


class Decoder(nn.Module):
    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        widths = [config.channels * factor for factor in config.up_multipliers]
        self.post_quant_conv = nn.Conv2d(config.bits, config.bits, 1)
        self.conv_in = nn.Conv2d(config.bits, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        inputs = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(map(Level, inputs, widths, config.up_blocks))
        for level, width in zip(self.up[1:], widths[1:], strict=True):
            level.upsample = Resize(width, up=True)
        self.norm_out, self.conv_out = norm(widths[0]), nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, bits: Tensor) -> Tensor:
        """[B, bits, h, w] of -1 and 1 -> [B, 3, H, W], -1..1 but for overshoot."""
        x = self.mid(self.conv_in(self.post_quant_conv(bits)))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Codebook(nn.Module):
    """Code to bits and back. Both tables follow from the number of bits; the released checkpoint stores them."""

    power_vals: Tensor
    embedding: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        powers = 2 ** np.arange(bits - 1, -1, -1)
        signs = np.where(np.arange(2**bits)[:, None] & powers, 1.0, -1.0)
        self.register_buffer("power_vals", torch.from_numpy(powers))
        self.register_buffer("embedding", torch.from_numpy(signs.astype(np.float32)))

    def codes(self, features: Tensor) -> Tensor:
        """[B, bits, h, w] -> [B, h*w] int64"""
        return ((features > 0).long() * self.power_vals[:, None, None]).sum(1).flatten(1)

    def bits(self, codes: Tensor, side: int) -> Tensor:
        """[B, h*w] -> [B, bits, h, w]"""
        return self.embedding[codes].unflatten(1, (side, -1)).permute(0, 3, 1, 2).contiguous()


class MagvitTokenizer(nn.Module):
    """Implements policies.base.ImageTokenizer. One image at a time: memory stays small, and batch-mates change nothing."""

    resampling = "bicubic"  # of images that come in another size, as MMaDA's training and inference do

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder, self.quantize = Encoder(config), Decoder(config), Codebook(config.bits)

    @property
    def image_size(self) -> int:
        return self.config.image_size

    @property
    def codes_per_image(self) -> int:
        return (self.config.image_size // self.config.patch_size) ** 2

    @property
    def codebook_size(self) -> int:
        return 2**self.config.bits

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [B, H, W, 3] -> codes [B, h*w] int64."""
        device = self.quantize.embedding.device
        images = [self.quantize.codes(self.encoder(to_float(image[None]).to(device))) for image in pixels]
        return torch.cat(images).cpu().numpy()

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """codes [B, h*w] -> uint8 [B, H, W, 3]. Raises ValueError for a code outside the codebook."""
        grid = torch.as_tensor(np.asarray(codes, dtype=np.int64), device=self.quantize.embedding.device)
        if grid.numel() and (int(grid.min()) < 0 or int(grid.max()) >= self.codebook_size):
            raise ValueError(f"image code outside 0..{self.codebook_size - 1}")
        side = self.config.image_size // self.config.patch_size
        return np.concatenate([to_uint8(self.decoder(self.quantize.bits(row[None], side)).cpu()) for row in grid])

    def save(self, folder: Path) -> None:
        """The folder that ``load_magvit`` and the original's own loader read."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(state, str(folder / WEIGHTS), metadata={"format": "pt"})
        (folder / "config.json").write_text(
            json.dumps({"_class_name": CLASS_NAME, **asdict(self.config)}, indent=2) + "\n"
        )


def load_magvit(folder: Path, settings: Mapping[str, Any], device: str | torch.device = "cpu") -> MagvitTokenizer:
    """``settings``: the folder's config.json, which the release leaves all but empty. On the meta device the weights are
    looked at and not read. Raises PolicyError."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name in MagvitConfig.__dataclass_fields__
    }
    config = MagvitConfig(**given)
    check_sizes(folder / "config.json", asdict(config))
    if config.image_size % config.patch_size:
        raise PolicyError(
            f"{folder / 'config.json'}: image_size={config.image_size}: must be a multiple of {config.patch_size}"
        )
    files, tokenizer = [_weights_file(folder)], outline(partial(MagvitTokenizer, config))
    check_weights(files, _tensors(tokenizer))
    if torch.device(device).type != "meta":
        tokenizer = with_memory(tokenizer, torch.float32, device)
        read_weights(files, _tensors(tokenizer))
    return tokenizer.eval().requires_grad_(False)


def _tensors(tokenizer: MagvitTokenizer) -> dict[str, list[Tensor]]:
    return {name: [value] for name, value in tokenizer.state_dict().items()}


def _weights_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        raise PolicyError(f"{folder}: {len(files)} safetensors files; an image tokenizer has one, such as {WEIGHTS}")
    if any(folder.glob("*.bin")):
        raise pickled(folder)
    raise PolicyError(f"{folder}: no {WEIGHTS}")
