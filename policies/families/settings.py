"""Typed values of a config.json. Each raises PolicyError, one line with the name, the value and what is allowed.

A name that is absent takes the original code's default, if it has one that we support. ``null`` is a value: the original
code gets it in place of its default.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from policies.files.strict_json import shown
from rl.errors import PolicyError

# Name in a config.json -> least and most. More than any released model has, and little enough to be looked at: a module
# of these sizes has shapes that fit 64 bits, and is made without memory in seconds.
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("vocab_size", "embedding_size", "new_vocab_size", "llm_vocab_size"), (1, 1 << 24)),
    "codebook_size": (1, 1 << 20),
    **dict.fromkeys(("d_model", "hidden_size"), (1, 1 << 24)),
    **dict.fromkeys(("mlp_hidden_size", "intermediate_size", "moe_intermediate_size"), (1, 1 << 22)),
    "mlp_ratio": (1, 1 << 10),
    **dict.fromkeys(("n_layers", "num_hidden_layers"), (1, 1000)),
    "first_k_dense_replace": (0, 1000),
    **dict.fromkeys(("n_heads", "num_attention_heads", "n_kv_heads", "num_key_value_heads"), (1, 1 << 14)),
    "head_dim": (1, 1 << 14),
    "block_size": (1, 1 << 16),
    **dict.fromkeys(("num_experts", "num_experts_per_tok", "n_group", "topk_group"), (1, 1 << 12)),
    "num_shared_experts": (0, 1 << 10),
    **dict.fromkeys(("max_sequence_length", "max_position_embeddings"), (1, 1 << 24)),
    "rope_theta": (1, 1e15),
    "rms_norm_eps": (1e-30, 1),
    "routed_scaling_factor": (1e-6, 1e6),
    "partial_rotary_factor": (1e-6, 1),
}
OTHERS = (1, 1 << 24)  # of a whole number that an installed package's family has; a number begins above 0
COPY = "copy config.json from the original checkpoint"


def whole(config: Mapping[str, Any], name: str, default: int | None = None, least: int | None = None) -> int:
    """A whole number within BOUNDS. least: instead of the table's."""
    value, (lowest, most) = _given(config, name, default), BOUNDS.get(name, OTHERS)
    least = int(lowest) if least is None else least
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise wrong(name, value, f"a whole number of at least {least}")
    if value > most:
        raise wrong(name, value, f"at most {most:.0f}")
    return value


def whole_or_none(config: Mapping[str, Any], name: str) -> int | None:
    """None where the name is absent or null."""
    return None if config.get(name) is None else whole(config, name)


def number(config: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A number within BOUNDS."""
    value, (least, most) = _given(config, name, default), BOUNDS.get(name, (0, sys.float_info.max))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise wrong(name, value, "a number above 0")
    if not least <= value <= most:
        raise wrong(name, value, f"above 0 and at most {most:g}" if value > most else f"at least {least:g}")
    return float(value)


def _given(config: Mapping[str, Any], name: str, default: float | None) -> Any:
    if name not in config and default is None:
        raise PolicyError(f"config.json: no {name!r}, which this family needs; {COPY}")
    return config.get(name, default)


def flag(config: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """true or false; null counts as false, as in the original code's conditions."""
    value = config.get(name, default)
    if value is not None and not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return bool(value)


def require(config: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """What the original code can be configured to do and no released checkpoint does. Absent: as released."""
    for name, only in fixed.items():
        value = config.get(name, only)
        if value != only and not (only is False and value is None):
            raise PolicyError(
                f"config.json: {name}={shown(value)}: allowed: {shown(only)}, as in the released checkpoints; other "
                "kinds of this network are not supported"
            )


def wrong(name: str, value: object, allowed: str) -> PolicyError:
    return PolicyError(f"config.json: {name}={shown(value)}: must be {allowed}; {COPY}")
