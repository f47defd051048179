"""Train the tiny image tokenizer on the images of its tasks: ``python -m rl.tiny.images --out FOLDER``.

Loss: mean absolute error of the pixels, plus lookup-free quantisation's entropy terms (arXiv 2310.05737, eq. 4: each
feature should be sure of its bits, all features together should use every code), plus commitment to the bits.
Straight-through gradients pass the sign. Training images only: rendered scenes and easy-vqa's training images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from policies.images import LFQConfig, LFQTokenizer, to_float
from policies.pixels import load_pixels
from rl.tasks import GENERATORS
from rl.tasks.scenes import scene_image


def lfq_terms(features: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """features [B, bits, h, w] -> straight-through bits, entropy term, commitment term."""
    bits = torch.where(features > 0, 1.0, -1.0)
    quantized = features + (bits - features).detach()
    probability = torch.sigmoid(2 * features / temperature)
    each = _binary_entropy(probability).mean()
    together = _binary_entropy(probability.mean((0, 2, 3))).mean()
    return quantized, each - together, F.mse_loss(features, bits)


def _binary_entropy(p: Tensor) -> Tensor:
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log() + (1 - p) * (1 - p).log())


def train(images: np.ndarray, steps: int, batch_size: int, lr: float, seed: int = 0) -> LFQTokenizer:
    """images uint8 [N, H, W, 3] -> a trained tokenizer."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer = LFQTokenizer(LFQConfig(image_size=images.shape[1]))
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    began = time.monotonic()
    for step in range(steps):
        pixels = to_float(images[rng.integers(len(images), size=batch_size)])
        quantized, entropy, commitment = lfq_terms(tokenizer.features(pixels))
        error = (tokenizer.decoder(quantized) - pixels).abs()
        # Objects cover a tenth of an image: weigh every pixel by how far it is from the image's own background.
        weight = 0.3 + (pixels - pixels.flatten(2).median(-1).values[..., None, None]).abs().amax(1, keepdim=True)
        loss = (error * weight).mean() + 0.02 * entropy + 0.02 * commitment
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            elapsed = time.monotonic() - began
            print(f"step {step:5d}  error {error.mean():.4f}  loss {loss:.4f}  {elapsed:5.0f} s", flush=True)
    return tokenizer.eval().requires_grad_(False)


def training_images(count: int, size: int, seed: int) -> np.ndarray:
    """Half scenes, half easy-vqa; training splits only."""
    rng = np.random.default_rng(seed)
    scenes = GENERATORS["scenes"]("train")
    photos = sorted({str(prompt.image) for prompt in GENERATORS["easy_vqa"]("train")})
    picked = rng.choice(len(scenes), size=count // 2)
    drawn = [scene_image(scenes[index], int(rng.integers(2**31))) for index in picked]
    chosen = rng.choice(len(photos), size=min(count // 2, len(photos)), replace=False)
    seen = [load_pixels(photos[index], size) for index in chosen]
    return np.stack([*drawn, *seen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = training_images(arguments.images, LFQConfig().image_size, seed=0)
    tokenizer = train(images, arguments.steps, arguments.batch_size, arguments.lr)
    tokenizer.save(arguments.out)


if __name__ == "__main__":
    main()
