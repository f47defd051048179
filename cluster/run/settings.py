"""A run's settings, whole: recipe and overrides over the family's card, and what ``auto`` stands for where the run will be.

Every command that runs something loads its settings here. ``rl.config.load_config`` alone knows no families and no devices.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from rich.console import Console

from cluster import console
from cluster.actors.device import has_gpu
from cluster.plan.family import family_notes, with_family
from cluster.run.session import on_the_cluster, ray_running
from rl.config import Config
from rl.config.device import AUTO, is_open, resolved
from rl.config.layers import Layer
from rl.config.load import free_mappings, parse_override
from rl.output.printable import said

_log = logging.getLogger(__name__)


DEVICE = "device"  # how that note begins


def load(recipe: str, overrides: Sequence[str], trains: bool = True) -> tuple[Config, list[str]]:
    """The config of a run, and notes: what comes from the family's card, and what ``auto`` stands for.

    trains: whether a learning rate matters. Raises ConfigError; with ``cluster.address`` and ``policy.device=auto``,
    DeadlineError where no Ray answers there.
    """
    written, layers = with_family(recipe, overrides)
    config = _resolved(written)
    notes = [*overruled(overrides), *family_notes(written, layers, trains)]
    if is_open(written):
        where = "the machine has" if written.cluster.address is None else "the Ray cluster has"
        why = f" ({where} {'a GPU' if config.policy.device == 'cuda' else 'no GPU'})" * (written.policy.device == AUTO)
        notes.append(f"{DEVICE}    {config.policy.device}, {config.policy.dtype}{why}")
    return config, notes


def overruled(overrides: Sequence[str]) -> list[str]:
    """A line for each setting that was typed and then typed again with another value. The overrides are valid."""
    layers = [parse_override(text) for text in overrides]
    lines = []
    for place, layer in enumerate(layers):
        behind = [
            (later, text)
            for later, text in zip(layers[place + 1 :], overrides[place + 1 :], strict=True)
            if _overrules(later, layer)
        ]
        if behind and behind[-1][0].given != layer.given:
            lines.append(f"not used: {overrides[place]}: {behind[-1][1]} stands behind it")
    return lines


def _overrules(later: Layer, layer: Layer) -> bool:
    """Whether a later override gives all that an earlier one gave; a mapping of free names is given as a whole."""
    whole = later.key in free_mappings() and f"{layer.key}.".startswith(f"{later.key}.")
    return whole or set(layer.given) <= set(later.given)


def tell(screen: Console, notes: Iterable[str]) -> None:
    """On the screen, and in the run's log, once every check has passed; so are the notes that waited for it."""
    console.checked()
    for note in notes:
        _log.info("%s", note)
        screen.print(said(note), highlight=False, markup=False, soft_wrap=True)


def on_gpu(recipe: str, overrides: Sequence[str]) -> Config:
    """The config that a run would have on a machine with GPUs."""
    return resolved(with_family(recipe, overrides)[0], gpu=True)


def _resolved(config: Config) -> Config:
    """What ``auto`` stands for on this machine, or on the Ray cluster that the run attaches to."""
    if not is_open(config):
        return config
    if config.policy.device != AUTO or config.cluster.address is None:
        return resolved(config, config.policy.device == AUTO and has_gpu())
    with ray_running(config):
        return on_the_cluster(config)
