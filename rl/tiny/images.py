"""Train the tiny image tokenizer on the images of its tasks: ``python -m rl.tiny.images --out FOLDER``.

Loss: absolute and squared error of the pixels, weighed towards objects and their edges, which are a tenth of a picture
and all of its meaning; plus lookup-free quantisation's entropy terms (arXiv 2310.05737, eq. 4: each feature sure of its
bits, all features together using every code), plus commitment to the bits. Gradients pass the sign straight through.
A small network that names the shape of a photo from its bits, and is thrown away afterwards, asks for bits that tell
shapes apart: small ones are a few pixels of error and all of an answer.
Training images only: rendered scenes of training captions, and the objects of easy-vqa's training images, each put on a
background and in a place of its own, since 4,000 places are too few to learn all of what an edge can do in a patch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from policies.images.lfq import LFQConfig, LFQTokenizer
from policies.images.tensors import to_float
from rl.pixels import load_pixels
from rl.tasks import GENERATORS
from rl.tasks.easy_vqa import SHAPES
from rl.tasks.scenes import scene_image

SCENES, PHOTOS = 14, 26  # images of each kind in a batch: scenes are few and alike, photos have any size and place
ENTROPY_WEIGHT = COMMITMENT_WEIGHT = 0.02
SHAPE_WEIGHT = 0.1
PHOTO_SIZE = 64  # easy-vqa's own
SHAPE_NAMES: list[str] = [*sorted(SHAPES)]


@dataclass(frozen=True, slots=True)
class CutOut:
    """The object of a photo: uint8 [h, w, 3], where it is opaque: bool [h, w, 1], and its place in SHAPE_NAMES."""

    pixels: np.ndarray
    opaque: np.ndarray
    shape: int


def cut_out(photo: np.ndarray, shape: int) -> CutOut:
    """The one object of a photo, uint8 [H, W, 3], over a plain background. Raises ValueError where there is none."""
    difference = np.abs(photo.astype(int) - np.median(photo.reshape(-1, 3), 0)).max(-1)
    rows, columns = np.flatnonzero((difference > 20).any(1)), np.flatnonzero((difference > 20).any(0))
    if not len(rows):
        raise ValueError("photo without an object")
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return CutOut(photo[box], difference[box][..., None] > 12, shape)


def place(item: CutOut, rng: np.random.Generator, size: int) -> np.ndarray:
    """A new photo, uint8 [size, size, 3]: the object, perhaps mirrored, anywhere on a pale background."""
    height, width = item.pixels.shape[:2]
    photo = np.empty((PHOTO_SIZE, PHOTO_SIZE, 3), np.uint8)
    photo[:] = rng.integers(225, 256, 3)
    top, left = rng.integers(PHOTO_SIZE - height + 1), rng.integers(PHOTO_SIZE - width + 1)
    side = -1 if rng.random() < 0.5 else 1
    window = photo[top : top + height, left : left + width]
    window[:] = np.where(item.opaque[:, ::side], item.pixels[:, ::side], window)
    return np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.BOX))


class ShapeReader(nn.Sequential):
    """Bits [B, bits, h, w] -> logits [B, shapes]."""

    def __init__(self, bits: int, width: int = 96) -> None:
        super().__init__(
            nn.Conv2d(bits, width, 1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
            nn.Linear(width, len(SHAPE_NAMES)),
        )  # fmt: skip


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


def train(scenes: np.ndarray, objects: Sequence[CutOut], steps: int, lr: float, seed: int = 0) -> LFQTokenizer:
    """scenes uint8 [N, H, W, 3] and objects of photos -> a trained tokenizer."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    size = scenes.shape[1]
    tokenizer = LFQTokenizer(LFQConfig(image_size=size))
    reader = ShapeReader(tokenizer.config.bits)
    parameters = [*tokenizer.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    began = time.monotonic()
    for step in range(steps):
        chosen = [objects[index] for index in rng.integers(len(objects), size=PHOTOS)]
        photos = np.stack([place(item, rng, size) for item in chosen])
        pixels = to_float(np.concatenate([scenes[rng.integers(len(scenes), size=SCENES)], photos]))
        quantized, entropy, commitment = lfq_terms(tokenizer.features(pixels))
        error = reconstruction_error(tokenizer.decoder(quantized), pixels)
        misread = F.cross_entropy(reader(quantized[SCENES:]), torch.tensor([item.shape for item in chosen]))
        optimizer.zero_grad()
        (error + ENTROPY_WEIGHT * entropy + COMMITMENT_WEIGHT * commitment + SHAPE_WEIGHT * misread).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            seconds = time.monotonic() - began
            print(
                f"step {step:5d}  error {error.item():.4f}  shapes {misread.item():.3f}  {seconds:5.0f} s", flush=True
            )
    return tokenizer.eval().requires_grad_(False)


def training_images(count: int, size: int, seed: int) -> tuple[np.ndarray, list[CutOut]]:
    """``count`` scenes, and the objects of at most as many easy-vqa photos whose shape is known; training splits."""
    rng = np.random.default_rng(seed)
    prompts = GENERATORS["scenes"]("train")
    picked = rng.choice(len(prompts), size=count)
    scenes = np.stack([scene_image(prompts[index], int(rng.integers(2**31)), size) for index in picked])
    return scenes, [cut_out(load_pixels(path, PHOTO_SIZE), shape) for path, shape in known_photos("train")[:count]]


def known_photos(split: str) -> list[tuple[str, int]]:
    """Path and place in SHAPE_NAMES of the easy-vqa photos whose shape their questions settle."""
    shapes = {str(prompt.image): known_shape(prompt.solution or "") for prompt in GENERATORS["easy_vqa"](split)}
    return sorted((path, shape) for path, shape in shapes.items() if shape is not None)


def known_shape(solution: str) -> int | None:
    """Its place in SHAPE_NAMES, where the thought of a worked answer, ``<think>a red circle</think>yes``, names a shape."""
    words = solution.partition("</think>")[0].split()
    return SHAPE_NAMES.index(words[-1]) if words and words[-1] in SHAPE_NAMES else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--images", type=int, default=4000, help="of each kind")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scenes, objects = training_images(arguments.images, LFQConfig().image_size, seed=0)
    train(scenes, objects, arguments.steps, arguments.lr).save(arguments.out)


if __name__ == "__main__":
    main()
