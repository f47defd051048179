"""What a model needs to be installed: the packages that its code imports, at the versions that this process has.

Those are the pins of constraints.txt wherever ``make`` made the environment. Direct needs are requirements; all that those
bring along is pinned as constraints, which bind only where a platform needs the package.
"""

from __future__ import annotations

import importlib.metadata as metadata
import re
from collections.abc import Iterable, Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cluster.model.sources import third_party

PROJECT = "unigrpo"
ALWAYS = ("mlflow",)  # what loads and serves the model
_LOCAL = re.compile(r"\+.*$")


def requirements() -> list[str]:
    """As pip reads them: ``torch==2.13.0``, in order of their names."""
    return _pins(_direct())


def constraints() -> list[str]:
    """Pins of everything that the requirements bring along on this machine, and of themselves."""
    found: set[str] = set()
    waiting = [(name, "") for name in _direct()]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or not _is_installed(name):
            continue
        seen.add((name, extra))
        found.add(name)
        waiting += _needs(name, extra)
    return _pins(found)


def _direct() -> set[str]:
    """Distributions of what is imported, as far as this project asks for them: others, such as a compiler for kernels, are
    used where they are there."""
    owners = metadata.packages_distributions()
    imported: set[str] = {canonicalize_name(owner) for name in third_party() for owner in owners.get(name, ())}
    if _is_installed(PROJECT):
        asked = {name for name, _ in _needs(PROJECT, "")}
        imported &= asked | {"pandas"}  # of MLflow, whose tables models take
    return imported | set(ALWAYS)


def _needs(name: str, extra: str) -> Iterator[tuple[str, str]]:
    """(distribution, extra) of what a distribution needs on this machine."""
    for line in metadata.requires(name) or ():
        try:
            need = Requirement(line)
        except InvalidRequirement:
            continue
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            yield from ((canonicalize_name(need.name), each) for each in ("", *need.extras))


def _pins(names: Iterable[str]) -> list[str]:
    """Without the local part of a version: ``2.13.0+cpu`` is on no public index."""
    return [f"{name}=={_LOCAL.sub('', str(Version(metadata.version(name))))}" for name in sorted(names)]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
