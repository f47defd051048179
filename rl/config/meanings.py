"""What each setting means, read from the docstrings of the sections: their one home.

A docstring has a line ``name    meaning``, with two blanks or more between them, or ``name, name    meaning`` for settings
that are explained together. Lines that are further in go on with it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import cast, get_args, get_origin, get_type_hints

from rl.config.sections import Config

_ENTRY = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*)  +(?P<meaning>\S.*)")
ITEM = "[]"  # of a list of settings: data.train[].source


def meanings() -> dict[str, str]:
    """Dotted name -> one line, for every setting that has one; of an item of a list as ``data.train[].source``."""
    return dict(_of_section(Config, ""))


def _of_section(section: type, prefix: str) -> Iterator[tuple[str, str]]:
    told, hints = _entries(section), get_type_hints(section)
    for field in dataclasses.fields(section):
        kind = hints[field.name]
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(kind):
            yield from _of_section(cast(type, kind), f"{name}.")
            continue
        if field.name in told:
            yield name, told[field.name]
        item = next(iter(get_args(kind)), None) if get_origin(kind) is list else None
        if dataclasses.is_dataclass(item):
            yield from _of_section(cast(type, item), f"{name}{ITEM}.")


def _entries(section: type) -> dict[str, str]:
    known = {field.name for field in dataclasses.fields(section)}
    found: dict[str, list[str]] = {}
    open_names: list[str] = []
    for line in inspect.cleandoc(section.__doc__ or "").splitlines():
        entry = _ENTRY.fullmatch(line)
        names = entry["names"].split(", ") if entry else []
        if entry and set(names) <= known:
            open_names = names
            for name in names:
                found[name] = [entry["meaning"]]
        elif line.startswith(" ") and open_names:
            for name in open_names:
                found[name].append(line.strip())
        else:
            open_names = []
    return {name: " ".join(lines).replace("``", "") for name, lines in found.items()}
