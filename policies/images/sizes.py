"""What the sizes in an image tokenizer's config.json may be: asked before anything of these sizes is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.files.strict_json import shown
from rl.errors import PolicyError

# Name -> least and most. More than any released tokenizer has; 2 ** bits codes have a table.
BOUNDS = {
    "image_size": (1, 1 << 13),
    "patch_size": (1, 64),
    "bits": (1, 20),
    "width": (8, 1 << 12),
    "channels": (32, 1 << 12),
    "down_multipliers": (1, 64),
    "up_multipliers": (1, 64),
    "down_blocks": (1, 64),
    "up_blocks": (1, 64),
}
MOST_LEVELS = 8


def check_sizes(file: Path, sizes: Mapping[str, Any]) -> None:
    """Whole numbers, or tuples of them, within BOUNDS. Raises PolicyError."""
    for name, value in sizes.items():
        least, most = BOUNDS[name]
        each, listed = value if isinstance(value, tuple) else (value,), name.endswith(("multipliers", "blocks"))
        sound = 0 < len(each) <= MOST_LEVELS and isinstance(value, tuple) == listed
        if not sound or not all(type(number) is int and least <= number <= most for number in each):
            allowed = f"a list of 1 to {MOST_LEVELS} whole numbers" if listed else "a whole number"
            raise PolicyError(
                f"{file}: {name}={shown(value)}: must be {allowed} from {least} to {most}; copy it from the original checkpoint"
            )
