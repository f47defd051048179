"""What lies beside a reward's file and belongs to it: modules that it imports, and files that it opens by its own place."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rewards.functions.named_files import named_files

INSTALLED = ("site-packages", "dist-packages")


def modules_beside(file: Path, known: Sequence[str] = ()) -> dict[Path, Path]:
    """Modules and packages by their place relative to the file's folder -> where they are. A package is its whole folder: also
    the outermost one around a file that imports by dots. So are files and folders that these open by their own place.

    file    absolute; may be a link: then what lies beside its target counts as well, since Python looks there
    known   packages that the job has anyway
    """
    # Folders in which Python looks -> where they are relative to the file's.
    places = {file.parent: Path(), file.resolve().parent: Path()}
    found: dict[Path, Path] = {}
    waiting = [file]
    if (file.parent / "__init__.py").is_file() and any(level for level, _ in imported(file)):
        out = _steps_out(file.parent)
        package = Path(*file.parts[: len(file.parts) - 1 - out])
        found[Path(*[".."] * out)] = package
        waiting += sorted(package.rglob("*.py"))
        places[package.parent] = Path(*[".."] * (out + 1))
    for folder in [folder for folder in places if folder.name in INSTALLED]:
        del places[folder]
    while waiting:
        source = waiting.pop()
        for place, opened in _opened(source, places):
            if place not in found and opened != file:
                found[place] = opened
                waiting += [opened] if opened.is_file() else sorted(opened.rglob("*.py"))
        for level, name in imported(source):
            if (not level and name.partition(".")[0] in known) or level > len(source.parents):
                continue
            around = places if not level else _inside(places, source.parents[level - 1])
            place, module = _located(around, name.split("."))
            if module is not None and not any(module.is_relative_to(whole) for whole in found.values()):
                found[place] = module
                waiting += [module] if module.is_file() else sorted(module.rglob("*.py"))
    return found


def digests(file: Path, known: Sequence[str] = ()) -> dict[str, str]:
    """SHA-256 of a reward's file and of each that it imports from beside it, by their names as the file's own is given.

    Nothing of those that cannot be read here.
    """
    place, whole = file.parent, Path(file).absolute()
    files = {file: whole}
    for name, module in modules_beside(whole, known).items():
        inside = sorted(each for each in module.rglob("*") if each.is_file()) if module.is_dir() else [module]
        files |= {place / name / each.relative_to(module): each for each in inside if each.suffix != ".pyc"}
    found = {}
    for name, each in files.items():
        try:
            found[str(name)] = hashlib.sha256(each.read_bytes()).hexdigest()
        except OSError:
            continue
    return found


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """(dots in front, dotted name) of every import of a Python file, also inside its functions. Nothing of a file that
    Python does not read: the job says what is wrong with it."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.level, ".".join(filter(None, (node.module, alias.name.strip("*"))))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(name, str) and not name.startswith("."):
                yield 0, name


def _tree(file: Path) -> ast.Module:
    if file.suffix == ".py":
        try:
            return ast.parse(file.read_bytes())  # bytes: Python's own rules for encodings
        except (OSError, SyntaxError, ValueError, RecursionError):
            pass
    return ast.Module([], [])


def _opened(source: Path, places: Mapping[Path, Path]) -> Iterator[tuple[Path, Path]]:
    """(place, file or folder) that a file opens by its own place, where that is one of these folders, or lies in one."""
    for base, to in _inside(places, source.parent).items():
        for name in named_files(_tree(source), base):
            yield to / name, base / name


def _steps_out(folder: Path) -> int:
    """How many packages are around a package."""
    return 1 + _steps_out(folder.parent) if (folder.parent / "__init__.py").is_file() else 0


def _inside(places: Mapping[Path, Path], folder: Path) -> dict[Path, Path]:
    """A folder within one of these, and where it is."""
    outer = [known for known in places if folder.is_relative_to(known)]
    deepest = max(outer, key=lambda known: len(known.parts), default=None)
    return {} if deepest is None else {folder: places[deepest] / folder.relative_to(deepest)}


def _located(places: Mapping[Path, Path], parts: Sequence[str]) -> tuple[Path, Path | None]:
    """(place, module) in the first folder that has it."""
    for base, to in places.items():
        module = _module(base, parts)
        if module is not None:
            return to / module.relative_to(base), module
    return Path(), None


def _module(base: Path, parts: Sequence[str]) -> Path | None:
    """In Python's order: a package, a compiled module, a .py file, a folder without an __init__."""
    here = base / parts[0]
    if any(here.glob("__init__.*")):
        return here
    compiled = sorted(base.glob(f"{parts[0]}.*.so")) + sorted(base.glob(f"{parts[0]}.so"))
    if compiled:
        return compiled[0]
    if (file := base / f"{parts[0]}.py").is_file():
        return file
    return _module(here, parts[1:]) if here.is_dir() and len(parts) > 1 else None
