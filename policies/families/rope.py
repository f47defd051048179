"""Rotary positions, as a config.json states them: rope_theta, rope_scaling (transformers 4), rope_parameters (5).

Only unscaled positions are supported. The three places must agree: the original code of these families reads
``rope_theta`` and ``rope_scaling``, while transformers 5 reads ``rope_parameters`` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.families.settings import number, shown
from rl.errors import PolicyError

PLACES = ("rope_parameters", "rope_scaling")
TYPES = ("rope_type", "type")
VALUES = ("rope_theta", "partial_rotary_factor")


def rope_theta(config: Mapping[str, Any], default: float | None = None) -> float:
    """The base of the rotation. Raises PolicyError where positions are scaled, or places contradict each other, or none
    states it and there is no default."""
    return number(_stated(config, "rope_theta"), "rope_theta", default)


def partial_rotary_factor(config: Mapping[str, Any], default: float = 1.0) -> float:
    """The share of each head that is rotated. Raises PolicyError."""
    return number(_stated(config, "partial_rotary_factor"), "partial_rotary_factor", default)


def require_whole_heads(config: Mapping[str, Any]) -> None:
    """Raises PolicyError where only a part of each head would be rotated."""
    factor = partial_rotary_factor(config)
    if factor != 1:
        raise PolicyError(f"config.json: partial_rotary_factor={factor}: allowed: 1, as in the released checkpoints")


def _stated(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``{name: value}``, or {} where no place has it. A null beside a value counts for nothing."""
    found = {"config.json": config[name]} if name in config else {}
    for place in PLACES:
        values = _unscaled(place, config.get(place))
        if name in values:
            found[place] = values[name]
    given = {where: value for where, value in found.items() if value is not None} or found
    if any(value != next(iter(given.values())) for value in given.values()):
        told = ", ".join(f"{where} has {shown(value)}" for where, value in given.items())
        raise PolicyError(f"config.json: {name}: {told}; they must agree: keep what the weights were trained with")
    return {name: next(iter(given.values()))} if given else {}


def _unscaled(place: str, stated: object) -> Mapping[str, Any]:
    """The values of one place. Raises PolicyError where it asks for anything but the plain rotation."""
    if stated is None:
        return {}
    if not isinstance(stated, Mapping):
        raise PolicyError(f"config.json: {place}={shown(stated)}: must be an object, or null")
    stated = _of_all_layers(place, stated)
    kinds = {stated[name] for name in TYPES if isinstance(stated.get(name), str)}
    odd = [name for name in TYPES if stated.get(name) is not None and not isinstance(stated[name], str)]
    rest = {key: value for key, value in stated.items() if key not in (*TYPES, *VALUES) and value is not None}
    plain = not rest or (rest == {"factor": 1.0} and bool(kinds))
    if odd or kinds - {"default"} or not plain:
        raise PolicyError(
            f"config.json: {place}={shown(stated)}: allowed: None, or rope_type 'default' with rope_theta and nothing else; "
            "scaled rotary positions are not supported: use a checkpoint without them"
        )
    return stated


def _of_all_layers(place: str, stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """One object for all layers, also where transformers 5 wrote one for each type of layer."""
    nested = [value for value in stated.values() if isinstance(value, Mapping)]
    if not nested:
        return stated
    if len(nested) < len(stated) or any(value != nested[0] for value in nested):
        raise PolicyError(
            f"config.json: {place}={shown(stated)}: differs between types of layers, which is not supported; allowed: the "
            "same for all layers"
        )
    return nested[0]
