"""What a model needs to be installed: the packages that its code imports, at the versions that this process has.

Those are the pins of constraints.txt wherever ``make`` made the environment. Direct needs are requirements; all that those
bring along is pinned as constraints, which bind only where a platform needs the package.
"""

from __future__ import annotations

import importlib.metadata as metadata
import re
from collections.abc import Iterable, Iterator
from functools import cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cluster.model.sources import third_party

PROJECT = "unigrpo"
ALWAYS = ("mlflow",)  # what loads and serves the model
_LOCAL = re.compile(r"\+.*$")


@cache
def requirements() -> tuple[str, ...]:
    """As pip reads them: ``torch==2.13.0``, in order of their names."""
    return _pins(_direct())


@cache
def constraints() -> tuple[str, ...]:
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
    used where they are there. pandas is MLflow's, whose tables models take."""
    asked = {name for name, _ in _needs(PROJECT, "")} if _is_installed(PROJECT) else set(_all())
    asked = {name for name in (*asked, "pandas") if _is_installed(name)}
    return {name for name in asked if _modules_of(name) & third_party()} | set(ALWAYS)


def _all() -> Iterator[str]:
    """Where this project runs from its sources alone: everything that is installed."""
    return (canonicalize_name(each.metadata["Name"]) for each in metadata.distributions())


def _modules_of(name: str) -> set[str]:
    """Names that a distribution can be imported by, from the list of its files."""
    record = metadata.distribution(name).read_text("RECORD") or ""
    firsts = {line.partition(",")[0].partition("/")[0] for line in record.splitlines()}
    return {first.removesuffix(".py") for first in firsts} or {name.replace("-", "_")}


def _needs(name: str, extra: str) -> Iterator[tuple[str, str]]:
    """(distribution, extra) of what a distribution needs on this machine."""
    for line in metadata.requires(name) or ():
        try:
            need = Requirement(line)
        except InvalidRequirement:
            continue
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            yield from ((canonicalize_name(need.name), each) for each in ("", *need.extras))


def _pins(names: Iterable[str]) -> tuple[str, ...]:
    """Without the local part of a version: ``2.13.0+cpu`` is on no public index."""
    return tuple(f"{name}=={_LOCAL.sub('', str(Version(metadata.version(name))))}" for name in sorted(names))


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
