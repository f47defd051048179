"""Pictures a second of the reward ``clip``: 32 in one batch, in fp32 and bf16, beside the same 32 one at a time, and beside
open_clip's own use.

    python -m benchmarks.speed.clip_batch [--threads 1] [--rounds 5] [--models tiny small base] [--why]

tiny is the shipped model; small and base (ViT-B/32's shape) have random weights, which cost the same. The ways take turns,
and the best round of each counts, in CPU-seconds of all threads: what else the machine does only ever adds.

``--why`` says where a picture's time goes: preprocessing, the image encoder at batch 32 and at 1, and the floor of both,
which is its matrix products alone, as plain ``torch.mm`` of their shapes. What one at a time costs over the floor at 32 is
the most that any batching could gain.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rewards.pictures.clip import CONFIG, ClipReward, ClipSettings
from rl.threads import torch_threads
from rl.types import Message, Prompt, RewardItem, Task

BATCH = 32
VISION = {
    "small": {"image_size": 64, "layers": 6, "width": 192, "head_width": 64, "patch_size": 16},
    "base": {"image_size": 224, "layers": 12, "width": 768, "head_width": 64, "patch_size": 32},
}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2}


def random_model(name: str, folder: Path) -> str:
    """A folder as the reward takes it."""
    from rewards.pictures.torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    import open_clip
    from safetensors.torch import save_file

    config = {"embed_dim": 256, "vision_cfg": VISION[name], "text_cfg": TEXT}
    model = open_clip.CLIP(256, config["vision_cfg"], config["text_cfg"])  # pyright: ignore
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return str(folder)


def drawings(count: int, side: int) -> list[RewardItem]:
    """Noise of a group's kind: one caption, many pictures."""
    noise = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    prompt = Prompt("row/0", Task.DRAW, (Message("user", "a red circle above a blue square"),))
    return [RewardItem(prompt, "", picture) for picture in noise]


def best(rounds: int, *ways: Callable[[], object]) -> list[float]:
    """CPU-seconds of each way's best round."""
    found = [float("inf")] * len(ways)
    for _ in range(rounds):
        for index, way in enumerate(ways):
            began = time.process_time()
            way()
            found[index] = min(found[index], time.process_time() - began)
    return found


def measure(name: str, reward: ClipReward, halved: ClipReward, items: Sequence[RewardItem], rounds: int) -> None:
    def plainly() -> list[Any]:
        """As open_clip's README does it, picture by picture: no cache of texts."""
        from rewards.pictures.base import pair_of

        found = []
        with torch.inference_mode():
            for item in items:
                image, caption = pair_of(item)
                pixels = reward.preprocess(image)[None]
                left = reward.model.encode_image(pixels, normalize=True)
                right = reward.model.encode_text(reward.tokenizer([caption]), normalize=True)
                found.append(float((left * right).sum()))
        return found

    together = [score.value for score in reward.score(items)]
    alone = [reward.score([item])[0].value for item in items]
    np.testing.assert_allclose(together, alone, atol=1e-3)
    np.testing.assert_allclose(together, 100 * np.array(plainly()), atol=1e-3)
    apart = np.abs(np.array(together) - [score.value for score in halved.score(items)]).max()
    batched, half, single, plain = best(
        rounds,
        lambda: reward.score(items),
        lambda: halved.score(items),
        lambda: [reward.score([item]) for item in items],
        plainly,
    )
    print(
        f"{name}: {len(items) / batched:,.0f} pictures/s in a batch of {len(items)}, {len(items) / half:,.0f} in bf16 "
        f"(values within {apart:.2f}); one at a time {len(items) / single:,.0f} ({single / batched:.1f}x, bf16 "
        f"{single / half:.1f}x), by open_clip's own calls {len(items) / plain:,.0f} ({plain / batched:.1f}x)",
        flush=True,
    )


def why(name: str, reward: ClipReward, items: Sequence[RewardItem], rounds: int) -> None:
    from rewards.pictures.base import pair_of

    pictures = [pair_of(item)[0] for item in items]
    pixels = torch.stack([reward.preprocess(picture) for picture in pictures])
    planes = [torch.from_numpy(np.array(item.image)) for item in items]
    encode = reward.model.encode_image
    shapes = products(encode, pixels[:1])
    with torch.inference_mode(), torch_threads(reward.threads):
        found = best(
            rounds,
            lambda: [reward.preprocess(picture) for picture in pictures],
            lambda: on_the_batch(planes, pixels.shape[-1]),
            lambda: encode(pixels),
            lambda: encode(pixels.contiguous(memory_format=torch.channels_last)),
            lambda: [encode(one[None]) for one in pixels],
            lambda: floor(shapes, len(items), 1),
            lambda: floor(shapes, 1, len(items)),
        )
    parts = (
        "preprocessing",
        "on the batch",
        "encoder at 32",
        "channels last",
        "encoder at 1",
        "floor at 32",
        "floor at 1",
    )
    each = {part: 1e3 * seconds / len(items) for part, seconds in zip(parts, found, strict=True)}
    gflop = 2e-9 * sum(rows * inner * columns for rows, inner, columns in shapes)
    single = each["preprocessing"] + each["encoder at 1"]
    print(
        f"{name}: CPU-ms a picture: " + ", ".join(f"{part} {value:.3g}" for part, value in each.items())
        + f"; {gflop:.3g} GFLOP in products, {gflop / each['floor at 32'] * 1e3:.0f} GFLOP/s at 32; one at a time costs "
        f"{single / each['floor at 32']:.1f}x the floor at 32",
        flush=True,
    )  # fmt: skip


def products(encode: Callable[[torch.Tensor], object], pixels: torch.Tensor) -> list[tuple[int, int, int]]:
    """(rows, inner, columns) of the matrix products with weights in one picture's encoding, as they are met."""
    from torch.utils._python_dispatch import TorchDispatchMode

    shapes: list[tuple[int, int, int]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default):
                left, right = args[-2:]
                shapes.append((left.shape[0], left.shape[1], right.shape[1]))
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.convolution.default:
                weight = args[1]
                shapes.append((out.shape[-1] * out.shape[-2], weight[0].numel(), weight.shape[0]))
            return out

    with torch.no_grad(), Watch():
        encode(pixels)
    return shapes


def floor(shapes: Sequence[tuple[int, int, int]], batch: int, times: int) -> None:
    weights = {shape[1:]: torch.ones(shape[1:]) for shape in shapes}
    rows = {shape[:2]: torch.ones(shape[0] * batch, shape[1]) for shape in shapes}
    for _ in range(times):
        for shape in shapes:
            torch.mm(rows[shape[:2]], weights[shape[1:]])


def on_the_batch(planes: Sequence[torch.Tensor], side: int) -> torch.Tensor:
    """Preprocessing of pictures of one size as tensors: what PIL does one by one."""
    pixels = torch.stack(list(planes)).permute(0, 3, 1, 2)
    if pixels.shape[-1] != side:
        pixels = torch.nn.functional.interpolate(pixels.float(), side, mode="bicubic", antialias=True)
    return pixels.float().div_(255).sub_(0.5).div_(0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["tiny", *VISION], choices=["tiny", *VISION])
    parser.add_argument(
        "--why", action="store_true", help="also where a picture's time goes, and the floor of its products"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            model = name if name == "tiny" else random_model(name, Path(folder))
            reward, halved = (
                ClipReward(ClipSettings(model=model, threads=arguments.threads, precision=p)) for p in ("fp32", "bf16")
            )
        items = drawings(BATCH, 64 if name == "tiny" else VISION[name]["image_size"])
        measure(name, reward, halved, items, arguments.rounds)
        if arguments.why:
            why(name, reward, items, arguments.rounds)


if __name__ == "__main__":
    main()
