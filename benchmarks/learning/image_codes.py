"""What the codes of an image tokenizer keep: ``python -m benchmarks.learning.image_codes [--tokenizer FOLDER]``.

Scenes: how many held-out ones the pixel checker accepts after they were encoded and decoded. Photos: how many held-out
shapes of easy-vqa a small transformer names that was trained on the codes of the training photos. Its code embeddings begin
alike where bits agree, as those of a fresh policy do. Three seeds of the reader, since 883 photos are few.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.base import ImageTokenizer
from policies.files.fresh_policy import begin_alike
from policies.images.load import load_image_tokenizer
from rewards import load_reward
from rl.pixels import load_pixels
from rl.tasks import GENERATORS
from rl.tasks.scenes import scene_image
from rl.tiny.images import SHAPE_NAMES, known_photos
from rl.types import RewardItem

WIDTH, BATCH, LR = 96, 64, 1e-3


class Reader(nn.Module):
    """Codes [B, codes] -> logits [B, shapes]."""

    def __init__(self, codebook: int, codes: int) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(codebook, WIDTH), nn.Parameter(0.02 * torch.randn(codes, WIDTH))
        begin_alike(self.table.weight.data, torch.Generator().manual_seed(0))
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, len(SHAPE_NAMES))

    def forward(self, codes: Tensor) -> Tensor:
        return self.head(self.layers(self.table(codes) + self.places).mean(1))


def photos(tokenizer: ImageTokenizer, split: str) -> tuple[Tensor, Tensor]:
    """Codes [N, codes] and shapes [N] of the photos whose shape is known."""
    known = known_photos(split)
    pixels = np.stack([load_pixels(path, tokenizer.image_size) for path, _ in known])
    codes = np.concatenate([tokenizer.encode(pixels[first : first + 500]) for first in range(0, len(pixels), 500)])
    return torch.from_numpy(codes), torch.tensor([shape for _, shape in known])


def named(train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], codebook: int, steps: int, seed: int) -> float:
    """Share of the held-out shapes that a reader names after ``steps`` batches of the training photos."""
    torch.manual_seed(seed)
    reader = Reader(codebook, train[0].shape[1])
    optimizer = torch.optim.AdamW(reader.parameters(), LR, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(train[0]), (BATCH,))
        optimizer.zero_grad()
        F.cross_entropy(reader(train[0][rows]), train[1][rows]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float((reader.eval()(held_out[0]).argmax(1) == held_out[1]).float().mean())


def scenes_kept(tokenizer: ImageTokenizer, count: int) -> float:
    """Share of held-out scenes that the pixel checker accepts after encoding and decoding."""
    prompts = GENERATORS["scenes"]("val", size=count)
    pictures = np.stack([scene_image(prompt, row, tokenizer.image_size) for row, prompt in enumerate(prompts)])
    decoded = tokenizer.decode(tokenizer.encode(pictures))
    items = [RewardItem(prompt, image=picture) for prompt, picture in zip(prompts, decoded, strict=True)]
    return float(np.mean([score.value for score in load_reward("composition").score(items)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", type=Path, default=Path("policies/shipped/tiny/image_tokenizer"))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--scenes", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = load_image_tokenizer(arguments.tokenizer)
    print(f"scenes accepted after decoding: {scenes_kept(tokenizer, arguments.scenes):.1%} of {arguments.scenes}")
    train, held_out = (photos(tokenizer, split) for split in ("train", "val"))
    print(f"photos: {len(train[1])} to learn from, {len(held_out[1])} held out")
    for seed in range(3):
        share = named(train, held_out, tokenizer.codebook_size, arguments.steps, seed)
        print(f"shapes named, reader {seed}: {share:.1%}", flush=True)


if __name__ == "__main__":
    main()
