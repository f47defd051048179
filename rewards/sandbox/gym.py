"""In the child of ``rewards.gym``: calls reasoning-gym's verifier of one entry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import reasoning_gym
from reasoning_gym.factory import DATASETS

_NONSENSE = "\u00a7 no answer \u00a7"
_verifiers: dict[str, Any] = {}


def grade(payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"mark": 0..1}``, or ``{"refused": why}``: an unknown data set, or a verifier that accepts nonsense.

    A verifier that raises on an answer, and takes the row's own, was given no answer of its form: 0.
    """
    entry = dict(payload["entry"])
    name, answer = entry.pop("dataset"), payload["answer"]
    if name not in DATASETS:
        return {"refused": f"reasoning-gym has no data set {name!r}"}
    if answer != entry["answer"] and _mark(name, _NONSENSE, entry) >= 1.0:
        return {"refused": f"reasoning-gym's verifier of {name!r} gives full marks to nonsense for this row"}
    mark = _mark(name, answer, entry)
    if math.isnan(mark):
        if not _mark(name, entry["answer"], entry) >= 1.0:
            raise ValueError(f"the verifier of {name!r} raises, and not on this answer alone")
        return {"mark": 0.0}
    return {"mark": mark}


def _mark(name: str, answer: str, entry: Mapping[str, Any]) -> float:
    """NaN where the verifier raises. JSON has no tuples, which some verifiers compare with: both forms are tried."""
    if name not in _verifiers:
        _verifiers[name] = reasoning_gym.get_score_answer_fn(name)
    marks = []
    for metadata in (entry["metadata"], _tuples(entry["metadata"])):
        try:
            marks.append(float(_verifiers[name](answer=answer, entry={**entry, "metadata": metadata})))
        except Exception:  # whatever a third-party verifier makes of a model's text
            continue
    return max(marks, default=math.nan)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
