"""Trains the shipped ``tiny`` CLIP: ``python -m rewards.train_clip [--out FOLDER] [--steps N]``.

Contrastive (arXiv 2103.00020, symmetric cross-entropy) on rendered scenes, with hard negatives: a batch is made of
families, a scene and its variations in one attribute, count, shape or relation, or with colours swapped, each with a
picture. Pictures with a cell pasted from another one (something extra, missing or changed) are negatives of every
caption that the pixel checker denies them. A true caption of a picture is never its negative. Training captions only.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
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
from scipy import ndimage
from torch.nn import functional

from rewards.composition import find_objects, holds, requirements
from rewards.scene_clip import FOLDER, MEAN, STD, config, write_folder, write_tokenizer
from rewards.torchvision_ops import ensure_torchvision_ops
from rl.scenes import CATEGORIES, GRID, MAX_COUNT, PALETTE, RELATIONS, SHAPES, SceneObject, SceneSpec, caption, render

FAMILIES, MEMBERS, PASTED = 56, 4, 32  # a batch: 56 families of 4 pictures, and 32 pasted pictures
ORDER_SHARE = 0.5  # of families whose members have the same words but for the relation


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures that training draws from.

    pixels [N, 3, 48, 48] uint8; true [N, C] bool: caption c holds of picture n; rows[c]: pictures rendered for caption c
    pasted: indices of pictures with a cell from elsewhere
    """

    pixels: torch.Tensor
    true: torch.Tensor
    rows: list[np.ndarray]
    pasted: np.ndarray


def variations(spec: SceneSpec) -> list[SceneSpec]:
    """The scenes one step away: another colour, shape, count or relation, or the colours of two objects swapped."""
    found: list[SceneSpec] = []
    for index, item in enumerate(spec.objects):
        colors = [name for name in PALETTE if name != item.color] if item.color else []
        changed = [dataclasses.replace(item, color=name) for name in colors]
        changed += [dataclasses.replace(item, shape=name) for name in SHAPES if name != item.shape]
        if len(spec.objects) == 1:
            changed += [dataclasses.replace(item, count=n) for n in range(1, MAX_COUNT + 1) if n != item.count]
        found += [_with(spec, index, other) for other in changed]
    if spec.relation:
        found += [dataclasses.replace(spec, relation=name) for name in RELATIONS if name != spec.relation]
    if len(spec.objects) == 2 and spec.objects[0].color != spec.objects[1].color:
        first, second = spec.objects
        swapped = (SceneObject(first.shape, second.color), SceneObject(second.shape, first.color))
        found.append(dataclasses.replace(spec, objects=swapped))
    return [other for other in dict.fromkeys(found) if len(set(other.objects)) == len(other.objects)]


def build_pool(specs: Sequence[SceneSpec], size: int, pasted: int, rng: np.random.Generator) -> Pool:
    """Render the pool and work out, with the pixel checker, which captions hold of which picture."""
    owners = [spec for spec in itertools.islice(itertools.cycle(specs), size)]
    pictures = [render(spec, int(rng.integers(2**40))) for spec in owners]
    pairs = rng.integers(size, size=(pasted, 2))
    pictures += [paste(pictures[target], pictures[source], rng) for target, source in pairs]
    true = np.stack(list(map(_truth(specs), pictures)))
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    rows = [np.arange(index, size, len(specs)) for index in range(len(specs))]
    return Pool(pixels, torch.from_numpy(true), rows, np.arange(size, size + pasted))


def paste(target: np.ndarray, source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The target with one cell of the source, at its place: of the cells that differ, if there are any."""
    cell = target.shape[0] // GRID
    windows = [
        (slice(row * cell, (row + 1) * cell), slice(column * cell, (column + 1) * cell))
        for row, column in itertools.product(range(GRID), repeat=2)
    ]
    differ = [window for window in windows if not np.array_equal(target[window], source[window])]
    picture = target.copy()
    if differ:
        window = differ[rng.integers(len(differ))]
        picture[window] = source[window]
    return picture


def _truth(specs: Sequence[SceneSpec]) -> Callable[[np.ndarray], np.ndarray]:
    """picture -> [C] bool: which captions hold. Pictures of equal content share one evaluation."""
    known: dict[Any, np.ndarray] = {}
    kinds = [{item.shape for item in spec.objects} for spec in specs]

    def lookup(picture: np.ndarray) -> np.ndarray:
        found = find_objects(picture)
        key = tuple(sorted((item.shape, item.color, int(item.x * GRID), int(item.y * GRID)) for item in found))
        if key not in known:
            shapes = {item.shape for item in found}
            pairs = zip(kinds, specs, strict=True)
            known[key] = np.asarray([kind == shapes and holds(spec, found) for kind, spec in pairs])
        return known[key]

    return lookup


def _with(spec: SceneSpec, index: int, item: SceneObject) -> SceneSpec:
    objects = list(spec.objects)
    objects[index] = item
    return dataclasses.replace(spec, objects=tuple(objects))


def neighbours(specs: Sequence[SceneSpec]) -> list[list[int]]:
    """For every caption, the indices of the captions one step away that are training captions too."""
    index = {caption(spec): number for number, spec in enumerate(specs)}
    return [[index[caption(other)] for other in variations(spec) if caption(other) in index] for spec in specs]


class Batches:
    """Endless batches. Categories are drawn evenly, since position and colour attribution have most captions."""

    def __init__(self, specs: Sequence[SceneSpec], pool: Pool, rng: np.random.Generator) -> None:
        self.pool, self.rng, self.near = pool, rng, neighbours(specs)
        # order and relation are learnt last, from pairs that differ in nothing else
        words = [sorted(re.findall("|".join([*PALETTE, *SHAPES]), caption(spec))) for spec in specs]
        self.same_objects = [[n for n in near if words[n] == words[i]] or near for i, near in enumerate(self.near)]
        self.by_category = [[i for i, spec in enumerate(specs) if spec.category == name] for name in CATEGORIES]
        share = np.asarray([math.sqrt(len(group)) for group in self.by_category])
        self.share = share / share.sum()

    def draw(self) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Pool rows [B], caption of each (-1: pasted) [B], and the different captions [C]."""
        captions: list[int] = []
        for category in self.rng.choice(len(self.by_category), size=FAMILIES, p=self.share):
            anchor = int(self.rng.choice(self.by_category[category]))
            near = self.same_objects if self.rng.random() < ORDER_SHARE else self.near
            captions += [anchor, *map(int, self.rng.permutation(near[anchor])[: MEMBERS - 1])]
        rows = [int(self.rng.choice(self.pool.rows[index])) for index in captions]
        rows += list(map(int, self.rng.choice(self.pool.pasted, size=PASTED)))
        owners = np.asarray(captions + [-1] * PASTED)
        return torch.as_tensor(rows), owners, np.unique(captions)


def augment(pixels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """uint8 [B, 3, H, W] -> normalised float with the faults of an image tokenizer: a shift of a pixel, blur, tint, noise."""
    images = _normalise(pixels)
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
    """Symmetric cross-entropy of logits [B, C] with owner [B] (a column, or -1); other true pairs count neither way."""
    own = owner >= 0
    target = functional.one_hot(owner.clamp(min=0), logits.shape[1]).bool() & own[:, None]
    to_text = logits.masked_fill(true & ~target, -torch.inf)[own]
    loss = functional.cross_entropy(to_text, owner[own])
    # every picture of its own caption in turn is the right one among all pictures of which the caption is false
    to_image = logits.masked_fill(true, -torch.inf).logsumexp(dim=0)
    positive = logits[own, owner[own]]
    return (loss + functional.softplus(to_image[owner[own]] - positive).mean()) / 2


def train(
    specs: Sequence[SceneSpec], steps: int, seed: int, log: Callable[[str], None], lr: float = 2e-3
) -> tuple[Any, Any]:
    """The trained model and its tokenizer."""
    ensure_torchvision_ops()
    import open_clip

    torch.manual_seed(seed)
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    begin = time.monotonic()
    pool = build_pool(specs, size=6 * len(specs), pasted=3 * len(specs), rng=rng)
    log(f"pool of {len(pool.pixels)} pictures in {time.monotonic() - begin:.0f} s")
    model = open_clip.CLIP(**config()["model_cfg"])
    tokens = _tokenize(_tokenizer(), [caption(spec) for spec in specs])
    batches = Batches(specs, pool, rng)
    decay = [item for item in model.parameters() if item.ndim >= 2]
    rest = [item for item in model.parameters() if item.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    warm = min(100, steps // 10)
    for step in range(steps):
        scale = min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = lr * scale
        rows, owners, columns = batches.draw()
        owner = torch.as_tensor(np.where(owners < 0, -1, np.searchsorted(columns, owners)))
        images = model.encode_image(augment(pool.pixels[rows], noise), normalize=True)
        texts = model.encode_text(tokens[columns], normalize=True)
        logits = model.logit_scale.exp() * images @ texts.T
        loss = contrastive(logits, pool.true[rows][:, columns], owner)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(50.0))
        if step % 100 == 0 or step == steps - 1:
            log(f"step {step} loss {loss.item():.3f} scale {model.logit_scale.exp().item():.1f} "
                f"{time.monotonic() - begin:.0f} s")
    return model.eval(), _tokenizer()


@torch.no_grad()
def ranking(model: Any, tokenizer: Any, specs: Sequence[SceneSpec], seed: int, blur: float = 0.0) -> dict[str, float]:
    """How well the model tells right from nearly right, over scenes that it may not have been trained on.

    text/{category}    share of pairs where a picture's caption beats a variation of it
    image/{category}   share of pairs where a caption's picture beats the picture of a variation
    pasted             the same against the right picture with a cell of another scene pasted in
    correlation        of the cosine with the pixel checker's partial score, over all these pictures
    """
    rng = np.random.default_rng(seed)
    wins: dict[str, list[bool]] = {}
    points: list[tuple[float, float]] = []
    for spec in specs:
        others = variations(spec)
        pictures = [render(item, int(rng.integers(2**40))) for item in (spec, *others)]
        pictures += [paste(pictures[0], picture, rng) for picture in pictures[1:]]
        found = [find_objects(picture) for picture in pictures]
        texts = model.encode_text(_tokenize(tokenizer, [caption(item) for item in (spec, *others)]), normalize=True)
        scores = (_images(model, pictures, blur, rng) @ texts.T).numpy()
        false = [n for n, other in enumerate(others, 1) if not holds(other, found[0])]
        wins.setdefault(f"text/{spec.category}", []).extend(scores[0, 0] > scores[0, n] for n in false)
        for n in range(1, len(pictures)):
            if not holds(spec, found[n]):
                name = f"image/{spec.category}" if n <= len(others) else "pasted"
                wins.setdefault(name, []).append(scores[0, 0] > scores[n, 0])
        unmet = [requirements(spec, items) for items in found]
        points += [(float(score), 1 - len(gone) / n) for score, (gone, n) in zip(scores[:, 0], unmet, strict=True)]
    for side in ("text", "image"):
        wins[f"{side}/all"] = [win for name, values in wins.items() if name.startswith(side) for win in values]
    result = {name: float(np.mean(values)) for name, values in sorted(wins.items())}
    return {**result, "correlation": float(np.corrcoef(np.asarray(points).T)[0, 1])}


def _images(model: Any, pictures: Sequence[np.ndarray], blur: float, rng: np.random.Generator) -> torch.Tensor:
    """Unit features [N, D]; with blur > 0 also Gaussian noise of 5 times as many grey levels."""
    pixels = np.stack(pictures).astype(np.float32)
    if blur:
        pixels = ndimage.gaussian_filter(pixels, (0, blur, blur, 0)) + rng.normal(0, 5 * blur, pixels.shape)
    scaled = torch.from_numpy(np.clip(pixels, 0, 255)).permute(0, 3, 1, 2)
    return model.encode_image(_normalise(scaled), normalize=True)


def _normalise(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float().div_(255.0).sub_(MEAN).div_(STD)


def _tokenizer() -> Any:
    """The tokenizer exactly as open_clip will load it from the folder."""
    import open_clip

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "open_clip_config.json").write_text(json.dumps(config()))
        write_tokenizer(folder)
        return open_clip.get_tokenizer(f"local-dir:{folder}")


def _tokenize(tokenizer: Any, captions: Sequence[str]) -> torch.Tensor:
    return tokenizer(list(captions))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small CLIP of rendered scenes.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train_specs, val_specs = (_scenes(split) for split in ("train", "val"))
    model, tokenizer = train(train_specs, args.steps, args.seed, print)
    write_folder(args.out, model)
    for blur in (0.0, 0.8):
        for name, value in ranking(model, tokenizer, val_specs, seed=1, blur=blur).items():
            print(f"held-out blur={blur} {name} {value:.4f}")


def _scenes(split: str) -> list[SceneSpec]:
    from rl.tasks import GENERATORS

    return [SceneSpec.from_json(prompt.metadata["scene"]) for prompt in GENERATORS["scenes"](split)]


if __name__ == "__main__":
    main()
