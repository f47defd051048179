"""In the child of ``rewards.custom.IsolatedFunction``: loads the user's function once, and scores with it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

from rewards.custom import FunctionReward
from rewards.sandbox.wire import unpack

_PRINTED = 4_000  # characters of a call's output that reach the log
_loaded: dict[str, FunctionReward] = {}


def call(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Load the file at the first call, then score."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if "reward" not in _loaded:
            _loaded["reward"] = FunctionReward.from_file(payload["path"], payload["function"], unpack(payload["extra"]))
        scores = _loaded["reward"].score(unpack(payload["items"]))
    rows = [{"value": s.value, "status": str(s.status), "parts": dict(s.parts), "detail": s.detail} for s in scores]
    return {"scores": rows, "printed": printed.getvalue()[:_PRINTED]}
