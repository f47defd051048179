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

from rl.errors import ConfigError, UniGRPOError, one_line
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
    parameters = inspect.signature(generate).parameters
    allowed = list(parameters)[1:]
    for key in args:
        if key not in allowed and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            raise ConfigError(f"data source {name}: unknown argument {key!r}; allowed: {', '.join(allowed) or 'none'}")
    try:
        rows = generate(split, **args)
    except UniGRPOError:
        raise
    except (Exception, SystemExit) as error:  # a package's own code
        raise ConfigError(f"data source {name}: with split={split!r}, args={args}: {one_line(error)}") from error
    if not isinstance(rows, list) or not all(isinstance(row, Prompt) for row in rows):
        raise ConfigError(
            f"data source {name}: returned {' '.join(repr(rows)[:80].split())}; must be a list of rl.types.Prompt"
        )
    return rows


GENERATORS: Registry[Generator] = _Generators(
    "data source",
    {name: f"rl.tasks.{name}:generate" for name in ("sudoku4x4", "chain_sum", "gsm_symbolic", "easy_vqa", "scenes")},
    group="unigrpo.tasks",
    member=Takes(1),
)
