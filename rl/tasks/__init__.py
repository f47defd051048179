"""Task generators: real data without a download.

``GENERATORS`` maps a name to ``generate(split, **args) -> list[Prompt]``. A generator's module, and what it needs, is
imported when it first runs. Every generator is a pure function of its arguments, and its two splits never mix. A new one
is one file and one line below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from rl.errors import ConfigError
from rl.registry import Registry, Takes
from rl.types import Prompt

Generator = Callable[..., list[Prompt]]

SPLITS = ("train", "val")


class _Generators(Registry[Generator]):
    """Generators whose arguments are checked before they run."""

    def __getitem__(self, name: str) -> Generator:
        return partial(_checked, name, super().__getitem__(name))


def _checked(name: str, generate: Generator, split: str, **args: Any) -> list[Prompt]:
    if split not in SPLITS:
        raise ConfigError(f"data source {name}: split={split!r}; allowed: {', '.join(SPLITS)}")
    allowed = list(inspect.signature(generate).parameters)[1:]
    for key in args:
        if key not in allowed:
            raise ConfigError(f"data source {name}: unknown argument {key!r}; allowed: {', '.join(allowed)}")
    return generate(split, **args)


GENERATORS: Registry[Generator] = _Generators(
    "data source",
    {name: f"rl.tasks.{name}:generate" for name in ("sudoku4x4", "chain_sum", "gsm_symbolic", "easy_vqa", "scenes")},
    group="unigrpo.tasks",
    member=Takes(1),
)
