"""What travels with a job: the project's own code, the whole config, and the user's files that it names.

Every file keeps its absolute path below ``files/``, so that whatever lies beside it still does, and the config names it
there. A path that is the same on the cluster is left alone: see ``Shipping.shared``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.actors.process import SECRETS_FILE
from cluster.jobs.entry import CONFIG_FILE
from rl.config import Config, build_config, to_yaml
from rl.errors import ConfigError
from rl.tasks import GENERATORS

CODE = ("rl", "rewards", "policies", "cluster")
FILES = "files"
MIB = 1 << 20
_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True, slots=True)
class Shipping:
    """shared: folders that are at the same place on every node. max_mib: of all files of the user's together."""

    shared: tuple[Path, ...] = ()
    max_mib: float = 100.0


@dataclass(frozen=True, slots=True)
class Shipment:
    """config: as the job reads it. files: where each file or folder is here, by its place in the job's folder."""

    config: Config
    files: Mapping[str, Path]


def collect(config: Config, shipping: Shipping) -> Shipment:
    """The config with every path as it is on the cluster, and the files to send. Reads no file but rows with images.

    A relative ``output_dir`` is taken from here, and must be on a disk that the cluster has too.
    Raises ConfigError: a path that is nowhere, or more than ``max_mib``.
    """
    tree = dataclasses.asdict(config)
    files: dict[str, Path] = {}
    for key, value, put in _paths(tree):
        path = Path(value).absolute()
        if _is_shared(path, shipping):
            put(str(path))
            continue
        if not path.exists():
            if Path(value).is_absolute():
                continue  # on the cluster, then: the job looks for it before it starts anything
            raise ConfigError(f"{key}={value}: no such file or folder here; a path on the cluster must be absolute")
        put(_place(path))
        files[_place(path)] = path
    for image in _images(config, files):
        files.setdefault(_place(image), image)
    _check_size(files, shipping)
    tree["output_dir"] = str(Path(config.output_dir).absolute())
    if config.resume_path is not None:
        tree["resume_path"] = str(Path(config.resume_path).absolute())
    return Shipment(build_config([("job", tree)]), files)


def stage(shipment: Shipment, secrets: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the job's working directory into ``folder/work``; returns the folders of the project's packages."""
    work = folder / "work"
    work.mkdir(parents=True)
    (work / CONFIG_FILE).write_text(to_yaml(shipment.config), "utf-8")
    for place, source in shipment.files.items():
        target = work / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif not target.exists():
            shutil.copyfile(source, target)
    if secrets:
        descriptor = os.open(work / SECRETS_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dict(secrets), file)
    home = Path(__file__).parents[2]
    for name in CODE:
        shutil.copytree(home / name, folder / "code" / name, ignore=_NOT_CODE)
    return [folder / "code" / name for name in CODE]


def secrets_of(names: Sequence[str]) -> dict[str, str]:
    """The values of environment variables, by name. Raises ConfigError where one is not set."""
    for name in names:
        if "=" in name or not name:
            raise ConfigError("--env: expected the name of an environment variable that is set here, not a value")
        if name not in os.environ:
            raise ConfigError(f"--env {name}: not set in this environment")
    return {name: os.environ[name] for name in names}


def _paths(tree: dict[str, Any]) -> Iterator[tuple[str, str, Callable[[str], None]]]:
    """(key, path, put another in its place) of every setting that names a file of the user's."""
    from policies.files.folders import shipped_names

    if tree["policy"]["path"] not in shipped_names():
        yield _setting("policy.path", tree["policy"], "path")
    for which in ("train", "val"):
        for index, source in enumerate(tree["data"][which]):
            if source["source"] not in GENERATORS:
                yield _setting(f"data.{which}[{index}].source", source, "source")
    custom = tree["custom_reward_function"]
    if custom["path"] is not None:
        yield _setting("custom_reward_function.path", custom, "path")
    loose = {"custom_reward_function.reward_kwargs": custom["reward_kwargs"]}
    loose |= {f"rewards.settings.{name}": settings for name, settings in tree["rewards"]["settings"].items()}
    for section, settings in loose.items():
        for key, value in settings.items():
            if isinstance(value, str) and ("/" in value or Path(value).suffix) and Path(value).exists():
                yield _setting(f"{section}.{key}", settings, key)


def _setting(key: str, section: dict[str, Any], name: str) -> tuple[str, str, Callable[[str], None]]:
    return key, str(section[name]), lambda value: section.__setitem__(name, value)


def _images(config: Config, files: Mapping[str, Path]) -> Iterator[Path]:
    """Images that shipped rows name by a relative path."""
    from rl.data.files import read_rows

    for source in (*config.data.train, *config.data.val):
        path = Path(source.source).absolute()
        if _place(path) not in files or path.is_dir():
            continue
        for _, row in read_rows(path, source.split):
            image = row.get("image")
            if isinstance(image, str) and not Path(image).is_absolute() and (path.parent / image).is_file():
                yield (path.parent / image).absolute()


def _check_size(files: Mapping[str, Path], shipping: Shipping) -> None:
    sizes = {path: _size(path) for path in files.values()}
    total = sum(sizes.values()) / MIB
    if total <= shipping.max_mib:
        return
    largest = max(sizes, key=lambda path: sizes[path])
    raise ConfigError(
        f"{largest}: {sizes[largest] / MIB:,.1f} MiB, {total:,.1f} in all, over the {shipping.max_mib:g} MiB that are "
        f"sent along; put it on a disk that every node has and pass --shared {largest.parent}, or raise --max-mib"
    )


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _is_shared(path: Path, shipping: Shipping) -> bool:
    return any(path.is_relative_to(folder.absolute()) for folder in shipping.shared)


def _place(path: Path) -> str:
    """Normalised without following links: ``files/home/me/rows.jsonl``."""
    return f"{FILES}{os.path.normpath(path)}"
