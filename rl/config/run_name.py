"""The name of a run, which is that of its folder in ``output_dir``."""

from __future__ import annotations

from rl.errors import ConfigError

_LONGEST = 255  # bytes that a folder's name may have


def check_name(name: str) -> None:
    """It may have folders of its own, and does not lead out of ``output_dir``. Raises ConfigError."""
    parts = name.split("/")
    is_inside = not name.startswith(("/", "~")) and not {".", ".."} & set(parts) and bool(name.strip())
    is_short = all(len(part.encode("utf-8", "replace")) <= _LONGEST for part in parts)
    if not (is_inside and is_short and name.isprintable()):
        raise ConfigError(
            f"name={name[:100]!r}: allowed: NAME, or FOLDER/NAME, of a folder within output_dir, at most {_LONGEST} bytes each; "
            "set output_dir for another place"
        )
