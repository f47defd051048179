"""Lets ``torchvision`` be imported beside a CPU build of torch.

The wheels of torchvision are built against CUDA torch. Beside a CPU build their C++ library does not load, and importing
torchvision fails with "operator torchvision::nms does not exist", since torchvision registers shapes for operators that
were never declared. open_clip imports it, and so do transformers' model classes. Declaring the operators' schemas is
enough: nothing here detects boxes. Where the library loads, nothing is declared, for a second declaration would be the error.

``declare_before_torchvision`` does so for code that is not ours, in the moment in which it imports torchvision; until then
it costs nothing, and torch is not imported.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # declarations live as long as this object
_lock = threading.Lock()


def ensure_torchvision_ops() -> bool:
    """Declare the operators where they are missing; call before the first import of torchvision.

    True where something was declared, now or before.
    """
    global _library
    import torch

    with _lock:
        if _library is None and "torchvision.ops" not in sys.modules and not _declared() and not library_loads():
            _library = torch.library.Library("torchvision", "DEF")
            for schema in _SCHEMAS:
                _library.define(schema)
        return _library is not None


def declare_before_torchvision() -> None:
    """From now on, whoever imports torchvision in this process finds its operators declared."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def library_loads() -> bool:
    """Whether torchvision's own library can be loaded, as its import would do next. torch must be imported."""
    spec = PathFinder.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: its import says so better than we could
    for file in Path(spec.origin).parent.glob("_C*.so"):
        try:
            ctypes.CDLL(str(file))
            return True
        except OSError:
            continue
    return False


def _declared() -> bool:
    import torch

    return hasattr(torch.ops.torchvision, "nms")


class _Declaring(Loader):
    """torchvision's own loader, with the declaration before it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        ensure_torchvision_ops()
        self._loader.exec_module(module)

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)  # what else a loader has, e.g. for resources


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Declaring(spec.loader)
        return spec


_FINDER = _Finder()
