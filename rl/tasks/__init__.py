"""Task generators: real data without a download.

``GENERATORS`` maps a name to ``generate(split, **args) -> list[Prompt]``. A generator's module, and what it needs, is
imported when it first runs. Every generator is a pure function of its arguments, and its two splits never mix.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from rl.errors import ConfigError
from rl.types import Prompt

Generator = Callable[..., list[Prompt]]

SPLITS = ("train", "val")
_NAMES = ("sudoku4x4", "chain_sum", "gsm_symbolic", "easy_vqa", "scenes")


def _generate(name: str, split: str, **args: Any) -> list[Prompt]:
    if split not in SPLITS:
        raise ConfigError(f"data source {name}: split={split!r}; allowed: {', '.join(SPLITS)}")
    generate = import_module(f"rl.tasks.{name}").generate
    allowed = list(inspect.signature(generate).parameters)[1:]
    for key in args:
        if key not in allowed:
            raise ConfigError(f"data source {name}: unknown argument {key!r}; allowed: {', '.join(allowed)}")
    return generate(split, **args)


GENERATORS: dict[str, Generator] = {name: partial(_generate, name) for name in _NAMES}
