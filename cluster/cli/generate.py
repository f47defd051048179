"""One prompt, answered by a policy in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster import console
from cluster.run.hub import attach_images, pinned
from cluster.run.inputs import say
from cluster.run.preflight import check_device
from cluster.run.settings import DEVICE, load
from cluster.run.writable import file_problem
from policies.files.folders import check_files
from policies.files.parts import Part
from rl.errors import ConfigError, DataError, PolicyError
from rl.types import Message, Prompt, Rollout, Task

if TYPE_CHECKING:
    from policies.base import Policy

DRAWN = (Task.DRAW, Task.THINK_DRAW)
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    out    where an image goes; several are numbered
    given  the response as far as it is known: text with [mask:N] holes, or for draw the file of a picture
    mask   for draw: a picture of the same view, white where the given one is drawn anew
    trace  where the page that plays the denoising goes
    """

    text: str
    task: str = Task.TEXT
    image: Path | None = None
    out: Path = Path("drawing.png")
    count: int = 1
    given: str | None = None
    mask: Path | None = None
    trace: Path | None = None


def generate(recipe: str, overrides: Sequence[str], request: Request) -> int:
    """Print the answers, or write as many images and print where they are; a plan is printed before its image.

    Raises ConfigError, DataError, PolicyError.
    """
    written, notes = load(recipe, overrides, trains=False)
    config = pinned(written, data=False)
    prompt = _prompt(request)
    attach_images(config)
    folder = check_files(config.policy.path, Part.CHECKS)
    check_device(config.policy)
    if prompt.task is not Task.TEXT and not (folder / "image_tokenizer").is_dir():
        raise PolicyError(
            f"{folder}: no image_tokenizer, which --task {prompt.task} needs; use a policy with one, or for a policy on a hub "
            "give policy.image_tokenizer"
        )
    if prompt.task in DRAWN:
        for index in range(request.count):
            _check_writable("--out", _numbered(request.out, index, request.count), PICTURES)
    if request.trace is not None:
        _check_writable("--trace", request.trace, (".html",))

    folder = check_files(config.policy.path)  # of a policy on a hub, now the weights too

    import torch

    from cluster.workers.rollout import sampling_for
    from policies import load_policy
    from policies.generate import rollout_group
    from policies.network.compiled import compile_layers
    from rl.seeds import derive_seed

    torch.set_num_threads(config.rollout.threads)
    policy = load_policy(folder, device=config.policy.device, dtype=config.policy.dtype)
    if config.policy.compile:
        compile_layers(policy.module)
    seeds = [derive_seed(config.seed, prompt.id, index) for index in range(request.count)]
    sampling = sampling_for(config.evaluation, prompt)
    rollouts = rollout_group(policy, prompt, sampling, seeds, weight_version=0, given=_given(policy, request))
    say(note for note in notes if not note.startswith(DEVICE))
    for rollout in rollouts:
        if rollout.text or rollout.image is None:
            console.show(rollout.text)
        if rollout.image is not None:
            console.show(_write(rollout.image, request.out, rollout.index, request.count))
    if request.trace is not None:
        request.trace.write_text(trace_page(policy, prompt, rollouts), encoding="utf-8")
        console.show(request.trace)
    return console.OK


def trace_page(policy: Policy, prompt: Prompt, rollouts: Sequence[Rollout]) -> str:
    """HTML that plays how the answers came out of their masks: see ``rl.tracking.pages.playback``."""
    from rl.tracking.pages.film import Decoders, film
    from rl.tracking.pages.playback import playback

    vocabulary = policy.vocabulary
    decoders = Decoders(policy.tokenizer, vocabulary.eos_id, vocabulary.image_offset, policy.image_tokenizer)
    films = [film(decoders, rollout) for rollout in rollouts]
    return playback(f"{policy.name}: {prompt.task}", prompt.messages[-1].content, films)


def check_alone(words: Sequence[str], options: Mapping[str, object], out: Path | None) -> None:
    """That ``--prompts`` stands with settings and ``--out`` alone. Raises ConfigError."""
    for word in words:
        if "=" not in word:
            raise ConfigError(f"--prompts with the prompt {word!r}: allowed: one of them; leave the prompt out")
    for option, value in options.items():
        if value is not None:
            raise ConfigError(f"--prompts with {option}: allowed for one prompt alone; leave {option} out")
    if out is None:
        raise ConfigError("--prompts: needs --out FILE.jsonl, the file that answers go to")


def check_out(out: Path | None, task: str) -> None:
    """That something goes to ``--out``. Raises ConfigError."""
    if out is not None and task in (Task.TEXT, Task.UNDERSTAND):
        raise ConfigError(
            f"--out {out}: an answer of --task {task} is printed, not written; leave --out out, set --task draw, or give a "
            "file of rows with --prompts"
        )


def _prompt(request: Request) -> Prompt:
    task, image = request.task, request.image
    if task not in tuple(Task):
        raise ConfigError(f"--task {task}: allowed: {', '.join(Task)}")
    if not request.text.strip():
        raise DataError("the prompt is empty; give a question, a caption to draw, or --prompts FILE --out FILE.jsonl")
    if (task == Task.UNDERSTAND) != (image is not None):
        raise DataError(f"--task {task} with --image {image}: --task understand looks at an --image, and no other does")
    if task == Task.THINK_DRAW and request.given is not None:
        raise ConfigError("--given with --task think_draw: allowed for text, understand and draw; use --task draw")
    if (request.mask is not None) != (task == Task.DRAW and request.given is not None):
        raise ConfigError(
            f"--task {task} with --given {request.given} and --mask {request.mask}: a picture that is drawn anew in part "
            "needs --task draw, --given PICTURE and --mask PICTURE"
        )
    if task != Task.DRAW and request.given is not None and "[mask:" not in request.given:
        is_picture = Path(request.given).suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")
        way_out = "; a picture that is drawn anew in part needs --task draw and --mask PICTURE" if is_picture else ""
        raise DataError(
            f"--given {request.given!r}: nothing to fill; write [mask:N] where N tokens are to stand{way_out}"
        )
    given = request.given if task == Task.DRAW else None
    for option, picture in (("--image", image), ("--mask", request.mask), ("--given", given)):
        if picture is not None:
            _check_picture(option, picture)
    identity = f"generate/{request.text}"
    return Prompt(identity, Task(task), (Message("user", request.text),), image=str(image) if image else None)


def _check_picture(option: str, picture: str | Path) -> None:
    from rl.pixels import open_image

    try:
        open_image(picture)
    except DataError as error:
        raise DataError(f"{option} {error}; give a PNG, JPEG or WebP file") from error


def _given(policy: Policy, request: Request) -> list[int] | None:
    """The given response as ids or codes, FREE where the policy writes."""
    if request.given is None:
        return None
    from policies.infill import masked_codes, parse_template
    from rl.pixels import load_pixels

    if request.mask is None:
        return parse_template(policy, request.given)
    assert policy.image_tokenizer is not None
    size = policy.image_tokenizer.image_size
    white = load_pixels(request.mask, size).mean(axis=2) > 127
    if not white.any():
        raise DataError(f"--mask {request.mask}: nothing to draw: no pixel is white")
    return masked_codes(policy.image_tokenizer, load_pixels(request.given, size), white)


def _check_writable(option: str, path: Path, suffixes: Sequence[str]) -> None:
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{option} {path}: allowed: a name that ends in {' or '.join(suffixes)}")
    if problem := file_problem(path):
        raise ConfigError(f"{option} {path}: cannot be written: {problem}; give another file")


def _write(pixels, out: Path, index: int, count: int) -> Path:
    from PIL import Image

    path = _numbered(out, index, count)
    Image.fromarray(pixels).save(path)
    return path


def _numbered(out: Path, index: int, count: int) -> Path:
    return out if count == 1 else out.with_stem(f"{out.stem}-{index}")
