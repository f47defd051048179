"""Where the files that rows name may lie: a row is a stranger's text, and names nothing outside its folder by itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rl.data.values import shown
from rl.errors import ConfigError, DataError

ROOT = "image_root"  # the argument of a file that names further folders


@dataclass(frozen=True, slots=True)
class ImagePlaces:
    """folder: of the rows; names are relative to it. roots: folders that the user allows beside it."""

    folder: Path
    roots: tuple[Path, ...] = ()

    @staticmethod
    def of(source: Path, args: Mapping[str, Any], shared: Sequence[Path] = ()) -> ImagePlaces:
        """Of a file or folder of rows with its arguments. shared: further folders. Raises ConfigError."""
        return ImagePlaces(source if source.is_dir() else source.parent, (*image_roots(args), *shared))

    def path_of(self, name: str) -> Path:
        """The path that a row's name means. Raises DataError where it leads outside, links resolved."""
        path = self.folder / name
        real = _real(str(path))
        if not any(
            real == root or real.startswith(root.rstrip("/") + "/") for root in map(_real_folder, self._allowed)
        ):
            raise DataError(
                f"{shown(name)} leads to {shown(real)}, outside the folder of the rows; move it there, or allow its folder: "
                f"args: {{{ROOT}: {os.path.dirname(real)[:200]}}}"
            )
        return path

    @property
    def _allowed(self) -> tuple[str, ...]:
        return tuple(os.path.join(os.getcwd(), folder) for folder in (self.folder, *self.roots))


def image_roots(args: Mapping[str, Any]) -> tuple[Path, ...]:
    """One folder or a list of them. Raises ConfigError."""
    given = args.get(ROOT)
    listed = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not all(isinstance(root, str) and root and "\0" not in root for root in listed):
        raise ConfigError(f"args.{ROOT}={shown(given)}: must be a folder, or a list of folders")
    return tuple(map(Path, listed))


def _real(path: str) -> str:
    """os.path.realpath; folders are looked at once."""
    folder, name = os.path.split(os.path.join(os.getcwd(), path))
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    real = os.path.join(_real_folder(folder), name)
    return os.path.realpath(real) if os.path.islink(real) else real


@lru_cache(maxsize=10_000)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)
