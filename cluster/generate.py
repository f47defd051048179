"""One prompt, answered by a policy in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster import console
from policies.folders import check_files
from rl.config import load_config
from rl.errors import ConfigError, DataError, PolicyError
from rl.types import ImageSampling, Message, Prompt, Task, TextSampling

TASKS = (Task.TEXT, Task.UNDERSTAND, Task.DRAW)


def generate(
    recipe: str, overrides: Sequence[str], text: str, *, task: str, image: Path | None, out: Path, count: int
) -> int:
    """Print ``count`` answers, or write as many drawings and print where they are.

    Raises ConfigError, DataError, PolicyError.
    """
    config = load_config(recipe, overrides)
    prompt = _prompt(text, task, image)
    folder = check_files(config.policy.path)
    if prompt.task is not Task.TEXT and not (folder / "image_tokenizer").is_dir():
        raise PolicyError(f"{folder}: no image_tokenizer, which --task {prompt.task} needs")
    if prompt.task is Task.DRAW:
        _check_writable(out)

    import torch

    from policies import load_policy
    from policies.generate import rollout_group
    from rl.seeds import derive_seed

    torch.set_num_threads(config.rollout.threads)
    policy = load_policy(folder, device=config.policy.device, dtype=config.policy.dtype)
    sampling: TextSampling | ImageSampling = getattr(config.evaluation, prompt.task)
    seeds = [derive_seed(config.seed, prompt.id, index) for index in range(count)]
    for rollout in rollout_group(policy, prompt, sampling, seeds, weight_version=0):
        if rollout.image is None:
            print(rollout.text)
        else:
            print(_write(rollout.image, out, rollout.index, count))
    return console.OK


def _prompt(text: str, task: str, image: Path | None) -> Prompt:
    if task not in TASKS:
        raise ConfigError(f"--task {task}: allowed: {', '.join(TASKS)}")
    if not text.strip():
        raise DataError("the prompt is empty; give a question, or a caption to draw")
    if (task == Task.UNDERSTAND) != (image is not None):
        raise DataError(f"--task {task} with --image {image}: --task understand looks at an --image, and no other does")
    if image is not None:
        from policies.pixels import open_image

        open_image(image)
    return Prompt(f"generate/{text}", Task(task), (Message("user", text),), image=str(image) if image else None)


def _check_writable(out: Path) -> None:
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: no such folder: {out.parent}")
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ConfigError(f"--out {out}: allowed: a name that ends in .png, .jpg, .jpeg or .webp")


def _write(pixels, out: Path, index: int, count: int) -> Path:
    from PIL import Image

    path = out if count == 1 else out.with_stem(f"{out.stem}-{index}")
    Image.fromarray(pixels).save(path)
    return path
