"""Runs a user's file with the modules beside it at hand, as Python does for a script, and hides them from everybody else.

Each file gets a package of its own in ``sys.modules`` (``unigrpo_custom_0``), whose folders are the file's: ``import helper``
in the file, or in a module beside it, looks there first and finds ``unigrpo_custom_0.helper``. So two rewards may have
different modules of one name, ``sys.path`` stays as it is, and our own modules and the standard library's are not hidden.
While the file's code runs (``UserFile.at_hand``), its modules are in ``sys.modules`` by their plain names too, for what
imports them on its behalf: pickle, ``importlib.import_module``.
Nothing is written beside the file: there is no ``__pycache__``.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import itertools
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from rewards.functions.source import imports_relatively, parse

_PREFIX = "unigrpo_custom_"
_OURS = ("rl", "rewards", "policies", "cluster")
_numbers = itertools.count()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class UserFile:
    """A file, its private package, where modules are looked for, and those that were found, by their plain names."""

    file: str
    package: str
    folders: tuple[str, ...]
    modules: dict[str, ModuleType] = field(default_factory=dict)
    running: list[int] = field(default_factory=list)  # threads that run its code

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """While the file's code runs: what is found by a plain name meanwhile goes with the last thread that runs it."""
        with _lock:
            self.running.append(threading.get_ident())
            for name, module in list(self.modules.items()):
                sys.modules.setdefault(name, module)
        try:
            yield
        finally:
            with _lock:
                self.running.pop()
                for name, module in list(self.modules.items()) if not self.running else ():
                    if sys.modules.get(name) is module:
                        del sys.modules[name]

    def has(self, name: str) -> bool:
        """Whether the top-level module ``name`` is one beside the file, and not Python's own."""
        if name in sys.stdlib_module_names:
            return False
        here = PathFinder.find_spec(name, self.folders)
        if here is None:
            return False
        there = _elsewhere(name)
        if there is None:
            return True
        if here.origin in (None, self.file):  # a folder without __init__.py, or the file itself with a library's name
            return False
        return here.origin != there.origin or (name not in sys.modules and name not in _OURS)

    def import_module(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """In place of ``builtins.__import__``."""
        top = name.partition(".")[0]
        if level == 0 and self.has(top):
            module = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist or (), 0)
            return module if fromlist else sys.modules[f"{self.package}.{top}"]
        return builtins.__import__(name, globals, locals, fromlist or (), level)


_files: dict[str, UserFile] = {}


def run_file(path: str) -> tuple[ModuleType, UserFile]:
    """The file as a module. Raises RewardError where it does not parse, and whatever the file raises."""
    tree = parse(path)
    file = Path(os.path.abspath(path))
    folders, package = [str(file.parent), str(file.resolve().parent)], ""
    if imports_relatively(tree) and (file.parent / "__init__.py").is_file():
        top = _outermost(file.parent)
        folders.append(str(top))
        package = ".".join(file.parent.relative_to(top).parts)
    own = UserFile(str(file), f"{_PREFIX}{next(_numbers)}", tuple(dict.fromkeys(folders)))
    try:
        with own.at_hand():
            return _run(own, package), own
    except BaseException:
        for name in [name for name in sys.modules if name.partition(".")[0] == own.package]:
            del sys.modules[name]
        raise


def _run(own: UserFile, package: str) -> ModuleType:
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
        sys.meta_path.append(_BY_NAME)
    root = ModuleType(own.package)
    root.__path__ = list(own.folders)
    sys.modules[own.package] = root
    _files[own.package] = own
    inside = f"{own.package}.{package}" if package else own.package
    importlib.import_module(inside)
    name = f"{inside}.{re.sub(r'[^0-9A-Za-z_]', '_', Path(own.file).stem)}"
    spec = importlib.util.spec_from_file_location(name, own.file, loader=_OwnLoader(name, own.file))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up by name
    spec.loader.exec_module(module)
    return module


class _OwnLoader(SourceFileLoader):
    """Compiles the file itself each time: a cache is out of date where two versions have one size and second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        package, _, plain = module.__name__.partition(".")
        own = _files[package]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": own.import_module}
        if self.path != own.file and _elsewhere(plain.partition(".")[0]) is None:
            own.modules[plain] = sys.modules.setdefault(plain, module)
        super().exec_module(module)


class _OwnFinder(MetaPathFinder):
    """Finds the modules of the private packages, so that those beside a helper are at hand for it too."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(_PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _OwnLoader(fullname, spec.loader.path)
        return spec


class _ByName(MetaPathFinder):
    """Comes last: a plain name that nobody else knows, asked for by a library that a user's file called."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        own = None if "." in fullname else _caller()
        if own is None or not own.has(fullname):
            return None
        module = importlib.import_module(f"{own.package}.{fullname}")
        return ModuleSpec(fullname, _Known(module, module.__spec__))


@dataclass(frozen=True, slots=True)
class _Known(Loader):
    """Loads a module that is loaded."""

    module: ModuleType
    spec: ModuleSpec | None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # that of the plain name is in its place


_FINDER, _BY_NAME = _OwnFinder(), _ByName()


def _caller() -> UserFile | None:
    """The user's file that is running in this thread, if one is."""
    frame = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_PREFIX):
            return _files.get(name.partition(".")[0])
        frame = frame.f_back
    return None


def _elsewhere(name: str) -> ModuleSpec | None:
    """Where a top-level module is found without any user's file."""
    loaded = sys.modules.get(name)
    if loaded is not None and not _is_private(loaded):
        return loaded.__spec__ or ModuleSpec(name, None, origin=getattr(loaded, "__file__", None))
    if loaded is not None:
        return PathFinder.find_spec(name)
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = None if find is None or isinstance(finder, _ByName) else find(name, None)
        if spec is not None:
            return spec
    return None


def _is_private(module: Any) -> bool:
    return str(getattr(module, "__name__", "")).startswith(_PREFIX)


def _outermost(folder: Path) -> Path:
    """The folder that holds the outermost package around ``folder``."""
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder
