"""Many cases of one test: some in every run, all of them with ``make test-all``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def wide(cases: Iterable[Any], every: int, *, unpack: bool = False) -> list[Any]:
    """The same cases in the same order; all but each ``every``-th, from the first on, are marked ``long``.

    unpack: a case is a tuple of several arguments, and not one argument.
    """
    return [
        case if place % every == 0 else pytest.param(*(case if unpack else [case]), marks=pytest.mark.long)
        for place, case in enumerate(cases)
    ]
