"""Rows of any source -> prompts, checked; and the check that held-out prompts are not training prompts."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rl.config import SourceConfig
from rl.config.checks import flatten
from rl.data.files import KINDS, Row, read_rows
from rl.errors import ConfigError, DataError
from rl.pixels import load_pixels, open_image
from rl.scenes import SceneSpec
from rl.tasks import GENERATORS
from rl.types import Message, Prompt, Task

CHECKED_TASKS = frozenset((Task.TEXT, Task.UNDERSTAND))
FILE_ARGS = ("name", "template", "check_images")

_MESSAGE_COLUMNS = ("messages", "prompt", "question", "caption", "problem", "instruction")
_OWN_FIELDS = {"id", "task", "messages", "prompt", "reference", "image", "rewards", "source"}
_GENERIC_NAMES = {"train", "val", "validation", "test", "data", "dev"}


def load_rows(source: SourceConfig, reference_tasks: Collection[Task] = CHECKED_TASKS) -> list[Prompt]:
    """The prompts of one source: a generator, a .jsonl or .parquet file, or a folder of datasets.save_to_disk.

    Columns of a file (all but the message are optional):

    message     ``messages`` or ``prompt`` (a text, or chat turns), or ``question``, ``caption``, ``problem``,
                ``instruction``
    reference   ``reference``, ``answer``, verl's ``reward_model.ground_truth``, or else ``solution``; of an answer that
                ends in ``#### 42``, as GSM8K's do, 42 is the reference and the rest its worked answer
    solution    ``solution``: for fine-tuning
    text        a row of plain text, without a message: fine-tuning learns all of it (masked pre-training)
    image       a path relative to the file, encoded bytes, or a data set's ``{"bytes", "path"}``
    id, task, rewards, source (or verl's ``data_source``)

    All other columns, and ``answer`` and ``solution`` as they stand, go to ``metadata``, where custom rewards see them.

    ``args`` of a file: ``template`` builds the message from columns, nested ones by their own name
    (``"sudoku {puzzle}"``); ``name`` stands for the data set in ids and results; ``check_images: false`` postpones
    decoding images to their first use.

    reference_tasks   tasks whose rewards compare with a reference: their rows must have one
    Raises ConfigError (unknown generator or argument) or DataError, one line with the file and the row.
    """
    if source.source in GENERATORS:
        rows = GENERATORS[source.source](source.split, **source.args)
        return rows[: source.limit]
    path = Path(source.source)
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        known = ", ".join(GENERATORS)
        raise ConfigError(f"data source {source.source!r}: no such generator or path; allowed: {known}, a {KINDS}")
    for key in source.args:
        if key not in FILE_ARGS:
            raise ConfigError(f"data source {path}: unknown argument {key!r}; allowed: {', '.join(FILE_ARGS)}")
    prompts = list(_prompts(path, source, frozenset(reference_tasks)))
    _check_unique(path, prompts)
    return prompts


def load_image(source: str | Path | bytes | np.ndarray, size: int) -> np.ndarray:
    """uint8 RGB [size, size, 3] from a PNG, JPEG or WebP file, its bytes, or pixels. Raises DataError."""
    return load_pixels(source, size)


def target_image(prompt: Prompt, seed: int, size: int) -> np.ndarray | None:
    """A picture that answers a draw prompt, for fine-tuning: its scene, drawn; or the row's own image; or None."""
    if "scene" in prompt.metadata:
        from rl.tasks.scenes import scene_image

        return scene_image(prompt, seed, size)
    image = prompt.metadata.get("target_image")
    return None if image is None else load_image(image, size)


def check_disjoint(train: Sequence[Prompt], val: Sequence[Prompt]) -> None:
    """Raises DataError that names a held-out prompt which is also a training prompt, by its id or by its content.

    Content is the messages and the image's bytes, wherever the image lies.
    """
    ids = {prompt.id for prompt in train}
    twins = defaultdict(list)
    for prompt in train:
        twins[prompt.messages].append(prompt)
    digests: dict[tuple[Message, ...], dict[str, str]] = {}
    for prompt in val:
        if prompt.id in ids:
            raise DataError(
                f"data.val: prompt id {prompt.id!r} is in data.train too; held-out prompts must be new (rows "
                "without a column id get theirs from folder, file and row: args.name tells two files apart)"
            )
        if prompt.messages not in twins:
            continue
        if prompt.messages not in digests:
            digests[prompt.messages] = {_image_digest(twin): twin.id for twin in twins[prompt.messages]}
        twin = digests[prompt.messages].get(_image_digest(prompt))
        if twin is not None:
            raise DataError(f"data.val: prompt {prompt.id!r} has the same content as {twin!r} in data.train")


def _prompts(path: Path, source: SourceConfig, reference_tasks: frozenset[Task]) -> Iterator[Prompt]:
    resolved = path.resolve()
    name = source.args.get("name") or (resolved.parent.name if path.stem in _GENERIC_NAMES else path.stem)
    base = f"{source.args.get('name') or resolved.parent.name}/{path.stem}"
    base += f"/{source.split}" if path.is_dir() else ""
    folder = path if path.is_dir() else path.parent
    for number, (where, row) in enumerate(islice(read_rows(path, source.split), source.limit)):
        prompt = _prompt(where, row, source, folder, str(name), f"{base}/{number}")
        if prompt.messages and prompt.task in reference_tasks and prompt.reference is None and _needs_reference(prompt):
            raise DataError(f"{where}: no reference for task {prompt.task}; add a column reference, answer or solution")
        yield prompt


def _prompt(where: str, row: Row, source: SourceConfig, folder: Path, name: str, default_id: str) -> Prompt:
    image = _image(where, row.get("image"), folder, source.args.get("check_images", True))
    task = _task(where, row.get("task") or source.task or (Task.UNDERSTAND if image is not None else Task.TEXT))
    draws = task in (Task.DRAW, Task.THINK_DRAW)
    if task is Task.UNDERSTAND and image is None:
        raise DataError(f"{where}: task understand without an image; add a column image")
    column = next((key for key in _MESSAGE_COLUMNS if row.get(key)), None)
    messages = _messages(where, row, column, source.args.get("template"))
    reference, solution = _reference(row) if messages else (None, str(row["text"]))
    metadata = {key: value for key, value in row.items() if key not in _OWN_FIELDS and key != column}
    if draws and image is not None:
        metadata["target_image"] = image
    if draws and "scene" in metadata:
        metadata["scene"] = _scene(where, metadata["scene"])
    return Prompt(
        id=default_id if row.get("id") is None else str(row["id"]),
        task=task,
        messages=messages,
        image=None if draws else image,
        reference=messages[-1].content if draws and reference is None else reference,
        solution=solution,
        rewards=_rewards(where, row.get("rewards")),
        source=str(source.args.get("name") or row.get("source") or row.get("data_source") or name),
        metadata=metadata,
    )


def _task(where: str, value: Any) -> Task:
    try:
        return Task(value)
    except ValueError as error:
        raise DataError(f"{where}: unknown task {value!r}; allowed: {', '.join(Task)}") from error


def _messages(where: str, row: Row, column: str | None, template: str | None) -> tuple[Message, ...]:
    if template is not None:
        return (Message("user", _fill(where, template, row)),)
    if column is None and isinstance(row.get("text"), str) and row["text"].strip():
        return ()  # plain text, for fine-tuning on all of it
    if column is None:
        raise DataError(f"{where}: no message; add a column messages, prompt or question (it has: {', '.join(row)})")
    turns = row[column]
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise DataError(f"{where}: column {column}: expected a text or a list of chat turns (role and content)")
    messages = tuple(Message(str(turn.get("role") or "user"), _text(turn.get("content"))) for turn in turns)
    if not any(message.content.strip() for message in messages):
        raise DataError(f"{where}: column {column}: its text is empty")
    return messages


def _text(content: Any) -> str:
    """A turn's text; of a list of parts (``{"type": "image"}``, ``{"type": "text", "text": ...}``), its text parts."""
    if isinstance(content, list):
        return " ".join(str(part["text"]) for part in content if isinstance(part, Mapping) and part.get("text"))
    return "" if content is None else str(content)


def _fill(where: str, template: str, row: Row) -> str:
    """Plain substitution of ``{name}``: no attributes, no format language."""
    fields = _fields(row)

    def value(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise DataError(f"{where}: template {template!r}: no column {match[1]!r}; it has: {', '.join(fields)}")
        return str(fields[match[1]])

    return re.sub(r"\{([\w.]+)\}", value, template)


def _fields(row: Row) -> dict[str, Any]:
    """Columns by full name (``extra_info.puzzle``) and by their own (``puzzle``); outer ones win."""
    fields = {name: value for name, value in flatten(row) if not isinstance(value, Mapping)}
    for name, value in sorted(fields.items(), key=lambda field: field[0].count(".")):
        fields.setdefault(name.rpartition(".")[2], value)
    return fields


def _reference(row: Row) -> tuple[str | None, str | None]:
    """(reference, worked answer)"""
    judged = row.get("reward_model")
    truth = judged.get("ground_truth") if isinstance(judged, Mapping) else None
    candidates = (row.get("reference"), row.get("answer"), truth, row.get("solution"))
    reference = next((_plain(value) for value in candidates if value not in (None, "")), None)
    solution = _plain(row["solution"]) if row.get("solution") not in (None, "") else None
    if reference and "####" in reference:
        steps, _, reference = (part.strip() for part in reference.rpartition("####"))
        solution = solution or f"<think>{steps}</think>{reference}"
    elif reference and solution == reference and "</think>" in reference:
        reference = reference.rpartition("</think>")[2].strip()
    return reference or None, solution


def _plain(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, default=str)


def _rewards(where: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: column rewards: expected names of rewards, got {value!r}")
    return tuple(name.strip() for name in names if name.strip())


def _scene(where: str, value: Any) -> dict[str, Any]:
    try:
        return SceneSpec.from_json(value).to_json()
    except ValueError as error:
        raise DataError(f"{where}: column scene: {error}") from error


def _image(where: str, value: Any, folder: Path, check: bool) -> str | np.ndarray | None:
    """A path that can be opened, or pixels."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bytes):
            return np.asarray(open_image(value))
        if not isinstance(value, str):
            raise DataError(f"expected a path or encoded bytes, got {type(value).__name__}")
        path = folder / value
        if check or not path.is_file():
            open_image(path)
        return str(path)
    except DataError as error:
        raise DataError(f"{where}: column image: {error}") from error


def _needs_reference(prompt: Prompt) -> bool:
    return not prompt.rewards or "correctness" in prompt.rewards


def _check_unique(path: Path, prompts: Sequence[Prompt]) -> None:
    seen: dict[str, int] = {}
    for number, prompt in enumerate(prompts, 1):
        if prompt.id in seen:
            raise DataError(f"{path}: row {number}: id {prompt.id!r} is that of row {seen[prompt.id]} too")
        seen[prompt.id] = number


def _image_digest(prompt: Prompt) -> str:
    if isinstance(prompt.image, str):
        return _file_digest(prompt.image)
    if prompt.image is None:
        return ""
    return hashlib.sha256(repr(prompt.image.shape).encode() + prompt.image.tobytes()).hexdigest()


@lru_cache(maxsize=100_000)
def _file_digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: not a readable image file: {error}") from error
