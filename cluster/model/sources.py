"""The part of this project that a model needs, as one zip file that Python imports from: it is on no package index.

All of ``policies`` goes in, since families and samplers are found by name, and those modules of ``rl`` that it and
``cluster.model.served`` import.
"""

from __future__ import annotations

import ast
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the folder that has our packages: a checkout, or site-packages
SERVED = Path(__file__).with_name("served.py")
WHOLE, BY_NEED = "policies", "rl"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same sources make the same file


@cache
def modules() -> Mapping[str, Path]:
    """Name in the zip -> file, in order. Example: ``{"policies/base.py": Path(...)}``."""
    found = {
        str(path.relative_to(ROOT)): path
        for path in sorted((ROOT / WHOLE).rglob("*.py"))
        if "__pycache__" not in path.parts
    }
    waiting = [SERVED, *found.values()]
    while waiting:
        for name in _imports(waiting.pop()):
            for path in _files(name) if name.partition(".")[0] == BY_NEED else ():
                if (key := str(path.relative_to(ROOT))) not in found:
                    found[key] = path
                    waiting.append(path)
    return dict(sorted(found.items()))


@cache
def third_party() -> frozenset[str]:
    """Names that these modules import and that are neither ours nor Python's. Example: ``{"numpy", "torch"}``."""
    names = {name.partition(".")[0] for path in (SERVED, *modules().values()) for name in _imports(path)}
    return frozenset(names - {WHOLE, BY_NEED} - sys.stdlib_module_names)


def write_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in modules().items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED)


def _imports(path: Path) -> Iterator[str]:
    """Absolute names, also those that are imported inside functions; ``from a import b`` may mean the module ``a.b``."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(name: str) -> Iterator[Path]:
    """The module's file and its packages' own; nothing where the name is no module."""
    place = ROOT
    for part in name.split("."):
        place = place / part
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
