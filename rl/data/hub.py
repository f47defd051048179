"""Data sets by their name on a hub, as rows: resolved, downloaded and memory-mapped by Hugging Face ``datasets``.

Files of rows and pictures are read, and nothing of a repository is run: ``datasets`` has no loading scripts, and of its
readers those are allowed that READERS names.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.data.arrow import batch_rows
from rl.data.files import SPLIT_NAMES, Row
from rl.data.values import listed, shown
from rl.errors import DataError
from rl.hub.failures import (
    DATASET,
    cache_folder,
    gated,
    is_offline,
    is_unreachable,
    page_of,
    prepare_client,
    told,
    unreachable,
)
from rl.hub.names import HOW, HubName, hub_name, problem

if TYPE_CHECKING:
    import pyarrow as pa

READERS = ("parquet", "json", "csv", "text", "arrow", "imagefolder", "webdataset")
HOW_FILES = "some hubs keep one in Parquet at revision refs/convert/parquet"
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
        raise DataError(_told(error, where, commit)) from error


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
    if not made.num_rows:
        raise DataError(f"{where}: split {chosen} has no rows")
    return HubRows(name, builder.config.name, chosen, _repository(name), made.data.table)


def _builder(where: str, name: HubName, config: str | None) -> Any:
    """Of what was prepared before from this commit, else of the hub; where that cannot be reached, of what is there.

    Raises DataError for a wrong config, and what ``datasets`` raises.
    """
    from datasets import load_dataset_builder

    prepared = _prepared(name)
    if config is not None and config in prepared:
        return prepared[config]()
    why: Exception = ConnectionError("it is not in the cache of datasets")
    if not is_offline():
        try:
            _reach(name)
            return load_dataset_builder(name.name, config, revision=name.revision)
        except Exception as error:
            _require_config(where, config, error)
            if not is_unreachable(error):
                raise
            why = error
    if prepared:
        return prepared[_only(where, config, list(prepared))]()
    if _copy(name).is_dir():
        try:
            return load_dataset_builder(str(_copy(name)), config)
        except ValueError as error:
            _require_config(where, config, error)
            raise
    raise DataError(f"{where}: {unreachable(why, name, DATASET)}")


def _reach(name: HubName) -> None:
    """One question without repetitions: ``datasets`` would ask ten times before it says that there is no network."""
    from huggingface_hub import HfApi

    HfApi().repo_info(name.name, repo_type=DATASET, revision=name.revision)


def _require_config(where: str, config: str | None, error: Exception) -> None:
    """Raises DataError with the names of the configs where the error is about them."""
    configs = re.search(r"(?:available configs: |Available: )(\[.*\])", str(error))
    if configs is not None:
        raise DataError(f"{where}: {_wrong(config)}; give config=NAME, one of {configs[1]}") from error


def _wrong(config: str | None) -> str:
    return "has several configs" if config is None else f"has no config {config!r}"


def _only(where: str, config: str | None, known: Sequence[str]) -> str:
    """The config that is meant, of those in the cache. Raises DataError."""
    chosen = config or ("default" if "default" in known else known[0])
    if chosen not in known or (config is None and chosen != "default" and len(known) > 1):
        raise DataError(f"{where}: {_wrong(config)}; give config=NAME, one of those in the cache: {listed(known)}")
    return chosen


def _prepared(name: HubName) -> dict[str, Callable[[], Any]]:
    """Config -> what opens the Arrow files that ``datasets`` made of it at this commit."""
    from datasets import config as settings
    from datasets.naming import camelcase_to_snakecase
    from datasets.packaged_modules.cache.cache import Cache

    owner, _, own = name.name.partition("/")
    root = Path(settings.HF_DATASETS_CACHE).expanduser() / f"{owner}___{camelcase_to_snakecase(own)}"
    found = {}
    for folder in sorted(root.glob(f"*/*/{name.revision}")):
        config, version, commit = folder.parts[-3:]
        given = {"dataset_name": own, "repo_id": name.name, "config_name": config, "version": version, "hash": commit}
        found[config] = partial(Cache, **given)
    return found


def _copy(name: HubName) -> Path:
    return _repository(name) / "snapshots" / str(name.revision)


def _repository(name: HubName) -> Path:
    """The data set's place in the cache of ``huggingface_hub``."""
    return Path(cache_folder()) / f"datasets--{name.name.replace('/', '--')}"


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
    roots = [f"hf://datasets/{name.name}@{name.revision}/", f"{copy}/", f"{copy.resolve()}/"]
    for path in (str(path) for paths in files.values() for path in paths):
        if not any(path.startswith(root) for root in roots) or ".." in path.split("/"):
            raise DataError(f"{where}: its README names {shown(path)}, which is not of this repository; refused")


def _told(error: Exception, where: str, name: HubName) -> str:
    """``datasets`` drops the hub's own answer, and the number of the system's error: their texts say which they were."""
    text = " ".join(str(error).split())
    if "is a gated dataset" in text:
        return f"{where}: {gated(401 if 'must be authenticated' in text else 403, page_of(name, DATASET))}"
    if "Not enough disk space" in text:
        return told(OSError(errno.ENOSPC, text), where, name, DATASET)
    if "scripts are no longer supported" in text:
        return f"{where}: made by scripts, which are code and never run; take a copy of it as files: {HOW_FILES}"
    if type(error).__name__ in ("EmptyDatasetError", "DataFilesNotFoundError"):
        return f"{where}: no files of rows in it; allowed: {', '.join(READERS)}"
    if "Data files don't belong to" in text:
        return f"{where}: its README names files that are not of this repository; refused"
    named = re.search(r"Unable to find '(.*?)'", text)
    if named is not None:
        return f"{where}: its README names {shown(named[1])}, which is no file of rows in it; allowed: {', '.join(READERS)}"
    made = error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error
    return told(made, where, name, DATASET)


def _quieten() -> None:
    """``datasets`` warns of what is told here in one line; its progress bars stay."""
    import datasets

    datasets.logging.set_verbosity_error()
