"""Lets ``torchvision`` be imported beside a CPU build of torch.

The wheels of torchvision are built against CUDA torch. Beside a CPU build their C++ library does not load, and importing
torchvision, which open_clip does, fails with "operator torchvision::nms does not exist", since torchvision registers
shapes for operators that were never declared. Declaring their schemas is enough: nothing here detects boxes. Where the
library loads, nothing is declared, for a second declaration would be the error.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import threading
from pathlib import Path

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
    with _lock:
        if _library is None and "torchvision" not in sys.modules and not _declared() and not _loads():
            _library = torch.library.Library("torchvision", "DEF")
            for schema in _SCHEMAS:
                _library.define(schema)
        return _library is not None


def _declared() -> bool:
    return hasattr(torch.ops.torchvision, "nms")


def _loads() -> bool:
    """Whether torchvision's own library can be loaded, as its import would do next."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: its import says so better than we could
    for file in Path(spec.origin).parent.glob("_C*.so"):
        try:
            ctypes.CDLL(str(file))
            return True
        except OSError:
            continue
    return False
