"""How items travel to a child process, and what JSON can hold of a row."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl.errors import RewardError, one_line


def pack(value: Any) -> str:
    """A value on its way to a child of this process, as it is: a user's function sees the same types there.

    Only what the parent made is ever unpacked, and only in the child: answers come back as JSON. Raises RewardError.
    """
    try:
        return base64.b64encode(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)).decode("ascii")
    except Exception as error:
        raise RewardError(f"cannot be sent to a child process: {one_line(error)}") from error


def unpack(text: str) -> Any:
    """What ``pack`` was given."""
    return pickle.loads(base64.b64decode(text))


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, keys as text, anything else as its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
