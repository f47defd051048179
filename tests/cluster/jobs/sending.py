"""A recipe with settings changed, as a shipment."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cluster.jobs.shipping import Shipment, Shipping, collect
from rl.config import Config, load_config
from tests.cluster.recipe import write_recipe

KWARGS = "custom_reward_function.reward_kwargs"


def sends(changes: Mapping[str, Any] | None = None, shared: tuple[Path, ...] = ()) -> Shipment:
    """The recipe of this folder, which ``write_recipe`` has made. changes: settings by their dotted names."""
    config = _recipe()
    for key, value in (changes or {}).items():
        config = _changed(config, key.split("."), value)
    return collect(config, Shipping(shared))


@cache
def _recipe() -> Config:
    """Parsed once: its paths are relative, so it is that of every such folder."""
    return load_config(write_recipe(Path(tempfile.mkdtemp(prefix="unigrpo-recipe-"))))


def _changed(section: Any, keys: list[str], value: Any) -> Any:
    inner = value if len(keys) == 1 else _changed(getattr(section, keys[0]), keys[1:], value)
    return dataclasses.replace(section, **{keys[0]: inner})
