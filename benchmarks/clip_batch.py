"""Pictures a second of the reward ``clip``: 32 in one batch, in fp32 and bf16, beside the same 32 one at a time, and beside
open_clip's own use.

    python -m benchmarks.clip_batch [--threads 1] [--rounds 5] [--models tiny small base]

tiny is the shipped model; small and base (ViT-B/32's shape) have random weights, which cost the same. The ways take turns,
and the best round of each counts, in CPU-seconds of all threads: what else the machine does only ever adds.
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

from rewards.clip import CONFIG, ClipReward
from rl.types import Message, Prompt, RewardItem, Task

BATCH = 32
VISION = {
    "small": {"image_size": 64, "layers": 6, "width": 192, "head_width": 64, "patch_size": 16},
    "base": {"image_size": 224, "layers": 12, "width": 768, "head_width": 64, "patch_size": 32},
}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2}


def random_model(name: str, folder: Path) -> str:
    """A folder as the reward takes it."""
    from rewards.torchvision_ops import ensure_torchvision_ops

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
        from rewards.pictures import pair_of

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["tiny", *VISION], choices=["tiny", *VISION])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            model = name if name == "tiny" else random_model(name, Path(folder))
            reward, halved = (ClipReward(model, threads=arguments.threads, precision=p) for p in ("fp32", "bf16"))
        items = drawings(BATCH, 64 if name == "tiny" else VISION[name]["image_size"])
        measure(name, reward, halved, items, arguments.rounds)


if __name__ == "__main__":
    main()
