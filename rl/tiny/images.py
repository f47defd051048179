"""Train the tiny image tokenizer on the images of its tasks: ``python -m rl.tiny.images --out FOLDER``.

Loss: absolute and squared error of the pixels, weighed towards objects and their edges, which are a tenth of a picture
and all of its meaning; plus lookup-free quantisation's entropy terms (arXiv 2310.05737, eq. 4: each feature sure of its
bits, all features together using every code), plus commitment to the bits. Gradients pass the sign straight through.
Training images only: rendered scenes of training captions and easy-vqa's training images.
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

SCENES, PHOTOS = 20, 12  # images of each kind in a batch: scenes are checked to the pixel, photos only looked at
ENTROPY_WEIGHT = COMMITMENT_WEIGHT = 0.02


def lfq_terms(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """features [B, bits, h, w] -> straight-through bits, entropy term, commitment term."""
    bits = torch.where(features > 0, 1.0, -1.0)
    quantized = features + (bits - features).detach()
    probability = torch.sigmoid(2 * features)
    each = _binary_entropy(probability).mean()
    together = _binary_entropy(probability.mean((0, 2, 3))).mean()
    return quantized, each - together, F.mse_loss(features, bits)


def _binary_entropy(p: Tensor) -> Tensor:
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log() + (1 - p) * (1 - p).log())


def pixel_weights(pixels: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]: 0.1 on the background, 1.1 within two pixels of an object, 2.1 on it."""
    background = pixels.flatten(2).median(-1).values[..., None, None]
    on = ((pixels - background).abs().amax(1, keepdim=True) > 0.15).float()
    return 0.1 + F.max_pool2d(on, 5, stride=1, padding=2) + on


def reconstruction_error(decoded: Tensor, pixels: Tensor) -> Tensor:
    difference = decoded - pixels
    return 2 * ((difference.abs() + difference.square()) * pixel_weights(pixels)).mean()


def train(scenes: np.ndarray, photos: np.ndarray, steps: int, lr: float, seed: int = 0) -> LFQTokenizer:
    """scenes, photos uint8 [N, H, W, 3] -> a trained tokenizer."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer = LFQTokenizer(LFQConfig(image_size=scenes.shape[1]))
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    began = time.monotonic()
    for step in range(steps):
        batch = [scenes[rng.integers(len(scenes), size=SCENES)], photos[rng.integers(len(photos), size=PHOTOS)]]
        pixels = to_float(np.concatenate(batch))
        quantized, entropy, commitment = lfq_terms(tokenizer.features(pixels))
        error = reconstruction_error(tokenizer.decoder(quantized), pixels)
        optimizer.zero_grad()
        (error + ENTROPY_WEIGHT * entropy + COMMITMENT_WEIGHT * commitment).backward()
        torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  error {error.item():.4f}  {time.monotonic() - began:5.0f} s", flush=True)
    return tokenizer.eval().requires_grad_(False)


def training_images(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` scenes and at most as many easy-vqa photos, of the training splits."""
    rng = np.random.default_rng(seed)
    prompts = GENERATORS["scenes"]("train")
    picked = rng.choice(len(prompts), size=count)
    scenes = np.stack([scene_image(prompts[index], int(rng.integers(2**31)), size) for index in picked])
    paths = sorted({str(prompt.image) for prompt in GENERATORS["easy_vqa"]("train")})[:count]
    return scenes, np.stack([load_pixels(path, size) for path in paths])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--images", type=int, default=4000, help="of each kind")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scenes, photos = training_images(arguments.images, LFQConfig().image_size, seed=0)
    train(scenes, photos, arguments.steps, arguments.lr).save(arguments.out)


if __name__ == "__main__":
    main()
