"""Data sets by their name on a hub, as rows: resolved, downloaded and memory-mapped by Hugging Face ``datasets``.

Files of rows and pictures are read, and nothing of a repository is run: ``datasets`` has no loading scripts, and of its
readers those are allowed that READERS names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.data.arrow import batch_rows
from rl.data.files import SPLIT_NAMES, Row
from rl.data.values import listed, shown
from rl.errors import DataError, first_line
from rl.hub.failures import DATASET, cache_folder, prepare_client, told, unreachable
from rl.hub.names import HOW, HubName, hub_name, problem

if TYPE_CHECKING:
    import pyarrow as pa

READERS = ("parquet", "json", "csv", "text", "arrow", "imagefolder", "webdataset")
_BATCH = 1024  # rows in memory at a time
_SLICE = re.compile(r"([^\[\]]+)(\[[^\[\]]*\])?")


@dataclass(frozen=True, slots=True)
class HubRows:
    """Rows of one split. Iterating gives (where, row) as ``rl.data.files.read_rows`` does; rows stay on disk until then.

    name      with its commit, e.g. ``HubName("openai/gsm8k", "cc7b047b6e5bb11b...")``
    folder    in which the repository's own files lie, pictures among them
    """

    name: HubName
    config: str
    split: str
    folder: Path
    table: pa.Table

    def __len__(self) -> int:
        return self.table.num_rows

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        label, number = f"{self.name.short} ({self.config}, {self.split})", 0
        for batch in self.table.to_batches(max_chunksize=_BATCH):
            for row in batch_rows(label, batch, number + 1):
                number += 1
                yield f"{label}: row {number}", row


def rows(name: str, config: str | None = None, split: str = "train", revision: str | None = None) -> HubRows:
    """The rows of a data set on a hub, or of its copy in the cache.

    name      ``openai/gsm8k``, or with ``@revision``
    config    which of the data set's configurations; None: its only or default one
    split     one of its own; ``val`` is also validation, valid, dev or test; ``train[:1000]`` and ``train[90%:]`` take a part
    revision  a branch, tag or commit; None: the newest

    Raises DataError, one line: no such data set, revision, config or split; gated; no network; no room.
    """
    where = f"data source {shown(name)}"
    found = hub_name(name, revision)
    if found is None:
        raise DataError(f"{where}: {problem(name, revision) or 'names a file or folder here'}; {HOW}")
    commit = resolve(found)
    _quieten()
    try:
        return _open(where, commit, config, split)
    except DataError:
        raise
    except Exception as error:  # of the client, of ``datasets``, of a dozen readers
        raise DataError(told(_as_answered(error, commit), where, commit, DATASET)) from error


def resolve(name: HubName) -> HubName:
    """The name with the commit that its revision is now; the cache's where the hub cannot be reached. Raises DataError."""
    from huggingface_hub import HfApi

    try:
        prepare_client()
        return HubName(
            name.name, HfApi().resolve_revision(name.name, repo_type=DATASET, revision=name.revision).resolved
        )
    except Exception as error:
        raise DataError(told(error, f"data source {shown(str(name))}", name, DATASET)) from error


def _open(where: str, name: HubName, config: str | None, split: str) -> HubRows:
    builder = _builder(where, name, config)
    reader = type(builder).__module__.rsplit(".", 1)[-1]
    if reader not in (*READERS, "cache"):
        raise DataError(f"{where}: files of kind {reader}; allowed: {', '.join(READERS)}")
    files = builder.config.data_files or {}
    _require_inside(where, name, files)
    splits = list(files) or list(builder.info.splits or {})
    chosen = _split(where, split, splits)
    builder.download_and_prepare()
    made = builder.as_dataset(split=chosen)
    _require_commit(where, name, builder)
    if not made.num_rows:
        raise DataError(f"{where}: split {chosen} has no rows")
    folder = Path(cache_folder()) / f"datasets--{name.name.replace('/', '--')}"
    return HubRows(name, builder.config.name, chosen, folder, made.data.table)


def _builder(where: str, name: HubName, config: str | None) -> Any:
    """Of the hub, else of what was prepared before, else of a downloaded copy. Raises DataError for a wrong config."""
    from datasets import load_dataset_builder

    try:
        try:
            return load_dataset_builder(name.name, config, revision=name.revision)
        except (ConnectionError, FileNotFoundError):
            copy = _copy(name)
            if copy is None:
                raise
            return load_dataset_builder(str(copy), config)
    except ValueError as error:
        configs = re.search(r"(?:available configs: |Available: )(\[.*\])", str(error))
        if configs is None:
            raise
        wrong = "has several configs" if config is None else f"has no config {config!r}"
        raise DataError(f"{where}: {wrong}; give config=NAME, one of {configs[1]}") from error


def _copy(name: HubName) -> Path | None:
    """What ``hf download`` left in the cache of this commit."""
    folder = Path(cache_folder(), f"datasets--{name.name.replace('/', '--')}", "snapshots", str(name.revision))
    return folder if folder.is_dir() else None


def _split(where: str, asked: str, known: list[str]) -> str:
    """The split's own name, with the part of it that is asked for. known: [] where nobody knows yet."""
    parts = _SLICE.fullmatch(asked)
    if parts is None:
        raise DataError(f"{where}: split={shown(asked)}: expected a split's name, or a part as in train[:1000]")
    names = SPLIT_NAMES.get(parts[1], (parts[1],))
    found = next((each for each in names if each in known), None if known else parts[1])
    if found is None:
        raise DataError(f"{where}: no split {shown(parts[1])}; it has: {listed(map(str, known))}")
    return found + (parts[2] or "")


def _require_inside(where: str, name: HubName, files: Mapping[Any, Any]) -> None:
    """A repository's README chooses its files, and must not choose others: of this machine, or anywhere on the net."""
    copy = _copy(name)
    roots = [f"hf://datasets/{name.name}@{name.revision}/", *([f"{copy}/", f"{copy.resolve()}/"] if copy else [])]
    for path in (str(path) for paths in files.values() for path in paths):
        if not any(path.startswith(root) for root in roots) or ".." in path.split("/"):
            raise DataError(f"{where}: its README names {shown(path)}, which is not of this repository; refused")


def _require_commit(where: str, name: HubName, builder: Any) -> None:
    """What was prepared before, without the hub, may be of another commit."""
    made_of = [url for url in builder.info.download_checksums or {} if url.startswith("hf://datasets/")]
    if type(builder).__module__.endswith(".cache") and not any(f"@{name.revision}/" in url for url in made_of):
        raise DataError(f"{where}: {unreachable([ConnectionError('another revision is cached')], name, DATASET)}")


def _as_answered(error: Exception, name: HubName) -> Exception:
    """``datasets`` drops the hub's own answer; its text has what is needed."""
    text = first_line(error)
    if isinstance(error, OSError) and "Not enough disk space" in text:
        return OSError(28, text)
    return error


def _quieten() -> None:
    """``datasets`` warns of what is told here in one line; its progress bars stay."""
    import datasets

    datasets.logging.set_verbosity_error()
