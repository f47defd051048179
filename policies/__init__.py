"""Masked-diffusion policies: models, tokenizers, samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policies.files.checkpoints import load_policy
    from policies.generate import generate_image, generate_text
    from policies.infill import infill_image, infill_text

__all__ = ["generate_image", "generate_text", "infill_image", "infill_text", "load_policy"]

_HOMES = {
    "load_policy": "policies.files.checkpoints",
    "generate_text": "policies.generate",
    "generate_image": "policies.generate",
    "infill_text": "policies.infill",
    "infill_image": "policies.infill",
}


def __getattr__(name: str) -> Any:  # PEP 562: `import policies` stays light, torch loads with the first use
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'policies' has no attribute {name!r}")
