"""Rows of any source -> prompts, checked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from rl.config import SourceConfig
from rl.data.chat import PLACEHOLDER, Chat, column_text, message_column, read_chat, unasked_column
from rl.data.files import KINDS, Row, read_rows, require_path
from rl.data.looks import CHECK, Looks
from rl.data.pictures import find_pictures, has_other_media, prepared_column, read_picture
from rl.data.places import ROOT, ImagePlaces
from rl.data.presets import Opened, numbered, open_preset, preset_names, preset_of
from rl.data.references import read_answer
from rl.data.values import is_missing, listed, shown
from rl.errors import ConfigError, DataError
from rl.hub.names import HOW, hub_name
from rl.pixels import load_pixels
from rl.registry import close_to
from rl.scenes import SceneSpec
from rl.tasks import GENERATORS
from rl.types import Prompt, Task

CHECKED_TASKS = frozenset((Task.TEXT, Task.UNDERSTAND))
FILE_SPLITS = ("train", "val")
FILE_ARGS = ("name", "template", CHECK, ROOT)

_OWN_FIELDS = {"id", "task", "messages", "prompt", "image", "images", "rewards", "source"}
_OTHER_MEDIA = ("<video>", "<audio>")
_COUNTED = 256  # rows from one call of ``count`` to the next
_GENERIC_NAMES = {"train", "val", "validation", "test", "data", "dev"}
_ENDS = (
    "{count} rows end with the assistant's turn; it is no part of the prompt, and is the reference of rows without one"
)
_SAMPLED = (
    "{decoded:,} of {seen:,} pictures were decoded whole, of the others only the first and last bytes were read; "
    "args: {{check_images: all}} decodes each"
)
_UNHEARD = "{count} rows have a video or a sound, which no policy here takes: it is left out of their prompts"
_BESIDE = (
    "{{count}} rows have {beside} beside {column}: {column} alone is asked, and {beside} goes to rewards; args: "
    "{{{{template: TEXT}}}} can join them"
)
_UNSEEN = "{count} rows have a picture and task text, which looks at none; set task understand, or leave task out"


def load_rows(
    source: SourceConfig,
    reference_tasks: Collection[Task] = CHECKED_TASKS,
    notes: list[str] | None = None,
    count: Callable[[int], None] = lambda done: None,
) -> list[Prompt]:
    """The prompts of one source: a preset, a generator, a .jsonl, .json or .parquet file, a folder of datasets.save_to_disk,
    or a data set on a hub by its name.

    Columns of a file (all but the message are optional; docs/data.md has all forms):

    message     ``messages`` or ``prompt`` (a text, or chat turns), or ``question``, ``caption``, ``problem``,
                ``instruction``
    reference   ``reference``, ``answer``, verl's ``reward_model.ground_truth`` or ``ground_truth``, or else ``solution``;
                of an answer that ends in ``#### 42``, as GSM8K's do, or in ``</think>42``, 42 is the reference
    solution    ``solution``: for fine-tuning
    text        a row of plain text, without a message: fine-tuning learns all of it (masked pre-training)
    image       one picture: in ``image``, in ``images``, or among the parts of chat turns
    id, task, rewards, source (or verl's ``data_source``)

    All other columns, and ``reference``, ``answer`` and ``solution`` as they stand, go to ``metadata`` with their types,
    where custom rewards see them.

    ``args`` of a file: ``image_root`` is a folder, or a list of them, in which images may lie beside the file's own;
    ``template`` builds the message from columns, nested ones by their own name
    (``"sudoku {puzzle}"``); ``name`` stands for the data set in ids and results; ``check_images`` (true, false,
    all) says how closely pictures are looked at. Encoded pictures stay encoded until their prompt is asked.

    reference_tasks   tasks whose rewards compare with a reference: their rows must have one
    notes             gets a line for what was left out of rows, with how often
    count             gets the number of rows that were read, now and then
    Raises ConfigError (unknown generator or argument) or DataError, one line with the file and the row.
    """
    preset = preset_of(source)
    if preset is None and source.path is not None:
        raise ConfigError(
            f"data source {shown(source.source)}: path={shown(source.path)}: only a preset has one; name the file as source"
        )
    if preset is None and source.source in GENERATORS:
        rows = GENERATORS[source.source](source.split, **source.args)
        return rows[: source.limit]
    counts: Counter[str] = Counter()
    opened = _of_file(source) if preset is None else open_preset(preset, source, counts)
    reader = _Reader(opened, Looks.of(f"data source {opened.label}", opened.source.args), counts)
    prompts = list(_prompts(reader, frozenset(reference_tasks), count))
    if not prompts:
        raise DataError(f"{opened.label}: no rows are left of it; check limit and the preset's lengths")
    _check_unique(opened.label, prompts)
    if notes is not None:
        notes += [f"{opened.label}: {note.format(count=f'{number:,}')}" for note, number in counts.items() if number]
        if reader.looks.sampled:
            notes.append(f"{opened.label}: {_SAMPLED.format(decoded=reader.looks.decoded, seen=reader.looks.seen)}")
    return prompts


def _of_file(source: SourceConfig) -> Opened:
    """Raises ConfigError or DataError."""
    path = Path(source.source)
    if not os.path.exists(path) and not path.suffix and len(path.parts) == 1:
        known = [*dict.fromkeys([*preset_names(), *GENERATORS])]
        raise ConfigError(
            f"data source {shown(source.source)}: no such preset, generator or path; allowed: {', '.join(known)}, a {KINDS}, or "
            f"{HOW}{close_to(source.source, known)}"
        )
    for key in source.args:
        if key not in FILE_ARGS:
            raise ConfigError(f"data source {path}: unknown argument {key!r}; allowed: {', '.join(FILE_ARGS)}")
    return _on_hub(source) or _in_file(path, source)


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


@dataclass(frozen=True, slots=True)
class _Reader:
    """One source while it is read."""

    opened: Opened
    looks: Looks
    counts: Counter[str]


def _in_file(path: Path, source: SourceConfig) -> Opened:
    require_path(path)
    if source.config is not None or source.revision is not None:
        raise ConfigError(
            f"data source {path}: config={source.config}, revision={source.revision}: of a data set on a hub alone, and this "
            "is a file or folder here; leave them out"
        )
    if path.is_file() and source.split not in FILE_SPLITS:
        raise ConfigError(f"data source {path}: split={shown(source.split)}: a file is taken whole; leave split out")
    resolved = path.resolve()
    name = source.args.get("name") or (resolved.parent.name if path.stem in _GENERIC_NAMES else path.stem)
    base = f"{source.args.get('name') or resolved.parent.name}/{path.stem}"
    base += f"/{source.split}" if path.is_dir() else ""
    rows = numbered(base, read_rows(path, source.split))
    return Opened(str(path), str(name), ImagePlaces.of(path, source.args), source, rows)


def _on_hub(source: SourceConfig) -> Opened | None:
    if hub_name(source.source, source.revision) is None:
        return None
    from rl.data import hub

    found = hub.rows(source.source, source.config, source.split, source.revision)
    name = str(source.args.get("name") or found.name.name.rpartition("/")[2])
    rows = numbered(f"{name}/{found.config}/{found.split}", found)
    return Opened(found.name.short, name, ImagePlaces.of(found.folder, source.args), source, rows)


def _prompts(reader: _Reader, reference_tasks: frozenset[Task], count: Callable[[int], None]) -> Iterator[Prompt]:
    opened = reader.opened
    source = opened.source
    if not isinstance(source.args.get("template"), str | None):
        raise ConfigError(
            f'data source {opened.label}: template={shown(source.args["template"])}: expected a text, e.g. "{{question}}"'
        )
    for number, (where, identity, row) in enumerate(islice(opened.rows, source.limit)):
        if not number % _COUNTED:
            count(number)
        prompt = _prompt(where, row, reader, identity)
        if prompt.messages and prompt.task in reference_tasks and prompt.reference is None and _needs_reference(prompt):
            raise DataError(f"{where}: no reference for task {prompt.task}; add a column reference, answer or solution")
        yield prompt


def _prompt(where: str, row: Row, reader: _Reader, default_id: str) -> Prompt:
    source, counts = reader.opened.source, reader.counts
    template, column = source.args.get("template"), message_column(row)
    chat = read_chat(where, row, column, template)
    given = row.get("task") or source.task
    task = None if given is None else _task(where, given)
    image, chat, used = _picture(where, row, chat, task, reader)
    task = task or (Task.UNDERSTAND if image is not None else Task.TEXT)
    if task is Task.UNDERSTAND and image is None:
        raise DataError(f"{where}: task understand without an image; add a column image")
    draws = task in (Task.DRAW, Task.THINK_DRAW)
    messages = chat.messages
    if not messages and task is not Task.TEXT:
        raise DataError(
            f"{where}: task {task} without a message; its column text is plain text: name it caption or question"
        )
    if messages or template is not None:
        answer = read_answer(where, row, chat.answer)
        reference, solution, truth = answer.reference, answer.solution, answer.ground_truth
    else:
        reference, solution, truth = None, column_text(where, "text", row["text"]), None
    # Each row of JSON brings its own copy of a column's name: one will do.
    metadata = {
        intern(key): value for key, value in row.items() if key not in _OWN_FIELDS and key not in (column, used)
    }
    if draws and image is not None:
        metadata["target_image"] = image
    if draws and "scene" in metadata:
        metadata["scene"] = _scene(where, metadata["scene"])
    counts[_ENDS] += chat.answer is not None
    if template is None and column is not None and (beside := unasked_column(row, column, chat)) is not None:
        counts[_BESIDE.format(beside=beside, column=column)] += 1
    counts[_UNHEARD] += has_other_media(row)
    counts[_UNSEEN] += task is Task.TEXT and image is not None
    return Prompt(
        id=default_id if row.get("id") is None else column_text(where, "id", row["id"]),
        task=task,
        messages=messages,
        image=None if draws else image,
        reference=messages[-1].content if draws and reference is None else reference,
        solution=solution,
        rewards=_rewards(where, row.get("rewards")),
        source=_source(where, row, source.args.get("name"), reader.opened.name),
        metadata=metadata,
        ground_truth=truth,
    )


def _picture(
    where: str, row: Row, chat: Chat, task: Task | None, reader: _Reader
) -> tuple[str | bytes | None, Chat, str | None]:
    """The row's picture, its chat without the picture's place in the text, and the column that had it.

    Raises DataError for two pictures, and for a place without a picture.
    """
    for mark in _OTHER_MEDIA:
        if any(mark in message.content for message in chat.messages):
            raise DataError(
                f"{where}: the prompt has a place for {mark}, which no policy here takes; leave the row out, or take {mark} out "
                "of the text"
            )
    found = find_pictures(row, chat.pictures, guess=task in (None, Task.UNDERSTAND))
    if len(found) > 1:
        names = listed(name for name, _ in found)
        raise DataError(
            f"{where}: {len(found)} pictures ({names}); a prompt has one: keep one, or join them into one picture"
        )
    if not found:
        if chat.marks:
            raise DataError(
                f"{where}: the prompt has a place for a picture ({PLACEHOLDER}), but the row has none; add a column image, or "
                f"take {PLACEHOLDER} out of the text"
            )
        if task in (None, Task.UNDERSTAND) and (column := prepared_column(row)) is not None:
            raise DataError(
                f"{where}: column {column}: a picture as numbers for another model, which no policy here can look at; add the "
                "picture itself as column image, or set task text to leave it out"
            )
        return None, chat, None
    if chat.marks > 1:
        raise DataError(
            f"{where}: the prompt has {chat.marks} places for a picture ({PLACEHOLDER}), but the row has one"
        )
    if task is Task.TEXT and (chat.pictures or chat.marks):
        raise DataError(
            f"{where}: the prompt shows a picture, but task text looks at none; set task understand, or leave task out"
        )
    column, value = found[0]
    image = read_picture(where, column, value, reader.opened.places, reader.looks)
    bare = chat.without_marks()
    if chat.messages and not any(message.content.strip() for message in bare.messages):
        raise DataError(f"{where}: the prompt is a picture without a text; ask something about it")
    return image, bare, column.split("[")[0]


def _source(where: str, row: Row, given: Any, default: str) -> str:
    columns = ((name, row.get(name)) for name in ("source", "data_source"))
    own = next((column_text(where, name, value) for name, value in columns if not is_missing(value)), default)
    return str(given or own)


def _task(where: str, value: Any) -> Task:
    try:
        return Task(value)
    except ValueError as error:
        raise DataError(f"{where}: unknown task {shown(value)}; allowed: {', '.join(Task)}") from error


def _rewards(where: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: column rewards: expected names of rewards, got {shown(value)}")
    return tuple(name.strip() for name in names if name.strip())


def _scene(where: str, value: Any) -> dict[str, Any]:
    try:
        return SceneSpec.from_json(value).to_json()
    except ValueError as error:
        raise DataError(f"{where}: column scene: {error}") from error


def _needs_reference(prompt: Prompt) -> bool:
    return not prompt.rewards or "correctness" in prompt.rewards


def _check_unique(label: str, prompts: Sequence[Prompt]) -> None:
    seen: dict[str, int] = {}
    for number, prompt in enumerate(prompts, 1):
        if prompt.id in seen:
            raise DataError(f"{label}: row {number}: id {shown(prompt.id)} is that of row {seen[prompt.id]} too")
        seen[prompt.id] = number
