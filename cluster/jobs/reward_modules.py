"""Modules that lie beside a reward's file and that it imports, directly or through one another."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

INSTALLED = ("site-packages", "dist-packages")


def modules_beside(file: Path, known: Sequence[str] = ()) -> dict[Path, Path]:
    """Modules and packages by their place relative to the file's folder -> where they are. A package is its whole folder.

    file    may be a link: then what lies beside its target counts as well, since Python looks there
    known   packages that the job has anyway
    """
    folders = [folder for folder in dict.fromkeys((file.parent, file.resolve().parent)) if folder.name not in INSTALLED]
    found: dict[Path, Path] = {}
    waiting = [file]
    while waiting:
        source = waiting.pop()
        for level, name in imported(source):
            if not level and name.partition(".")[0] in known:
                continue
            around = folders if not level else [Path(*source.parts[: len(source.parts) - level])]
            for place, module in _located(around, name, folders):
                if place not in found and not any(parent in found for parent in place.parents):
                    found[place] = module
                    waiting += [module] if module.is_file() else sorted(module.rglob("*.py"))
    return found


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """(dots in front, dotted name) of every import of a Python file, also inside its functions. Nothing of a file that
    Python does not read: the job says what is wrong with it."""
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())  # bytes: Python's own rules for encodings
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
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


def _located(around: Sequence[Path], name: str, folders: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """(place, module) of the first folder that has it."""
    for base in around:
        module = _module(base, name.split("."))
        if module is not None:
            yield from ((module.relative_to(folder), module) for folder in folders if module.is_relative_to(folder))
            return


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
