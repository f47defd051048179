"""What travels with a job: the project's own code, the whole config, and the user's files that it names.

Every file keeps its absolute path below ``files/``, so that whatever lies beside it still does, and the config names it
there. A path that is the same on the cluster is left alone: see ``Shipping.shared``. Which settings name files is in
``cluster.jobs.paths``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.actors.process import NEVER, SECRETS_FILE
from cluster.jobs.needs import CONFIG_FILE, MODULES
from cluster.jobs.paths import (
    Kind,
    Setting,
    Tree,
    ends_as_file,
    is_bare,
    is_missing,
    keep_outputs,
    named_here,
    names_on_hub,
    settings,
    split_prefix,
)
from cluster.jobs.rows import names_in_rows, write_renamed
from policies.files.adapters import CONFIG_FILE as ADAPTER_FILE
from policies.files.copies import copy_policy
from policies.files.strict_json import read_json
from rewards.functions.beside import modules_beside
from rewards.registry import require_named
from rl.config import Config, SourceConfig, build_config, to_yaml
from rl.data.places import ROOT, image_roots
from rl.data.presets import preset_files, preset_names, preset_of, rows_path, whole_preset
from rl.errors import ConfigError
from rl.output.secrets import know

CODE = ("rl", "rewards", "policies", "cluster")
FILES = "files"
MIB = 1 << 20
_STRANGERS = (
    "policy.path",
    "policy.image_tokenizer",
    "learner.lora.path",
    "data.",
)  # settings whose folders may be others'
_NOT_SENT = ("__pycache__", ".rayignore")  # the second would make Ray leave out other files
_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True, slots=True)
class Shipping:
    """shared: folders that are at the same place on every node. max_mib: of all files of the user's together."""

    shared: tuple[Path, ...] = ()
    max_mib: float = 100.0


@dataclass(frozen=True, slots=True)
class Shipment:
    """config    as the job reads it
    files     place in the job's folder -> the file or folder here
    renamed   place of a file or folder of rows -> name of an image in it -> its name there
    notes     what a user may want to know, one line each
    closed    places of folders that may be a stranger's, policies and data: links out of them are not sent
    written   place of a file that is sent with another text than it has here
    """

    config: Config
    files: Mapping[str, Path]
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    closed: Collection[str] = frozenset()
    written: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """The job's folder: config and files. Raises ConfigError: a file that cannot be read."""
        (folder / CONFIG_FILE).write_text(to_yaml(self.config), "utf-8")
        folders_first = sorted(self.files.items(), key=lambda item: (not item[1].is_dir(), item[0]))
        for place, source in folders_first:
            target = folder / place
            if target.exists():
                continue  # it came with a folder
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir() and place in self.closed:
                    copy_policy(source, target, _NOT_SENT)
                elif source.is_dir():
                    shutil.copytree(source, target, ignore=_left_out, ignore_dangling_symlinks=True)
                else:
                    shutil.copy(source, target)  # with its mode: a judge's start script must stay one
            except (OSError, shutil.Error) as error:  # the second has a list of (from, to, why)
                why = error.args[0][0][2] if isinstance(error, shutil.Error) else error
                raise ConfigError(f"{source}: cannot be copied to be sent: {why}") from error
        for place, names in self.renamed.items():
            write_renamed(self.files[place], folder / place, names)
        for place, text in self.written.items():
            (folder / place).unlink(missing_ok=True)  # its mode may be read-only
            (folder / place).write_text(text, "utf-8")


def collect(config: Config, shipping: Shipping) -> Shipment:
    """The config with every path as it is on the cluster, and the files to send. Reads rows for images that they name, and
    reward files for modules that they import.

    Outputs (``output_dir``, a tracking store in a file) are taken from here, and must be on a disk that the cluster has.
    Raises ConfigError: a relative path that names nothing here, or more than ``max_mib``. DataError: rows that cannot be
    read, an image that is not here.
    """
    tree = dataclasses.asdict(config)
    keep_outputs(tree)
    _name_base(tree)
    load = _Load(shipping)
    for setting in settings(tree):
        load.take(setting)
    for which in ("train", "val"):
        for index, source in enumerate(getattr(config.data, which)):
            load.take_preset(tree["data"][which][index], source)
            load.take_rows(tree, f"data.{which}[{index}].source", source)
    load.check_size()
    for key, name in names_on_hub(tree).items():
        load.notes.append(f"{key}={name} names nothing here: the job looks for it on a hub")
    return Shipment(build_config([("job", tree)]), load.files, load.renamed, load.notes, load.closed, load.written)


class _Load:
    """Files as they are found, and what becomes of their settings."""

    def __init__(self, shipping: Shipping) -> None:
        self._shipping = shipping
        self.files: dict[str, Path] = {}
        self.renamed: dict[str, dict[str, str]] = {}
        self.notes: list[str] = []
        self.closed: set[str] = set()
        self.written: dict[str, str] = {}

    def take(self, setting: Setting) -> None:
        prefix, text = split_prefix(setting.value)
        if setting.kind in (Kind.FILE, Kind.CODE):
            prefix, text = "", setting.value
            found = Path(text) if text.strip() and _exists(Path(text)) else None
        else:
            found = named_here(text)
        if found is None:
            self._take_missing(setting, text)
        elif setting.kind in (Kind.TEXT, Kind.BUILT_IN) and is_bare(text):
            self._take_word(text, found)
        else:
            path = _located(found)
            setting.put(prefix + self._sent(path))
            if setting.key.startswith(_STRANGERS):
                self.closed.add(_place(path))
            if setting.kind is Kind.CODE and self._shared(path) is None:
                for place, module in modules_beside(path, CODE).items():
                    self.files[_place(path.parent / place)] = module

    def take_preset(self, tree: Tree, source: SourceConfig) -> None:
        """A preset's file, and those of the user's that it stands on, as one. tree: of the source."""
        if preset_of(source) is None or source.source in preset_names():
            return
        files = [_located(file) for file in preset_files(source.source)]
        if len(files) == 1 or all(self._shared(file) for file in files):
            return  # alone, it was taken as every other file; on a shared disk, the job finds all of them
        tree["source"] = _place(files[0])
        self.files[tree["source"]] = files[0]
        self.written[tree["source"]] = whole_preset(source.source)

    def take_rows(self, tree: Tree, key: str, source: SourceConfig) -> None:
        """What rows that are sent name: images. Rewards of their own are the recipe's, which are sent anyway."""
        path = rows_path(source)
        if path is None:
            return
        roots = [_located(root) for root in image_roots(source.args)]
        # Images that are sent lie elsewhere in the job, and those on a shared disk where they were.
        moved = [at for root in roots for at in (_place(root), str(root))]
        _allow(tree, key, moved)
        if source.path is not None and path.is_dir():
            return  # a folder in its published layout goes as a whole
        if not _exists(path) or (rows := _place(_located(path))) not in self.files:
            return
        shared = [_located(folder) for folder in self._shipping.shared]
        named = names_in_rows(key, path, source, shared)
        folder = Path(rows) if path.is_dir() else Path(rows).parent
        for name, image in named.images.items():
            sent = self._sent(_located(image))
            there = sent if os.path.isabs(sent) else os.path.relpath(sent, folder)
            if os.path.isabs(sent):
                _allow(tree, key, [*moved, *map(str, shared)])
            if there != (name if ".." in Path(name).parts else os.path.normpath(name)):
                self.renamed.setdefault(rows, {})[name] = there
        mixes = [mix for section in ("rewards", "evaluation") for mix in tree[section]["mix"].values()]
        require_named(named.rewards, {*tree["rewards"]["settings"], *(name for mix in mixes for name in mix)})

    def check_size(self) -> None:
        """Raises ConfigError, with the largest file or folder."""
        folders = {path for path in self.files.values() if path.is_dir()}
        sizes = {path: _size(path) for path in self.files.values() if not any(up in folders for up in path.parents)}
        total = sum(sizes.values()) / MIB
        if total <= self._shipping.max_mib:
            return
        largest = max(sizes, key=lambda path: sizes[path])
        raise ConfigError(
            f"{largest}: {sizes[largest] / MIB:,.1f} MiB, {total:,.1f} in all, over the {self._shipping.max_mib:g} MiB that "
            f"are sent along; put it on a disk that every node has and pass --shared {largest.parent}, or raise --max-mib"
        )

    def _take_missing(self, setting: Setting, text: str) -> None:
        if text.startswith("/"):
            return  # on the cluster, then: the job looks for it before it starts anything
        if setting.kind in (Kind.FILE, Kind.CODE) or is_missing(setting):
            raise ConfigError(
                f"{setting.key}={setting.value}: no such file or folder here; a path on the cluster must be absolute"
            )
        if ends_as_file(text):
            self.notes.append(f"{setting.key}={setting.value} names no file here: it is sent as a text")

    def _take_word(self, word: str, path: Path) -> None:
        """A word that also names a file here: it keeps its name, in the job's own folder, whichever was meant. What Python
        would import from there stays here."""
        package = path.is_dir() and any(path.glob("__init__.*"))
        if not (package or word in CODE or word in MODULES.values() or self._shared(path.absolute())):
            self.files[word] = path.absolute()

    def _sent(self, path: Path) -> str:
        """Where the job finds a file: its own path on a shared disk, else its place among those that are sent."""
        shared = self._shared(path)
        if shared is not None:
            return str(shared)
        self.files.setdefault(_place(path), path)
        return _place(path)

    def _shared(self, path: Path) -> Path | None:
        """The path that a file has on every node. A link here that leads to a shared folder is followed."""
        for folder in self._shipping.shared:
            for way, to in ((path, Path(os.path.abspath(folder))), (path.resolve(), folder.resolve())):
                if way.is_relative_to(to):
                    return way
        return None


def _name_base(tree: Tree) -> None:
    """An adapter in the place of a policy names its base in its own file, by a path of this machine: both are settings then."""
    folder = Path(tree["policy"]["path"])
    if not _exists(folder / ADAPTER_FILE) or _exists(folder / "config.json"):
        return
    settings = read_json(folder / ADAPTER_FILE)
    base = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    if isinstance(base, str) and base and _exists(Path(base)):
        tree["policy"]["path"], tree["learner"]["lora"]["path"] = base, str(folder)


def _allow(tree: Tree, key: str, folders: Sequence[str]) -> None:
    """Folders in which the images of ``data.train[0].source`` may lie. None: as the recipe has it, nowhere else."""
    which, _, place = key.removeprefix("data.").removesuffix("].source").partition("[")
    if folders:
        tree["data"][which][int(place)]["args"][ROOT] = list(dict.fromkeys(folders))


def stage(shipment: Shipment, secrets: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the job's working directory into ``folder/work``; returns the folders of the project's packages."""
    work = folder / "work"
    work.mkdir(parents=True)
    shipment.write(work)
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
        if NEVER.fullmatch(name) or "," in name:
            raise ConfigError(
                f"--env {name}: decides which programs and libraries a process loads; the cluster has its own"
            )
        if name not in os.environ:
            raise ConfigError(f"--env {name}: not set in this environment")
        know(os.environ[name])
    return {name: os.environ[name] for name in names}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file can have, or a folder that may not be looked into
        return False


def _located(path: Path) -> Path:
    """Absolute, links as they are; but ``..`` after a link leads where the system goes, not where the text does."""
    if ".." not in path.parts:
        return path.absolute()
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _inside(path) if file.exists())


def _inside(path: Path) -> Iterator[Path]:
    """A file itself; a folder's files, also behind links, as they are copied."""
    if path.is_file():
        yield path
    for folder, folders, names in os.walk(path, followlinks=True):
        left_out = _left_out(folder, folders)
        folders[:] = [name for name in folders if name not in left_out]
        yield from (Path(folder, name) for name in names)


def _left_out(folder: str, names: Sequence[str]) -> set[str]:
    """Python's caches; what would make Ray leave out other files; links that lead back to a folder around them, since a copy
    would have no end."""
    here = os.path.realpath(folder)
    back = {
        name
        for name in names
        if os.path.islink(link := os.path.join(folder, name)) and Path(here).is_relative_to(os.path.realpath(link))
    }
    return {*back, *_NOT_SENT}


def _place(path: Path) -> str:
    """Normalised without following links: ``files/home/me/rows.jsonl``."""
    return f"{FILES}{os.path.normpath(path)}"
