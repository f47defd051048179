"""A file of prompts, answered row by row into a file that grows; cut off, it goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cluster import console
from cluster.run.hub import attach_images, pinned
from cluster.run.inputs import Loaded, fit, say, uncollected
from cluster.run.preflight import check_abilities, check_device, check_messages
from cluster.run.settings import load
from cluster.run.writable import file_problem, folder_problem
from policies.files.folders import check_files
from rl.config import Config, SourceConfig
from rl.data.rows import load_rows
from rl.data.values import shown
from rl.errors import ConfigError, DataError
from rl.output.progress import Progress
from rl.types import Prompt, Rollout, Task

SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class FileRequest:
    """prompts: a source of rows, as ``data.train`` takes them. out: the file of answers. task: of rows that name none.

    count: answers a prompt
    """

    prompts: Path
    out: Path
    task: str | None = None
    count: int = 1

    @property
    def images(self) -> Path:
        """Where drawings go: ``answers_images`` beside ``answers.jsonl``."""
        return self.out.with_name(f"{self.out.stem}_images")


def answer_file(recipe: str, overrides: Sequence[str], request: FileRequest) -> int:
    """Answer each row in its order, one line of JSON a row; a drawing is a PNG that the line names.

    A prompt's samples are one batch, as in a run: an answer does not depend on the rows around it. Rows that ``out`` has
    already are passed over. Raises ConfigError, DataError, PolicyError.
    """
    config = pinned(load(recipe, overrides)[0], data=False)
    _check_out(request)
    attach_images(config)
    folder = check_files(config.policy.path)
    check_device(config.policy)
    loaded = _rows(config, folder, request)
    made_with = _made_with(config, request.count)
    done = _answered(request, loaded, made_with)
    console.checked()
    if done:
        console.say(f"{request.out}: {done:,} of {len(loaded.rows):,} rows have their answers already")
    if done < len(loaded.rows):
        _answer(config, folder, request, loaded.rows[done:], made_with, done)
    console.show(request.out)
    return console.OK


def _check_out(request: FileRequest) -> None:
    out = request.out
    if out.suffix.lower() != SUFFIX:
        raise ConfigError(f"--out {out}: allowed with --prompts: a name that ends in {SUFFIX}")
    if problem := file_problem(out) or folder_problem(request.images):
        raise ConfigError(f"--out {out}: cannot be written: {problem}; give another file")
    if out.exists() and request.prompts.exists() and os.path.samefile(out, request.prompts):
        raise ConfigError(f"--out {out}: is the file of --prompts; give another file")


def _rows(config: Config, folder: Path, request: FileRequest) -> Loaded:
    """The rows, all of which this policy can answer. Raises DataError or PolicyError."""
    if request.task is not None and request.task not in tuple(Task):
        raise ConfigError(f"--task {request.task}: allowed: {', '.join(Task)}")
    source = SourceConfig(source=str(request.prompts), task=None if request.task is None else Task(request.task))
    notes: list[str] = []
    with uncollected():
        with Progress(f"reading {request.prompts}") as count:
            prompts = load_rows(source, (), notes, count)
        check_messages(prompts)
        check_abilities(folder, {prompt.task for prompt in prompts})
        from policies.files.checkpoints import check_policy

        check_policy(folder)
        (loaded,) = fit(config, folder, [Loaded("--prompts", source, tuple(enumerate(prompts, 1)))], notes)
    say(notes)
    return loaded


def _answer(
    config: Config,
    folder: Path,
    request: FileRequest,
    rows: Sequence[tuple[int, Prompt]],
    made_with: str,
    done: int,
) -> None:
    import torch

    from cluster.workers.rollout import group_seeds, sampling_for
    from policies import load_policy
    from policies.generate import rollout_group
    from policies.network.compiled import compile_layers

    torch.set_num_threads(config.rollout.threads)
    policy = load_policy(folder, device=config.policy.device, dtype=config.policy.dtype)
    if config.policy.compile:
        compile_layers(policy.module)
    console.when_interrupted(lambda: f"{request.out} keeps what is answered; the same command goes on from there")
    with (
        request.out.open("ab") as out,
        Progress(f"answering {request.prompts}", total=done + len(rows)) as count,
    ):
        for place, (number, prompt) in enumerate(rows, done):
            count(place)
            seeds = group_seeds(config.seed, prompt, request.count)
            try:
                rollouts = rollout_group(policy, prompt, sampling_for(config.evaluation, prompt), seeds, 0)
            except DataError as error:
                raise DataError(f"{request.prompts}: row {number}: {error}") from error
            _write(out, _line(request, number, prompt, rollouts, made_with))


def _line(
    request: FileRequest, number: int, prompt: Prompt, rollouts: Sequence[Rollout], made_with: str
) -> dict[str, Any]:
    """Drawings are written before the line that names them."""
    images = [_save(request, number, rollout) for rollout in rollouts]
    return {
        "row": number,
        "id": prompt.id,
        "task": str(prompt.task),
        "prompt": prompt.messages[-1].content,
        "answers": [rollout.text for rollout in rollouts],
        **({"images": images} if any(images) else {}),
        "status": [str(rollout.status) for rollout in rollouts],
        "asked": _digest(prompt),
        "made_with": made_with,
    }


def _save(request: FileRequest, number: int, rollout: Rollout) -> str | None:
    if rollout.image is None:
        return None
    from PIL import Image

    request.images.mkdir(exist_ok=True)
    path = request.images / f"{number:06d}-{rollout.index}.png"
    Image.fromarray(np.ascontiguousarray(rollout.image)).save(path)
    return str(path.relative_to(request.out.parent))


def _write(out: BinaryIO, line: Mapping[str, Any]) -> None:
    out.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    out.flush()


def _answered(request: FileRequest, loaded: Loaded, made_with: str) -> int:
    """How many rows have their answers in ``out`` already. A line that was cut off is removed.

    Raises DataError where the file has something else than the answers to these rows.
    """
    if not request.out.exists():
        return 0
    way_out = "give another --out, or remove the file"
    whole, done = 0, 0
    with request.out.open("rb") as lines:
        for done, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                done -= 1
                break
            where = f"{request.out}: line {done}"
            if done > len(loaded.rows):
                raise DataError(f"{where}: {request.prompts} has only {len(loaded.rows):,} rows; {way_out}")
            number, prompt = loaded.rows[done - 1]
            found = _read(where, line, way_out)
            if (found.get("id"), found.get("asked")) != (prompt.id, _digest(prompt)):
                raise DataError(
                    f"{where}: answers {shown(found.get('prompt'), 40)} (id {shown(found.get('id'), 40)}), but "
                    f"{request.prompts}: row {number} asks something else (id {shown(prompt.id, 40)}); {way_out}"
                )
            if found.get("made_with") != made_with:
                raise DataError(
                    f"{where}: was answered by another policy, or with other settings (seed, sampling, --n); {way_out}"
                )
            whole += len(line)
    if whole < request.out.stat().st_size:
        os.truncate(request.out, whole)
    return done


def _read(where: str, line: bytes, way_out: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    except (ValueError, RecursionError):
        pass
    raise DataError(f"{where}: not a line of answers; {way_out}")


def _digest(prompt: Prompt) -> str:
    """Of all that the policy sees of a prompt."""
    from rl.data.overlap import image_digest

    asked = [str(prompt.task), [[message.role, message.content] for message in prompt.messages], image_digest(prompt)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _made_with(config: Config, count: int) -> str:
    """Of all settings that an answer depends on."""
    told = [dataclasses.asdict(config.policy), dataclasses.asdict(config.evaluation), config.seed, count]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]
