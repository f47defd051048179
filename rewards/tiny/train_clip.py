"""Trains the shipped ``tiny`` CLIP: ``python -m rewards.tiny.train_clip [--out FOLDER] [--steps N]``.

Contrastive (arXiv 2103.00020, symmetric cross-entropy) on rendered scenes, with hard negatives: a batch is made of
families, a scene and its variations in one attribute, count, shape or relation, or with colours swapped, each with a
picture. Pictures with a cell pasted from another one (something extra, missing or changed) are negatives of every
caption that the pixel checker denies them. A true caption of a picture is never its negative. Beside the contrast, the
cosine is drawn to the share of a caption's requirements that a picture meets: a reward that only knows right and wrong
orders the attempts of a beginner by chance. Training captions only.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rewards.pictures.composition import find_objects, related, share_met
from rewards.pictures.torchvision_ops import ensure_torchvision_ops
from rewards.tiny.clip_ranking import paste, ranking, scatter, variations
from rewards.tiny.scene_clip import FOLDER, MEAN, STD, config, write_folder, write_tokenizer
from rl.scenes import CATEGORIES, PALETTE, RELATIONS, SHAPES, SceneSpec, canonical, caption, render

FAMILIES, MEMBERS, PASTED = 28, 4, 16  # a batch: 28 families of up to 4 pictures, and 16 pasted pictures
ORDER_SHARE = 0.5  # of families whose members have the same words but for the relation: they are learnt last
POSITION_SCALE = 15.0  # open_clip's initial position embeddings are too faint to learn "left of" from in minutes
GRADED = 10.0  # weight of the squared distance of a cosine from the share of requirements met
PICTURES_EACH, PASTED_EACH = 6, 3  # pool, per caption


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures that training draws from, N of them with K different contents, and what C captions say of each content.

    pixels   [N, 3, 48, 48] uint8
    content  [N] index of what is drawn, without where, but for relations
    met      [K, C] float: the pixel checker's share of a caption's requirements that a content meets; 1 is a true caption
    rows     rows[c]: the pictures rendered for caption c
    pasted   pictures with a cell from elsewhere
    """

    pixels: torch.Tensor
    content: torch.Tensor
    met: torch.Tensor
    rows: list[np.ndarray]
    pasted: np.ndarray


def build_pool(specs: Sequence[SceneSpec], rng: np.random.Generator) -> Pool:
    """Render the pool and check every content against every caption."""
    size, pasted = PICTURES_EACH * len(specs), PASTED_EACH * len(specs)
    owners = [specs[index % len(specs)] for index in range(size)]
    pictures = [scatter(render(spec, int(rng.integers(2**40))), spec.relation, rng) for spec in owners]
    pairs = rng.integers(size, size=(pasted, 2))
    pictures += [paste(pictures[target], pictures[source], rng) for target, source in pairs]
    known: dict[Any, int] = {}
    rows, content = [], []
    for picture in pictures:
        found = sorted(find_objects(picture), key=lambda item: (item.shape, item.color))
        lie = [related(found[0], found[1], name) for name in RELATIONS] if len(found) == 2 else []
        key = (*((item.shape, item.color) for item in found), *lie)  # all that a caption speaks of
        if key not in known:
            known[key] = len(known)
            rows.append([share_met(spec, found) for spec in specs])
        content.append(known[key])
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    owned = [np.arange(index, size, len(specs)) for index in range(len(specs))]
    return Pool(pixels, torch.as_tensor(content), torch.tensor(rows), owned, np.arange(size, size + pasted))


class Batches:
    """Endless batches. Categories are drawn by the root of their size, since position has most of the captions."""

    def __init__(self, specs: Sequence[SceneSpec], pool: Pool, rng: np.random.Generator) -> None:
        self.pool, self.rng = pool, rng
        index = {caption(spec): number for number, spec in enumerate(specs)}
        self.near = [[index[caption(v)] for v in variations(spec) if caption(v) in index] for spec in specs]
        words = [sorted(re.findall("|".join([*PALETTE, *SHAPES]), caption(spec))) for spec in specs]
        self.same_words = [[n for n in near if words[n] == words[i]] or near for i, near in enumerate(self.near)]
        self.by_category = [[i for i, spec in enumerate(specs) if spec.category == name] for name in CATEGORIES]
        share = np.sqrt([len(group) for group in self.by_category])
        self.share = share / share.sum()

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """Pool rows [B], the column of each picture's caption (-1: pasted) [B], and the captions of the columns [C]."""
        captions: list[int] = []
        for category in self.rng.choice(len(self.by_category), size=FAMILIES, p=self.share):
            anchor = int(self.rng.choice(self.by_category[category]))
            near = self.same_words if self.rng.random() < ORDER_SHARE else self.near
            captions += [anchor, *map(int, self.rng.permutation(near[anchor])[: MEMBERS - 1])]
        rows = [int(self.rng.choice(self.pool.rows[number])) for number in captions]
        rows += list(map(int, self.rng.choice(self.pool.pasted, size=PASTED)))
        columns, owner = np.unique(captions, return_inverse=True)
        return torch.as_tensor(rows), torch.as_tensor([*map(int, owner), *[-1] * PASTED]), columns


class SceneEncoder(nn.Module):
    """A third tower for training alone: a scene's number to a unit vector.

    Both towers agree with it long before they agree with each other, and so find each other several times sooner.
    """

    def __init__(self, scenes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(scenes, 128)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.project = nn.Linear(128, width)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.project(functional.gelu(self.embedding(numbers))), dim=-1)


def augment(pixels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """uint8 [B, 3, H, W] -> normalised, with an image tokenizer's faults: a shift of a pixel, blur, tint, noise."""
    images = pixels.float().div_(255.0).sub_(MEAN).div_(STD)
    shift = torch.randint(-1, 2, (2,), generator=rng).tolist()
    images = images.roll(shift, dims=(2, 3))  # the border is white, so nothing wraps round
    size = images.shape[0]
    some = (torch.rand(size, 1, 1, 1, generator=rng) < 0.7).float()
    blurred = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    images = torch.lerp(images, blurred, some * torch.rand(size, 1, 1, 1, generator=rng))
    images = images + some * 0.08 * torch.randn(size, 3, 1, 1, generator=rng)
    noise = some * 0.12 * torch.rand(size, 1, 1, 1, generator=rng)
    return (images + noise * torch.randn(images.shape, generator=rng)).clamp_(-MEAN / STD, (1.0 - MEAN) / STD)


def contrastive(logits: torch.Tensor, true: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy of logits [B, C]; owner [B] is each row's own column, or -1.

    Another column that is true of a row too counts neither way, and neither does another row for a column.
    """
    own = owner >= 0
    target = functional.one_hot(owner.clamp(min=0), logits.shape[1]).bool() & own[:, None]
    by_row = functional.cross_entropy(logits.masked_fill(true & ~target, -torch.inf)[own], owner[own])
    # each row in turn is its column's right one, among all rows of which the column is false
    wrong = logits.masked_fill(true, -torch.inf).logsumexp(dim=0)
    by_column = functional.softplus(wrong[owner[own]] - logits[own, owner[own]]).mean()
    return (by_row + by_column) / 2


def train(specs: Sequence[SceneSpec], steps: int, seed: int, log: Callable[[str], None]) -> tuple[Any, Any]:
    """The trained model, in evaluation mode, and its tokenizer."""
    ensure_torchvision_ops()
    import open_clip

    torch.manual_seed(seed)
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pool = build_pool(specs, rng)
    log(f"pool of {len(pool.pixels)} pictures, {time.process_time():.0f} s of CPU")
    settings = config()["model_cfg"]
    model: Any = open_clip.CLIP(**settings)
    with torch.no_grad():
        model.visual.positional_embedding.mul_(POSITION_SCALE)
    tokenizer = _tokenizer()
    tokens = tokenizer([caption(spec) for spec in specs])
    names = [caption(canonical(spec)) for spec in specs]
    scene = torch.as_tensor(np.unique(names, return_inverse=True)[1])
    anchors = SceneEncoder(int(scene.max()) + 1, settings["embed_dim"])
    batches = Batches(specs, pool, rng)
    optimizer, schedule = _optimizer([*model.parameters(), *anchors.parameters()], steps)
    for step in range(steps):
        rows, owner, columns = batches.draw()
        images = model.encode_image(augment(pool.pixels[rows], noise), normalize=True)
        texts = model.encode_text(tokens[columns], normalize=True)
        scenes = anchors(scene[columns])
        scale, met = model.logit_scale.exp(), pool.met[pool.content[rows]][:, columns]
        cosine, true = images @ texts.T, met == 1
        same = scene[columns][:, None] == scene[columns][None, :]
        loss = contrastive(scale * cosine, true, owner) + GRADED * (cosine - met).square().mean()
        guide = contrastive(scale * images @ scenes.T, true, owner)
        guide = guide + contrastive(scale * texts @ scenes.T, same, torch.arange(len(columns)))
        optimizer.zero_grad(set_to_none=True)
        (loss + guide).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(50.0))
        if step % 100 == 0 or step == steps - 1:
            log(f"step {step}: loss {loss.item():.3f}, guide {guide.item():.3f}, {time.process_time():.0f} s of CPU")
    return model.eval(), tokenizer


def _optimizer(parameters: Sequence[nn.Parameter], steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW with decay on matrices alone; a short warm-up, then a cosine to zero."""
    groups = [
        {"params": [item for item in parameters if item.ndim >= 2], "weight_decay": 0.02},
        {"params": [item for item in parameters if item.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.98))
    warm = max(1, min(50, steps // 10))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )


def _tokenizer() -> Any:
    """The tokenizer exactly as open_clip will load it from the folder."""
    import open_clip

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "open_clip_config.json").write_text(json.dumps(config()))
        write_tokenizer(folder)
        return open_clip.get_tokenizer(f"local-dir:{folder}")


def _scenes(split: str) -> list[SceneSpec]:
    from rl.tasks import GENERATORS

    return [SceneSpec.from_json(prompt.metadata["scene"]) for prompt in GENERATORS["scenes"](split)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small CLIP of rendered scenes.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tokenizer = train(_scenes("train"), args.steps, args.seed, lambda line: print(line, flush=True))
    write_folder(args.out, model)
    for blur in (0.0, 0.8):
        for name, value in ranking(model, tokenizer, _scenes("val"), seed=1, blur=blur).items():
            print(f"held-out, blur {blur}: {name} {value:.4f}")


if __name__ == "__main__":
    main()
